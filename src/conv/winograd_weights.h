// Weights at the points of Winograd's transform, kept beside the weights; and the way back, for
// their gradient.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "conv/algorithms.h"
#include "conv/axes.h"
#include "core/storage.h"
#include "kernels/winograd.h"

namespace fovea::conv {

// Groups whose channels are multiplied together, so that they fill whole vectors: narrow ones make
// a block-diagonal matrix.
struct Bundles {
  std::int64_t count = 1;
  std::int64_t groups = 1;  // in each
};
// The smallest; nullopt where not even all groups together fill whole vectors.
std::optional<Bundles> bundles_of(const ConvProblem& problem);

// The order of transformed weights: [bundle][block][point][reduced][lanes of the block], a block
// being one or two vectors of result channels. Blocks are counted through all bundles.
struct PointWeights {
  std::int64_t results = 0;  // of a bundle
  std::int64_t reduced = 0;  // of a bundle
  std::int64_t points = 0;
  int lanes = 0;
  std::int64_t bundles = 1;

  int wide() const { return results > lanes ? 2 * lanes : lanes; }  // the widest block
  std::int64_t bundle_blocks() const { return ceil_div(results, wide()); }
  std::int64_t blocks() const { return bundles * bundle_blocks(); }
  // The first result channel of a block, in all and in its bundle.
  std::int64_t column(std::int64_t block) const {
    return block / bundle_blocks() * results + own_column(block);
  }
  std::int64_t own_column(std::int64_t block) const { return block % bundle_blocks() * wide(); }
  // Result channels in a block, and the same in whole vectors.
  int width(std::int64_t block) const {
    const std::int64_t rest = results - own_column(block);
    return static_cast<int>(rest < wide() ? rest : wide());
  }
  int block_lanes(std::int64_t block) const { return width(block) > lanes ? 2 * lanes : lanes; }
  std::int64_t begin(std::int64_t block) const { return block * wide() * points * reduced; }
  std::int64_t size() const { return blocks() * wide() * points * reduced; }
};

// For forward, results are the output channels; for backward_data, which computes with the flipped
// kernel, the input channels.
template <class T>
PointWeights point_weights(const ConvProblem& problem, Pass pass,
                           const kernels::WinogradTile& tile);

// Transforms all weights, or finds what was kept with them.
template <class T>
std::shared_ptr<const Workspace> transform_weights(const ConvProblem& problem, Pass pass,
                                                   const ConvArgs& args,
                                                   const kernels::WinogradTile& tile);

// dw [out][in][tap] of one block of output channels and some input channels, from sums at the
// points: sums[point * point_step + (c - first) * lanes of the block + lane].
template <class T>
void collect_weights(const ConvProblem& problem, const kernels::WinogradTile& tile, const T* sums,
                     std::int64_t point_step, std::int64_t block, std::int64_t first,
                     std::int64_t count, T* dw);

}  // namespace fovea::conv
