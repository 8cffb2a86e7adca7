// `depthwise`: convolutions whose groups are narrower than a vector, several groups at a time [B].
//
// Depthwise layers (one channel per group), channel multipliers, and groups of a few channels as in
// ResNeXt. A vector holds the result channels of several groups; where a group has more than one
// channel, the source vector is permuted so that each lane meets the channels of its own group.
// Forward and backward_data walk over a patch grid row by row; backward_weights adds up over rows.
// Tasks follow from the problem alone, so results are the same bits for any number of threads.
#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <vector>

#include "conv/algorithms.h"
#include "conv/axes.h"
#include "conv/cost.h"
#include "conv/epilogue.h"
#include "conv/packed_weights.h"
#include "conv/patch_grid.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "kernels/group_product.h"
#include "kernels/patch_product.h"

namespace fovea::conv {
namespace {

using kernels::ChannelBlock;
using kernels::LaneIndex;

constexpr std::int64_t kTasks = 64;
constexpr std::int64_t kWorkPerTask = 1 << 17;   // multiply-adds: some ten microseconds
constexpr std::int64_t kWeightBytes = 24 << 10;  // that stay in the first-level cache

// What a pass computes, per group: `results` channels, each from `sources` channels.
struct Group {
  std::int64_t count = 1;
  std::int64_t results = 1;
  std::int64_t sources = 1;
};

Group group_of(const ConvProblem& problem, Pass pass) {
  const std::int64_t in = problem.in_channels / problem.groups;
  const std::int64_t out = problem.out_channels / problem.groups;
  if (pass == Pass::backward_data) return {problem.groups, in, out};
  return {problem.groups, out, in};
}

// The gradient of the input of a channel multiplier: every output channel by itself as if each had
// an input channel of its own, then the channels of a group added up.
bool sums_groups(const ConvProblem& problem, Pass pass) {
  return pass == Pass::backward_data && problem.in_channels == problem.groups &&
         problem.out_channels > problem.groups;
}

Group kernel_group(const ConvProblem& problem, Pass pass) {
  if (sums_groups(problem, pass)) return {problem.out_channels, 1, 1};
  return group_of(problem, pass);
}

// First source channel and channels spanned by the groups of result channels [first, first +
// lanes).
struct Span {
  std::int64_t first = 0;
  std::int64_t channels = 0;
};
Span span_of(const Group& group, std::int64_t first, std::int64_t lanes) {
  const std::int64_t begin = first / group.results;
  const std::int64_t end = (first + lanes - 1) / group.results + 1;
  return {begin * group.sources, (end - begin) * group.sources};
}

// First channels of blocks of one or two vectors that cover `channels`. The last is moved back to
// end with them: it computes some again, to the same bits.
struct Piece {
  std::int64_t channel;
  int lanes;
  int vectors;
};
std::vector<Piece> pieces_of(std::int64_t channels, int lanes) {
  std::vector<Piece> pieces;
  if (channels < lanes) {
    const auto part = static_cast<int>(std::bit_floor(static_cast<std::uint64_t>(channels)));
    pieces.push_back({0, part, 1});
    if (part < channels) pieces.push_back({channels - part, part, 1});
    return pieces;
  }
  std::int64_t channel = 0;
  for (; channel + 2 * lanes <= channels; channel += 2 * lanes) {
    pieces.push_back({channel, lanes, 2});
  }
  const std::int64_t rest = channels - channel;
  if (rest > lanes && channels >= 2 * lanes) {
    pieces.push_back({channels - 2 * lanes, lanes, 2});
  } else if (rest > 0) {
    if (rest > lanes) pieces.push_back({0, lanes, 1});
    pieces.push_back({channels - lanes, lanes, 1});
  }
  return pieces;
}

std::optional<std::string> refuses(const ConvProblem& problem, Pass pass) {
  if (problem.groups == 1) return "there is one group only; its channels fill vectors";
  const Group group = kernel_group(problem, pass);
  if (group.results == 1 && group.sources == 1) return std::nullopt;
  const int lanes = dispatch_floating(problem.dtype, [](auto tag) {
    return kernels::vector_lanes<typename decltype(tag)::type>();
  });
  if (group.results >= lanes) return "the channels of one group fill a vector by themselves";
  if (group.count * std::min(group.results, group.sources) < lanes) {
    return fmt::format("all groups together have fewer channels than a vector has lanes, {}",
                       lanes);
  }
  for (const Piece& piece : pieces_of(group.count * group.results, lanes)) {
    for (int v = 0; v < piece.vectors; ++v) {
      if (span_of(group, piece.channel + v * lanes, lanes).channels > lanes) {
        return fmt::format("a vector of {} results would read more than {} channels", lanes, lanes);
      }
    }
  }
  return std::nullopt;
}

// The blocks of a pass, and the permutations that they point to.
template <class T>
struct Blocks {
  std::vector<ChannelBlock<T>> list;
  std::vector<LaneIndex<T>> lookups;
  std::int64_t values = 0;  // results times reduced channels of all blocks, per tap
};

template <class T>
std::int64_t block_values(const ChannelBlock<T>& block, std::int64_t sources) {
  return block.lanes * block.vectors * sources;
}

template <class T>
Blocks<T> blocks_of(const Group& group) {
  const int lanes = kernels::vector_lanes<T>();
  const std::int64_t all_sources = group.count * group.sources;
  const bool spreads = group.results > 1 || group.sources > 1;
  Blocks<T> blocks;
  const std::vector<Piece> pieces = pieces_of(group.count * group.results, lanes);
  blocks.lookups.reserve(
      spreads ? pieces.size() * static_cast<std::size_t>(2 * lanes * group.sources) : 0);
  for (const Piece& piece : pieces) {
    ChannelBlock<T> block{.channel = piece.channel, .lanes = piece.lanes, .vectors = piece.vectors};
    for (int v = 0; v < piece.vectors; ++v) {
      const std::int64_t first = piece.channel + v * piece.lanes;
      block.source[v] =
          spreads ? std::min(span_of(group, first, lanes).first, all_sources - lanes) : first;
    }
    if (spreads) {
      block.lookup = blocks.lookups.data() + blocks.lookups.size();
      for (std::int64_t i = 0; i < group.sources; ++i) {
        for (int v = 0; v < piece.vectors; ++v) {
          for (int lane = 0; lane < lanes; ++lane) {
            const std::int64_t result = piece.channel + v * lanes + lane;
            const std::int64_t source = result / group.results * group.sources + i;
            blocks.lookups.push_back(static_cast<LaneIndex<T>>(source - block.source[v]));
          }
        }
      }
    }
    blocks.values += block_values(block, group.sources);
    blocks.list.push_back(block);
  }
  return blocks;
}

kernels::InnerAxis inner_axis(const PatchGrid& grid) {
  const AxisTable& inner = grid.axes[2].table;
  return {.cells = inner.row(0),
          .tap_step = inner.tap_step,
          .output_step = inner.output_step,
          .taps = inner.taps,
          .outputs = inner.outputs,
          .cell_values = grid.source.axis[2]};
}

// ---- Forward and backward_data.

// Where the weight of (result channel, reduced channel) of tap 0 is in [out][in][taps].
std::int64_t weight_offset(const ConvProblem& problem, Pass pass, std::int64_t result,
                           std::int64_t reduced) {
  const std::int64_t in = problem.in_channels / problem.groups;
  const std::int64_t out = problem.out_channels / problem.groups;
  if (pass == Pass::forward || sums_groups(problem, pass)) {
    return (result * in + reduced) * problem.taps();
  }
  return ((result / in * out + reduced) * in + result % in) * problem.taps();
}

template <class T>
class Product {
 public:
  Product(const ConvProblem& problem, Pass pass, const ConvArgs& args)
      : problem_(problem),
        pass_(pass),
        args_(args),
        finish_(args),
        axes_(three_axes(problem)),
        group_(kernel_group(problem, pass)),
        blocks_(blocks_of<T>(group_)),
        padding_(static_cast<std::size_t>(kernels::vector_lanes<T>()), T(0)),
        bypasses_(bypasses(result_shape(problem, pass))) {
    if (pass == Pass::forward) {
      PatchGrid grid{.batch = problem.batch,
                     .axes = {},
                     .source = dense_strides(input_sizes(axes_), problem.in_channels),
                     .result = dense_strides(output_sizes(axes_), problem.out_channels)};
      for (std::size_t a = 0; a < 3; ++a)
        grid.axes[a] = forward_axis(axes_[a], problem.padding_mode);
      grids_.push_back(std::move(grid));
      return;
    }
    grids_ = backward_grids(problem);
  }

  void run() {
    std::int64_t places = 0;
    for (const PatchGrid& grid : grids_) places += grid.places();
    // Cells that no output has read.
    const std::int64_t values = problem_.input_shape().numel();
    if (pass_ == Pass::backward_data && places * problem_.in_channels < values)
      std::memset(args_.result, 0, static_cast<std::size_t>(values) * sizeof(T));
    const auto packed = derive_weights(problem_, pass_, args_, WeightOrder::across_groups,
                                       kernels::vector_lanes<T>(),
                                       static_cast<std::size_t>(packed_values()) * sizeof(T),
                                       [&](void* memory) { pack(static_cast<T*>(memory)); });
    const T* weights = packed->template as<T>();
    for (const PatchGrid& grid : grids_) {
      run_grid(grid, weights);
      weights += tap_count(grid) * blocks_.values;
    }
  }

  // Weights of all grids together.
  std::int64_t packed_values() const {
    std::int64_t values = 0;
    for (const PatchGrid& grid : grids_) values += tap_count(grid) * blocks_.values;
    return values;
  }

 private:
  bool bypasses(const Shape& shape) const {
    const auto value = static_cast<std::int64_t>(sizeof(T));
    return !sums_groups(problem_, pass_) && !finish_.remains() &&
           bypasses_caches(args_.result, shape.numel() * value, shape[1] * value);
  }

  static std::int64_t tap_count(const PatchGrid& grid) {
    std::int64_t count = 1;
    for (const GridAxis& axis : grid.axes) count *= std::ssize(axis.taps);
    return count;
  }

  // [grid][block][tap][reduced][vector][lane]
  void pack(T* to) const {
    const T* weights = static_cast<const T*>(args_.second);
    for (const PatchGrid& grid : grids_) {
      const std::vector<std::int64_t> taps = tap_offsets(grid, axes_);
      for (const ChannelBlock<T>& block : blocks_.list) {
        const std::int64_t step = block_values(block, group_.sources);
        for (std::int64_t i = 0; i < group_.sources; ++i) {
          for (std::int64_t j = 0; j < block.lanes * block.vectors; ++j, ++to) {
            const T* from = weights + weight_offset(problem_, pass_, block.channel + j, i);
            for (std::size_t t = 0; t < taps.size(); ++t)
              to[static_cast<std::int64_t>(t) * step] = from[taps[t]];
          }
        }
        to += step * (std::ssize(taps) - 1);
      }
    }
  }

  void run_grid(const PatchGrid& grid, const T* weights) const {
    const bool sums = sums_groups(problem_, pass_);
    const std::int64_t taps = tap_count(grid);
    std::vector<ChannelBlock<T>> blocks = blocks_.list;
    std::int64_t place = 0;
    for (ChannelBlock<T>& block : blocks) {
      block.weights = place;
      place += taps * block_values(block, group_.sources);
    }
    const std::int64_t rows = grid.batch * grid.axes[0].table.outputs * grid.axes[1].table.outputs;
    // Weights that do not fit the first-level cache are used one block at a time.
    const bool apart = !sums && place * static_cast<std::int64_t>(sizeof(T)) > kWeightBytes;
    // The last two may overlap, and are then computed by the same task.
    const std::int64_t parts = apart ? std::max<std::int64_t>(std::ssize(blocks) - 1, 1) : 1;
    const std::int64_t count = std::ssize(blocks);
    const std::int64_t at_once = apart ? 1 : count;
    const std::int64_t work = rows * grid.axes[2].table.outputs * place;
    const std::int64_t chunks = std::clamp<std::int64_t>(
        ceil_div(std::clamp<std::int64_t>(work / kWorkPerTask, 1, kTasks), parts), 1, rows);
    parallel_for(parts * chunks, [&](std::int64_t task) {
      const std::int64_t chunk = task % chunks;
      const std::int64_t part = task / chunks;
      for (std::int64_t b = part * count / parts; b < (part + 1) * count / parts; b += at_once) {
        run_rows(grid, weights, {blocks.data() + b, static_cast<std::size_t>(at_once)},
                 chunk * rows / chunks, (chunk + 1) * rows / chunks);
      }
    });
  }

  void run_rows(const PatchGrid& grid, const T* weights, std::span<const ChannelBlock<T>> blocks,
                std::int64_t first, std::int64_t last) const {
    const AxisTable& inner = grid.axes[2].table;
    const std::int64_t step = grid.axes[2].step * grid.result.axis[2];
    const bool sums = sums_groups(problem_, pass_);
    const std::int64_t channels = problem_.out_channels;  // of a row before its groups are summed
    std::vector<T> unsummed(sums ? static_cast<std::size_t>(inner.outputs * channels) : 0);
    Row row;
    Row next;
    const auto multiply = [&] {
      row.ahead.clear();
      for (const T* source : next.sources) {
        if (std::ranges::find(row.sources, source) == row.sources.end())
          row.ahead.push_back(source);
      }
      kernels::group_product<T>({
          .inner = inner_axis(grid),
          .rows = row.sources.data(),
          .row_taps = row.taps.data(),
          .row_count = std::ssize(row.sources),
          .blocks = blocks.data(),
          .block_count = std::ssize(blocks),
          .reduced = group_.sources,
          .weights = weights,
          .padding = padding_.data(),
          .bias = static_cast<const T*>(args_.bias),
          .out = sums ? unsummed.data() : row.result,
          .out_step = sums ? channels : step,
          .ahead = row.ahead.data(),
          .ahead_count = std::ssize(row.ahead),
          .bypass = bypasses_,
          .epilogue = finish_.at_store(),
      });
      if (sums) sum_groups(unsummed.data(), inner.outputs, row.result, step);
      if (finish_.remains()) finish_row(blocks, inner.outputs, row.result, step);
    };
    // One row behind, to know what comes next.
    for_each_segment(grid, first * inner.outputs, (last - first) * inner.outputs,
                     [&](const GridSegment& segment, std::int64_t at) {
                       locate(grid, segment, next);
                       if (at > 0) multiply();
                       std::swap(row, next);
                     });
    next.sources.clear();
    multiply();
    if (bypasses_) kernels::finish_bypassing_stores();
  }

  // Where a row of the grid reads, and where it is written.
  struct Row {
    std::vector<const T*> sources;
    std::vector<int> taps;        // which pair of outer taps reads each
    std::vector<const T*> ahead;  // sources that the next row has and this has not
    T* result = nullptr;
  };

  void locate(const PatchGrid& grid, const GridSegment& segment, Row& row) const {
    row.sources.clear();
    row.taps.clear();
    const int taps1 = grid.axes[1].table.taps;
    for (int tap0 = 0; tap0 < grid.axes[0].table.taps; ++tap0) {
      for (int tap1 = 0; tap1 < taps1; ++tap1) {
        const T* source = source_row(grid, static_cast<const T*>(args_.first), segment, tap0, tap1);
        if (source == nullptr) continue;
        row.sources.push_back(source);
        row.taps.push_back(tap0 * taps1 + tap1);
      }
    }
    row.result = static_cast<T*>(args_.result) + segment.image * grid.result.image;
    for (std::size_t a = 0; a < 3; ++a) {
      row.result +=
          (grid.axes[a].first + segment.place[a] * grid.axes[a].step) * grid.result.axis[a];
    }
  }

  // The rest of the epilogue for a row of these blocks, which cover neighbouring channels.
  void finish_row(std::span<const ChannelBlock<T>> blocks, int places, T* result,
                  std::int64_t step) const {
    const std::int64_t first = blocks.front().channel;
    const ChannelBlock<T>& last = blocks.back();
    const std::int64_t channels = last.channel + last.lanes * last.vectors - first;
    RestOf<T> rest(finish_);
    for (int place = 0; place < places; ++place) rest.add(channels, result + first + place * step);
  }

  // result[place][group] = sum of the channels of the group.
  void sum_groups(const T* from, int places, T* result, std::int64_t step) const {
    const std::int64_t width = problem_.out_channels / problem_.groups;
    for (int place = 0; place < places; ++place, result += step) {
      for (std::int64_t g = 0; g < problem_.groups; ++g, from += width) {
        T sum = 0;
        for (std::int64_t j = 0; j < width; ++j) sum += from[j];
        result[g] = sum;
      }
    }
  }

  const ConvProblem& problem_;
  Pass pass_;
  const ConvArgs& args_;
  Finish<T> finish_;
  std::array<ConvAxis, 3> axes_;
  Group group_;
  Blocks<T> blocks_;
  std::vector<T> padding_;
  std::vector<PatchGrid> grids_;
  bool bypasses_;
};

// ---- backward_weights: dw[o, c, k] = sum over positions of x[position + k][c] * g[position][o].
//
// A task adds up some blocks over some rows of output positions; the partial sums of rows are added
// in order.

template <class T>
class WeightGradient {
 public:
  WeightGradient(const ConvProblem& problem, const ConvArgs& args)
      : problem_(problem),
        args_(args),
        group_(group_of(problem, Pass::backward_weights)),
        blocks_(blocks_of<T>(group_)) {
    const std::array<ConvAxis, 3> axes = three_axes(problem);
    grid_.batch = problem.batch;
    for (std::size_t a = 0; a < 3; ++a) grid_.axes[a] = forward_axis(axes[a], problem.padding_mode);
    grid_.source = dense_strides(input_sizes(axes), problem.in_channels);
    rows_ = problem.batch * axes[0].output() * axes[1].output();
    for (const ChannelBlock<T>& block : blocks_.list) {
      begins_.push_back(size_);
      size_ += block_values(block, group_.sources) * problem.taps();
    }
    const auto sums = static_cast<double>(size_);
    const auto tensors =
        static_cast<double>(problem.input_shape().numel() + problem.output_shape().numel());
    const std::int64_t wanted =
        std::clamp<std::int64_t>(problem.multiply_adds() / kWorkPerTask, 1, kTasks);
    const bool apart = size_ * static_cast<std::int64_t>(sizeof(T)) > kWeightBytes;
    parts_ = apart ? std::ssize(blocks_.list) : 1;
    splits_ = std::clamp<std::int64_t>(static_cast<std::int64_t>(tensors / (2 * sums)), 1,
                                       std::min(ceil_div(wanted, parts_), rows_));
  }

  std::size_t workspace() const { return static_cast<std::size_t>(splits_ * size_) * sizeof(T); }

  void run() {
    const Workspace memory(workspace());
    sums_ = memory.as<T>();
    const std::int64_t per_part = std::ssize(blocks_.list) / parts_;
    parallel_for(parts_ * splits_, [&](std::int64_t task) {
      const std::int64_t split = task % splits_;
      const std::int64_t block = task / splits_ * per_part;
      sum_rows(block, block + per_part, split);
    });
    parallel_for(std::ssize(blocks_.list), [&](std::int64_t block) { write_block(block); });
  }

 private:
  T* sums_of(std::int64_t block, std::int64_t split) const {
    return sums_ + split * size_ + begins_[static_cast<std::size_t>(block)];
  }
  const ChannelBlock<T>& block_at(std::int64_t index) const {
    return blocks_.list[static_cast<std::size_t>(index)];
  }

  void sum_rows(std::int64_t first_block, std::int64_t last_block, std::int64_t split) const {
    const AxisTable& inner = grid_.axes[2].table;
    const int taps1 = grid_.axes[1].table.taps;
    for (std::int64_t b = first_block; b < last_block; ++b) {
      const std::int64_t values = block_values(block_at(b), group_.sources) * problem_.taps();
      std::memset(sums_of(b, split), 0, static_cast<std::size_t>(values) * sizeof(T));
    }
    const std::int64_t first = split * rows_ / splits_ * inner.outputs;
    const std::int64_t last = (split + 1) * rows_ / splits_ * inner.outputs;
    // The source row that each row of positions needs first, a row ahead.
    std::vector<const T*> furthest;
    for_each_segment(grid_, first, last - first, [&](const GridSegment& segment, std::int64_t) {
      const T* row = nullptr;
      for (int tap0 = grid_.axes[0].table.taps - 1; tap0 >= 0 && row == nullptr; --tap0) {
        for (int tap1 = taps1 - 1; tap1 >= 0 && row == nullptr; --tap1) {
          row = source_row(grid_, static_cast<const T*>(args_.first), segment, tap0, tap1);
        }
      }
      furthest.push_back(row);
    });
    std::size_t index = 0;
    for_each_segment(grid_, first, last - first, [&](const GridSegment& segment, std::int64_t at) {
      const T* gradient =
          static_cast<const T*>(args_.second) + (first + at) * problem_.out_channels;
      const T* ahead = ++index < furthest.size() ? furthest[index] : nullptr;
      for (std::int64_t b = first_block; b < last_block; ++b) {
        const std::int64_t step = block_values(block_at(b), group_.sources) * inner.taps;
        bool asked = false;
        for (int tap0 = 0; tap0 < grid_.axes[0].table.taps; ++tap0) {
          for (int tap1 = 0; tap1 < taps1; ++tap1) {
            const T* row =
                source_row(grid_, static_cast<const T*>(args_.first), segment, tap0, tap1);
            if (row == nullptr) continue;
            kernels::group_gradient<T>({
                .inner = inner_axis(grid_),
                .row = row,
                .gradient = gradient,
                .gradient_step = problem_.out_channels,
                .block = block_at(b),
                .reduced = group_.sources,
                .sums = sums_of(b, split) + (tap0 * taps1 + tap1) * step,
                .ahead = asked ? nullptr : ahead,
                .ahead_gradient = gradient + inner.outputs * problem_.out_channels,
            });
            asked = true;
          }
        }
      }
    });
  }

  // Adds the splits in order and writes [o][c][tap].
  void write_block(std::int64_t index) const {
    const ChannelBlock<T>& block = block_at(index);
    const std::int64_t lanes = block.lanes * block.vectors;
    const std::int64_t taps = problem_.taps();
    const std::int64_t step = lanes * group_.sources;
    T* sum = sums_of(index, 0);
    for (std::int64_t split = 1; split < splits_; ++split) {
      const T* more = sums_of(index, split);
      for (std::int64_t i = 0; i < step * taps; ++i) sum[i] += more[i];
    }
    // Blocks overlap where the last was moved back; the earlier one writes what both have.
    const std::int64_t done =
        index == 0
            ? 0
            : block_at(index - 1).channel + block_at(index - 1).lanes * block_at(index - 1).vectors;
    T* dw = static_cast<T*>(args_.result);
    for (std::int64_t j = std::max<std::int64_t>(done - block.channel, 0); j < lanes; ++j) {
      for (std::int64_t i = 0; i < group_.sources; ++i) {
        T* to = dw + ((block.channel + j) * group_.sources + i) * taps;
        for (std::int64_t t = 0; t < taps; ++t) to[t] = sum[t * step + i * lanes + j];
      }
    }
  }

  const ConvProblem& problem_;
  const ConvArgs& args_;
  Group group_;
  Blocks<T> blocks_;
  PatchGrid grid_;
  std::int64_t rows_ = 0;             // of output positions
  std::vector<std::int64_t> begins_;  // of each block within the sums of one split
  std::int64_t size_ = 0;             // of the sums of one split
  std::int64_t parts_ = 1;
  std::int64_t splits_ = 1;
  T* sums_ = nullptr;
};

ConvCost predict(const ConvProblem& problem, Pass pass) {
  const CoreModel model = core_model(problem.dtype);
  ConvCost cost = least_cost(problem, pass);
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  const Group group = group_of(problem, pass);
  const bool to_data = pass == Pass::backward_data;
  double places = static_cast<double>(problem.output_positions());
  double taps = static_cast<double>(problem.taps());
  double row = static_cast<double>(axes[2].output());
  if (to_data) {
    places = static_cast<double>(problem.input_shape().numel()) /
             static_cast<double>(problem.in_channels);
    row = static_cast<double>(axes[2].input);
    for (const ConvAxis& axis : axes)
      taps /= static_cast<double>(std::min(axis.stride, axis.kernel));
  }
  // Whole vectors of results for each tap and source channel; permuting them; rows of results, for
  // each row of taps; what comes and goes. Fitted to measurements.
  const double channels =
      static_cast<double>(ceil_div(group.count * group.results, model.lanes) * model.lanes);
  const double products =
      places * channels * taps * static_cast<double>(group.sources) / model.multiply_adds;
  const double vectors = channels / static_cast<double>(model.lanes);
  const double rows = places / row * vectors / 2 * taps / static_cast<double>(axes[2].kernel);
  cost.cycles = pass_cycles(model,
                            products * (group.sources > 1 ? 3.1 : 2.1) + 40 * rows +
                                7 * places * vectors + 0.05 * cost.bytes,
                            cost.bytes);
  return cost;
}

std::size_t workspace(const ConvProblem& problem, Pass pass) {
  return dispatch_floating(problem.dtype, [&](auto tag) -> std::size_t {
    using T = typename decltype(tag)::type;
    if (pass == Pass::backward_weights) return WeightGradient<T>(problem, {}).workspace();
    return static_cast<std::size_t>(Product<T>(problem, pass, {}).packed_values()) * sizeof(T);
  });
}

void run(const ConvProblem& problem, Pass pass, const ConvArgs& args) {
  dispatch_floating(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (pass == Pass::backward_weights) return WeightGradient<T>(problem, args).run();
    Product<T>(problem, pass, args).run();
  });
}

// Rows of padding are left out, which only zeros allow; gradients of copied cells must be folded
// together.
bool reads_padding(const ConvProblem& problem, Pass pass) {
  return pass != Pass::backward_data && problem.padding_mode != PaddingMode::mean &&
         problem.padding_mode != PaddingMode::constant;
}

}  // namespace

const ConvAlgorithm depthwise = {
    .name = "depthwise",
    .summary = "groups narrower than a vector, several of them at a time",
    .refuses = refuses,
    .predict = predict,
    .workspace = workspace,
    .run = run,
    .reads_padding = reads_padding,
};

}  // namespace fovea::conv
