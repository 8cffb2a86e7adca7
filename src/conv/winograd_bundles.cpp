// Winograd forward where the convolution has groups: cells to points, products, and back, of one
// bundle of groups after the other.
//
// A bundle is a vector or a few of channels, so the values of a few tiles at all points stay in the
// first-level cache, where the products take their place: [point][group of tiles][vector][row]
// [lane]. Where the cells of these tiles lie is looked up once for all bundles. Tasks follow from
// the problem alone, and every result is one sum in one order.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <vector>

#include "conv/axes.h"
#include "conv/epilogue.h"
#include "conv/tasks.h"
#include "conv/winograd_passes.h"
#include "conv/winograd_tiles.h"
#include "conv/winograd_weights.h"
#include "core/scratch.h"
#include "core/storage.h"
#include "fovea/executor.h"

namespace fovea::conv {
namespace {

using kernels::kMaxWinogradPoints;
using kernels::WinogradTile;

constexpr std::int64_t kRowsAtOnce = 20;  // of tiles, at most where a register tile has fewer
constexpr double kWorkPerTask = 1 << 18;  // products: some microseconds

template <class T>
class BundleProduct {
 public:
  BundleProduct(const ConvProblem& problem, Pass pass, const ConvArgs& args,
                const WinogradTile& tile)
      : problem_(problem),
        pass_(pass),
        args_(args),
        finish_(args),
        grid_(tile_grid(problem, pass, tile)),
        order_(point_weights<T>(problem, pass, tile)),
        vectors_(order_.reduced / order_.lanes) {
    const int rows = kernels::winograd_sizes<T>().rows;
    const std::int64_t tiles = grid_.count();
    rows_ = static_cast<int>(ceil_div(ceil_div(tiles, ceil_div(tiles, rows)), 2) * 2);
    const std::int64_t groups = ceil_div(tiles, rows_);
    groups_ = std::clamp<std::int64_t>(kRowsAtOnce / rows_, 1, groups);
    chunks_ = ceil_div(groups, groups_);
    product_step_ = order_.bundle_blocks() * groups_ * rows_ * order_.wide() + order_.lanes;
    const double work = static_cast<double>(tiles * order_.points) *
                        static_cast<double>(order_.bundles * order_.reduced * order_.results);
    const std::int64_t wanted = tasks_for(work, kWorkPerTask);
    chunk_parts_ = std::min(chunks_, wanted);
    cuts_ = std::min(ceil_div(wanted, chunk_parts_), order_.bundles);
  }

  std::size_t workspace() const {
    const std::int64_t tasks = std::min(kTasks, chunk_parts_ * cuts_);
    return static_cast<std::size_t>(order_.size() + tasks * value_count()) * sizeof(T);
  }

  void run() {
    const auto weights = transform_weights<T>(problem_, pass_, args_, grid_.tile);
    weights_ = weights->template as<T>();
    const auto zero_bytes = static_cast<std::size_t>(order_.bundles * order_.reduced) * sizeof(T);
    const Workspace zeros(zero_bytes);
    std::memset(zeros.as<T>(), 0, zero_bytes);
    zeros_ = zeros.as<T>();
    // Tasks that share weights follow each other.
    parallel_for(cuts_ * chunk_parts_, [&](std::int64_t task) {
      const std::int64_t cut = task / chunk_parts_;
      const std::int64_t part = task % chunk_parts_;
      const Scratch memory(static_cast<std::size_t>(value_count()) * sizeof(T));
      Chunk chunk;
      for (std::int64_t i = part * chunks_ / chunk_parts_; i < (part + 1) * chunks_ / chunk_parts_;
           ++i) {
        locate(i, chunk);
        for (std::int64_t bundle = cut * order_.bundles / cuts_;
             bundle < (cut + 1) * order_.bundles / cuts_; ++bundle) {
          spread(chunk, bundle, memory.as<T>());
          multiply(bundle, memory.as<T>());
          collect(chunk, bundle, memory.as<T>());
        }
      }
    });
  }

 private:
  // Some tiles, and where their cells lie.
  struct Chunk {
    std::int64_t tiles = 0;
    std::vector<std::array<const T*, kMaxWinogradPoints>> cells;
    std::vector<std::array<T*, kMaxWinogradPoints>> results;
  };

  // Values of one vector of channels at one point, or of one block of products.
  std::int64_t vector_size() const { return groups_ * rows_ * order_.lanes; }
  // One vector more than needed: steps of whole pages would all meet in one place of the cache.
  std::int64_t value_step() const { return vectors_ * vector_size() + order_.lanes; }
  // Products may take the place of the values that they are made from.
  bool in_place() const {
    return order_.bundle_blocks() == 1 && vectors_ * order_.lanes == order_.wide();
  }
  std::int64_t value_count() const {
    return order_.points * (value_step() + (in_place() ? 0 : product_step_));
  }
  T* products_of(T* values) const {
    return in_place() ? values : values + order_.points * value_step();
  }

  void locate(std::int64_t index, Chunk& chunk) const {
    const std::int64_t first = index * groups_ * rows_;
    chunk.tiles = std::min(groups_ * rows_, grid_.count() - first);
    chunk.cells.resize(static_cast<std::size_t>(groups_ * rows_));
    chunk.results.resize(chunk.cells.size());
    for (std::size_t i = 0; i < chunk.cells.size(); ++i) {
      const auto tile = static_cast<std::int64_t>(i);
      if (tile >= chunk.tiles) {
        chunk.cells[i].fill(zeros_);
        continue;
      }
      read_cells(grid_, static_cast<const T*>(args_.first), zeros_, first + tile,
                 chunk.cells[i].data());
      result_cells<T>(grid_, static_cast<T*>(args_.result), nullptr, first + tile,
                      chunk.results[i].data());
    }
  }

  void spread(const Chunk& chunk, std::int64_t bundle, T* values) const {
    kernels::SpreadJob<T> job{.map = kernels::ToPoints::input,
                              .tile = grid_.tile,
                              .cells = nullptr,
                              .offset = bundle * order_.reduced,
                              .channels = static_cast<int>(order_.reduced),
                              .points = values,
                              .point_step = value_step(),
                              .vector_step = rows_ * order_.lanes};
    const std::int64_t tiles = groups_ * rows_;
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      // Nothing is asked for ahead: cells many channels apart share few sets of the first-level
      // cache, and would be gone before their turn.
      job.cells = chunk.cells[static_cast<std::size_t>(tile)].data();
      kernels::winograd_spread<T>(job);
      // The next row, or the first of the next group.
      const bool ends = (tile + 1) % rows_ == 0;
      job.points += (ends ? (vectors_ - 1) * rows_ + 1 : 1) * order_.lanes;
    }
  }

  void multiply(std::int64_t bundle, T* values) const {
    const std::int64_t blocks = order_.bundle_blocks();
    for (std::int64_t i = 0; i < blocks; ++i) {
      const int lanes = order_.block_lanes(bundle * blocks + i);
      kernels::point_product<T>({
          .values = values,
          .groups = groups_,
          .rows = rows_,
          .reduced = order_.reduced,
          .weights = weights_ + order_.begin(bundle * blocks + i),
          .block = lanes,
          .out = products_of(values) + i * groups_ * rows_ * order_.wide(),
          .points = order_.points,
          .value_step = value_step(),
          .weight_step = order_.reduced * lanes,
          .out_step = product_step_,
      });
    }
  }

  void collect(const Chunk& chunk, std::int64_t bundle, T* values) const {
    const T* const products = products_of(values);
    const std::int64_t blocks = order_.bundle_blocks();
    for (std::int64_t i = 0; i < blocks; ++i) {
      const std::int64_t block = bundle * blocks + i;
      const std::int64_t column = order_.column(block);
      const int lanes = order_.block_lanes(block);
      kernels::CollectJob<T> job{
          .map = kernels::FromPoints::output,
          .tile = grid_.tile,
          .points = products + i * groups_ * rows_ * order_.wide(),
          .point_step = product_step_,
          .vector_step = order_.lanes,
          .bias = args_.bias == nullptr ? nullptr : static_cast<const T*>(args_.bias) + column,
          .cells = nullptr,
          .offset = column,
          .channels = order_.width(block),
          .epilogue = finish_.at_store()};
      for (std::int64_t tile = 0; tile < chunk.tiles; ++tile, job.points += lanes) {
        job.cells = chunk.results[static_cast<std::size_t>(tile)].data();
        kernels::winograd_collect<T>(job);
      }
    }
    if (!finish_.remains()) return;
    for (std::int64_t tile = 0; tile < chunk.tiles; ++tile)
      finish(chunk.results[static_cast<std::size_t>(tile)], bundle);
  }

  // The rest of the epilogue for one bundle of a tile of results.
  void finish(const std::array<T*, kMaxWinogradPoints>& cells, std::int64_t bundle) const {
    RestOf<T> rest(finish_);
    for (int i = 0; i < grid_.tile.outputs(); ++i) {
      T* const cell = cells[static_cast<std::size_t>(i)];
      if (cell != nullptr) rest.add(order_.results, cell + bundle * order_.results);
    }
  }

  const ConvProblem& problem_;
  Pass pass_;
  const ConvArgs& args_;
  Finish<T> finish_;
  TileGrid grid_;
  PointWeights order_;
  std::int64_t vectors_;           // of reduced channels, in a bundle
  int rows_ = 0;                   // of a group of tiles
  std::int64_t groups_ = 1;        // of tiles, in a chunk
  std::int64_t product_step_ = 0;  // from point to point
  std::int64_t chunks_ = 1;        // of tiles
  std::int64_t chunk_parts_ = 1;   // tasks that share the chunks
  std::int64_t cuts_ = 1;          // and that share the bundles
  const T* weights_ = nullptr;
  const T* zeros_ = nullptr;
};

}  // namespace

template <class T>
void winograd_bundles(const ConvProblem& problem, Pass pass, const ConvArgs& args,
                      const WinogradTile& tile) {
  BundleProduct<T>(problem, pass, args, tile).run();
}
template void winograd_bundles<float>(const ConvProblem&, Pass, const ConvArgs&,
                                      const WinogradTile&);
template void winograd_bundles<double>(const ConvProblem&, Pass, const ConvArgs&,
                                       const WinogradTile&);

template <class T>
std::size_t winograd_bundles_workspace(const ConvProblem& problem, Pass pass,
                                       const WinogradTile& tile) {
  return BundleProduct<T>(problem, pass, {}, tile).workspace();
}
template std::size_t winograd_bundles_workspace<float>(const ConvProblem&, Pass,
                                                       const WinogradTile&);
template std::size_t winograd_bundles_workspace<double>(const ConvProblem&, Pass,
                                                        const WinogradTile&);

}  // namespace fovea::conv
