// Dot products of one vector with the rows of a matrix, which is read once and as it lies.
#pragma once

#include <cstdint>

namespace fovea::kernels {

// out[r] = start[r] + sum over k of matrix[r * columns + k] * x[k] for r < rows; `start` may be
// null. T is float or double.
template <class T>
struct DotRows {
  const T* matrix;
  const T* x;
  const T* start;
  T* out;
  std::int64_t rows;
  std::int64_t columns;
};
template <class T>
void dot_rows(const DotRows<T>& job);

}  // namespace fovea::kernels
