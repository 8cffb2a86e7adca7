// `direct`, backward_weights where groups are a vector or a few wide: dw[o, c, k] = sum over
// positions of x[position + k][c] * g[position][o].
//
// The cells of a group lie as far apart as there are channels, in few sets of the caches, and are
// read for each row of taps and each few channels. So the rows of some places are copied first, of
// neighbouring groups together, and kernels/row_gradient.cpp adds them up from there. A task sums
// the weights of these groups, over all places or, where groups are few, over some; the partial
// sums of such a split are added in order.
#include <algorithm>
#include <cstring>
#include <vector>

#include "conv/axes.h"
#include "conv/direct.h"
#include "conv/joined_rows.h"
#include "conv/patch_grid.h"
#include "conv/staged_rows.h"
#include "conv/tasks.h"
#include "core/scratch.h"
#include "core/storage.h"
#include "fovea/executor.h"
#include "kernels/row_gradient.h"
#include "kernels/row_product.h"
#include "kernels/transpose.h"

namespace fovea::conv {
namespace {

constexpr std::int64_t kCopiedBytes = 128 << 10;  // stay in the second-level cache
constexpr std::int64_t kRowBytes = 256 << 10;     // of one row, at most

template <class T>
class GroupGradient {
 public:
  GroupGradient(const ConvProblem& problem, const ConvArgs& args)
      : problem_(problem),
        args_(args),
        grid_(forward_grid(problem)),
        inner_(inner_axis(grid_)),
        rows_(line_axis(grid_.axes[1].table)),
        width_(three_axes(problem)[2].input),
        in_(problem.in_channels / problem.groups),
        out_(problem.out_channels / problem.groups),
        lanes_(kernels::vector_lanes<T>()),
        group_sums_(in_ * out_ * problem.taps()) {
    constexpr auto kSize = static_cast<std::int64_t>(sizeof(T));
    together_ = std::min(ceil_div(kNeighbourBytes, std::min(in_, out_) * kSize), problem.groups);
    parts_ = ceil_div(problem.groups, together_);
    const std::int64_t row_values =
        together_ * (in_ * width_ * rows_.output_step + out_ * inner_.outputs);
    chunks_ = std::min<std::int64_t>(ceil_div(rows_.outputs * row_values * kSize, kCopiedBytes),
                                     rows_.outputs);
    const std::int64_t most = ceil_div(rows_.outputs, chunks_);
    const std::int64_t most_sources = std::min<std::int64_t>(
        rows_.inputs, (most - 1) * rows_.output_step + (rows_.taps - 1) * rows_.tap_step + 1);
    source_values_ = together_ * in_ * width_ * most_sources;
    gradient_values_ = together_ * out_ * inner_.outputs * most;
    const double tensors =
        static_cast<double>(problem.input_shape().numel() + problem.output_shape().numel());
    const double sums = static_cast<double>(problem.groups * group_sums_);
    const std::int64_t wanted = tasks_for(static_cast<double>(problem.multiply_adds())) / parts_;
    splits_ = std::clamp<std::int64_t>(
        std::min(wanted, static_cast<std::int64_t>(tensors / (2 * sums))), 1, planes() * chunks_);
  }

  std::size_t workspace() const {
    const std::int64_t tasks = std::min(kTasks, parts_ * splits_);
    const std::int64_t sums = splits_ > 1 ? splits_ * problem_.groups * group_sums_ : 0;
    return static_cast<std::size_t>(sums + tasks * task_values()) * sizeof(T);
  }

  void run() const {
    const Workspace memory(
        splits_ > 1 ? static_cast<std::size_t>(splits_ * problem_.groups * group_sums_) * sizeof(T)
                    : 0);
    parallel_for(parts_ * splits_, [&](std::int64_t task) {
      const Groups groups = groups_of(task % parts_);
      const std::int64_t split = task / parts_;
      const Scratch scratch(static_cast<std::size_t>(task_values()) * sizeof(T));
      T* const sums = splits_ > 1
                          ? memory.as<T>() + (split * problem_.groups + groups.first) * group_sums_
                          : scratch.template as<T>() + source_values_ + gradient_values_;
      sum(groups, split, scratch.template as<T>(), sums);
      if (splits_ == 1) write(groups, sums);
    });
    if (splits_ == 1) return;
    parallel_for(parts_, [&](std::int64_t part) {
      const Groups groups = groups_of(part);
      T* const sums = memory.as<T>() + groups.first * group_sums_;
      for (std::int64_t split = 1; split < splits_; ++split) {
        const T* more = sums + split * problem_.groups * group_sums_;
        for (std::int64_t i = 0; i < groups.count * group_sums_; ++i) sums[i] += more[i];
      }
      write(groups, sums);
    });
  }

 private:
  struct Groups {
    std::int64_t first;
    std::int64_t count;
  };
  Groups groups_of(std::int64_t part) const {
    const std::int64_t first = part * together_;
    return {first, std::min(together_, problem_.groups - first)};
  }
  std::int64_t planes() const { return problem_.batch * grid_.axes[0].table.outputs; }
  std::int64_t task_values() const {
    return source_values_ + gradient_values_ + (splits_ > 1 ? 0 : together_ * group_sums_);
  }

  // sums[group][block of lanes][channel][tap][lane]
  void sum(Groups groups, std::int64_t split, T* copies, T* sums) const {
    std::memset(sums, 0, static_cast<std::size_t>(groups.count * group_sums_) * sizeof(T));
    const std::int64_t all = planes() * chunks_;
    for (std::int64_t chunk = split * all / splits_; chunk < (split + 1) * all / splits_; ++chunk) {
      const std::int64_t plane = chunk / chunks_;
      const std::int64_t first = chunk % chunks_ * rows_.outputs / chunks_;
      const std::int64_t last = (chunk % chunks_ + 1) * rows_.outputs / chunks_;
      sum_rows(groups, plane, first, last, copies, sums);
    }
  }

  // What the rows [first, last) of results of a plane contribute.
  void sum_rows(Groups groups, std::int64_t plane, std::int64_t first, std::int64_t last, T* copies,
                T* sums) const {
    const std::int64_t planes0 = grid_.axes[0].table.outputs;
    const std::int32_t cell0 = grid_.axes[0].table.at(0, plane % planes0);
    if (cell0 == kPaddingCell) return;
    const auto row_of = [&](std::int64_t place, std::int64_t tap) {
      return rows_.first + place * rows_.output_step + tap * rows_.tap_step;
    };
    const std::int64_t begin = std::max<std::int64_t>(row_of(first, 0), 0);
    const std::int64_t end = std::min(row_of(last - 1, rows_.taps - 1) + 1, rows_.inputs);
    if (begin >= end) return;
    T* const gradients = copies + source_values_;
    copy(static_cast<const T*>(args_.first) + plane / planes0 * grid_.source.image +
             cell0 * grid_.source.axis[0] + begin * grid_.source.axis[1] + groups.first * in_,
         problem_.in_channels, (end - begin) * width_, groups.count * in_, copies);
    copy(static_cast<const T*>(args_.second) + plane / planes0 * grid_.result.image +
             plane % planes0 * grid_.result.axis[0] + first * grid_.result.axis[1] +
             groups.first * out_,
         problem_.out_channels, (last - first) * inner_.outputs, groups.count * out_, gradients);
    kernels::RowGradient<T> job{.inner = inner_,
                                .rows = nullptr,
                                .gradients = nullptr,
                                .channels = in_,
                                .gradient_step = groups.count * out_,
                                .sums = nullptr,
                                .channel_step = problem_.taps() * lanes_};
    job.inner.cell_values = groups.count * in_;
    std::vector<const T*> from;
    std::vector<const T*> of;
    for (int tap = 0; tap < rows_.taps; ++tap) {
      from.clear();
      of.clear();
      for (std::int64_t place = first; place < last; ++place) {
        const std::int64_t row = row_of(place, tap);
        if (row < begin || row >= end) continue;
        from.push_back(copies + (row - begin) * width_ * job.inner.cell_values);
        of.push_back(gradients + (place - first) * inner_.outputs * job.gradient_step);
      }
      job.rows = from.data();
      job.gradients = of.data();
      job.row_count = std::ssize(from);
      for (std::int64_t block = 0; block < groups.count * out_ / lanes_; ++block) {
        job.gradient = block * lanes_;
        job.source = job.gradient / out_ * in_;
        job.sums = sums + (block * in_ * problem_.taps() + tap * inner_.taps) * lanes_;
        kernels::row_gradient<T>(job);
      }
    }
  }

  static void copy(const T* from, std::int64_t from_step, std::int64_t cells, std::int64_t values,
                   T* to) {
    kernels::copy_cells<T>(
        {.from = from, .from_step = from_step, .cells = cells, .values = values, .to = to});
  }

  // Turns blocks round to [o][c][tap].
  void write(Groups groups, const T* sums) const {
    const std::int64_t weights = in_ * problem_.taps();  // of one output channel
    T* const dw = static_cast<T*>(args_.result) + groups.first * group_sums_;
    for (std::int64_t block = 0; block < groups.count * out_ / lanes_; ++block) {
      const std::int64_t at = block * lanes_ * weights;
      kernels::transpose<T>(
          {.rows = weights, .columns = lanes_, .from_stride = lanes_, .to_stride = weights},
          sums + at, dw + at);
    }
  }

  const ConvProblem& problem_;
  const ConvArgs& args_;
  PatchGrid grid_;
  kernels::InnerAxis inner_;
  kernels::InnerAxis rows_;
  std::int64_t width_;  // of a row of the input, which may end in cells that no place reads
  std::int64_t in_;     // per group
  std::int64_t out_;    // per group
  std::int64_t lanes_;
  std::int64_t group_sums_;
  std::int64_t together_ = 1;         // groups of a task
  std::int64_t parts_ = 1;            // of the groups
  std::int64_t chunks_ = 1;           // of the rows of a plane
  std::int64_t source_values_ = 0;    // of copies
  std::int64_t gradient_values_ = 0;  // the same
  std::int64_t splits_ = 1;           // of the chunks
};

}  // namespace

template <class T>
bool copies_group_rows(const ConvProblem& problem) {
  constexpr std::int64_t kMostVectors = 4;
  if (problem.groups == 1 || problem.padding_mode != PaddingMode::zeros) return false;
  const std::int64_t in = problem.in_channels / problem.groups;
  const std::int64_t out = problem.out_channels / problem.groups;
  const std::int64_t lanes = kernels::vector_lanes<T>();
  if (in % lanes != 0 || in % kernels::kGradientChannels != 0 || out % lanes != 0) return false;
  if (std::max(in, out) > kMostVectors * lanes) return false;
  // Tiles of two vectors need no copies to be full, and few positions are soon looked up.
  if (out > lanes && assembles<T>(problem)) return false;
  const PatchGrid grid = forward_grid(problem);
  const kernels::InnerAxis inner = inner_axis(grid);
  const kernels::InnerAxis rows = line_axis(grid.axes[1].table);
  const std::int64_t row_values =
      rows.taps * in * three_axes(problem)[2].input + out * inner.outputs;
  return grid.axes[0].table.taps == 1 && inner.in_line && rows.in_line &&
         row_values * static_cast<std::int64_t>(sizeof(T)) <= kRowBytes;
}
template bool copies_group_rows<float>(const ConvProblem&);
template bool copies_group_rows<double>(const ConvProblem&);

template <class T>
void backward_weights_groups(const ConvProblem& problem, const ConvArgs& args) {
  GroupGradient<T>(problem, args).run();
}
template void backward_weights_groups<float>(const ConvProblem&, const ConvArgs&);
template void backward_weights_groups<double>(const ConvProblem&, const ConvArgs&);

template <class T>
std::size_t group_weights_workspace(const ConvProblem& problem) {
  return GroupGradient<T>(problem, {}).workspace();
}
template std::size_t group_weights_workspace<float>(const ConvProblem&);
template std::size_t group_weights_workspace<double>(const ConvProblem&);

}  // namespace fovea::conv
