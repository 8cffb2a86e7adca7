// Builds the patch table of one dimension.
#include "conv/patch_table.h"

#include "core/check.h"

namespace fovea::conv {

AxisTable make_axis_table(const ConvAxis& axis, PaddingMode mode) {
  AxisTable table;
  table.taps = static_cast<int>(axis.kernel);
  table.outputs = static_cast<int>(axis.output());
  table.source.reserve(static_cast<std::size_t>(table.taps) *
                       static_cast<std::size_t>(table.outputs));
  for (std::int64_t tap = 0; tap < axis.kernel; ++tap) {
    for (std::int64_t output = 0; output < table.outputs; ++output) {
      const std::int64_t cell = output * axis.stride - axis.padding.before + tap * axis.dilation;
      const bool inside = cell >= 0 && cell < axis.input;
      switch (mode) {
        case PaddingMode::zeros:
          table.source.push_back(inside ? static_cast<std::int32_t>(cell) : kPaddingCell);
          break;
      }
    }
  }
  return table;
}

}  // namespace fovea::conv
