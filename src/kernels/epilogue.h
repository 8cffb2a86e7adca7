// What happens to the results of a convolution on their way to memory: a residual is added, and
// they are kept within bounds, which makes relu and relu6.
#pragma once

#include <cstdint>
#include <limits>

namespace fovea::kernels {

// T is float or double.
template <class T>
struct Epilogue {
  // Where all results begin, and the residual, which is laid out as they are; both null: none.
  const T* results = nullptr;
  const T* residual = nullptr;
  T low = -std::numeric_limits<T>::infinity();
  T high = std::numeric_limits<T>::infinity();
};

// The same for `count` results from `first` on that are in memory already.
template <class T>
void finish(const Epilogue<T>& epilogue, std::int64_t count, T* first);

}  // namespace fovea::kernels
