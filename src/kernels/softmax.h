// Softmax on raw dense memory, seen as [outer, size, inner]: over the middle axis, for every outer
// and inner index.
#pragma once

#include <cstdint>

namespace fovea::kernels {

struct SoftmaxShape {
  std::int64_t size = 1;   // of the axis that is normalised
  std::int64_t inner = 1;  // elements between its neighbours
};

// y = e^(x - max) / sum e^(x - max), or with `logarithm` y = x - max - log(sum e^(x - max)), for
// columns [first, last) of the outer * inner ones, counted in memory order. A NaN or +infinity
// makes its whole column NaN, as in PyTorch. T is float or double.
template <class T>
void softmax(const SoftmaxShape& shape, bool logarithm, std::int64_t first, std::int64_t last,
             const T* x, T* y);

// dx = y (g - sum(g y)), or with `logarithm` dx = g - e^y sum(g), y being what softmax() made.
template <class T>
void softmax_backward(const SoftmaxShape& shape, bool logarithm, std::int64_t first,
                      std::int64_t last, const T* g, const T* y, T* dx);

}  // namespace fovea::kernels
