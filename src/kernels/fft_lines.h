// Fourier transforms of many lines at once whose elements are whole vectors, in place: what tiles
// of one to three dimensions are transformed with, axis by axis.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/fft_stage.h"

namespace fovea::kernels {

// Element j of line i is the vector at i * line_step + j * step; its lanes are sequences of their
// own. Steps are whole vectors, in values of T.
template <class T>
struct FftLines {
  Planes<T> data;
  std::int64_t step = 0;
  std::int64_t lines = 1;
  std::int64_t line_step = 0;
  T* work = nullptr;  // 4 * length vectors
};

// Runs all stages of a transform of `length` points, of radices 2, 3, 4, 5 and 8, on each line.
template <class T>
void fft_lines(std::span<const FftStage<T>> stages, std::int64_t length, const FftLines<T>& job);

// Multiplies vector i with the number factors[i], for i < count.
template <class T>
void turn_vectors(const Planes<const T>& factors, std::int64_t count, const Planes<T>& vectors);

}  // namespace fovea::kernels
