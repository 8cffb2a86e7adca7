// `direct`: a matrix product over patches [D section 2.1] that never copies them.
//
// Forward reduces over taps and input channels; backward_data is the same product over the output
// gradient, one dense grid per remainder of the stride; backward_weights reduces over positions.
// All arithmetic is in kernels/patch_product.cpp; here is which pointers it gets, and how the work
// is cut into tasks. Tasks follow from the problem alone, so results are the same bits for any
// number of threads.
#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "conv/algorithms.h"
#include "conv/axes.h"
#include "conv/packed_weights.h"
#include "conv/padded_input.h"
#include "conv/patch_grid.h"
#include "core/dispatch.h"
#include "fovea/executor.h"

namespace fovea::conv {
namespace {

using kernels::kMaxTileRows;

constexpr std::int64_t kTasks = 32;             // keeps some sixteen cores busy, and starts quickly
constexpr std::int64_t kWorkPerTask = 1 << 20;  // multiply-adds: some microseconds
constexpr std::int64_t kTilesPerChunk = 8;      // tiles that share one pass over a block of weights
constexpr std::int64_t kRunTableBytes = 64 << 10;
constexpr std::int64_t kPositionsPerChunk = 256;
// A larger source does not stay in the second-level cache; a larger result leaves all caches before
// it is read again.
constexpr std::int64_t kCacheBytes = 1 << 20;
constexpr std::int64_t kBypassBytes = 16 << 20;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}
std::int64_t tasks_for(double work) {
  return std::clamp<std::int64_t>(
      static_cast<std::int64_t>(work / static_cast<double>(kWorkPerTask)), 1, kTasks);
}

// ---- Forward and backward_data: one patch product over a grid.

template <class T>
struct Product {
  const PatchGrid* grid;
  const WeightView* view;
  const T* source;
  const T* packed;
  const T* bias;  // [groups * results], or null
  T* result;
  std::int64_t source_group;          // distance between the source channels of two groups
  std::int64_t furthest_tap;          // the one that reads last in memory
  std::vector<std::int64_t> offsets;  // of each tap from its place; empty: the grid has them all
};

template <class T>
class ProductRunner {
 public:
  explicit ProductRunner(const Product<T>& product)
      : product_(product),
        tile_(kernels::tile_size<T>()),
        places_(product.grid->places()),
        taps_(static_cast<std::int64_t>(product.view->taps.size())),
        tables_(product.offsets.empty() ? taps_ : 1),
        run_(static_cast<std::int64_t>(product.view->run.size())),
        blocks_(block_count(product.view->results, tile_.lanes)),
        zeros_(static_cast<std::size_t>(run_) * sizeof(T)) {
    std::memset(zeros_.template as<T>(), 0, static_cast<std::size_t>(run_) * sizeof(T));
    const std::int64_t groups = product.view->groups;
    const double work = static_cast<double>(places_) * static_cast<double>(taps_ * run_) *
                        static_cast<double>(product.view->results * groups);
    const std::int64_t wanted = tasks_for(work);
    const std::int64_t tiles = ceil_div(places_, tile_.rows);
    const std::int64_t table_rows =
        std::max<std::int64_t>(tables_, 1) * kMaxTileRows * static_cast<std::int64_t>(sizeof(T*));
    const std::int64_t longest =
        std::clamp<std::int64_t>(kRunTableBytes / table_rows, 1, kTilesPerChunk);
    tiles_per_chunk_ = std::clamp<std::int64_t>(ceil_div(tiles * groups, wanted), 1, longest);
    chunks_ = ceil_div(tiles, tiles_per_chunk_);
    block_parts_ = std::clamp<std::int64_t>(ceil_div(wanted, chunks_ * groups), 1, blocks_);
    chunks_per_task_ = std::max<std::int64_t>(1, chunks_ * groups * block_parts_ / (kTasks * 2));
    const auto bytes = [&](const GridStrides& strides) {
      return product.grid->batch * strides.image * static_cast<std::int64_t>(sizeof(T));
    };
    prefetches_ = taps_ > 0 && bytes(product.grid->source) > kCacheBytes;
    bypasses_ = groups == 1 && bytes(product.grid->result) > kBypassBytes &&
                reinterpret_cast<std::uintptr_t>(product.result) % kAlignment == 0 &&
                product.grid->result.axis[2] * static_cast<std::int64_t>(sizeof(T)) %
                        static_cast<std::int64_t>(kAlignment) ==
                    0;
  }

  void run() const {
    const std::int64_t chunk_tasks = ceil_div(chunks_, chunks_per_task_);
    parallel_for(product_.view->groups * chunk_tasks * block_parts_, [&](std::int64_t task) {
      const std::int64_t part = task % block_parts_;
      const std::int64_t chunk_task = task / block_parts_ % chunk_tasks;
      const std::int64_t group = task / block_parts_ / chunk_tasks;
      const std::int64_t runs =
          std::max<std::int64_t>(tables_, 1) * tiles_per_chunk_ * kMaxTileRows;
      const Workspace memory(static_cast<std::size_t>(2 * runs) * sizeof(T*));
      Chunk chunk{.runs = memory.as<const T*>()};
      Chunk next{.runs = chunk.runs + runs};
      const std::int64_t last = std::min(chunks_, (chunk_task + 1) * chunks_per_task_);
      const std::int64_t first = chunk_task * chunks_per_task_;
      locate(group, first, chunk);
      for (std::int64_t i = first; i < last; ++i) {
        next.places = 0;
        if (i + 1 < last) locate(group, i + 1, next);
        multiply(group, part, chunk, next);
        std::swap(chunk, next);
      }
      if (bypasses_) kernels::finish_bypassing_stores();
    });
  }

 private:
  // Some tiles: where each tap of each place reads, and where each place is written.
  struct Chunk {
    const T** runs;
    std::int64_t places = 0;
    std::array<T*, kTilesPerChunk * kMaxTileRows> out{};
    std::array<const T*, kTilesPerChunk * kMaxTileRows> furthest{};  // what the furthest tap reads
  };

  void locate(std::int64_t group, std::int64_t index, Chunk& chunk) const {
    const std::int64_t first = index * tiles_per_chunk_ * tile_.rows;
    chunk.places = std::min(tiles_per_chunk_ * tile_.rows, places_ - first);
    for (std::int64_t i = 0; i < ceil_div(chunk.places, tile_.rows); ++i) {
      const int rows = rows_of(i, chunk.places);
      fill_runs(*product_.grid, product_.source + group * product_.source_group,
                zeros_.template as<T>(), first + i * tile_.rows, rows,
                chunk.runs + i * tables_ * kMaxTileRows);
      fill_results(*product_.grid, product_.result + group * product_.view->results,
                   first + i * tile_.rows, rows, chunk.out.data() + i * kMaxTileRows);
      if (prefetches_) {
        std::copy_n(chunk.runs + (i * tables_ + product_.furthest_tap) * kMaxTileRows, rows,
                    chunk.furthest.data() + i * tile_.rows);
      }
    }
  }

  // A chunk, times a part of the blocks. A block's weights stay in cache for all tiles of the
  // chunk; what the next chunk will read comes in meanwhile.
  void multiply(std::int64_t group, std::int64_t part, const Chunk& chunk,
                const Chunk& next) const {
    const std::int64_t tiles = ceil_div(chunk.places, tile_.rows);
    const T* weights = product_.packed + group * product_.view->packed_size(tile_.lanes);
    const std::int64_t begin = part * blocks_ / block_parts_;
    const std::int64_t end = (part + 1) * blocks_ / block_parts_;
    const std::int64_t steps = (end - begin) * tiles;
    const std::int64_t share = prefetches_ ? ceil_div(next.places, steps) : 0;
    std::int64_t ahead_place = 0;
    for (std::int64_t block = begin; block < end; ++block) {
      for (std::int64_t i = 0; i < tiles; ++i, ahead_place += share) {
        kernels::patch_product<T>({
            .runs = chunk.runs + i * tables_ * kMaxTileRows,
            .offsets = product_.offsets.empty() ? nullptr : product_.offsets.data(),
            .taps = taps_,
            .run = run_,
            .weights = weights + product_.view->block_begin(block, tile_.lanes),
            .bias =
                product_.bias == nullptr ? nullptr : product_.bias + group * product_.view->results,
            .out = chunk.out.data() + i * kMaxTileRows,
            .column = block * 2 * tile_.lanes,
            .rows = rows_of(i, chunk.places),
            .width = block_width(product_.view->results, block, tile_.lanes),
            .ahead = ahead(next, ahead_place, std::min(ahead_place + share, next.places)),
            .bypass = bypasses_,
        });
      }
    }
  }

  // The memory from the first to the last of these places that the furthest tap reads: the other
  // taps mostly read it earlier.
  kernels::Ahead ahead(const Chunk& chunk, std::int64_t begin, std::int64_t end) const {
    if (begin >= end) return {};
    const T* first = chunk.furthest[static_cast<std::size_t>(begin)];
    const std::int64_t values = chunk.furthest[static_cast<std::size_t>(end - 1)] + run_ - first;
    const bool in_order = values > 0 && values < 4 * (end - begin) * run_;
    return {first, in_order ? values * static_cast<std::int64_t>(sizeof(T)) : 0};
  }

  int rows_of(std::int64_t tile, std::int64_t count) const {
    return static_cast<int>(std::min<std::int64_t>(tile_.rows, count - tile * tile_.rows));
  }

  const Product<T>& product_;
  kernels::TileSize tile_;
  std::int64_t places_;
  std::int64_t taps_;
  std::int64_t tables_;  // of runs, per tile
  std::int64_t run_;
  std::int64_t blocks_;
  Workspace zeros_;
  std::int64_t tiles_per_chunk_ = 1;
  std::int64_t chunks_ = 1;
  std::int64_t chunks_per_task_ = 1;
  std::int64_t block_parts_ = 1;
  bool prefetches_ = false;
  bool bypasses_ = false;
};

// Weights [out][in][k0][k1][k2]: offsets of the taps that a grid uses.
std::vector<std::int64_t> tap_offsets(const PatchGrid& grid, const std::array<ConvAxis, 3>& axes) {
  std::vector<std::int64_t> offsets;
  for (const std::int64_t k0 : grid.axes[0].taps)
    for (const std::int64_t k1 : grid.axes[1].taps)
      for (const std::int64_t k2 : grid.axes[2].taps)
        offsets.push_back((k0 * axes[1].kernel + k1) * axes[2].kernel + k2);
  return offsets;
}

std::vector<std::int64_t> multiples(std::int64_t count, std::int64_t step) {
  std::vector<std::int64_t> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(i * step);
  return values;
}

// ---- First layers: with few input channels a tap's run is too short to pay for its pointers. A
// row of the kernel is one contiguous run of kernel * channels values once the padding is really
// there, so the input is copied, padded.

bool joins_rows(const ConvProblem& problem) {
  const ConvAxis inner = three_axes(problem)[2];
  return problem.groups == 1 && problem.in_channels < 16 && inner.kernel > 1 &&
         inner.dilation == 1 && may_copy_padded(problem);
}

void keep_first_tap(GridAxis& axis) {
  axis.table.taps = 1;
  axis.taps.resize(1);
}

template <class T>
void forward(const ConvProblem& problem, const ConvArgs& args) {
  std::array<ConvAxis, 3> axes = three_axes(problem);
  const std::int64_t in = problem.in_channels / problem.groups;
  const std::int64_t taps = problem.taps();
  WeightView view{.groups = problem.groups,
                  .group_step = problem.out_channels / problem.groups * in * taps,
                  .results = problem.out_channels / problem.groups,
                  .result_step = in * taps,
                  .taps = {},
                  .run = multiples(in, taps)};
  PatchGrid grid{.batch = problem.batch,
                 .axes = {},
                 .source = dense_strides(input_sizes(axes), problem.in_channels),
                 .result = dense_strides(output_sizes(axes), problem.out_channels)};
  Product<T> product{.grid = &grid,
                     .view = &view,
                     .source = static_cast<const T*>(args.first),
                     .packed = nullptr,
                     .bias = static_cast<const T*>(args.bias),
                     .result = static_cast<T*>(args.result),
                     .source_group = in,
                     .furthest_tap = 0,
                     .offsets = {}};
  std::optional<Workspace> padded;
  if (joins_rows(problem)) {
    const auto sizes = padded_sizes(axes);
    padded.emplace(static_cast<std::size_t>(padded_values(problem)) * sizeof(T));
    copy_padded(problem, product.source, padded->as<T>());
    product.source = padded->as<T>();
    axes = with_padding_inside(axes);
    grid.source = dense_strides(sizes, in);
    view.run.clear();
    for (std::int64_t k = 0; k < axes[2].kernel; ++k) {
      for (std::int64_t c = 0; c < in; ++c) view.run.push_back(c * taps + k);
    }
  }
  for (std::size_t a = 0; a < 3; ++a) grid.axes[a] = forward_axis(axes[a], problem.padding_mode);
  if (padded) {
    keep_first_tap(grid.axes[2]);  // its run is the whole row of the kernel
    view.taps = tap_offsets(grid, axes);
    for (const std::int64_t k0 : grid.axes[0].taps) {
      for (const std::int64_t k1 : grid.axes[1].taps) {
        product.offsets.push_back(k0 * axes[0].dilation * grid.source.axis[0] +
                                  k1 * axes[1].dilation * grid.source.axis[1]);
      }
    }
    keep_first_tap(grid.axes[0]);
    keep_first_tap(grid.axes[1]);
  } else {
    view.taps = tap_offsets(grid, axes);
    product.furthest_tap = static_cast<std::int64_t>(view.taps.size()) - 1;
  }
  const auto packed =
      pack_weights<T>(problem, Pass::forward, args, {view}, kernels::tile_size<T>().lanes);
  product.packed = packed->template as<T>();
  ProductRunner<T>(product).run();
}

std::int64_t all_phases(const ConvAxis& axis) {
  return std::min(axis.stride, axis.input);
}

template <class T>
void backward_data(const ConvProblem& problem, const ConvArgs& args) {
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  const std::int64_t in = problem.in_channels / problem.groups;
  const std::int64_t out = problem.out_channels / problem.groups;
  const std::int64_t taps = problem.taps();
  const int lanes = kernels::tile_size<T>().lanes;
  std::vector<PatchGrid> grids;
  std::vector<WeightView> views;
  const auto phases0 = backward_phases(axes[0]);
  const auto phases1 = backward_phases(axes[1]);
  const auto phases2 = backward_phases(axes[2]);
  if (std::ssize(phases0) * std::ssize(phases1) * std::ssize(phases2) <
      all_phases(axes[0]) * all_phases(axes[1]) * all_phases(axes[2])) {
    std::memset(args.result, 0,
                static_cast<std::size_t>(problem.input_shape().numel()) * sizeof(T));
  }
  for (const std::int64_t p0 : phases0)
    for (const std::int64_t p1 : phases1)
      for (const std::int64_t p2 : phases2) {
        PatchGrid grid{.batch = problem.batch,
                       .axes = {backward_axis(axes[0], p0), backward_axis(axes[1], p1),
                                backward_axis(axes[2], p2)},
                       .source = dense_strides(output_sizes(axes), problem.out_channels),
                       .result = dense_strides(input_sizes(axes), problem.in_channels)};
        views.push_back({.groups = problem.groups,
                         .group_step = out * in * taps,
                         .results = in,
                         .result_step = taps,
                         .taps = tap_offsets(grid, axes),
                         .run = multiples(out, in * taps)});
        grids.push_back(std::move(grid));
      }
  const auto packed = pack_weights<T>(problem, Pass::backward_data, args, views, lanes);
  const T* next = packed->template as<T>();
  for (std::size_t phase = 0; phase < grids.size(); ++phase) {
    const Product<T> product{.grid = &grids[phase],
                             .view = &views[phase],
                             .source = static_cast<const T*>(args.first),
                             .packed = next,
                             .bias = nullptr,
                             .result = static_cast<T*>(args.result),
                             .source_group = out,
                             .furthest_tap = 0,
                             .offsets = {}};
    ProductRunner<T>(product).run();
    next += views[phase].groups * views[phase].packed_size(lanes);
  }
}

// ---- backward_data with few input channels: they would fill a small part of a vector, so each
// output position is multiplied by the weights of all taps at once, and the products are added to
// the patch that it came from: dx = fold(g W) [B].

template <class T>
bool folds(const ConvProblem& problem) {
  return problem.groups == 1 && problem.taps() > 1 &&
         problem.in_channels < kernels::tile_size<T>().lanes && may_copy_padded(problem);
}

template <class T>
class FoldedDataGradient {
 public:
  FoldedDataGradient(const ConvProblem& problem, const ConvArgs& args)
      : problem_(problem),
        axes_(three_axes(problem)),
        padded_(padded_sizes(axes_)),
        g_(static_cast<const T*>(args.first)),
        dx_(static_cast<T*>(args.result)),
        columns_(problem.taps() * problem.in_channels),
        view_{.groups = 1,
              .group_step = 0,
              .results = columns_,
              .result_step = 1,
              .taps = {0},
              .run = multiples(problem.out_channels, columns_)} {
    // [out][in][tap] to [out][tap][in], so that a row of a patch is one run.
    const Workspace turned(static_cast<std::size_t>(problem.out_channels * columns_) * sizeof(T));
    const T* weights = static_cast<const T*>(args.second);
    for (std::int64_t o = 0; o < problem.out_channels; ++o) {
      for (std::int64_t i = 0; i < columns_; ++i) {
        turned
            .as<T>()[o * columns_ + i % problem.taps() * problem.in_channels + i / problem.taps()] =
            weights[o * columns_ + i];
      }
    }
    packed_ = pack_weights<T>(problem, Pass::backward_data, {.second = turned.as<T>()}, {view_},
                              tile_.lanes);
  }

  void run() const {
    parallel_for(problem_.batch, [&](std::int64_t image) { run_image(image); });
  }

 private:
  void run_image(std::int64_t image) const {
    const std::int64_t values = padded_values(problem_) / problem_.batch;
    const Workspace patches(static_cast<std::size_t>(values) * sizeof(T));
    const Workspace products(static_cast<std::size_t>(tile_.rows * columns_) * sizeof(T));
    std::memset(patches.as<T>(), 0, static_cast<std::size_t>(values) * sizeof(T));
    const auto outputs = output_sizes(axes_);
    for (std::int64_t o0 = 0; o0 < outputs[0]; ++o0) {
      for (std::int64_t o1 = 0; o1 < outputs[1]; ++o1) {
        const std::int64_t row = ((image * outputs[0] + o0) * outputs[1] + o1) * outputs[2];
        for (std::int64_t o2 = 0; o2 < outputs[2]; o2 += tile_.rows) {
          const auto count = static_cast<int>(std::min<std::int64_t>(tile_.rows, outputs[2] - o2));
          multiply(g_ + (row + o2) * problem_.out_channels, count, products.as<T>());
          for (int i = 0; i < count; ++i) {
            add_patch({o0, o1, o2 + i}, products.as<T>() + i * columns_, patches.as<T>());
          }
        }
      }
    }
    copy_inside(image, patches.as<T>());
  }

  void multiply(const T* gradients, int count, T* products) const {
    const T* runs[kMaxTileRows];
    T* out[kMaxTileRows];
    for (int i = 0; i < count; ++i) {
      runs[i] = gradients + i * problem_.out_channels;
      out[i] = products + i * columns_;
    }
    for (std::int64_t block = 0; block < block_count(columns_, tile_.lanes); ++block) {
      kernels::patch_product<T>(
          {.runs = runs,
           .offsets = nullptr,
           .taps = 1,
           .run = problem_.out_channels,
           .weights = packed_->template as<T>() + view_.block_begin(block, tile_.lanes),
           .bias = nullptr,
           .out = out,
           .column = block * 2 * tile_.lanes,
           .rows = count,
           .width = block_width(columns_, block, tile_.lanes)});
    }
  }

  void add_patch(const std::array<std::int64_t, 3>& output, const T* from, T* patches) const {
    // Neighbouring taps of a dense kernel are one run.
    const bool joined = axes_[2].dilation == 1;
    const std::int64_t runs = joined ? 1 : axes_[2].kernel;
    const std::int64_t run = columns_ / (axes_[0].kernel * axes_[1].kernel * runs);
    const auto cell = [&](std::size_t a, std::int64_t tap) {
      return output[a] * axes_[a].stride + tap * axes_[a].dilation;
    };
    for (std::int64_t k0 = 0; k0 < axes_[0].kernel; ++k0) {
      for (std::int64_t k1 = 0; k1 < axes_[1].kernel; ++k1) {
        T* row =
            patches + (cell(0, k0) * padded_[1] + cell(1, k1)) * padded_[2] * problem_.in_channels;
        for (std::int64_t k2 = 0; k2 < runs; ++k2, from += run) {
          T* to = row + cell(2, k2) * problem_.in_channels;
          for (std::int64_t i = 0; i < run; ++i) to[i] += from[i];
        }
      }
    }
  }

  // What fell on the padding is dropped.
  void copy_inside(std::int64_t image, const T* patches) const {
    const std::int64_t row = axes_[2].input * problem_.in_channels;
    T* to = dx_ + image * axes_[0].input * axes_[1].input * row;
    for (std::int64_t i0 = 0; i0 < axes_[0].input; ++i0) {
      for (std::int64_t i1 = 0; i1 < axes_[1].input; ++i1, to += row) {
        const std::int64_t place =
            (i0 + axes_[0].padding.before) * padded_[1] + i1 + axes_[1].padding.before;
        std::copy_n(patches + (place * padded_[2] + axes_[2].padding.before) * problem_.in_channels,
                    row, to);
      }
    }
  }

  const ConvProblem& problem_;
  std::array<ConvAxis, 3> axes_;
  std::array<std::int64_t, 3> padded_;
  const T* g_;
  T* dx_;
  std::int64_t columns_;  // products per position: taps times input channels
  WeightView view_;
  kernels::TileSize tile_ = kernels::tile_size<T>();
  std::shared_ptr<const Workspace> packed_;
};

// ---- backward_weights: dw[o, c, k] = sum over positions of x[position + k][c] * g[position][o].
//
// A unit is one block of output channels for one tap and all input channels. With few input
// channels (`joins_taps`) it is a block for all taps, so that the register tile is full; the input
// is then copied, padded, and each weight reads at a fixed distance from the corner of the patch. A
// task sums some units over some positions, in chunks that stay in cache for all its units.
// Positions are split among tasks where the sums are small beside the tensors, else units; the
// partial sums of a split are added in order.

template <class T>
class WeightGradient {
 public:
  WeightGradient(const ConvProblem& problem, const ConvArgs& args)
      : problem_(problem),
        x_(static_cast<const T*>(args.first)),
        g_(static_cast<const T*>(args.second)),
        dw_(static_cast<T*>(args.result)),
        tile_(kernels::tile_size<T>()),
        in_(problem.in_channels / problem.groups),
        out_(problem.out_channels / problem.groups),
        taps_(problem.taps()),
        blocks_(block_count(out_, tile_.lanes)),
        joins_taps_(in_ < tile_.rows && taps_ > 1 && may_copy_padded(problem)) {
    std::array<ConvAxis, 3> axes = three_axes(problem);
    grid_.batch = problem.batch;
    if (joins_taps_) {
      padded_values_ = padded_values(problem);
      axes = with_padding_inside(axes);
    }
    for (std::size_t a = 0; a < 3; ++a) grid_.axes[a] = forward_axis(axes[a], problem.padding_mode);
    grid_.source = dense_strides(input_sizes(axes), problem.in_channels);
    places_ = grid_.places();
    rows_ = joins_taps_ ? taps_ * in_ : in_;
    for (std::int64_t row = 0; row < rows_; ++row)
      offsets_.push_back(joins_taps_ ? patch_offset(axes, row) : row);
    unit_taps_ = joins_taps_ ? 1 : taps_;
    units_ = problem.groups * unit_taps_ * blocks_;
    unit_size_ = rows_ * 2 * tile_.lanes;
    const double tensors =
        static_cast<double>(problem.input_shape().numel() + problem.output_shape().numel());
    const double sums = static_cast<double>(units_ * unit_size_);
    const std::int64_t wanted = tasks_for(static_cast<double>(problem.multiply_adds()));
    const std::int64_t most = std::min(wanted, ceil_div(places_, kPositionsPerChunk));
    splits_ = std::clamp<std::int64_t>(static_cast<std::int64_t>(tensors / (2 * sums)), 1, most);
    parts_ = std::clamp<std::int64_t>(ceil_div(wanted, splits_), 1, units_);
  }

  std::size_t workspace() const {
    return static_cast<std::size_t>(splits_ * units_ * unit_size_ + padded_values_) * sizeof(T);
  }

  void run() {
    const Workspace memory(workspace());
    sums_ = memory.as<T>();
    if (joins_taps_) {
      T* padded = sums_ + splits_ * units_ * unit_size_;
      copy_padded(problem_, x_, padded);
      x_ = padded;
    }
    parallel_for(parts_ * splits_, [&](std::int64_t task) {
      const std::int64_t part = task % parts_;
      sum_units(part * units_ / parts_, (part + 1) * units_ / parts_, task / parts_);
    });
    const std::int64_t per_block = unit_taps_ * unit_size_ * splits_;
    const std::int64_t grain = std::max<std::int64_t>(1, (1 << 15) / per_block);
    parallel_ranges(problem_.groups * blocks_, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) write_block(i / blocks_, i % blocks_);
    });
  }

 private:
  // Blocks of one tap follow each other, then taps, then groups.
  struct Unit {
    std::int64_t group;
    std::int64_t tap;  // 0 where taps are joined
    std::int64_t block;
    int width;  // output channels
    int lanes;  // the same, padded to whole vectors
  };
  Unit unit_at(std::int64_t index) const {
    const std::int64_t block = index % blocks_;
    const int width = block_width(out_, block, tile_.lanes);
    return {index / blocks_ / unit_taps_, index / blocks_ % unit_taps_, block, width,
            kernels::block_lanes(width, tile_.lanes)};
  }
  T* sum_of(std::int64_t unit, std::int64_t split) const {
    return sums_ + (split * units_ + unit) * unit_size_;
  }

  // Distance of the value that row (tap, channel) reads from the corner of the patch.
  std::int64_t patch_offset(const std::array<ConvAxis, 3>& axes, std::int64_t row) const {
    const std::int64_t tap = row / in_;
    const std::int64_t k2 = tap % axes[2].kernel;
    const std::int64_t k1 = tap / axes[2].kernel % axes[1].kernel;
    const std::int64_t k0 = tap / axes[2].kernel / axes[1].kernel;
    return k0 * axes[0].dilation * grid_.source.axis[0] +
           k1 * axes[1].dilation * grid_.source.axis[1] +
           k2 * axes[2].dilation * grid_.source.axis[2] + row % in_;
  }

  void sum_units(std::int64_t first_unit, std::int64_t last_unit, std::int64_t split) const {
    std::memset(sum_of(first_unit, split), 0,
                static_cast<std::size_t>((last_unit - first_unit) * unit_size_) * sizeof(T));
    const T* runs[kPositionsPerChunk];
    const T* gradients[kPositionsPerChunk];
    const std::int64_t tiles = ceil_div(rows_, tile_.rows);
    const std::int64_t steps = (last_unit - first_unit) * tiles;
    const std::int64_t last = (split + 1) * places_ / splits_;
    for (std::int64_t first = split * places_ / splits_; first < last;
         first += kPositionsPerChunk) {
      const std::int64_t next = std::min(first + kPositionsPerChunk, last);
      const std::int64_t next_end = std::min(next + kPositionsPerChunk, last);
      std::int64_t count = 0;
      std::int64_t step = 0;
      for (std::int64_t index = first_unit; index < last_unit; ++index) {
        const Unit unit = unit_at(index);
        if (index == first_unit || unit.block == 0) {
          count = collect(unit, first, next - first, runs, gradients);
        }
        for (std::int64_t tile = 0; tile < tiles; ++tile, ++step) {
          const std::int64_t begin = tile * rows_ / tiles;
          const std::int64_t end = (tile + 1) * rows_ / tiles;
          kernels::gradient_product<T>({.runs = runs,
                                        .gradients = gradients,
                                        .column = unit.block * 2 * tile_.lanes,
                                        .count = count,
                                        .offsets = offsets_.data() + begin,
                                        .sum = sum_of(index, split) + begin * unit.lanes,
                                        .rows = static_cast<int>(end - begin),
                                        .width = unit.width,
                                        .ahead = ahead(next, next_end, step, steps)});
        }
      }
    }
  }

  // What step `step` of `steps` asks for: its share of the gradients and then the inputs of the
  // places of the next chunk. Inputs lie in the order of the places, if not exactly at their pace.
  kernels::Ahead ahead(std::int64_t first, std::int64_t last, std::int64_t step,
                       std::int64_t steps) const {
    const std::int64_t inputs = grid_.source.image * problem_.batch;
    const std::int64_t of_gradients = (last - first) * problem_.out_channels;
    const std::int64_t first_input = first * inputs / places_;
    const std::int64_t of_inputs = last * inputs / places_ - first_input;
    const std::int64_t begin = (of_gradients + of_inputs) * step / steps;
    const std::int64_t end = (of_gradients + of_inputs) * (step + 1) / steps;
    const bool gradients = begin < of_gradients;
    const T* from = gradients ? g_ + first * problem_.out_channels + begin
                              : x_ + first_input + begin - of_gradients;
    return {from, (end - begin) * static_cast<std::int64_t>(sizeof(T))};
  }

  // Where the values and the gradients of these positions are. Positions at which the tap reads
  // padding are left out: they would add zeros.
  std::int64_t collect(const Unit& unit, std::int64_t first, std::int64_t count, const T** runs,
                       const T** gradients) const {
    const AxisTable& inner = grid_.axes[2].table;
    const auto tap2 = static_cast<int>(unit.tap % inner.taps);
    const auto tap1 = static_cast<int>(unit.tap / inner.taps % grid_.axes[1].table.taps);
    const auto tap0 = static_cast<int>(unit.tap / inner.taps / grid_.axes[1].table.taps);
    const T* source = x_ + unit.group * in_;
    const T* gradient = g_ + unit.group * out_;
    std::int64_t found = 0;
    for_each_segment(grid_, first, count, [&](const GridSegment& segment, std::int64_t begin) {
      const T* row = source_row(grid_, source, segment, tap0, tap1);
      if (row == nullptr) return;
      const std::int32_t* cell = inner.row(tap2) + segment.place[2] * inner.output_step;
      for (int i = 0; i < segment.count; ++i) {
        const std::int32_t read = cell[i * inner.output_step];
        if (read == kPaddingCell) continue;
        runs[found] = row + read * grid_.source.axis[2];
        gradients[found++] = gradient + (first + begin + i) * problem_.out_channels;
      }
    });
    return found;
  }

  // Adds the splits in order and writes [o][c][tap], some input channels at a time: their sums,
  // scattered over the taps, stay in cache while they are turned round.
  void write_block(std::int64_t group, std::int64_t block) {
    constexpr std::int64_t kChannels = 16;
    const int width = block_width(out_, block, tile_.lanes);
    const int lanes = kernels::block_lanes(width, tile_.lanes);
    for (std::int64_t tap = 0; tap < unit_taps_; ++tap) {
      const std::int64_t unit = (group * unit_taps_ + tap) * blocks_ + block;
      T* sum = sum_of(unit, 0);
      for (std::int64_t split = 1; split < splits_; ++split) {
        const T* more = sum_of(unit, split);
        for (std::int64_t i = 0; i < rows_ * lanes; ++i) sum[i] += more[i];
      }
    }
    const Workspace turned(static_cast<std::size_t>(width * kChannels * taps_) * sizeof(T));
    T* first = dw_ + (group * out_ + block * 2 * tile_.lanes) * in_ * taps_;
    for (std::int64_t begin = 0; begin < in_; begin += kChannels) {
      const std::int64_t count = std::min(in_ - begin, kChannels) * taps_;  // of neighbours in dw
      for (std::int64_t tap = 0; tap < taps_; ++tap) {
        const std::int64_t unit = (group * unit_taps_ + (joins_taps_ ? 0 : tap)) * blocks_ + block;
        const T* sum = sum_of(unit, 0) + ((joins_taps_ ? tap * in_ : 0) + begin) * lanes;
        for (T* to = turned.as<T>() + tap; to < turned.as<T>() + count; to += taps_, sum += lanes) {
          for (int j = 0; j < width; ++j) to[j * count] = sum[j];
        }
      }
      for (int j = 0; j < width; ++j) {
        std::copy_n(turned.as<T>() + j * count, count, first + j * in_ * taps_ + begin * taps_);
      }
    }
  }

  const ConvProblem& problem_;
  const T* x_;
  const T* g_;
  T* dw_;
  kernels::TileSize tile_;
  std::int64_t in_;   // per group
  std::int64_t out_;  // per group
  std::int64_t taps_;
  std::int64_t blocks_;
  bool joins_taps_;
  PatchGrid grid_;
  std::vector<std::int64_t> offsets_;  // of each row of a unit
  std::int64_t padded_values_ = 0;
  std::int64_t places_ = 0;
  std::int64_t rows_ = 0;  // of one unit's sum
  std::int64_t unit_taps_ = 1;
  std::int64_t units_ = 0;
  std::int64_t unit_size_ = 0;
  std::int64_t splits_ = 1;  // of the positions
  std::int64_t parts_ = 1;   // of the units
  T* sums_ = nullptr;
};

template <class T>
void run_pass(const ConvProblem& problem, Pass pass, const ConvArgs& args) {
  switch (pass) {
    case Pass::forward:
      return forward<T>(problem, args);
    case Pass::backward_data:
      if (folds<T>(problem)) return FoldedDataGradient<T>(problem, args).run();
      return backward_data<T>(problem, args);
    case Pass::backward_weights:
      return WeightGradient<T>(problem, args).run();
  }
}

std::optional<std::string> refuses(const ConvProblem&, Pass) {
  return std::nullopt;
}

std::size_t workspace(const ConvProblem& problem, Pass pass) {
  return dispatch_floating(problem.dtype, [&](auto tag) -> std::size_t {
    using T = typename decltype(tag)::type;
    if (pass == Pass::backward_weights) return WeightGradient<T>(problem, {}).workspace();
    const std::int64_t lanes = kernels::tile_size<T>().lanes;
    const std::int64_t results =
        (pass == Pass::forward ? problem.out_channels : problem.in_channels) / problem.groups;
    const std::int64_t reduced =
        (pass == Pass::forward ? problem.in_channels : problem.out_channels) / problem.groups;
    std::int64_t values =
        ceil_div(results, lanes) * lanes * reduced * problem.groups * problem.taps();
    const bool pads = pass == Pass::forward ? joins_rows(problem) : folds<T>(problem);
    if (pads) values += padded_values(problem);
    return static_cast<std::size_t>(values) * sizeof(T);
  });
}

void run(const ConvProblem& problem, Pass pass, const ConvArgs& args) {
  dispatch_floating(problem.dtype,
                    [&](auto tag) { run_pass<typename decltype(tag)::type>(problem, pass, args); });
}

}  // namespace

const ConvAlgorithm direct = {
    .name = "direct",
    .summary = "a register-blocked matrix product over patches that are never copied",
    .refuses = refuses,
    .predict = least_cost,
    .workspace = workspace,
    .run = run,
};

}  // namespace fovea::conv
