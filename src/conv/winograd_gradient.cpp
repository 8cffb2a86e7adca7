// Winograd backward_weights: dw = G^T [sum over tiles of (B^T x) . (A g)] G, the transpose of the
// forward pass in its weights.
//
// Some tiles at a time, as many as fit the last-level cache: their values at the points, x
// [point][tile][channel] and g [point][block][tile][lane], then one product per point that reduces
// over these tiles. Sums are added in the order of the tiles whatever the tasks are.
#include <algorithm>
#include <array>
#include <cstring>

#include "conv/winograd_passes.h"
#include "conv/winograd_tiles.h"
#include "conv/winograd_weights.h"
#include "core/storage.h"
#include "fovea/executor.h"

namespace fovea::conv {
namespace {

using kernels::kMaxWinogradPoints;
using kernels::WinogradTile;

constexpr std::int64_t kBatchBytes = 8 << 20;  // of values at the points at once
constexpr std::int64_t kTilesPerTask = 16;
constexpr std::int64_t kTilesPerChunk = 128;  // their gradients stay in the first-level cache
constexpr std::int64_t kTasks = 32;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

template <class T>
class Gradient {
 public:
  Gradient(const ConvProblem& problem, const ConvArgs& args, const WinogradTile& tile)
      : problem_(problem),
        args_(args),
        grid_(tile_grid(problem, Pass::backward_weights, tile)),
        order_(point_weights<T>(problem, Pass::forward, tile)),
        in_rows_(ceil_div(order_.reduced, order_.lanes) * order_.lanes),
        wide_(2 * order_.lanes) {
    const std::int64_t per_tile =
        order_.points * (in_rows_ + order_.blocks() * wide_) * static_cast<std::int64_t>(sizeof(T));
    const std::int64_t most = std::max(kBatchBytes / per_tile, kTilesPerChunk);
    batches_ = ceil_div(grid_.count(), most);
    tiles_ = ceil_div(grid_.count(), batches_);
    // One vector more than needed: steps of whole pages would all meet in one place of the cache.
    x_step_ = tiles_ * in_rows_ + order_.lanes;
    g_step_ = tiles_ * order_.blocks() * wide_ + order_.lanes;
    sum_step_ = order_.blocks() * in_rows_ * wide_;
  }

  std::size_t workspace() const {
    return static_cast<std::size_t>(order_.points * (x_step_ + g_step_ + sum_step_)) * sizeof(T);
  }

  void run() {
    const Workspace memory(workspace());
    x_ = memory.as<T>();
    g_ = x_ + order_.points * x_step_;
    sums_ = g_ + order_.points * g_step_;
    const auto channels =
        static_cast<std::size_t>(std::max(problem_.in_channels, problem_.out_channels));
    const Workspace zeros(channels * sizeof(T));
    std::memset(zeros.as<T>(), 0, channels * sizeof(T));
    zeros_ = zeros.as<T>();
    for (std::int64_t batch = 0; batch < batches_; ++batch) {
      const std::int64_t first = batch * tiles_;
      const std::int64_t count = std::min(tiles_, grid_.count() - first);
      parallel_ranges(count, kTilesPerTask, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t tile = begin; tile < end; ++tile) spread(first + tile, tile);
      });
      const std::int64_t parts =
          std::clamp<std::int64_t>(kTasks / order_.points, 1, order_.blocks());
      parallel_for(order_.points * parts, [&](std::int64_t task) {
        const std::int64_t part = task % parts;
        add_products(task / parts, part * order_.blocks() / parts,
                     (part + 1) * order_.blocks() / parts, count, batch == 0);
      });
    }
    collect_weights<T>(problem_, grid_.tile, sums_, in_rows_, static_cast<T*>(args_.result));
  }

 private:
  // Both operands of tile `index` to the points; it is number `place` of its batch.
  void spread(std::int64_t index, std::int64_t place) const {
    std::array<const T*, kMaxWinogradPoints> cells{};
    read_cells(grid_, static_cast<const T*>(args_.first), zeros_, index, cells.data());
    kernels::winograd_spread<T>({.map = kernels::ToPoints::input,
                                 .tile = grid_.tile,
                                 .cells = cells.data(),
                                 .channels = static_cast<int>(order_.reduced),
                                 .points = x_ + place * in_rows_,
                                 .point_step = x_step_,
                                 .vector_step = order_.lanes});
    for (std::int64_t block = 0; block < order_.blocks(); ++block) {
      result_cells<const T>(grid_, static_cast<const T*>(args_.second) + block * wide_, zeros_,
                            index, cells.data());
      kernels::winograd_spread<T>(
          {.map = kernels::ToPoints::gradient,
           .tile = grid_.tile,
           .cells = cells.data(),
           .channels = order_.width(block),
           .points = g_ + block * tiles_ * wide_ + place * order_.block_lanes(block),
           .point_step = g_step_,
           .vector_step = order_.lanes});
    }
  }

  // The products of `count` tiles at one point, for some blocks of output channels.
  void add_products(std::int64_t point, std::int64_t first_block, std::int64_t last_block,
                    std::int64_t count, bool first) const {
    T* const sums = sums_ + point * sum_step_;
    const std::int64_t block_size = in_rows_ * wide_;
    if (first) {
      std::memset(sums + first_block * block_size, 0,
                  static_cast<std::size_t>((last_block - first_block) * block_size) * sizeof(T));
    }
    for (std::int64_t tile = 0; tile < count; tile += kTilesPerChunk) {
      for (std::int64_t block = first_block; block < last_block; ++block) {
        const int lanes = order_.block_lanes(block);
        kernels::point_gradient<T>(
            {.values = x_ + point * x_step_ + tile * in_rows_,
             .value_step = in_rows_,
             .gradients = g_ + point * g_step_ + block * tiles_ * wide_ + tile * lanes,
             .count = std::min(kTilesPerChunk, count - tile),
             .rows = in_rows_,
             .block = lanes,
             .sum = sums + block * block_size});
      }
    }
  }

  const ConvProblem& problem_;
  const ConvArgs& args_;
  TileGrid grid_;
  PointWeights order_;
  std::int64_t in_rows_;  // input channels, in whole vectors
  std::int64_t wide_;     // lanes between two blocks
  std::int64_t batches_ = 1;
  std::int64_t tiles_ = 0;  // of a batch
  std::int64_t x_step_ = 0;
  std::int64_t g_step_ = 0;
  std::int64_t sum_step_ = 0;
  T* x_ = nullptr;
  T* g_ = nullptr;
  T* sums_ = nullptr;
  const T* zeros_ = nullptr;
};

}  // namespace

template <class T>
void winograd_gradient(const ConvProblem& problem, const ConvArgs& args, const WinogradTile& tile) {
  Gradient<T>(problem, args, tile).run();
}
template void winograd_gradient<float>(const ConvProblem&, const ConvArgs&, const WinogradTile&);
template void winograd_gradient<double>(const ConvProblem&, const ConvArgs&, const WinogradTile&);

template <class T>
std::size_t winograd_gradient_workspace(const ConvProblem& problem, const WinogradTile& tile) {
  return Gradient<T>(problem, {}, tile).workspace();
}
template std::size_t winograd_gradient_workspace<float>(const ConvProblem&, const WinogradTile&);
template std::size_t winograd_gradient_workspace<double>(const ConvProblem&, const WinogradTile&);

}  // namespace fovea::conv
