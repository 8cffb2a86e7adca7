// Copying an input together with its padding, and the adjoint: folding the gradient of a padded
// input back onto the input.
//
// Both go row by row (all cells of the innermost axis). Along each axis the patch table of a kernel
// of one cell says what a padded cell holds: an input cell, or a value of the padding's own, which
// is one number, or one per sample and channel (their mean).
#include "conv/padded_input.h"

#include <algorithm>
#include <vector>

#include "conv/axes.h"
#include "conv/patch_table.h"
#include "fovea/executor.h"
#include "kernels/reduce.h"

namespace fovea::conv {
namespace {

constexpr std::int64_t kTask = 1 << 14;  // values that make a task worth its start

std::int64_t rows_per_task(std::int64_t row) {
  return std::max<std::int64_t>(1, kTask / std::max<std::int64_t>(row, 1));
}

// Neighbouring cells of a padded axis that hold neighbouring input cells, or the padding's own
// value.
struct Run {
  std::int64_t begin = 0;
  std::int64_t count = 0;
  std::int64_t cell = 0;  // the first input cell, or kPaddingCell
};

class PaddedAxis {
 public:
  PaddedAxis(const ConvAxis& axis, PaddingMode mode)
      : cells_(make_axis_table({.input = axis.input, .padding = axis.padding}, mode).cells),
        input_(axis.input) {}

  std::int64_t size() const { return std::ssize(cells_); }
  std::int64_t cell(std::int64_t place) const { return cells_[static_cast<std::size_t>(place)]; }

  std::vector<Run> runs() const {
    std::vector<Run> runs;
    for (std::int64_t i = 0; i < size(); ++i) {
      const bool outside = cell(i) == kPaddingCell;
      const bool continues =
          !runs.empty() && (outside ? runs.back().cell == kPaddingCell
                                    : runs.back().cell != kPaddingCell &&
                                          runs.back().cell + runs.back().count == cell(i));
      if (continues) {
        ++runs.back().count;
      } else {
        runs.push_back({i, 1, cell(i)});
      }
    }
    return runs;
  }

  // For each input cell, the padded cells that hold it, in order.
  std::vector<std::vector<std::int64_t>> holders() const {
    std::vector<std::vector<std::int64_t>> result(static_cast<std::size_t>(input_));
    for (std::int64_t i = 0; i < size(); ++i) {
      if (cell(i) != kPaddingCell) result[static_cast<std::size_t>(cell(i))].push_back(i);
    }
    return result;
  }

 private:
  std::vector<std::int32_t> cells_;
  std::int64_t input_;
};

// The padded input, row by row.
struct PaddedRows {
  explicit PaddedRows(const ConvProblem& problem)
      : axes(three_axes(problem)),
        outer(axes[0], problem.padding_mode),
        middle(axes[1], problem.padding_mode),
        inner(PaddedAxis(axes[2], problem.padding_mode).runs()),
        channels(problem.in_channels),
        sizes(padded_sizes(axes)),
        row(sizes[2] * channels),
        input_row(axes[2].input * channels),
        rows(problem.batch * sizes[0] * sizes[1]),
        rows_per_image(sizes[0] * sizes[1]) {}

  // The input row that padded row `i` holds, or kPaddingCell.
  std::int64_t source(std::int64_t i) const {
    const std::int64_t i1 = middle.cell(i % sizes[1]);
    const std::int64_t i0 = outer.cell(i / sizes[1] % sizes[0]);
    if (i0 == kPaddingCell || i1 == kPaddingCell) return kPaddingCell;
    return (i / rows_per_image * axes[0].input + i0) * axes[1].input + i1;
  }

  std::array<ConvAxis, 3> axes;
  PaddedAxis outer, middle;
  std::vector<Run> inner;
  std::int64_t channels;
  std::array<std::int64_t, 3> sizes;
  std::int64_t row, input_row;  // values
  std::int64_t rows, rows_per_image;
};

std::int64_t cells_per_image(const std::array<ConvAxis, 3>& axes) {
  return axes[0].input * axes[1].input * axes[2].input;
}

// Adds up, per sample and channel, what `add(task's first row, last row, sums)` adds for each range
// of rows; the ranges' sums are added in order. Divides by the cells of the input.
template <class T, class Add>
std::vector<T> channel_means(const ConvProblem& problem, std::int64_t rows_per_image,
                             std::int64_t row, const Add& add) {
  const std::int64_t channels = problem.in_channels;
  const std::int64_t step = rows_per_task(row);
  const std::int64_t parts = (rows_per_image + step - 1) / step;
  std::vector<double> sums(static_cast<std::size_t>(problem.batch * parts * channels), 0.0);
  parallel_for(problem.batch * parts, [&](std::int64_t task) {
    const std::int64_t image = task / parts * rows_per_image;
    const std::int64_t first = task % parts * step;
    add(image + first, image + std::min(first + step, rows_per_image),
        sums.data() + task * channels);
  });
  const auto cells = static_cast<double>(cells_per_image(three_axes(problem)));
  std::vector<T> means(static_cast<std::size_t>(problem.batch * channels));
  for (std::int64_t i = 0; i < problem.batch * channels; ++i) {
    double total = 0;
    for (std::int64_t part = 0; part < parts; ++part) {
      total +=
          sums[static_cast<std::size_t>((i / channels * parts + part) * channels + i % channels)];
    }
    means[static_cast<std::size_t>(i)] = static_cast<T>(total / cells);
  }
  return means;
}

// The mean of each sample's channels.
template <class T>
std::vector<T> input_means(const ConvProblem& problem, const T* input) {
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  const std::int64_t channels = problem.in_channels;
  const std::int64_t row = axes[2].input * channels;
  return channel_means<T>(
      problem, axes[0].input * axes[1].input, row,
      [&](std::int64_t first, std::int64_t last, double* sums) {
        kernels::sum_columns<T>(
            {.rows = (last - first) * axes[2].input, .columns = channels, .stride = channels},
            input + first * row, sums);
      });
}

// What each input cell receives from the padding cells that hold the mean: their gradients' sum, by
// the number of input cells.
template <class T>
std::vector<T> padding_shares(const ConvProblem& problem, const PaddedRows& rows, const T* padded) {
  return channel_means<T>(
      problem, rows.rows_per_image, rows.row,
      [&](std::int64_t first, std::int64_t last, double* sums) {
        const auto add = [&](std::int64_t i, std::int64_t begin, std::int64_t count) {
          kernels::sum_columns<T>(
              {.rows = count, .columns = rows.channels, .stride = rows.channels},
              padded + i * rows.row + begin * rows.channels, sums);
        };
        for (std::int64_t i = first; i < last; ++i) {
          if (rows.source(i) == kPaddingCell) {
            add(i, 0, rows.sizes[2]);
            continue;
          }
          for (const Run& run : rows.inner) {
            if (run.cell == kPaddingCell) add(i, run.begin, run.count);
          }
        }
      });
}

// Writes the cell `values` of `channels` values `cells` times.
template <class T>
void fill_cells(const T* values, std::int64_t channels, std::int64_t cells, T* out) {
  for (std::int64_t i = 0; i < cells; ++i) out = std::copy_n(values, channels, out);
}

}  // namespace

std::array<std::int64_t, 3> padded_sizes(const std::array<ConvAxis, 3>& axes) {
  std::array<std::int64_t, 3> sizes{};
  for (std::size_t a = 0; a < 3; ++a)
    sizes[a] = axes[a].input + axes[a].padding.before + axes[a].padding.after;
  return sizes;
}

std::int64_t padded_values(const ConvProblem& problem) {
  std::int64_t values = problem.batch * problem.in_channels;
  for (const std::int64_t size : padded_sizes(three_axes(problem))) values *= size;
  return values;
}
bool may_copy_padded(const ConvProblem& problem) {
  return padded_values(problem) <=
         4 * (problem.input_shape().numel() + problem.output_shape().numel());
}

std::array<ConvAxis, 3> with_padding_inside(std::array<ConvAxis, 3> axes) {
  for (ConvAxis& axis : axes) {
    axis.input += axis.padding.before + axis.padding.after;
    axis.padding = {};
  }
  return axes;
}

ConvProblem with_padding_inside(ConvProblem problem) {
  problem.axes = with_padding_inside(problem.axes);
  problem.padding_mode = PaddingMode::zeros;
  problem.padding_value = 0;
  return problem;
}

template <class T>
void copy_padded(const ConvProblem& problem, const T* input, T* padded) {
  const PaddedRows rows(problem);
  const auto value = static_cast<T>(problem.padding_value);
  const bool averages = problem.padding_mode == PaddingMode::mean;
  const std::vector<T> means = averages ? input_means(problem, input) : std::vector<T>();
  parallel_ranges(rows.rows, rows_per_task(rows.row), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto fill = [&](T* out, std::int64_t cells) {
        if (!averages) {
          std::fill_n(out, cells * rows.channels, value);
          return;
        }
        fill_cells(means.data() + i / rows.rows_per_image * rows.channels, rows.channels, cells,
                   out);
      };
      T* out = padded + i * rows.row;
      const std::int64_t source = rows.source(i);
      if (source == kPaddingCell) {
        fill(out, rows.sizes[2]);
        continue;
      }
      const T* in = input + source * rows.input_row;
      for (const Run& run : rows.inner) {
        T* to = out + run.begin * rows.channels;
        if (run.cell == kPaddingCell) {
          fill(to, run.count);
        } else {
          std::copy_n(in + run.cell * rows.channels, run.count * rows.channels, to);
        }
      }
    }
  });
}
template void copy_padded(const ConvProblem&, const float*, float*);
template void copy_padded(const ConvProblem&, const double*, double*);

template <class T>
void fold_padding(const ConvProblem& problem, const T* padded, T* input) {
  const PaddedRows rows(problem);
  const auto outer = rows.outer.holders();
  const auto middle = rows.middle.holders();
  const bool averages = problem.padding_mode == PaddingMode::mean;
  const std::vector<T> shares = averages ? padding_shares(problem, rows, padded) : std::vector<T>();
  const std::int64_t cells1 = rows.axes[1].input;
  const std::int64_t cells0 = rows.axes[0].input;
  const auto add_row = [&](const T* from, T* to) {
    for (const Run& run : rows.inner) {
      if (run.cell == kPaddingCell) continue;
      const T* source = from + run.begin * rows.channels;
      T* target = to + run.cell * rows.channels;
      for (std::int64_t i = 0; i < run.count * rows.channels; ++i) target[i] += source[i];
    }
  };
  parallel_ranges(
      problem.batch * cells0 * cells1, rows_per_task(rows.row),
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t image = i / cells1 / cells0;
          T* to = input + i * rows.input_row;
          if (averages) {
            fill_cells(shares.data() + image * rows.channels, rows.channels, rows.axes[2].input,
                       to);
          } else {
            std::fill_n(to, rows.input_row, T(0));
          }
          for (const std::int64_t p0 : outer[static_cast<std::size_t>(i / cells1 % cells0)]) {
            for (const std::int64_t p1 : middle[static_cast<std::size_t>(i % cells1)]) {
              add_row(padded + ((image * rows.sizes[0] + p0) * rows.sizes[1] + p1) * rows.row, to);
            }
          }
        }
      });
}
template void fold_padding(const ConvProblem&, const float*, float*);
template void fold_padding(const ConvProblem&, const double*, double*);

}  // namespace fovea::conv
