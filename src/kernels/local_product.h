// Small matrix products whose weights are used for a few samples only, as at one position of a
// locally connected layer: bound by reading the weights, which are therefore read once, in order,
// unpacked.
#pragma once

#include <cstdint>

namespace fovea::kernels {

// Rows of values, `stride` apart.
template <class T>
struct RowsOf {
  T* first;
  std::int64_t stride;
  T* row(std::int64_t i) const { return first + i * stride; }
};

struct LocalSizes {
  std::int64_t samples;
  std::int64_t outputs;
  std::int64_t values;  // of one patch
};

// weights [outputs][values], dense; x [samples][values], y [samples][outputs]. T is float or
// double. y[n][o] = sum over j of w[o][j] x[n][j]
template <class T>
void local_product(const LocalSizes& sizes, RowsOf<const T> x, const T* weights, RowsOf<T> y);
// x[n][j] = sum over o of y[n][o] w[o][j]
template <class T>
void local_product_values(const LocalSizes& sizes, RowsOf<const T> y, const T* weights,
                          RowsOf<T> x);
// w[o][j] = sum over n of y[n][o] x[n][j]
template <class T>
void local_product_weights(const LocalSizes& sizes, RowsOf<const T> x, RowsOf<const T> y,
                           T* weights);

}  // namespace fovea::kernels
