// Winograd forward: cells to points, one matrix product per point, and back.
//
// Values at the points lie in groups of tiles, a group being the rows of one register tile:
// [point][group][vector of channels][row][lane]. Where there are many tiles beside few channels, a
// task keeps the values of its own tiles in the second-level cache for all of its steps. Else the
// values of many tiles are made first and shared, so that no task reads all weights for a few
// tiles. Every result is one sum in one order, so that tasks may be cut anywhere.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

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

// A task's own values, its products and the weights that stream past share a second-level cache of
// a megabyte; but few rows would not be worth a pass over the weights.
constexpr std::int64_t kOwnBytes = 512 << 10;
constexpr std::int64_t kOwnRows = 28;
constexpr std::int64_t kFewestOwnTasks = 8;
// Of shared values, and of weights that are read once per task: what stays in the last-level cache.
constexpr std::int64_t kSharedBytes = 12 << 20;
constexpr std::int64_t kSharedRows = 112;        // of one task, with one block of results
constexpr std::int64_t kPanelBytes = 384 << 10;  // of products, before they are transformed back

struct Range {
  std::int64_t first;
  std::int64_t last;
  std::int64_t size() const { return last - first; }
};

// Part `index` of `count` nearly equal parts of a range.
Range part_of(Range whole, std::int64_t index, std::int64_t count) {
  return {whole.first + whole.size() * index / count,
          whole.first + whole.size() * (index + 1) / count};
}

// Values at the points of some groups.
template <class T>
struct Values {
  T* data;
  Range groups;
  std::int64_t point_step;
};

template <class T>
class Product {
 public:
  Product(const ConvProblem& problem, Pass pass, const ConvArgs& args, const WinogradTile& tile)
      : problem_(problem),
        pass_(pass),
        args_(args),
        finish_(args),
        grid_(tile_grid(problem, pass, tile)),
        order_(point_weights<T>(problem, pass, tile)),
        vectors_(ceil_div(order_.reduced, order_.lanes)) {
    const int rows = kernels::winograd_sizes<T>().rows;
    const std::int64_t tiles = grid_.count();
    rows_ = static_cast<int>(ceil_div(ceil_div(tiles, ceil_div(tiles, rows)), 2) * 2);
    groups_ = ceil_div(tiles, rows_);
    group_size_ = vectors_ * rows_ * order_.lanes;
    const std::int64_t group_bytes =
        order_.points * group_size_ * static_cast<std::int64_t>(sizeof(T));
    const std::int64_t own = std::max(kOwnBytes / group_bytes, ceil_div(kOwnRows, rows_));
    const std::int64_t tasks = std::max(ceil_div(groups_, own), kFewestOwnTasks);
    owns_ = groups_ >= kFewestOwnTasks &&
            order_.size() * static_cast<std::int64_t>(sizeof(T)) <= kSharedBytes;
    batches_ =
        owns_ ? tasks : ceil_div(groups_, std::max<std::int64_t>(1, kSharedBytes / group_bytes));
  }

  std::size_t workspace() const {
    // Every thread may hold one task's values, of which there are no more than kTasks.
    const std::int64_t groups = ceil_div(groups_, batches_);
    const std::int64_t tasks = owns_ ? batches_ : shared_parts(groups) * order_.blocks();
    const std::int64_t products = owns_ ? product_count(groups, order_.blocks())
                                        : product_count(ceil_div(groups, shared_parts(groups)), 1);
    const std::int64_t held = std::min(tasks, kTasks);
    const std::int64_t values = value_count(groups) * (owns_ ? held : 1);
    return static_cast<std::size_t>(order_.size() + values + held * products) * sizeof(T);
  }

  void run() {
    const auto weights = transform_weights<T>(problem_, pass_, args_, grid_.tile);
    weights_ = weights->template as<T>();
    const Workspace zeros(static_cast<std::size_t>(order_.reduced) * sizeof(T));
    std::memset(zeros.as<T>(), 0, static_cast<std::size_t>(order_.reduced) * sizeof(T));
    zeros_ = zeros.as<T>();
    if (owns_) {
      parallel_for(batches_, [&](std::int64_t index) {
        const Range groups = part_of({0, groups_}, index, batches_);
        const std::int64_t count = value_count(groups.size());
        const Range blocks{0, order_.blocks()};
        const std::int64_t products = product_count(groups.size(), blocks.size());
        const Scratch memory(static_cast<std::size_t>(count + products) * sizeof(T));
        const Values<T> values = values_of(groups, memory.as<T>());
        spread(values, groups, {0, vectors_});
        multiply(values, groups, blocks, memory.as<T>() + count);
      });
      return;
    }
    const std::int64_t longest = ceil_div(groups_, batches_);
    const Workspace memory(static_cast<std::size_t>(value_count(longest)) * sizeof(T));
    for (std::int64_t batch = 0; batch < batches_; ++batch) {
      const Range groups = part_of({0, groups_}, batch, batches_);
      const Values<T> values = values_of(groups, memory.as<T>());
      spread_shared(values);
      multiply_shared(values);
    }
  }

 private:
  std::int64_t value_count(std::int64_t groups) const { return order_.points * point_step(groups); }
  // One vector more than needed: steps of whole pages would all meet in one place of the cache.
  std::int64_t point_step(std::int64_t groups) const { return groups * group_size_ + order_.lanes; }
  Values<T> values_of(Range groups, T* data) const {
    return {data, groups, point_step(groups.size())};
  }

  void spread_shared(const Values<T>& values) const {
    const std::int64_t groups = values.groups.size();
    const std::int64_t parts = std::clamp<std::int64_t>(kFewestOwnTasks / groups, 1, vectors_);
    parallel_for(groups * parts, [&](std::int64_t task) {
      const std::int64_t group = values.groups.first + task / parts;
      spread(values, {group, group + 1}, part_of({0, vectors_}, task % parts, parts));
    });
  }

  std::int64_t shared_parts(std::int64_t groups) const {
    return ceil_div(groups, std::max<std::int64_t>(1, kSharedRows / rows_));
  }

  void multiply_shared(const Values<T>& values) const {
    const std::int64_t parts = shared_parts(values.groups.size());
    // Tasks that share weights follow each other.
    parallel_for(parts * order_.blocks(), [&](std::int64_t task) {
      const std::int64_t block = task / parts;
      const Range groups = part_of(values.groups, task % parts, parts);
      const Scratch products(static_cast<std::size_t>(product_count(groups.size(), 1)) * sizeof(T));
      multiply(values, groups, {block, block + 1}, products.as<T>());
    });
  }

  // Cells to points for these groups and vectors of channels.
  void spread(const Values<T>& values, Range groups, Range vectors) const {
    std::array<std::array<const T*, kMaxWinogradPoints>, 2> cells;  // of this tile and the next
    const std::int64_t channel = vectors.first * order_.lanes;
    const std::int64_t channels = std::min(vectors.size() * order_.lanes, order_.reduced - channel);
    const T* const source = static_cast<const T*>(args_.first) + channel;
    const auto locate = [&](std::int64_t tile) {
      auto& to = cells[static_cast<std::size_t>(tile % 2)];
      if (tile < grid_.count()) {
        read_cells(grid_, source, zeros_, tile, to.data());
      } else {
        to.fill(zeros_);
      }
    };
    locate(groups.first * rows_);
    for (std::int64_t tile = groups.first * rows_; tile < groups.last * rows_; ++tile) {
      locate(tile + 1);
      const std::int64_t group = tile / rows_ - values.groups.first;
      T* const points = values.data + group * group_size_ + vectors.first * rows_ * order_.lanes;
      kernels::winograd_spread<T>({.map = kernels::ToPoints::input,
                                   .tile = grid_.tile,
                                   .cells = cells[static_cast<std::size_t>(tile % 2)].data(),
                                   .channels = static_cast<int>(channels),
                                   .points = points + tile % rows_ * order_.lanes,
                                   .point_step = values.point_step,
                                   .vector_step = rows_ * order_.lanes,
                                   .next = cells[static_cast<std::size_t>((tile + 1) % 2)].data()});
    }
  }

  // Products of one block of results at one point.
  std::int64_t block_size(std::int64_t groups) const { return groups * rows_ * 2 * order_.lanes; }
  // Blocks whose products are in memory at once.
  std::int64_t panel_blocks(std::int64_t groups, std::int64_t blocks) const {
    const std::int64_t bytes =
        order_.points * block_size(groups) * static_cast<std::int64_t>(sizeof(T));
    const std::int64_t most = std::clamp<std::int64_t>(kPanelBytes / bytes, 1, blocks);
    return ceil_div(blocks, ceil_div(blocks, most));
  }
  std::int64_t product_step(std::int64_t groups, std::int64_t blocks) const {
    return panel_blocks(groups, blocks) * block_size(groups) + order_.lanes;
  }
  std::int64_t product_count(std::int64_t groups, std::int64_t blocks) const {
    return order_.points * product_step(groups, blocks);
  }

  // Products at all points, and back to cells, for these groups and blocks of results. `products`
  // has room for product_count of them.
  void multiply(const Values<T>& values, Range groups, Range blocks, T* products) const {
    const std::int64_t size = block_size(groups.size());
    const std::int64_t step = product_step(groups.size(), blocks.size());
    const std::int64_t panels = ceil_div(blocks.size(), panel_blocks(groups.size(), blocks.size()));
    for (std::int64_t index = 0; index < panels; ++index) {
      const Range panel = part_of(blocks, index, panels);
      for (std::int64_t point = 0; point < order_.points; ++point) {
        for (std::int64_t block = panel.first; block < panel.last; ++block) {
          const int lanes = order_.block_lanes(block);
          kernels::point_product<T>(
              {.values = values.data + point * values.point_step +
                         (groups.first - values.groups.first) * group_size_,
               .groups = groups.size(),
               .rows = rows_,
               .reduced = order_.reduced,
               .weights = weights_ + order_.begin(block) + point * order_.reduced * lanes,
               .block = lanes,
               .out = products + point * step + (block - panel.first) * size});
        }
      }
      collect(groups, panel, products, step, size);
    }
  }

  void collect(Range groups, Range panel, const T* products, std::int64_t point_step,
               std::int64_t size) const {
    std::array<T*, kMaxWinogradPoints> cells{};
    const std::int64_t first = groups.first * rows_;
    const std::int64_t last = std::min(groups.last * rows_, grid_.count());
    for (std::int64_t tile = first; tile < last; ++tile) {
      for (std::int64_t block = panel.first; block < panel.last; ++block) {
        const std::int64_t column = block * 2 * order_.lanes;
        result_cells<T>(grid_, static_cast<T*>(args_.result) + column, nullptr, tile, cells.data());
        kernels::winograd_collect<T>(
            {.map = kernels::FromPoints::output,
             .tile = grid_.tile,
             .points = products + (block - panel.first) * size +
                       (tile - first) * order_.block_lanes(block),
             .point_step = point_step,
             .vector_step = order_.lanes,
             .bias = args_.bias == nullptr ? nullptr : static_cast<const T*>(args_.bias) + column,
             .cells = cells.data(),
             .channels = order_.width(block),
             .epilogue = finish_.at_store()});
      }
      if (finish_.remains()) finish(tile, panel);
    }
  }

  // The rest of the epilogue for one tile of results.
  void finish(std::int64_t tile, Range panel) const {
    std::array<T*, kMaxWinogradPoints> cells{};
    const std::int64_t first = panel.first * 2 * order_.lanes;
    const std::int64_t count = std::min(panel.last * 2 * order_.lanes, order_.results) - first;
    result_cells<T>(grid_, static_cast<T*>(args_.result) + first, nullptr, tile, cells.data());
    RestOf<T> rest(finish_);
    for (int i = 0; i < grid_.tile.outputs(); ++i) {
      T* const cell = cells[static_cast<std::size_t>(i)];
      if (cell != nullptr) rest.add(count, cell);
    }
  }

  const ConvProblem& problem_;
  Pass pass_;
  const ConvArgs& args_;
  Finish<T> finish_;
  TileGrid grid_;
  PointWeights order_;
  std::int64_t vectors_;  // of reduced channels
  int rows_ = 0;          // of a group
  std::int64_t groups_ = 0;
  std::int64_t group_size_ = 0;  // values of one group at one point
  bool owns_ = false;            // tasks make the values that they multiply
  std::int64_t batches_ = 1;     // of groups whose values are in memory at once
  const T* weights_ = nullptr;
  const T* zeros_ = nullptr;
};

}  // namespace

template <class T>
void winograd_product(const ConvProblem& problem, Pass pass, const ConvArgs& args,
                      const WinogradTile& tile) {
  Product<T>(problem, pass, args, tile).run();
}
template void winograd_product<float>(const ConvProblem&, Pass, const ConvArgs&,
                                      const WinogradTile&);
template void winograd_product<double>(const ConvProblem&, Pass, const ConvArgs&,
                                       const WinogradTile&);

template <class T>
std::size_t winograd_product_workspace(const ConvProblem& problem, Pass pass,
                                       const WinogradTile& tile) {
  return Product<T>(problem, pass, {}, tile).workspace();
}
template std::size_t winograd_product_workspace<float>(const ConvProblem&, Pass,
                                                       const WinogradTile&);
template std::size_t winograd_product_workspace<double>(const ConvProblem&, Pass,
                                                        const WinogradTile&);

}  // namespace fovea::conv
