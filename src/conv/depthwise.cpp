// `depthwise`: convolutions whose groups are narrower than a vector, several groups at a time [B].
//
// Depthwise layers (one channel per group), channel multipliers, and groups of a few channels as in
// ResNeXt. A vector holds the result channels of several groups; where a group has more than one
// channel, the source vector is permuted so that each lane meets the channels of its own group.
// Forward and backward_data walk over the rows of the result; backward_weights adds up over rows.
// Tasks follow from the problem alone, so results are the same bits for any number of threads.
#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "conv/algorithms.h"
#include "conv/axes.h"
#include "conv/cost.h"
#include "conv/depthwise.h"
#include "conv/epilogue.h"
#include "conv/joined_quads.h"
#include "conv/joined_rows.h"
#include "conv/packed_weights.h"
#include "conv/patch_grid.h"
#include "conv/tasks.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "kernels/depthwise_rows.h"
#include "kernels/group_product.h"
#include "kernels/patch_product.h"
#include "kernels/stream.h"

namespace fovea::conv {
namespace {

using kernels::ChannelBlock;

// The gradient of the input of a channel multiplier: every output channel by itself as if each had
// an input channel of its own, then the channels of a group added up.
bool sums_multiplier(const ConvProblem& problem, Pass pass) {
  return pass == Pass::backward_data && problem.in_channels == problem.groups &&
         problem.out_channels > problem.groups;
}

Group kernel_group(const ConvProblem& problem, Pass pass) {
  if (sums_multiplier(problem, pass)) return {problem.out_channels, 1, 1};
  return group_of(problem, pass);
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
    if (span_of(group, piece.channel, lanes).channels > lanes)
      return fmt::format("a vector of {} results would read more than {} channels", lanes, lanes);
  }
  return std::nullopt;
}

// Into how many tasks to cut a pass that writes a tensor: of so much arithmetic or so many bytes
// that each is worth it.
std::int64_t tasks_of(const ConvProblem& problem) {
  constexpr double kMultiplyAdds = 1 << 18;
  constexpr double kBytes = 1 << 17;
  const auto bytes = static_cast<double>(
      static_cast<std::size_t>(problem.input_shape().numel() + problem.output_shape().numel()) *
      size_of(problem.dtype));
  const auto multiply_adds = static_cast<double>(problem.multiply_adds());
  return even_tasks_for(std::max(multiply_adds / kMultiplyAdds, bytes / kBytes), 1);
}

// Where the weight of (result channel, reduced channel) of tap 0 is in [out][in][taps].
std::int64_t weight_offset(const ConvProblem& problem, Pass pass, std::int64_t result,
                           std::int64_t reduced) {
  const std::int64_t in = problem.in_channels / problem.groups;
  const std::int64_t out = problem.out_channels / problem.groups;
  if (pass == Pass::forward || sums_multiplier(problem, pass)) {
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
        by_quads_(pass == Pass::backward_data && JoinedQuads(axes_).fits() &&
                  !sums_multiplier(problem, pass) && are_whole(blocks_.list)),
        bypasses_(bypasses(result_shape(problem, pass))) {
    const bool forward = pass == Pass::forward;
    if (forward) {
      grids_.push_back(forward_grid(problem));
    } else {
      grids_ = backward_grids(problem);
    }
    for (std::size_t a = 0; a < 3; ++a) {
      const std::vector<std::int64_t> phases =
          forward ? std::vector<std::int64_t>{0} : backward_phases(axes_[a]);
      const std::int64_t step = forward ? 1 : axes_[a].stride;
      phases_[a] = std::ssize(phases);
      cells_[a].resize(static_cast<std::size_t>(forward ? axes_[a].output() : axes_[a].input));
      for (std::int64_t phase = 0; phase < phases_[a]; ++phase) {
        const std::int64_t first = phases[static_cast<std::size_t>(phase)];
        for (std::int64_t cell = first; cell < std::ssize(cells_[a]); cell += step)
          cells_[a][static_cast<std::size_t>(cell)] = {static_cast<int>(phase),
                                                       static_cast<int>((cell - first) / step)};
      }
    }
    for (const PatchGrid& grid : grids_) inner_axes_.push_back(inner_axis(grid));
    std::int64_t place = 0;
    for (const std::vector<std::int64_t>& taps : packed_taps()) {
      std::vector<ChannelBlock<T>>& blocks = grid_blocks_.emplace_back(blocks_.list);
      for (ChannelBlock<T>& block : blocks) {
        block.weights = place;
        place += std::ssize(taps) * block_values(block, group_.sources);
      }
    }
  }

  void run() {
    if (pass_ == Pass::backward_data) clear_unread(problem_, grids_, static_cast<T*>(args_.result));
    if (grids_.empty()) return;
    const auto packed = derive_weights(
        problem_, pass_, args_, by_quads_ ? WeightOrder::quads : WeightOrder::across_groups,
        kernels::vector_lanes<T>(), static_cast<std::size_t>(packed_values()) * sizeof(T),
        [&](void* memory) { pack(static_cast<T*>(memory)); });
    weights_ = packed->template as<T>();
    const std::int64_t blocks = std::ssize(blocks_.list);
    const std::int64_t rows = problem_.batch * std::ssize(cells_[0]) * std::ssize(cells_[1]);
    const std::int64_t tasks = tasks_of(problem_);
    if (by_quads_) return run_quads(tasks);
    const JoinedRows joined(grids_.front());
    const bool joins = grids_.size() == 1 && !sums_multiplier(problem_, pass_) && joined.fits() &&
                       are_whole(blocks_.list);
    // Larger kernels read many rows around those of a task: rather whole planes of fewer channels.
    const bool is_tall = joins && joined.taps() > 3;
    const std::int64_t planes = is_tall ? std::min(joined.planes(), tasks) : 1;
    const Parts parts(sums_multiplier(problem_, pass_) ? 1 : blocks,
                      ceil_div(packed_values(), blocks), sizeof(T),
                      is_tall ? ceil_div(tasks, planes) : 1);
    const std::int64_t chunks =
        is_tall ? std::max(planes, std::min(tasks / parts.count(), rows / (2 * joined.taps())))
                : std::clamp<std::int64_t>(ceil_div(tasks, parts.count()), 1, rows);
    parallel_for(parts.count() * chunks, [&](std::int64_t task) {
      // Channels innermost: what the CPU fetches beside those of a part is wanted next.
      const std::int64_t chunk = task / parts.count();
      const std::int64_t part = task % parts.count();
      const bool all = parts.count() == 1;
      const std::int64_t first_block = all ? 0 : parts.begin(part);
      const std::int64_t last_block = all ? blocks : parts.begin(part + 1);
      const std::int64_t first = chunk * rows / chunks;
      const std::int64_t last = (chunk + 1) * rows / chunks;
      if (joins) return run_joined_rows(joined, first_block, last_block, first, last);
      run_rows(first_block, last_block, first, last);
    });
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
    return !sums_multiplier(problem_, pass_) && !finish_.remains() &&
           bypasses_caches(args_.result, shape.numel() * value, shape[1] * value);
  }

  static std::int64_t tap_count(const PatchGrid& grid) {
    std::int64_t count = 1;
    for (const GridAxis& axis : grid.axes) count *= std::ssize(axis.taps);
    return count;
  }

  // Which taps are packed: those of each grid, or all in order.
  std::vector<std::vector<std::int64_t>> packed_taps() const {
    std::vector<std::vector<std::int64_t>> taps;
    if (by_quads_) {
      std::vector<std::int64_t>& all = taps.emplace_back(static_cast<std::size_t>(problem_.taps()));
      std::iota(all.begin(), all.end(), 0);
      return taps;
    }
    for (const PatchGrid& grid : grids_) taps.push_back(tap_offsets(grid, axes_));
    return taps;
  }

  // [grid][block][tap][reduced][vector][lane]
  void pack(T* to) const {
    const T* weights = static_cast<const T*>(args_.second);
    for (const std::vector<std::int64_t>& taps : packed_taps()) {
      for (const ChannelBlock<T>& block : blocks_.list) {
        const std::int64_t step = block_values(block, group_.sources);
        for (std::int64_t i = 0; i < group_.sources; ++i) {
          for (std::int64_t j = 0; j < block.lanes; ++j, ++to) {
            const T* from = weights + weight_offset(problem_, pass_, block.channel + j, i);
            for (std::size_t t = 0; t < taps.size(); ++t)
              to[static_cast<std::int64_t>(t) * step] = from[taps[t]];
          }
        }
        to += step * (std::ssize(taps) - 1);
      }
    }
  }

  void run_quads(std::int64_t tasks) const {
    const JoinedQuads quads(axes_);
    const std::int64_t rows = problem_.batch * quads.rows();
    const std::int64_t chunks = std::clamp<std::int64_t>(tasks, 1, rows);
    const GridStrides& source = grids_.front().source;
    const GridStrides& result = grids_.front().result;
    parallel_for(chunks, [&](std::int64_t chunk) {
      const auto run = [&](kernels::DepthwiseQuads<T> job) {
        job.blocks = grid_blocks_.front().data();
        job.block_count = std::ssize(blocks_.list);
        job.weights = weights_;
        job.bias = static_cast<const T*>(args_.bias);
        job.bypass = bypasses_;
        kernels::depthwise_quads(job);
      };
      quads.for_each_window(source, static_cast<const T*>(args_.first), result,
                            static_cast<T*>(args_.result), chunk * rows / chunks,
                            (chunk + 1) * rows / chunks, run);
      if (bypasses_) kernels::finish_streaming();
    });
  }

  // Some blocks of some rows of the result, in bands.
  void run_joined_rows(const JoinedRows& joined, std::int64_t first_block, std::int64_t last_block,
                       std::int64_t first, std::int64_t last) const {
    const GridStrides& result = grids_.front().result;
    const auto run = [&](const kernels::RowWindow<T>& window, std::int64_t image,
                         std::int64_t place0, std::int64_t place1) {
      T* out = static_cast<T*>(args_.result) + image * result.image + place0 * result.axis[0] +
               place1 * result.axis[1];
      kernels::DepthwiseRows<T> job{
          .window = window,
          .blocks = grid_blocks_.front().data() + first_block,
          .block_count = last_block - first_block,
          .weights = weights_,
          .flipped = joined.flipped(),
          .bias = static_cast<const T*>(args_.bias),
          .out = out,
          .out_step = result.axis[2],
          .out_row_step = result.axis[1],
          .bypass = bypasses_,
          .epilogue = finish_.at_store(),
      };
      if (window.taps == 3) {
        const std::int64_t done = kernels::depthwise_runs(job);
        job.blocks += done;
        job.block_count -= done;
        if (job.block_count > 0) kernels::depthwise_rows(job);
      } else if (joined.fits_map()) {
        kernels::depthwise_map(job);
      } else {
        kernels::depthwise_columns(job);
      }
      if (finish_.remains())
        finish_row(first_block, last_block, window.count * window.outputs, out, result.axis[2]);
    };
    joined.for_each_window(static_cast<const T*>(args_.first), first, last, run);
    if (bypasses_) kernels::finish_streaming();
  }

  // Some blocks of some rows of the result.
  void run_rows(std::int64_t first_block, std::int64_t last_block, std::int64_t first,
                std::int64_t last) const {
    const bool sums = sums_multiplier(problem_, pass_);
    const std::int64_t channels = problem_.out_channels;  // of a row before its groups are summed
    std::vector<T> unsummed(sums ? static_cast<std::size_t>(std::ssize(cells_[2]) * channels) : 0);
    Row row;
    Row next;
    const auto multiply = [&] {
      if (row.grid < 0) return;
      row.ahead.clear();
      for (const T* source : next.sources) {
        if (std::ranges::find(row.sources, source) == row.sources.end())
          row.ahead.push_back(source);
      }
      const auto grid_index = static_cast<std::size_t>(row.grid);
      const PatchGrid& grid = grids_[grid_index];
      const std::int64_t step = grid.axes[2].step * grid.result.axis[2];
      kernels::group_product<T>({
          .inner = inner_axes_[grid_index],
          .rows = row.sources.data(),
          .row_taps = row.taps.data(),
          .row_count = std::ssize(row.sources),
          .blocks = grid_blocks_[grid_index].data() + first_block,
          .block_count = last_block - first_block,
          .reduced = group_.sources,
          .weights = weights_,
          .bias = static_cast<const T*>(args_.bias),
          .out = sums ? unsummed.data() : row.result,
          .out_step = sums ? channels : step,
          .ahead = row.ahead.data(),
          .ahead_count = std::ssize(row.ahead),
          .bypass = bypasses_,
          .epilogue = finish_.at_store(),
      });
      const int places = grid.axes[2].table.outputs;
      if (sums) sum_groups(unsummed.data(), places, row.result, step);
      if (finish_.remains()) finish_row(first_block, last_block, places, row.result, step);
    };
    // One row behind, to know what comes next.
    for (std::int64_t index = first; index < last; ++index) {
      for (std::int64_t phase = 0; phase < phases_[2]; ++phase) {
        if (!locate(index, phase, next)) continue;
        multiply();
        std::swap(row, next);
      }
    }
    next.sources.clear();
    multiply();
    if (bypasses_) kernels::finish_streaming();
  }

  // Where a row of a grid reads, and where it is written.
  struct Row {
    std::int64_t grid = -1;
    std::vector<const T*> sources;
    std::vector<int> taps;        // which pair of outer taps reads each
    std::vector<const T*> ahead;  // sources that the next row has and this has not
    T* result = nullptr;
  };

  // Those cells of row `index` of the result that are in one phase of the innermost axis. False if
  // no output reads them.
  bool locate(std::int64_t index, std::int64_t phase, Row& row) const {
    const Cell& cell1 = cells_[1][static_cast<std::size_t>(index % std::ssize(cells_[1]))];
    index /= std::ssize(cells_[1]);
    const Cell& cell0 = cells_[0][static_cast<std::size_t>(index % std::ssize(cells_[0]))];
    if (cell0.phase < 0 || cell1.phase < 0) return false;
    row.grid = (cell0.phase * phases_[1] + cell1.phase) * phases_[2] + phase;
    const PatchGrid& grid = grids_[static_cast<std::size_t>(row.grid)];
    const GridSegment segment{.image = index / std::ssize(cells_[0]),
                              .place = {cell0.place, cell1.place, 0},
                              .count = grid.axes[2].table.outputs};
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
    return true;
  }

  // The rest of the epilogue for a row of these blocks, which cover neighbouring channels.
  void finish_row(std::int64_t first_block, std::int64_t last_block, std::int64_t places, T* result,
                  std::int64_t step) const {
    const std::int64_t first = blocks_.list[static_cast<std::size_t>(first_block)].channel;
    const ChannelBlock<T>& last = blocks_.list[static_cast<std::size_t>(last_block - 1)];
    const std::int64_t channels = last.channel + last.lanes - first;
    RestOf<T> rest(finish_);
    for (std::int64_t place = 0; place < places; ++place)
      rest.add(channels, result + first + place * step);
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
  // The grids, by phase of each axis, outermost first. Forward has one phase.
  std::vector<PatchGrid> grids_;
  std::vector<kernels::InnerAxis> inner_axes_;
  std::array<std::int64_t, 3> phases_{};
  std::vector<std::vector<ChannelBlock<T>>> grid_blocks_;  // and where their weights are
  // The phase of each cell of the result, and its place there; -1: no output reads it.
  struct Cell {
    int phase = -1;
    int place = 0;
  };
  std::array<std::vector<Cell>, 3> cells_;
  const T* weights_ = nullptr;
  bool by_quads_;
  bool bypasses_;
};

// Pairs of an output and a tap that reads no padding.
double pairs_inside(const AxisTable& table) {
  std::int64_t inside = 0;
  for (int tap = 0; tap < table.taps; ++tap) {
    for (int output = 0; output < table.outputs; ++output)
      inside += table.at(tap, output) != kPaddingCell;
  }
  return static_cast<double>(inside);
}

// The products of a plane of a small map, which leaves out the padding; backward_data has the same
// pairs.
std::optional<double> products_of_map(const ConvProblem& problem, const Group& group,
                                      std::int64_t lanes) {
  if (group.results != 1 || group.sources != 1 || group.count < lanes) return std::nullopt;
  const PatchGrid grid = forward_grid(problem);
  const JoinedRows joined(grid);
  if (!joined.fits() || !joined.fits_map()) return std::nullopt;
  return pairs_inside(grid.axes[1].table) * pairs_inside(grid.axes[2].table);
}

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
  if (pass != Pass::backward_weights) {
    if (const auto of_plane = products_of_map(problem, group, model.lanes))
      taps = *of_plane * static_cast<double>(problem.batch * axes[0].output()) / places;
  }
  // Whole vectors of results for each tap and source channel; permuting them; rows of results, for
  // each row of taps; what comes and goes. Fitted to measurements.
  const double channels =
      static_cast<double>(ceil_div(group.count * group.results, model.lanes) * model.lanes);
  const double products =
      places * channels * taps * static_cast<double>(group.sources) / model.multiply_adds;
  const double vectors = channels / static_cast<double>(model.lanes);
  const double rows = places / row * vectors / 2 * taps / static_cast<double>(axes[2].kernel);
  const bool strided = std::ranges::any_of(axes, [](const ConvAxis& a) { return a.stride > 1; });
  const bool apart = strided && pass != Pass::backward_weights;
  const double each = group.sources == 1 ? 2.1 : apart ? 3.1 : 1.3;
  cost.cycles = pass_cycles(
      model, products * each + 40 * rows + 7 * places * vectors + 0.05 * cost.bytes, cost.bytes);
  return cost;
}

std::size_t workspace(const ConvProblem& problem, Pass pass) {
  return dispatch_floating(problem.dtype, [&](auto tag) -> std::size_t {
    using T = typename decltype(tag)::type;
    if (pass == Pass::backward_weights) return depthwise_weights_workspace<T>(problem);
    return static_cast<std::size_t>(Product<T>(problem, pass, {}).packed_values()) * sizeof(T);
  });
}

void run(const ConvProblem& problem, Pass pass, const ConvArgs& args) {
  dispatch_floating(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (pass == Pass::backward_weights) return depthwise_weights<T>(problem, args);
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
