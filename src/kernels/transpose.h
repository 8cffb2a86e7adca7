// Turning a matrix round on raw memory: what packs weights, and what leads from channels-last rows
// to one row per channel and back.
#pragma once

#include <cstdint>

namespace fovea::kernels {

struct TransposeShape {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t from_stride = 0;  // from row to row, in elements
  std::int64_t to_stride = 0;    // from row to row of the result, one per column of `from`
};

// to[c * to_stride + r] = from[r * from_stride + c]; the memory must not overlap. T is float or
// double.
template <class T>
void transpose(const TransposeShape& shape, const T* from, T* to);

}  // namespace fovea::kernels
