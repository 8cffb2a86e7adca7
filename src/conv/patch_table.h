// The patch table: which input cell each tap of a window reads, for every output cell.
//
// A convolution is a linear operation on patches [D section 2.1]. Stride, dilation and padding are
// decided here, once per dimension; convolution, pooling and their gradients read the table and
// never hear of them again. The table of a problem is the product of its dimensions' tables. A new
// padding mode is one more case in make_axis_table.
#pragma once

#include <cstdint>
#include <vector>

#include "fovea/conv.h"

namespace fovea::conv {

inline constexpr std::int32_t kPaddingCell = -1;

// One dimension of the table.
struct AxisTable {
  int taps = 0;
  int outputs = 0;
  std::vector<std::int32_t> source;  // [taps][outputs]: input cell, or kPaddingCell

  const std::int32_t* row(int tap) const {
    return source.data() + static_cast<std::size_t>(tap) * static_cast<std::size_t>(outputs);
  }
  std::int32_t at(int tap, int output) const { return row(tap)[output]; }
};

// input cell = output * stride - before + tap * dilation, where it exists.
AxisTable make_axis_table(const ConvAxis& axis, PaddingMode mode);

}  // namespace fovea::conv
