// The ways in which the passes of `fft` run.
#pragma once

#include <cstddef>

#include "conv/algorithms.h"
#include "conv/fft_tiles.h"

namespace fovea::conv {

// Whether every group has one input and one output channel, so that spectra are multiplied channel
// by channel.
inline bool is_pointwise(const ConvProblem& problem) {
  return problem.in_channels == problem.groups && problem.out_channels == problem.groups;
}

// All three passes of such problems.
template <class T>
void fft_pointwise(const ConvProblem& problem, Pass pass, const ConvArgs& args,
                   const FftTiling& tiling);
template <class T>
std::size_t fft_pointwise_workspace(const ConvProblem& problem, Pass pass, const FftTiling& tiling);
// Transforms of two vectors of the source.
std::int64_t fft_pointwise_units(const ConvProblem& problem, const FftTiling& tiling,
                                 std::int64_t lanes);

// And of all others: at each frequency a matrix product over the channels of a group.
template <class T>
void fft_dense(const ConvProblem& problem, Pass pass, const ConvArgs& args,
               const FftTiling& tiling);
template <class T>
std::size_t fft_dense_workspace(const ConvProblem& problem, Pass pass, const FftTiling& tiling);

}  // namespace fovea::conv
