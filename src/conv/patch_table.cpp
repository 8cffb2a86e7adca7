// Builds the patch table of one dimension.
#include "conv/patch_table.h"

#include <algorithm>

#include "core/check.h"

namespace fovea::conv {
namespace {

// What cell `cell` of an axis of `input` cells holds where it lies outside.
std::int64_t outside_cell(std::int64_t cell, std::int64_t input, PaddingMode mode) {
  switch (mode) {
    case PaddingMode::zeros:
    case PaddingMode::constant:
    case PaddingMode::mean:
      return kPaddingCell;
    case PaddingMode::circular:
      return (cell % input + input) % input;
    case PaddingMode::reflect:
      return cell < 0 ? -cell : 2 * (input - 1) - cell;
    case PaddingMode::replicate:
      return std::clamp<std::int64_t>(cell, 0, input - 1);
  }
  FOVEA_ASSERT(false);
}

}  // namespace

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
    table.cells[static_cast<std::size_t>(i)] =
        static_cast<std::int32_t>(inside ? cell : outside_cell(cell, axis.input, mode));
  }
  return table;
}

}  // namespace fovea::conv
