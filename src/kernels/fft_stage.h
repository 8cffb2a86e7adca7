// One stage of a Stockham Fourier transform, vectorised over interleaved sequences.
#pragma once

#include <cstdint>

namespace fovea::kernels {

// A complex array as two real ones.
template <class T>
struct Planes {
  T* re = nullptr;
  T* im = nullptr;
};

// Stage of a transform of radix * groups points: for p < groups and k < radix
//   out[radix p + k] = w^(p k) sum over l < radix of e^(-2 pi i k l / radix) in[p + groups l],
// w = e^(-2 pi i / (radix groups)).
template <class T>
struct FftStage {
  int radix = 2;
  std::int64_t groups = 1;
  Planes<const T> twiddles;  // w^(p k) at [k - 1][p]
  Planes<const T> roots;     // e^(-2 pi i k / radix) at [k]: read by radices without a butterfly
};

// Runs the stage on `stride` interleaved arrays: element i of array q is at [i * stride + q].
template <class T>
void fft_stage(const FftStage<T>& stage, std::int64_t stride, const Planes<const T>& in,
               const Planes<T>& out);

}  // namespace fovea::kernels
