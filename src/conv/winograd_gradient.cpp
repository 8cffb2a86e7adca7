// Winograd backward_weights: dw = G^T [sum over tiles of (B^T x) . (A g)] G, the transpose of the
// forward pass in its weights.
//
// Some tiles at a time, as many as fit the last-level cache: their values at the points, x
// [point][tile][channel] and g [point][block][tile][lane], then one product per point that reduces
// over these tiles. Where all values are less than the sums, a task computes a part of the weights
// at every point and transforms it back while it is in its cache; else tasks are points, and sums
// wait in memory for the next tiles. Sums are added in the order of the tiles whatever the tasks
// are.
#include <algorithm>
#include <array>
#include <cstring>

#include "conv/axes.h"
#include "conv/tasks.h"
#include "conv/winograd_passes.h"
#include "conv/winograd_tiles.h"
#include "conv/winograd_weights.h"
#include "core/storage.h"
#include "fovea/executor.h"

namespace fovea::conv {
namespace {

using kernels::kMaxWinogradPoints;
using kernels::WinogradTile;

constexpr std::int64_t kBatchBytes = 4 << 20;   // of values at the points at once
constexpr std::int64_t kWholeBytes = 20 << 20;  // where parts of the weights are tasks
constexpr std::int64_t kPartBytes = 512 << 10;  // of sums in one core's second-level cache
constexpr std::int64_t kTilesPerTask = 16;
constexpr std::int64_t kTilesPerChunk = 128;  // their gradients stay in the first-level cache

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
    sum_step_ = order_.blocks() * in_rows_ * wide_;
    const std::int64_t values = grid_.count() * per_tile;
    const std::int64_t sums = order_.points * sum_step_ * static_cast<std::int64_t>(sizeof(T));
    by_parts_ = values <= std::min(sums, kWholeBytes);
    const std::int64_t most = std::max(kBatchBytes / per_tile, kTilesPerChunk);
    batches_ = by_parts_ ? 1 : ceil_div(grid_.count(), most);
    tiles_ = ceil_div(grid_.count(), batches_);
    // One vector more than needed: steps of whole pages would all meet in one place of the cache.
    x_step_ = tiles_ * in_rows_ + order_.lanes;
    g_step_ = tiles_ * order_.blocks() * wide_ + order_.lanes;
  }

  std::size_t workspace() const {
    return static_cast<std::size_t>(order_.points * (x_step_ + g_step_ + sum_step_)) * sizeof(T);
  }

  void run() {
    const std::int64_t sums = by_parts_ ? 0 : sum_step_;  // by parts, each task has its own
    const Workspace memory(static_cast<std::size_t>(order_.points * (x_step_ + g_step_ + sums)) *
                           sizeof(T));
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
      parallel_ranges(count, kTilesPerTask,
                      [&](std::int64_t begin, std::int64_t end) { spread(first, begin, end); });
      if (by_parts_) return multiply_parts();
      multiply_points(count, batch == 0);
    }
    const std::int64_t parts = parts_of_rows(kTasks);
    parallel_for(order_.blocks() * parts, [&](std::int64_t task) {
      const Rows rows = rows_of(task % parts, parts);
      const std::int64_t block = task / parts;
      collect(sums_ + block * in_rows_ * wide_ + rows.first * order_.block_lanes(block), sum_step_,
              block, rows);
    });
  }

 private:
  // Some input channels, in whole vectors.
  struct Rows {
    std::int64_t first;
    std::int64_t count;
  };
  Rows rows_of(std::int64_t part, std::int64_t parts) const {
    const std::int64_t vectors = in_rows_ / order_.lanes;
    const std::int64_t first = part * vectors / parts * order_.lanes;
    return {first, (part + 1) * vectors / parts * order_.lanes - first};
  }

  // Parts of the input channels, so that parts and blocks make this many tasks, or nearly.
  std::int64_t parts_of_rows(std::int64_t tasks) const {
    return std::clamp<std::int64_t>(ceil_div(tasks, order_.blocks()), 1, in_rows_ / order_.lanes);
  }

  void multiply_points(std::int64_t count, bool first) const {
    const std::int64_t parts = std::clamp<std::int64_t>(kTasks / order_.points, 1, order_.blocks());
    parallel_for(order_.points * parts, [&](std::int64_t task) {
      const std::int64_t point = task / parts;
      const std::int64_t first_block = task % parts * order_.blocks() / parts;
      const std::int64_t last_block = (task % parts + 1) * order_.blocks() / parts;
      T* const sums = sums_ + point * sum_step_;
      const std::int64_t block_size = in_rows_ * wide_;
      if (first) {
        std::memset(sums + first_block * block_size, 0,
                    static_cast<std::size_t>((last_block - first_block) * block_size) * sizeof(T));
      }
      for (std::int64_t tile = 0; tile < count; tile += kTilesPerChunk) {
        for (std::int64_t block = first_block; block < last_block; ++block) {
          add_products(point, block, {0, in_rows_}, tile, std::min(kTilesPerChunk, count - tile),
                       sums + block * block_size);
        }
      }
    });
  }

  void multiply_parts() const {
    const double work = static_cast<double>(tiles_ * order_.points * order_.blocks() * wide_) *
                        static_cast<double>(in_rows_);
    const std::int64_t wanted = tasks_for(work);
    const std::int64_t row_bytes = order_.points * wide_ * static_cast<std::int64_t>(sizeof(T));
    const std::int64_t parts = parts_of_rows(
        std::max(wanted, order_.blocks() * ceil_div(in_rows_ * row_bytes, kPartBytes)));
    parallel_for(order_.blocks() * parts, [&](std::int64_t task) {
      const std::int64_t block = task / parts;
      const Rows rows = rows_of(task % parts, parts);
      const std::int64_t step = rows.count * order_.block_lanes(block) + order_.lanes;
      const auto bytes = static_cast<std::size_t>(order_.points * step) * sizeof(T);
      const Workspace sums(bytes);
      std::memset(sums.as<T>(), 0, bytes);
      for (std::int64_t point = 0; point < order_.points; ++point) {
        for (std::int64_t tile = 0; tile < tiles_; tile += kTilesPerChunk) {
          add_products(point, block, rows, tile, std::min(kTilesPerChunk, tiles_ - tile),
                       sums.as<T>() + point * step);
        }
      }
      collect(sums.as<T>(), step, block, rows);
    });
  }

  // The products of some tiles at one point, for one block of output channels.
  void add_products(std::int64_t point, std::int64_t block, Rows rows, std::int64_t first_tile,
                    std::int64_t count, T* sums) const {
    const int lanes = order_.block_lanes(block);
    kernels::point_gradient<T>(
        {.values = x_ + point * x_step_ + first_tile * in_rows_ + rows.first,
         .value_step = in_rows_,
         .gradients = g_ + point * g_step_ + block * tiles_ * wide_ + first_tile * lanes,
         .count = count,
         .rows = rows.count,
         .block = lanes,
         .sum = sums});
  }

  void collect(const T* sums, std::int64_t point_step, std::int64_t block, Rows rows) const {
    collect_weights<T>(problem_, grid_.tile, sums, point_step, block, rows.first,
                       std::min(rows.count, order_.reduced - rows.first),
                       static_cast<T*>(args_.result));
  }

  // Both operands of tiles [begin, end) of the batch that starts with tile `first`.
  void spread(std::int64_t first, std::int64_t begin, std::int64_t end) const {
    std::array<std::array<const T*, kMaxWinogradPoints>, 2> cells;  // of this tile and the next
    const auto locate = [&](std::int64_t place) {
      auto& to = cells[static_cast<std::size_t>(place % 2)];
      const std::int64_t tile = std::min(first + place, grid_.count() - 1);
      read_cells(grid_, static_cast<const T*>(args_.first), zeros_, tile, to.data());
    };
    locate(begin);
    for (std::int64_t place = begin; place < end; ++place) {
      locate(place + 1);
      kernels::winograd_spread<T>(
          {.map = kernels::ToPoints::input,
           .tile = grid_.tile,
           .cells = cells[static_cast<std::size_t>(place % 2)].data(),
           .channels = static_cast<int>(order_.reduced),
           .points = x_ + place * in_rows_,
           .point_step = x_step_,
           .vector_step = order_.lanes,
           .next = cells[static_cast<std::size_t>((place + 1) % 2)].data()});
      spread_gradient(first + place, place);
    }
  }

  void spread_gradient(std::int64_t index, std::int64_t place) const {
    std::array<const T*, kMaxWinogradPoints> cells{};
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

  const ConvProblem& problem_;
  const ConvArgs& args_;
  TileGrid grid_;
  PointWeights order_;
  std::int64_t in_rows_;  // input channels, in whole vectors
  std::int64_t wide_;     // lanes between two blocks
  bool by_parts_ = false;
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
