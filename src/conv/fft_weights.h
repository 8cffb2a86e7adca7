// Kernels as tiles: taps spread over the points of a tile, one lane per channel, and back.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "conv/algorithms.h"
#include "conv/fft_tiles.h"
#include "core/storage.h"

namespace fovea::conv {

// The points that the taps of a kernel reach.
TileRuns tap_runs(const FftTiling& tiling);

// Lane j of the plane is the kernel at w + j * channel_step, for j < width.
template <class T>
void spread_taps(const FftTiling& tiling, const FftLayout& layout, const T* w,
                 std::int64_t channel_step, std::int64_t width, T* plane);
// The way back.
template <class T>
void gather_taps(const FftTiling& tiling, const FftLayout& layout, const T* plane,
                 std::int64_t width, std::int64_t channel_step, T* dw);

// The key under which spectra of weights are kept, in an order of the caller's.
enum class SpectrumOrder : std::int64_t { pointwise, forward, backward_data };
Derived::Key spectrum_key(const ConvProblem& problem, const FftTiling& tiling, SpectrumOrder order,
                          std::int64_t lanes);

}  // namespace fovea::conv
