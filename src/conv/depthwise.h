// The parts of `depthwise`, each in a file of its own: forward and backward_data in depthwise.cpp,
// backward_weights in depthwise_weights.cpp; and the blocks of channels that both go by.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "conv/algorithms.h"
#include "conv/axes.h"
#include "kernels/group_product.h"
#include "kernels/patch_product.h"

namespace fovea::conv {

inline constexpr std::int64_t kWeightBytes = 24 << 10;  // that stay in the first-level cache

// What a pass computes, per group: `results` channels, each from `sources` channels.
struct Group {
  std::int64_t count = 1;
  std::int64_t results = 1;
  std::int64_t sources = 1;
};

inline Group group_of(const ConvProblem& problem, Pass pass) {
  const std::int64_t in = problem.in_channels / problem.groups;
  const std::int64_t out = problem.out_channels / problem.groups;
  if (pass == Pass::backward_data) return {problem.groups, in, out};
  return {problem.groups, out, in};
}

// First source channel and channels spanned by the groups of result channels [first, first +
// lanes).
struct Span {
  std::int64_t first = 0;
  std::int64_t channels = 0;
};
inline Span span_of(const Group& group, std::int64_t first, std::int64_t lanes) {
  const std::int64_t begin = first / group.results;
  const std::int64_t end = (first + lanes - 1) / group.results + 1;
  return {begin * group.sources, (end - begin) * group.sources};
}

// First channels of the vectors that cover `channels`. The last is moved back to end with them: it
// computes some again, to the same bits.
struct Piece {
  std::int64_t channel;
  int lanes;
};
inline std::vector<Piece> pieces_of(std::int64_t channels, int lanes) {
  if (channels < lanes)
    lanes = static_cast<int>(std::bit_floor(static_cast<std::uint64_t>(channels)));
  std::vector<Piece> pieces;
  pieces.reserve(static_cast<std::size_t>(ceil_div(channels, lanes)));
  for (std::int64_t channel = 0; channel < channels; channel += lanes)
    pieces.push_back({std::min(channel, channels - lanes), lanes});
  return pieces;
}

// The blocks of a pass, and the permutations that they point to.
template <class T>
struct Blocks {
  std::vector<kernels::ChannelBlock<T>> list;
  std::vector<kernels::LaneIndex<T>> lookups;
  std::int64_t values = 0;  // results times reduced channels of all blocks, per tap
};

template <class T>
std::int64_t block_values(const kernels::ChannelBlock<T>& block, std::int64_t sources) {
  return block.lanes * sources;
}

template <class T>
Blocks<T> blocks_of(const Group& group) {
  const int lanes = kernels::vector_lanes<T>();
  const std::int64_t all_sources = group.count * group.sources;
  const bool spreads = group.results > 1 || group.sources > 1;
  Blocks<T> blocks;
  const std::vector<Piece> pieces = pieces_of(group.count * group.results, lanes);
  blocks.list.reserve(pieces.size());
  blocks.lookups.reserve(spreads ? pieces.size() * static_cast<std::size_t>(lanes * group.sources)
                                 : 0);
  for (const Piece& piece : pieces) {
    kernels::ChannelBlock<T> block{
        .channel = piece.channel, .lanes = piece.lanes, .source = piece.channel};
    if (spreads) {
      block.source = std::min(span_of(group, piece.channel, lanes).first, all_sources - lanes);
      block.lookup = blocks.lookups.data() + blocks.lookups.size();
      for (std::int64_t i = 0; i < group.sources; ++i) {
        for (int lane = 0; lane < lanes; ++lane) {
          const std::int64_t source = (piece.channel + lane) / group.results * group.sources + i;
          blocks.lookups.push_back(static_cast<kernels::LaneIndex<T>>(source - block.source));
        }
      }
    }
    blocks.values += block_values(block, group.sources);
    blocks.list.push_back(block);
  }
  return blocks;
}

// The blocks in parts of about equal size, each with at most kWeightBytes of weights or sums. The
// last two may overlap, and then belong to one part.
class Parts {
 public:
  Parts(std::int64_t blocks, std::int64_t values_per_block, std::int64_t value_bytes,
        std::int64_t least = 1)
      : blocks_(blocks) {
    const std::int64_t most =
        std::max<std::int64_t>(1, kWeightBytes / value_bytes / values_per_block);
    count_ = std::clamp<std::int64_t>(std::max(ceil_div(blocks, most), least), 1,
                                      std::max<std::int64_t>(1, blocks - 1));
  }
  std::int64_t count() const { return count_; }
  std::int64_t begin(std::int64_t part) const { return part * blocks_ / count_; }

 private:
  std::int64_t blocks_;
  std::int64_t count_ = 1;
};

// Whether every block is a whole vector of channels that meet their own.
template <class T>
bool are_whole(const std::vector<kernels::ChannelBlock<T>>& blocks) {
  const int lanes = kernels::vector_lanes<T>();
  return std::ranges::all_of(blocks, [&](const kernels::ChannelBlock<T>& block) {
    return block.lanes == lanes && block.lookup == nullptr;
  });
}

template <class T>
void depthwise_weights(const ConvProblem& problem, const ConvArgs& args);
template <class T>
std::size_t depthwise_weights_workspace(const ConvProblem& problem);

}  // namespace fovea::conv
