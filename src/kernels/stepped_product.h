// The inner loop of convolutions with few input channels: a row of results whose places lie at one
// distance in the source, and each of which reads values at the same steps from one to the next.
#pragma once

#include <cstdint>

#include "kernels/patch_product.h"

namespace fovea::kernels {

// out[p][j] = bias[j] + the sum over r of from[p * place_step + steps[0] + ... + steps[r - 1]] *
// weights[r][j], for j < width.
template <class T>
struct SteppedProduct {
  const T* from;
  const std::int64_t* steps;  // [reduced] the last one leads nowhere
  std::int64_t reduced = 0;
  int places = 0;
  std::int64_t place_step = 0;
  const T* weights;  // [reduced][block_lanes(width)], aligned
  int width = 0;     // results: at most two vectors
  const T* bias;     // or null
  T* out;
  std::int64_t out_step = 0;              // from place to place
  const Epilogue<T>* epilogue = nullptr;  // of these results, or null
  Ahead ahead = {};                       // asked for meanwhile
  bool bypass = false;  // write around the caches; outputs are then aligned to whole vectors
};
template <class T>
void stepped_product(const SteppedProduct<T>& job);

}  // namespace fovea::kernels
