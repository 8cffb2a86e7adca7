// The patch table: which input cell each tap of a window reads, for every output cell.
//
// A convolution is a linear operation on patches [D section 2.1]. Stride, dilation and padding are
// decided here, once per dimension; convolution, pooling and their gradients read the table and
// never hear of them again. The table of a problem is the product of its dimensions' tables. A new
// padding mode is one more case in patch_table.cpp.
#pragma once

#include <cstdint>
#include <vector>

#include "fovea/conv.h"

namespace fovea::conv {

inline constexpr std::int32_t kPaddingCell = -1;

// One dimension of the table: tap t of output o reads input cell
// cells[origin + t * tap_step + o * output_step], or kPaddingCell. Its size is that of the padded
// input, however many taps there are.
struct AxisTable {
  int taps = 0;
  int outputs = 0;
  std::int64_t origin = 0;
  std::int64_t tap_step = 0;
  std::int64_t output_step = 0;
  std::vector<std::int32_t> cells;

  // What tap `tap` of output 0 reads; that of the next output is output_step further.
  const std::int32_t* row(int tap) const { return cells.data() + origin + tap * tap_step; }
  std::int32_t at(int tap, std::int64_t output) const { return row(tap)[output * output_step]; }
};

// input cell = output * stride - before + tap * dilation; where that lies outside, the input cell
// that the padding copies, or kPaddingCell where it has a value of its own.
AxisTable make_axis_table(const ConvAxis& axis, PaddingMode mode);

}  // namespace fovea::conv
