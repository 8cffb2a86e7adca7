// Adding products back to the patches that they come from, on raw memory.
#pragma once

#include <cstdint>

namespace fovea::kernels {

// to[i * to_step + offsets[k] + j] += products[i * product_step + k * run + j] for i < count, k <
// runs, j < run. Of several products that fall on one value, those of every `apart`-th i are added
// together: patches so far apart share no value, and no addition waits for the one before.
template <class T>
struct PatchFold {
  const T* products;
  std::int64_t product_step;
  std::int64_t count;
  T* to;
  std::int64_t to_step;
  const std::int64_t* offsets;  // [runs]
  std::int64_t runs;
  std::int64_t run;
  std::int64_t apart;
};
template <class T>
void fold_patches(const PatchFold<T>& job);

}  // namespace fovea::kernels
