// `direct`: a matrix product over patches [D section 2.1] that never copies them.
//
// Forward reduces over taps and input channels; backward_data is the same product over the output
// gradient, one dense grid per remainder of the stride; backward_weights, in direct_weights.cpp,
// reduces over positions. All arithmetic is in kernels/patch_product.cpp; here is which pointers it
// gets, and how the work is cut into tasks. Tasks follow from the problem alone, so results are the
// same bits for any number of threads.
#include <algorithm>
#include <bit>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "conv/algorithms.h"
#include "conv/axes.h"
#include "conv/direct.h"
#include "conv/epilogue.h"
#include "conv/packed_weights.h"
#include "conv/padded_input.h"
#include "conv/patch_grid.h"
#include "core/dispatch.h"
#include "core/scratch.h"
#include "fovea/executor.h"
#include "kernels/stream.h"

namespace fovea::conv {
namespace {

using kernels::kMaxTileRows;

constexpr std::int64_t kTilesPerChunk = 8;  // tiles that share one pass over a block of weights
constexpr std::int64_t kRunTableBytes = 64 << 10;
// A larger source does not stay in the second-level cache.
constexpr std::int64_t kCacheBytes = 1 << 20;

// ---- Forward and backward_data: one patch product over a grid.

template <class T>
struct Product {
  const PatchGrid* grid;
  const WeightView* view;
  const T* source;
  const T* packed;
  const T* bias;  // [groups * results], or null
  T* result;
  T padding_value;
  std::int64_t source_group;          // distance between the source channels of two groups
  std::int64_t furthest_tap;          // the one that reads last in memory
  const Finish<T>* finish = nullptr;  // of a forward pass
};

template <class T>
class ProductRunner {
 public:
  explicit ProductRunner(const Product<T>& product)
      : product_(product),
        most_rows_(most_rows(*product.grid)),
        tile_(tile_within(most_rows_)),
        places_(product.grid->places()),
        tiles_(ceil_div(places_, tile_.rows)),
        taps_(static_cast<std::int64_t>(product.view->taps.size())),
        run_(static_cast<std::int64_t>(product.view->run.size())),
        blocks_(block_count(product.view->results, tile_.lanes)),
        padding_(static_cast<std::size_t>(run_) * sizeof(T)) {
    std::fill_n(padding_.template as<T>(), run_, product.padding_value);
    const std::int64_t groups = product.view->groups;
    const double work = static_cast<double>(places_) * static_cast<double>(taps_ * run_) *
                        static_cast<double>(product.view->results * groups);
    // A power of two, which most numbers of cores divide. How the work is cut moves no bit: nothing
    // is added up across tasks.
    const auto wanted =
        static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(tasks_for(work))));
    flat_ = is_flat(*product.grid);
    if (flat_) {
      cut_flat(wanted, groups);
    } else {
      tile_parts_ = std::clamp<std::int64_t>(ceil_div(wanted, groups), 1, tiles_);
      block_parts_ = std::clamp<std::int64_t>(ceil_div(wanted, tile_parts_ * groups), 1, blocks_);
    }
    const std::int64_t table_rows =
        std::max<std::int64_t>(taps_, 1) * kMaxTileRows * static_cast<std::int64_t>(sizeof(T*));
    const std::int64_t longest =
        std::clamp<std::int64_t>(kRunTableBytes / table_rows, 1, kTilesPerChunk);
    const std::int64_t tiles_per_task = std::max<std::int64_t>(ceil_div(tiles_, tile_parts_), 1);
    tiles_per_chunk_ = ceil_div(tiles_per_task, ceil_div(tiles_per_task, longest));
    const auto bytes = [&](const GridStrides& strides) {
      return product.grid->batch * strides.image * static_cast<std::int64_t>(sizeof(T));
    };
    prefetches_ = taps_ > 0 && bytes(product.grid->source) > kCacheBytes;
    finishes_ = product.finish != nullptr && product.finish->remains();
    bypasses_ = groups == 1 && !finishes_ &&
                bypasses_caches(product.result, bytes(product.grid->result),
                                product.grid->result.axis[2] * static_cast<std::int64_t>(sizeof(T)),
                                taps_ * run_);
  }

  void run() const {
    parallel_for(product_.view->groups * tile_parts_ * block_parts_, [&](std::int64_t task) {
      const std::int64_t part = task % block_parts_;
      const std::int64_t tile_part = task / block_parts_ % tile_parts_;
      const std::int64_t group = task / block_parts_ / tile_parts_;
      const std::int64_t runs = std::max<std::int64_t>(taps_, 1) * tiles_per_chunk_ * kMaxTileRows;
      const Scratch memory(static_cast<std::size_t>(2 * runs) * sizeof(T*));
      std::array<Chunk, 2> chunks;  // the one that is multiplied, and the next
      chunks[0].runs = memory.as<const T*>();
      chunks[1].runs = chunks[0].runs + runs;
      const std::int64_t last = (tile_part + 1) * tiles_ / tile_parts_;
      std::size_t turn = 0;
      set_range(tile_part * tiles_ / tile_parts_, last, chunks[turn]);
      locate(group, chunks[turn]);
      for (; chunks[turn].places > 0; turn = 1 - turn) {
        const Chunk& chunk = chunks[turn];
        Chunk& next = chunks[1 - turn];
        set_range(chunk.first_tile + tiles_per_chunk_, last, next);
        const bool ends = next.places == 0;
        // Behind the last one, too, is asked ahead: mostly the same thread takes the next task.
        if (ends && prefetches_) set_range(last, tiles_, next);
        if (!ends || !flat_) locate(group, next);
        multiply(group, part, chunk, next);
        if (ends) break;
      }
      if (bypasses_) kernels::finish_streaming();
    });
  }

 private:
  // Rows that lie a power of two apart may share few sets of the first-level cache, which are read
  // through from line to line: there may be as many as stay in them beside the weights.
  static int most_rows(const PatchGrid& grid) {
    constexpr std::int64_t kSetsBytes = 4096;  // from one line of a set to the next
    constexpr std::int64_t kRowsOfSet = 9;
    const std::int64_t step = grid.source.axis[2] * grid.axes[2].table.output_step;
    const std::int64_t sets =
        kSetsBytes / std::gcd(kSetsBytes, step * static_cast<std::int64_t>(sizeof(T)));
    return static_cast<int>(std::min<std::int64_t>(sets * kRowsOfSet, 2 * kMaxTileRows));
  }

  static kernels::TileSize tile_within(int most_rows) {
    kernels::TileSize size = kernels::tile_size<T>();
    size.rows = std::min(size.rows, most_rows);
    return size;
  }

  // Tasks of one size, with many tiles to a block: where nothing is looked up, it costs no more to
  // cut blocks than tiles.
  void cut_flat(std::int64_t wanted, std::int64_t groups) {
    std::int64_t least = 0;
    const auto ask = [&](std::int64_t tile_parts) {
      if (tile_parts > tiles_) return;
      const std::int64_t block_parts =
          std::clamp<std::int64_t>(ceil_div(wanted, tile_parts * groups), 1, blocks_);
      const std::int64_t tasks = tile_parts * block_parts * groups;
      if (2 * tasks < wanted) return;
      const std::int64_t tiles = ceil_div(tiles_, tile_parts);
      // In eighths of a tile, of which the start of each chunk of them costs one.
      const std::int64_t largest =
          ceil_div(blocks_, block_parts) * (8 * tiles + ceil_div(tiles, kTilesPerChunk));
      // Where blocks are cut, rows of results are written in pieces.
      const std::int64_t cost = (tasks + tasks % 2) * largest * (block_parts > 1 ? 33 : 32);
      if (least > 0 && cost >= least) return;
      least = cost;
      tile_parts_ = tile_parts;
      block_parts_ = block_parts;
    };
    for (std::int64_t parts = 1; parts <= kTasks; parts *= 2) ask(parts);
    if (tiles_ <= kTasks) ask(tiles_);
    if (least > 0) return;
    tile_parts_ = tiles_;
    block_parts_ = blocks_;
  }

  // Some tiles: where each tap of each place reads, by tile, tap and place, and where each place is
  // written.
  struct Chunk {
    const T** runs = nullptr;
    std::int64_t first_tile = 0;
    std::int64_t first = 0;  // place
    std::int64_t places = 0;
    std::array<T*, kTilesPerChunk * kMaxTileRows> out;
    // What the furthest of several taps reads.
    std::array<const T*, kTilesPerChunk * kMaxTileRows> furthest;
  };
  // From the runs of a tile to those of the next. With one tap there is no gap, so that all are
  // looked up at once.
  std::int64_t tile_step() const { return taps_ == 1 ? tile_.rows : taps_ * kMaxTileRows; }

  // The chunk that starts with this tile, of those before `last`.
  void set_range(std::int64_t tile, std::int64_t last, Chunk& chunk) const {
    chunk.first_tile = std::min(tile, last);
    chunk.first = chunk.first_tile * tile_.rows;
    const std::int64_t end = std::min(chunk.first_tile + tiles_per_chunk_, last);
    chunk.places = std::min(end * tile_.rows, places_) - chunk.first;
  }

  void locate(std::int64_t group, Chunk& chunk) const {
    if (flat_) return locate_flat(group, chunk);
    const PatchGrid& grid = *product_.grid;
    const T* source = product_.source + group * product_.source_group;
    const T* padding = padding_.template as<T>();
    fill_results(grid, product_.result + group * product_.view->results, chunk.first, chunk.places,
                 chunk.out.data());
    if (taps_ == 1) return fill_runs(grid, source, padding, chunk.first, chunk.places, chunk.runs);
    for (std::int64_t i = 0; i < ceil_div(chunk.places, tile_.rows); ++i) {
      const int rows = rows_of(i, chunk.places);
      fill_runs(grid, source, padding, chunk.first + i * tile_.rows, rows,
                chunk.runs + i * tile_step());
      if (prefetches_) {
        std::copy_n(chunk.runs + i * tile_step() + product_.furthest_tap * kMaxTileRows, rows,
                    chunk.furthest.data() + i * tile_.rows);
      }
    }
  }

  const T* flat_source(std::int64_t group, std::int64_t place) const {
    return product_.source + group * product_.source_group + place * product_.grid->source.axis[2];
  }

  // Both sides are walked through in order: nothing is looked up.
  void locate_flat(std::int64_t group, Chunk& chunk) const {
    const std::int64_t source_step = product_.grid->source.axis[2];
    const std::int64_t result_step = product_.grid->result.axis[2];
    T* result = product_.result + group * product_.view->results + chunk.first * result_step;
    const T* source = flat_source(group, chunk.first);
    for (std::int64_t i = 0; i < chunk.places; ++i) {
      chunk.runs[i] = source + i * source_step;
      chunk.out[static_cast<std::size_t>(i)] = result + i * result_step;
    }
  }

  // A chunk, times a part of the blocks. A block's weights stay in cache for all tiles of the
  // chunk; what the next chunk will read comes in meanwhile.
  void multiply(std::int64_t group, std::int64_t part, const Chunk& chunk,
                const Chunk& next) const {
    const T* weights = product_.packed + group * product_.view->packed_size(tile_.lanes);
    const std::int64_t begin = part * blocks_ / block_parts_;
    const std::int64_t end = (part + 1) * blocks_ / block_parts_;
    const std::int64_t share = prefetches_ ? ceil_div(next.places, end - begin) : 0;
    std::int64_t ahead_place = 0;
    for (std::int64_t block = begin; block < end; ++block, ahead_place += share) {
      kernels::patch_product<T>({
          .runs = chunk.runs,
          .taps = taps_,
          .run = run_,
          .weights = weights + product_.view->block_begin(block, tile_.lanes),
          .bias =
              product_.bias == nullptr ? nullptr : product_.bias + group * product_.view->results,
          .out = chunk.out.data(),
          .column = block * 2 * tile_.lanes,
          .rows = static_cast<int>(chunk.places),
          .width = block_width(product_.view->results, block, tile_.lanes),
          .ahead = ahead(group, next, ahead_place, std::min(ahead_place + share, next.places)),
          .bypass = bypasses_,
          .epilogue = product_.finish == nullptr ? nullptr : product_.finish->at_store(),
          .tile_step = tile_step(),
          .row_step = flat_ ? product_.grid->source.axis[2] : 0,
          .most_rows = most_rows_,
      });
    }
    if (finishes_) finish(chunk, begin, end);
  }

  // The rest of the epilogue for these blocks of a chunk.
  void finish(const Chunk& chunk, std::int64_t begin, std::int64_t end) const {
    const std::int64_t first = begin * 2 * tile_.lanes;
    const std::int64_t count = std::min(end * 2 * tile_.lanes, product_.view->results) - first;
    RestOf<T> rest(*product_.finish);
    for (std::int64_t place = 0; place < chunk.places; ++place)
      rest.add(count, chunk.out[static_cast<std::size_t>(place)] + first);
  }

  // The memory from the first to the last of these places that the furthest tap reads: the other
  // taps mostly read it earlier.
  kernels::Ahead ahead(std::int64_t group, const Chunk& chunk, std::int64_t begin,
                       std::int64_t end) const {
    if (begin >= end) return {};
    if (flat_) {
      return {flat_source(group, chunk.first + begin),
              (end - begin) * product_.grid->source.axis[2] * static_cast<std::int64_t>(sizeof(T))};
    }
    const T* const* furthest = taps_ == 1 ? chunk.runs : chunk.furthest.data();
    const T* first = furthest[begin];
    const std::int64_t values = furthest[end - 1] + run_ - first;
    const bool in_order = values > 0 && values < 4 * (end - begin) * run_;
    return {first, in_order ? values * static_cast<std::int64_t>(sizeof(T)) : 0};
  }

  int rows_of(std::int64_t tile, std::int64_t count) const {
    return static_cast<int>(std::min<std::int64_t>(tile_.rows, count - tile * tile_.rows));
  }

  const Product<T>& product_;
  int most_rows_;  // of a tile
  kernels::TileSize tile_;
  std::int64_t places_;
  std::int64_t tiles_;
  std::int64_t taps_;
  std::int64_t run_;
  std::int64_t blocks_;
  Workspace padding_;  // what a padding cell holds
  std::int64_t tile_parts_ = 1;
  std::int64_t block_parts_ = 1;
  std::int64_t tiles_per_chunk_ = 1;
  bool flat_ = false;
  bool prefetches_ = false;
  bool bypasses_ = false;
  bool finishes_ = false;  // results that are in memory already
};

template <class T>
void forward(const ConvProblem& problem, const ConvArgs& args) {
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  const std::int64_t in = problem.in_channels / problem.groups;
  const std::int64_t taps = problem.taps();
  WeightView view{.groups = problem.groups,
                  .group_step = problem.out_channels / problem.groups * in * taps,
                  .results = problem.out_channels / problem.groups,
                  .result_step = in * taps,
                  .taps = {},
                  .run = multiples(in, taps)};
  const PatchGrid grid = forward_grid(problem);
  const Finish<T> finish(args);
  Product<T> product{.grid = &grid,
                     .view = &view,
                     .source = static_cast<const T*>(args.first),
                     .packed = nullptr,
                     .bias = static_cast<const T*>(args.bias),
                     .result = static_cast<T*>(args.result),
                     .padding_value = static_cast<T>(problem.padding_value),
                     .source_group = in,
                     .furthest_tap = 0,
                     .finish = &finish};
  view.taps = tap_offsets(grid, axes);
  product.furthest_tap = static_cast<std::int64_t>(view.taps.size()) - 1;
  const auto packed =
      pack_weights<T>(problem, Pass::forward, args, {view}, kernels::tile_size<T>().lanes);
  product.packed = packed->template as<T>();
  ProductRunner<T>(product).run();
}

template <class T>
void backward_data(const ConvProblem& problem, const ConvArgs& args) {
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  const std::int64_t in = problem.in_channels / problem.groups;
  const std::int64_t out = problem.out_channels / problem.groups;
  const std::int64_t taps = problem.taps();
  const int lanes = kernels::tile_size<T>().lanes;
  const std::vector<PatchGrid> grids = backward_grids(problem);
  std::vector<WeightView> views;
  for (const PatchGrid& grid : grids) {
    views.push_back({.groups = problem.groups,
                     .group_step = out * in * taps,
                     .results = in,
                     .result_step = taps,
                     .taps = tap_offsets(grid, axes),
                     .run = multiples(out, in * taps)});
  }
  clear_unread(problem, grids, static_cast<T*>(args.result));
  const auto packed = pack_weights<T>(problem, Pass::backward_data, args, views, lanes);
  const T* next = packed->template as<T>();
  for (std::size_t phase = 0; phase < grids.size(); ++phase) {
    const Product<T> product{.grid = &grids[phase],
                             .view = &views[phase],
                             .source = static_cast<const T*>(args.first),
                             .packed = next,
                             .bias = nullptr,
                             .result = static_cast<T*>(args.result),
                             .padding_value = T(0),
                             .source_group = out,
                             .furthest_tap = 0};
    ProductRunner<T>(product).run();
    next += views[phase].groups * views[phase].packed_size(lanes);
  }
}

template <class T>
void run_pass(const ConvProblem& problem, Pass pass, const ConvArgs& args) {
  switch (pass) {
    case Pass::forward:
      if (stages_groups<T>(problem, pass)) return run_groups<T>(problem, pass, args);
      if (joins_rows(problem)) return forward_joined<T>(problem, args);
      return forward<T>(problem, args);
    case Pass::backward_data:
      if (stages_groups<T>(problem, pass)) return run_groups<T>(problem, pass, args);
      if (folds<T>(problem)) return backward_data_folded<T>(problem, args);
      return backward_data<T>(problem, args);
    case Pass::backward_weights:
      if (gradient_is_flat<T>(problem)) return backward_weights_flat<T>(problem, args);
      if (copies_group_rows<T>(problem)) return backward_weights_groups<T>(problem, args);
      if (assembles<T>(problem)) return backward_weights_assembled<T>(problem, args);
      return backward_weights<T>(problem, args);
  }
}

std::optional<std::string> refuses(const ConvProblem&, Pass) {
  return std::nullopt;
}

std::size_t workspace(const ConvProblem& problem, Pass pass) {
  return dispatch_floating(problem.dtype, [&](auto tag) -> std::size_t {
    using T = typename decltype(tag)::type;
    if (pass == Pass::backward_weights) {
      return gradient_is_flat<T>(problem)    ? flat_workspace<T>(problem)
             : copies_group_rows<T>(problem) ? group_weights_workspace<T>(problem)
             : assembles<T>(problem)         ? assembled_workspace<T>(problem)
                                             : backward_weights_workspace<T>(problem);
    }
    const std::int64_t lanes = kernels::tile_size<T>().lanes;
    const std::int64_t results =
        (pass == Pass::forward ? problem.out_channels : problem.in_channels) / problem.groups;
    const std::int64_t reduced =
        (pass == Pass::forward ? problem.in_channels : problem.out_channels) / problem.groups;
    std::int64_t values =
        ceil_div(results, lanes) * lanes * reduced * problem.groups * problem.taps();
    if (pass == Pass::forward && joins_rows(problem)) values += padded_values(problem);
    if (pass == Pass::backward_data && folds<T>(problem)) values += folded_values(problem);
    return static_cast<std::size_t>(values) * sizeof(T);
  });
}

void run(const ConvProblem& problem, Pass pass, const ConvArgs& args) {
  dispatch_floating(problem.dtype,
                    [&](auto tag) { run_pass<typename decltype(tag)::type>(problem, pass, args); });
}

// The table knows every mode but mean, whose padding differs between samples and channels; the copy
// of few channels knows that too. Gradients of cells that the padding copies must be folded
// together.
bool reads_padding(const ConvProblem& problem, Pass pass) {
  if (pass == Pass::backward_data) return false;
  return problem.padding_mode != PaddingMode::mean ||
         (pass == Pass::forward && joins_rows(problem));
}

}  // namespace

const ConvAlgorithm direct = {
    .name = "direct",
    .summary = "a register-blocked matrix product over patches that are never copied",
    .refuses = refuses,
    .predict = direct_cost,
    .workspace = workspace,
    .run = run,
    .reads_padding = reads_padding,
};

}  // namespace fovea::conv
