// U = G w G^T for every pair of channels, and dw = G^T U G.
//
// Memory holds the taps of one pair side by side; the transforms want one tap of neighbouring
// channels. Some pairs at a time are turned round in a small buffer.
#include "conv/winograd_weights.h"

#include <algorithm>
#include <array>

#include "conv/axes.h"
#include "conv/packed_weights.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "kernels/transpose.h"

namespace fovea::conv {
namespace {

using kernels::WinogradAxis;
using kernels::WinogradTile;

constexpr std::int64_t kChannels = 8;  // reduced channels in the buffer at a time
constexpr std::int64_t kElementsPerTask = 1 << 14;

// All that transformed weights depend on, besides the contents.
Derived::Key key_of(const ConvProblem& problem, Pass pass, const WinogradTile& tile, int lanes) {
  constexpr std::int64_t kKind = 100;  // apart from the passes of packed_weights.cpp
  Derived::Key key{kKind + static_cast<std::int64_t>(pass),
                   lanes,
                   problem.in_channels,
                   problem.out_channels,
                   static_cast<std::int64_t>(problem.dtype),
                   problem.groups};
  std::size_t place = 6;
  for (const WinogradAxis& axis : tile.axes) {
    key[place++] = axis.outputs;
    key[place++] = axis.taps;
  }
  return key;
}

// Channels of one group of a pass, and how the weight of (group g, result j, reduced r, tap t) is
// read: w[g * group + j * result + r * reduced + t].
struct Steps {
  std::int64_t results;
  std::int64_t reduced;
  std::int64_t group_step;
  std::int64_t result_step;
  std::int64_t reduced_step;
};

Steps steps_of(const ConvProblem& problem, Pass pass) {
  const std::int64_t in = problem.in_channels / problem.groups;
  const std::int64_t out = problem.out_channels / problem.groups;
  const std::int64_t taps = problem.taps();
  if (pass == Pass::backward_data) return {in, out, out * in * taps, taps, in * taps};
  return {out, in, out * in * taps, in * taps, taps};
}

template <class T>
class Transformer {
 public:
  Transformer(const ConvProblem& problem, Pass pass, const WinogradTile& tile)
      : order_(point_weights<T>(problem, pass, tile)),
        tile_(tile),
        taps_(problem.taps()),
        flipped_(pass == Pass::backward_data),
        steps_(steps_of(problem, pass)) {}

  void run(const T* weights, T* points) const {
    const std::int64_t chunks = ceil_div(order_.reduced, kChannels);
    const std::int64_t per_chunk = kChannels * 2 * order_.lanes * order_.points;
    const std::int64_t grain = std::max<std::int64_t>(1, kElementsPerTask / per_chunk);
    parallel_ranges(order_.blocks() * chunks, grain, [&](std::int64_t begin, std::int64_t end) {
      const Workspace turned(static_cast<std::size_t>(kChannels * taps_ * 2 * order_.lanes) *
                             sizeof(T));
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t first = i % chunks * kChannels;
        const std::int64_t count = std::min(kChannels, order_.reduced - first);
        turn(weights, i / chunks, first, count, turned.as<T>());
        transform(turned.as<T>(), i / chunks, first, count, points);
      }
    });
  }

 private:
  // turned[r][tap][j], zeros where the block has no channel, or one of another group than r.
  void turn(const T* weights, std::int64_t block, std::int64_t first, std::int64_t count,
            T* turned) const {
    const int width = order_.width(block);
    const int lanes = order_.block_lanes(block);
    if (width < lanes || order_.reduced > steps_.reduced)
      std::fill_n(turned, count * taps_ * lanes, T(0));
    const std::int64_t column = order_.own_column(block);
    const std::int64_t groups = order_.reduced / steps_.reduced;  // of a bundle
    const std::int64_t bundle = block / order_.bundle_blocks();
    for (std::int64_t group = 0; group < groups; ++group) {
      const std::int64_t result = std::max(group * steps_.results, column);
      const std::int64_t result_end = std::min((group + 1) * steps_.results, column + width);
      const std::int64_t reduced = std::max(group * steps_.reduced, first);
      const std::int64_t reduced_end = std::min((group + 1) * steps_.reduced, first + count);
      if (result >= result_end || reduced >= reduced_end) continue;
      const T* from = weights + (bundle * groups + group) * steps_.group_step +
                      (result - group * steps_.results) * steps_.result_step +
                      (reduced - group * steps_.reduced) * steps_.reduced_step;
      T* to = turned + (reduced - first) * taps_ * lanes + (result - column);
      // Forward, the taps of neighbouring reduced channels follow each other.
      const std::int64_t together = flipped_ ? 1 : reduced_end - reduced;
      for (std::int64_t r = reduced; r < reduced_end; r += together) {
        kernels::transpose({.rows = result_end - result,
                            .columns = together * taps_,
                            .from_stride = steps_.result_step,
                            .to_stride = lanes},
                           from, to);
        from += together * steps_.reduced_step;
        to += together * taps_ * lanes;
      }
    }
  }

  void transform(const T* turned, std::int64_t block, std::int64_t first, std::int64_t count,
                 T* points) const {
    const int lanes = order_.block_lanes(block);
    std::array<const T*, kernels::kMaxWinogradPoints> cells{};
    for (std::int64_t r = 0; r < count; ++r) {
      for (std::int64_t t = 0; t < taps_; ++t) {
        const std::int64_t tap = flipped_ ? taps_ - 1 - t : t;
        cells[static_cast<std::size_t>(t)] = turned + (r * taps_ + tap) * lanes;
      }
      kernels::winograd_spread<T>({.map = kernels::ToPoints::weights,
                                   .tile = tile_,
                                   .cells = cells.data(),
                                   .channels = lanes,
                                   .points = points + order_.begin(block) + (first + r) * lanes,
                                   .point_step = order_.reduced * lanes,
                                   .vector_step = order_.lanes});
    }
  }

  PointWeights order_;
  const WinogradTile& tile_;
  std::int64_t taps_;
  bool flipped_;
  Steps steps_;
};

}  // namespace

std::optional<Bundles> bundles_of(const ConvProblem& problem) {
  if (problem.groups == 1) return Bundles{};
  const std::int64_t lanes = dispatch_floating(problem.dtype, [](auto tag) {
    return kernels::winograd_sizes<typename decltype(tag)::type>().lanes;
  });
  const std::int64_t in = problem.in_channels / problem.groups;
  const std::int64_t out = problem.out_channels / problem.groups;
  for (std::int64_t groups = 1; groups <= std::min(problem.groups, lanes); ++groups) {
    if (problem.groups % groups == 0 && groups * in % lanes == 0 && groups * out % lanes == 0)
      return Bundles{problem.groups / groups, groups};
  }
  return std::nullopt;
}

template <class T>
PointWeights point_weights(const ConvProblem& problem, Pass pass, const WinogradTile& tile) {
  const bool to_data = pass == Pass::backward_data;
  const std::int64_t bundles = bundles_of(problem).value_or(Bundles{}).count;
  return {.results = (to_data ? problem.in_channels : problem.out_channels) / bundles,
          .reduced = (to_data ? problem.out_channels : problem.in_channels) / bundles,
          .points = tile.points(),
          .lanes = kernels::winograd_sizes<T>().lanes,
          .bundles = bundles};
}
template PointWeights point_weights<float>(const ConvProblem&, Pass, const WinogradTile&);
template PointWeights point_weights<double>(const ConvProblem&, Pass, const WinogradTile&);

template <class T>
std::shared_ptr<const Workspace> transform_weights(const ConvProblem& problem, Pass pass,
                                                   const ConvArgs& args, const WinogradTile& tile) {
  const PointWeights order = point_weights<T>(problem, pass, tile);
  return derive_weights(args, key_of(problem, pass, tile, order.lanes),
                        static_cast<std::size_t>(order.size()) * sizeof(T), [&](void* memory) {
                          Transformer<T>(problem, pass, tile)
                              .run(static_cast<const T*>(args.second), static_cast<T*>(memory));
                        });
}
template std::shared_ptr<const Workspace> transform_weights<float>(const ConvProblem&, Pass,
                                                                   const ConvArgs&,
                                                                   const WinogradTile&);
template std::shared_ptr<const Workspace> transform_weights<double>(const ConvProblem&, Pass,
                                                                    const ConvArgs&,
                                                                    const WinogradTile&);

template <class T>
void collect_weights(const ConvProblem& problem, const WinogradTile& tile, const T* sums,
                     std::int64_t point_step, std::int64_t block, std::int64_t first,
                     std::int64_t count, T* dw) {
  const PointWeights order = point_weights<T>(problem, Pass::forward, tile);
  const std::int64_t taps = problem.taps();
  const std::int64_t wide = 2 * order.lanes;
  const int width = order.width(block);
  const Workspace memory(static_cast<std::size_t>(kChannels * taps * wide) * sizeof(T));
  T* const turned = memory.as<T>();
  std::array<T*, kernels::kMaxWinogradPoints> cells{};
  for (std::int64_t begin = 0; begin < count; begin += kChannels) {
    const std::int64_t some = std::min(kChannels, count - begin);
    for (std::int64_t c = 0; c < some; ++c) {
      for (std::int64_t t = 0; t < taps; ++t)
        cells[static_cast<std::size_t>(t)] = turned + (c * taps + t) * wide;
      kernels::winograd_collect<T>({.map = kernels::FromPoints::weights,
                                    .tile = tile,
                                    .points = sums + (begin + c) * order.block_lanes(block),
                                    .point_step = point_step,
                                    .vector_step = order.lanes,
                                    .bias = nullptr,
                                    .cells = cells.data(),
                                    .channels = width});
    }
    kernels::transpose({.rows = some * taps,
                        .columns = width,
                        .from_stride = wide,
                        .to_stride = problem.in_channels * taps},
                       turned, dw + (block * wide * problem.in_channels + first + begin) * taps);
  }
}
template void collect_weights(const ConvProblem&, const WinogradTile&, const float*, std::int64_t,
                              std::int64_t, std::int64_t, std::int64_t, float*);
template void collect_weights(const ConvProblem&, const WinogradTile&, const double*, std::int64_t,
                              std::int64_t, std::int64_t, std::int64_t, double*);

}  // namespace fovea::conv
