// Weights rearranged for the patch product: per group and block of output channels
// [tap][run][lanes].
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "conv/algorithms.h"
#include "core/storage.h"

namespace fovea::conv {

// The orders in which algorithms keep weights; one that is kept has a line here.
enum class WeightOrder : std::int64_t { blocks, across_groups, quads, patches };

// Memory of `bytes` that `fill` has written. With `args.weights`, it is kept there under `key`
// until the weights change.
std::shared_ptr<const Workspace> derive_weights(const ConvArgs& args, const Derived::Key& key,
                                                std::size_t bytes,
                                                const std::function<void(void*)>& fill);
// The same under a key of `order`, `pass`, `lanes` and the geometry of `problem`.
std::shared_ptr<const Workspace> derive_weights(const ConvProblem& problem, Pass pass,
                                                const ConvArgs& args, WeightOrder order, int lanes,
                                                std::size_t bytes,
                                                const std::function<void(void*)>& fill);

// How to read the weight of (group, result channel j, tap t, place r of the run) from memory:
// offset = group * group_step + j * result_step + taps[t] + run[r].
struct WeightView {
  std::int64_t groups = 1;
  std::int64_t group_step = 0;
  std::int64_t results = 0;  // per group
  std::int64_t result_step = 0;
  std::vector<std::int64_t> taps;
  std::vector<std::int64_t> run;

  // Packed elements of one group, and the place of one block within it.
  std::int64_t packed_size(int lanes) const;
  std::int64_t block_begin(std::int64_t block, int lanes) const {
    return block * 2 * lanes * static_cast<std::int64_t>(taps.size() * run.size());
  }
};

// Number of blocks of two vectors; the last may be one vector wide.
inline std::int64_t block_count(std::int64_t channels, int lanes) {
  return (channels + 2 * lanes - 1) / (2 * lanes);
}
// Channels in one block.
inline int block_width(std::int64_t channels, std::int64_t block, int lanes) {
  const std::int64_t rest = channels - block * 2 * lanes;
  return static_cast<int>(rest < 2 * lanes ? rest : 2 * lanes);
}

// Packs several views one behind the other, or finds them packed.
template <class T>
std::shared_ptr<const Workspace> pack_weights(const ConvProblem& problem, Pass pass,
                                              const ConvArgs& args,
                                              const std::vector<WeightView>& views, int lanes);

}  // namespace fovea::conv
