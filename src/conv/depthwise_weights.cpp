// `depthwise`, backward_weights: dw[o, c, k] = sum over positions of x[position + k][c] *
// g[position][o].
//
// A task adds up some blocks over some rows of output positions; the partial sums of rows are added
// in order.
#include <algorithm>
#include <cstring>
#include <vector>

#include "conv/depthwise.h"
#include "conv/joined_rows.h"
#include "conv/patch_grid.h"
#include "conv/tasks.h"
#include "fovea/executor.h"
#include "kernels/depthwise_rows.h"
#include "kernels/transpose.h"

namespace fovea::conv {
namespace {

using kernels::ChannelBlock;

template <class T>
class WeightGradient {
 public:
  WeightGradient(const ConvProblem& problem, const ConvArgs& args)
      : problem_(problem),
        args_(args),
        group_(group_of(problem, Pass::backward_weights)),
        blocks_(blocks_of<T>(group_)),
        parts_(parts_of(problem, blocks_)),
        grid_(forward_grid(problem)),
        inner_(inner_axis(grid_)),
        rows_(grid_.batch * grid_.axes[0].table.outputs * grid_.axes[1].table.outputs) {
    for (ChannelBlock<T>& block : blocks_.list) {
      block.weights = size_;
      size_ += block_values(block, group_.sources) * problem.taps();
    }
    const auto sums = static_cast<double>(size_);
    const auto tensors =
        static_cast<double>(problem.input_shape().numel() + problem.output_shape().numel());
    splits_ = std::clamp<std::int64_t>(
        static_cast<std::int64_t>(tensors / (2 * sums)), 1,
        std::min(
            ceil_div(even_tasks_for(static_cast<double>(problem.multiply_adds())), parts_.count()),
            rows_));
  }

  std::size_t workspace() const { return static_cast<std::size_t>(splits_ * size_) * sizeof(T); }

  void run() {
    const Workspace memory(workspace());
    sums_ = memory.as<T>();
    const JoinedRows joined(grid_);
    const bool joins = joined.fits() && joined.taps() == 3 && are_whole(blocks_.list);
    parallel_for(parts_.count() * splits_, [&](std::int64_t task) {
      const std::int64_t split = task / parts_.count();
      const std::int64_t part = task % parts_.count();
      if (joins) return sum_joined_rows(joined, parts_.begin(part), parts_.begin(part + 1), split);
      sum_rows(parts_.begin(part), parts_.begin(part + 1), split);
    });
    parallel_for(std::ssize(blocks_.list), [&](std::int64_t block) { write_block(block); });
  }

 private:
  // Each split has sums of its own, which other threads then add: rather parts than splits, while
  // a part has some neighbouring lines of each cell.
  static Parts parts_of(const ConvProblem& problem, const Blocks<T>& blocks) {
    constexpr std::int64_t kBlocks = 8;
    const std::int64_t count = std::ssize(blocks.list);
    const std::int64_t tasks = even_tasks_for(static_cast<double>(problem.multiply_adds()));
    return Parts(count, ceil_div(blocks.values * problem.taps(), count), sizeof(T),
                 std::min(tasks / 2, count / kBlocks));
  }

  T* sums_of(std::int64_t block, std::int64_t split) const {
    return sums_ + split * size_ + block_at(block).weights;
  }
  const ChannelBlock<T>& block_at(std::int64_t index) const {
    return blocks_.list[static_cast<std::size_t>(index)];
  }

  void clear_sums(std::int64_t first_block, std::int64_t last_block, std::int64_t split) const {
    for (std::int64_t b = first_block; b < last_block; ++b) {
      const std::int64_t values = block_values(block_at(b), group_.sources) * problem_.taps();
      std::memset(sums_of(b, split), 0, static_cast<std::size_t>(values) * sizeof(T));
    }
  }

  void sum_joined_rows(const JoinedRows& joined, std::int64_t first_block, std::int64_t last_block,
                       std::int64_t split) const {
    const std::int64_t row_values = inner_.outputs * problem_.out_channels;
    const T* gradient = static_cast<const T*>(args_.second) + split * rows_ / splits_ * row_values;
    bool fresh = true;
    const auto sum = [&](const kernels::RowWindow<T>& window, std::int64_t, std::int64_t,
                         std::int64_t) {
      kernels::depthwise_rows_gradient<T>({.window = window,
                                           .blocks = blocks_.list.data() + first_block,
                                           .block_count = last_block - first_block,
                                           .gradient = gradient,
                                           .gradient_step = problem_.out_channels,
                                           .gradient_row_step = row_values,
                                           .sums = sums_ + split * size_,
                                           .fresh = fresh});
      fresh = false;
      gradient += window.count * row_values;
    };
    joined.for_each_window(static_cast<const T*>(args_.first), split * rows_ / splits_,
                           (split + 1) * rows_ / splits_, sum);
  }

  void sum_rows(std::int64_t first_block, std::int64_t last_block, std::int64_t split) const {
    const AxisTable& inner = grid_.axes[2].table;
    const int taps1 = grid_.axes[1].table.taps;
    clear_sums(first_block, last_block, split);
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
    std::vector<const T*> rows;
    std::vector<int> taps;
    for_each_segment(grid_, first, last - first, [&](const GridSegment& segment, std::int64_t at) {
      rows.clear();
      taps.clear();
      for (int tap0 = 0; tap0 < grid_.axes[0].table.taps; ++tap0) {
        for (int tap1 = 0; tap1 < taps1; ++tap1) {
          const T* row = source_row(grid_, static_cast<const T*>(args_.first), segment, tap0, tap1);
          if (row == nullptr) continue;
          rows.push_back(row);
          taps.push_back(tap0 * taps1 + tap1);
        }
      }
      const T* gradient =
          static_cast<const T*>(args_.second) + (first + at) * problem_.out_channels;
      const T* ahead = ++index < furthest.size() ? furthest[index] : nullptr;
      for (std::int64_t b = first_block; b < last_block; ++b) {
        kernels::group_gradient<T>({
            .inner = inner_,
            .rows = rows.data(),
            .row_taps = taps.data(),
            .row_count = std::ssize(rows),
            .gradient = gradient,
            .gradient_step = problem_.out_channels,
            .block = block_at(b),
            .reduced = group_.sources,
            .sums = sums_of(b, split),
            .ahead = ahead,
            .ahead_gradient = gradient + inner.outputs * problem_.out_channels,
        });
      }
    });
  }

  // Adds the splits in order and writes [o][c][tap].
  void write_block(std::int64_t index) const {
    const ChannelBlock<T>& block = block_at(index);
    const std::int64_t lanes = block.lanes;
    const std::int64_t taps = problem_.taps();
    const std::int64_t step = lanes * group_.sources;
    T* sum = sums_of(index, 0);
    for (std::int64_t split = 1; split < splits_; ++split) {
      const T* more = sums_of(index, split);
      for (std::int64_t i = 0; i < step * taps; ++i) sum[i] += more[i];
    }
    // Blocks overlap where the last was moved back; the earlier one writes what both have.
    const std::int64_t done =
        index == 0 ? 0 : block_at(index - 1).channel + block_at(index - 1).lanes;
    const std::int64_t skipped = std::max<std::int64_t>(done - block.channel, 0);
    T* dw = static_cast<T*>(args_.result) + (block.channel + skipped) * group_.sources * taps;
    for (std::int64_t i = 0; i < group_.sources; ++i) {
      kernels::transpose<T>({.rows = taps,
                             .columns = lanes - skipped,
                             .from_stride = step,
                             .to_stride = group_.sources * taps},
                            sum + i * lanes + skipped, dw + i * taps);
    }
  }

  const ConvProblem& problem_;
  const ConvArgs& args_;
  Group group_;
  Blocks<T> blocks_;
  Parts parts_;
  PatchGrid grid_;
  kernels::InnerAxis inner_;
  std::int64_t rows_;      // of output positions
  std::int64_t size_ = 0;  // of the sums of one split, in which blocks say where theirs are
  std::int64_t splits_ = 1;
  T* sums_ = nullptr;
};

}  // namespace

template <class T>
void depthwise_weights(const ConvProblem& problem, const ConvArgs& args) {
  WeightGradient<T>(problem, args).run();
}
template void depthwise_weights<float>(const ConvProblem&, const ConvArgs&);
template void depthwise_weights<double>(const ConvProblem&, const ConvArgs&);

template <class T>
std::size_t depthwise_weights_workspace(const ConvProblem& problem) {
  return WeightGradient<T>(problem, {}).workspace();
}
template std::size_t depthwise_weights_workspace<float>(const ConvProblem&);
template std::size_t depthwise_weights_workspace<double>(const ConvProblem&);

}  // namespace fovea::conv
