// Sums and maxima over rows or columns of raw memory, in double. T is float or double.
#pragma once

#include <cstdint>

namespace fovea::kernels {

// Rows of contiguous elements.
struct Rows {
  std::int64_t rows = 1;
  std::int64_t columns = 0;
  std::int64_t stride = 0;  // from row to row, in elements
};

// sums[r] += x[r][0] + x[r][1] + ...
template <class T>
void sum_rows(const Rows& shape, const T* x, double* sums);
// sums[c] += x[0][c] + x[1][c] + ...
template <class T>
void sum_columns(const Rows& shape, const T* x, double* sums);

// maxima[r] = max(maxima[r], x[r][0], x[r][1], ...); a NaN wins.
template <class T>
void max_rows(const Rows& shape, const T* x, double* maxima);
// maxima[c] = max(maxima[c], x[0][c], x[1][c], ...)
template <class T>
void max_columns(const Rows& shape, const T* x, double* maxima);

}  // namespace fovea::kernels
