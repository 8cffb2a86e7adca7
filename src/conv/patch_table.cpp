// Builds the patch table of one dimension.
#include "conv/patch_table.h"

namespace fovea::conv {

AxisTable make_axis_table(const ConvAxis& axis, PaddingMode mode) {
  AxisTable table;
  table.taps = static_cast<int>(axis.kernel);
  table.outputs = static_cast<int>(axis.output());
  table.tap_step = axis.dilation;
  table.output_step = axis.stride;
  // One entry for each cell of the padded input that some window reaches.
  const std::int64_t reached = (axis.output() - 1) * axis.stride + axis.span();
  table.cells.resize(static_cast<std::size_t>(reached));
  for (std::int64_t i = 0; i < reached; ++i) {
    const std::int64_t cell = i - axis.padding.before;
    const bool inside = cell >= 0 && cell < axis.input;
    switch (mode) {
      case PaddingMode::zeros:
        table.cells[static_cast<std::size_t>(i)] =
            inside ? static_cast<std::int32_t>(cell) : kPaddingCell;
        break;
    }
  }
  return table;
}

}  // namespace fovea::conv
