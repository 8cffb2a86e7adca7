// Patches as columns (unfold, im2col), and the adjoint, which adds them back (fold).
//
// Column p of a sample holds what the taps read at output position p, in the order of a weight: all
// taps of channel 0, of channel 1, ... Columns are contiguous in memory (channels-last). Both
// operators read the patch table with zeros as padding; other modes pad first, so that each stays
// the other's derivative. fold gathers: each input row is summed by one task, in the order of the
// taps.
#include <algorithm>
#include <cstring>
#include <vector>

#include "conv/axes.h"
#include "conv/patch_table.h"
#include "core/check.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "ops/checks.h"
#include "ops/conv_problem.h"
#include "ops/families.h"

namespace fovea::ops {
namespace {

using conv::AxisTable;
using conv::kPaddingCell;

constexpr std::int64_t kTask = 1 << 14;  // values that make a task worth its start

// The problem whose patches they are; attributes "kernel", "stride", "dilation", "before", "after".
ConvProblem window_problem(const Shape& x, DType dtype, const Attributes& attributes) {
  const Shape w = with_channels(attributes.integers("kernel"), x[1], 1);
  return make_problem(x, w, dtype,
                      attributes.with("groups", x[1])
                          .with("padding_mode", static_cast<std::int64_t>(PaddingMode::zeros))
                          .with("padding_value", 0.0));
}

std::int64_t positions(const ConvProblem& problem) {
  return spatial_of(problem.output_shape()).numel();
}

Shape columns_shape(const ConvProblem& problem) {
  return {problem.batch, problem.in_channels * problem.taps(), positions(problem)};
}

// Longest run that is moved as a whole, in one step of fixed size.
constexpr std::int64_t kLongestMove = 8;

struct Windows {
  explicit Windows(const ConvProblem& problem)
      : axes(conv::three_axes(problem)),
        channels(problem.in_channels),
        taps(problem.taps()),
        outputs(conv::output_sizes(axes)),
        runs(axes[2].dilation == 1 ? 1 : axes[2].kernel),
        run(axes[2].kernel / runs),
        width(axes[2].input + axes[2].padding.before + axes[2].padding.after + kLongestMove),
        column_row(outputs[2] * channels * taps),
        input_row(axes[2].input * channels) {
    for (std::size_t a = 0; a < 2; ++a)
      table[a] = conv::make_axis_table(axes[a], PaddingMode::zeros);
  }

  // The input row that taps k0, k1 of output row o0, o1 read, or kPaddingCell.
  std::int64_t source(int k0, std::int64_t o0, int k1, std::int64_t o1) const {
    const std::int32_t i0 = table[0].at(k0, o0);
    const std::int32_t i1 = table[1].at(k1, o1);
    if (i0 == kPaddingCell || i1 == kPaddingCell) return kPaddingCell;
    return i0 * axes[1].input + i1;
  }

  std::array<ConvAxis, 3> axes;
  std::array<AxisTable, 2> table;  // of the outer axes
  std::int64_t channels;
  std::int64_t taps;
  std::array<std::int64_t, 3> outputs;
  std::int64_t runs;        // per row of the kernel: one where it is dense
  std::int64_t run;         // values of each
  std::int64_t width;       // of a turned row: one channel of the padded row, and room behind it
  std::int64_t column_row;  // values of the columns of one row of outputs
  std::int64_t input_row;
};

// ---- unfold

// The turned input rows that a task reads: as many as a kernel spans, kept while they are in use.
template <class T>
class TurnedRows {
 public:
  TurnedRows(const Windows& windows, const T* input)
      : windows_(windows),
        input_(input),
        slab_(windows.channels * windows.width),
        memory_(static_cast<std::size_t>((windows.axes[0].kernel * windows.axes[1].kernel + 1) *
                                         slab_)),
        held_(static_cast<std::size_t>(windows.axes[0].kernel * windows.axes[1].kernel),
              kPaddingCell),
        used_(held_.size(), 0) {}

  // One row of zeros for padding; valid until as many other rows as a kernel has were asked for.
  const T* row(std::int64_t index) {
    if (index == kPaddingCell) return memory_.data() + std::ssize(held_) * slab_;
    const auto found = std::find(held_.begin(), held_.end(), index);
    const auto place = found != held_.end()
                           ? found - held_.begin()
                           : std::min_element(used_.begin(), used_.end()) - used_.begin();
    used_[static_cast<std::size_t>(place)] = ++now_;
    T* const slab = memory_.data() + place * slab_;
    if (found == held_.end()) {
      held_[static_cast<std::size_t>(place)] = index;
      turn(input_ + index * windows_.input_row, slab + windows_.axes[2].padding.before);
    }
    return slab;
  }

 private:
  void turn(const T* from, T* to) const {
    const std::int64_t channels = windows_.channels;
    const std::int64_t width = windows_.width;
    for (std::int64_t i = 0; i < windows_.axes[2].input; ++i, from += channels) {
      for (std::int64_t c = 0; c < channels; ++c) to[c * width + i] = from[c];
    }
  }

  const Windows& windows_;
  const T* input_;
  std::int64_t slab_;
  std::vector<T> memory_;  // zeros where nothing is turned
  std::vector<std::int64_t> held_;
  std::vector<std::int64_t> used_;
  std::int64_t now_ = 0;
};

// One column. With kMove > 0 each run is moved as so many values, of which the next run overwrites
// the last ones; 0 moves exactly what belongs there. Sizes are kept in locals: a store could change
// a member for all that the compiler knows.
template <std::int64_t kMove, class T>
void write_column(const Windows& w, const std::vector<const T*>& rows, std::int64_t place, T* to) {
  const std::int64_t run = w.run;
  const std::int64_t width = w.width;
  const std::size_t bytes = static_cast<std::size_t>(kMove > 0 ? kMove : run) * sizeof(T);
  const T* const* const first = rows.data();
  const T* const* const last = first + rows.size();
  const std::int64_t end = place + w.channels * width;
  if (w.runs == 1) {
    for (; place < end; place += width) {
      for (const T* const* row = first; row < last; ++row, to += run)
        std::memcpy(to, *row + place, bytes);
    }
    return;
  }
  const std::int64_t dilation = w.axes[2].dilation;
  const std::int64_t reach = w.runs * dilation;
  for (; place < end; place += width) {
    for (const T* const* row = first; row < last; ++row) {
      for (std::int64_t k = 0; k < reach; k += dilation, to += run)
        std::memcpy(to, *row + place + k, bytes);
    }
  }
}

template <std::int64_t kMove, class T>
void write_row(const Windows& w, const std::vector<const T*>& rows, T* columns) {
  const std::int64_t column = w.channels * w.taps;
  const std::int64_t last = w.outputs[2] - 1;
  for (std::int64_t o2 = 0; o2 < last; ++o2)
    write_column<kMove>(w, rows, o2 * w.axes[2].stride, columns + o2 * column);
  write_column<0>(w, rows, last * w.axes[2].stride, columns + last * column);
}

template <class T>
void unfold_rows(const Windows& w, const T* input, std::int64_t begin, std::int64_t end,
                 T* columns) {
  TurnedRows<T> turned(w, input);
  std::vector<const T*> rows(static_cast<std::size_t>(w.axes[0].kernel * w.axes[1].kernel));
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t o1 = i % w.outputs[1];
    const std::int64_t o0 = i / w.outputs[1] % w.outputs[0];
    const std::int64_t first = i / w.outputs[1] / w.outputs[0] * w.axes[0].input * w.axes[1].input;
    auto row = rows.begin();
    for (int k0 = 0; k0 < w.table[0].taps; ++k0) {
      for (int k1 = 0; k1 < w.table[1].taps; ++k1) {
        const std::int64_t source = w.source(k0, o0, k1, o1);
        *row++ = turned.row(source == kPaddingCell ? source : first + source);
      }
    }
    T* const to = columns + i * w.column_row;
    if (w.run == 1) {
      write_row<1>(w, rows, to);
    } else if (w.run == 2) {
      write_row<2>(w, rows, to);
    } else if (w.run <= 4) {
      write_row<4>(w, rows, to);
    } else if (w.run <= kLongestMove && w.channels * w.taps >= kLongestMove) {
      write_row<kLongestMove>(w, rows, to);
    } else {
      write_row<0>(w, rows, to);
    }
  }
}

std::vector<TensorSpec> infer_unfold(Specs inputs, const Attributes& attributes) {
  require_floating("unfold", inputs[0]);
  const ConvProblem problem = window_problem(inputs[0].shape, inputs[0].dtype, attributes);
  with_a_sample(problem).validate("unfold");
  return {make_spec(columns_shape(problem), problem.dtype, Layout::channels_last)};
}

void run_unfold(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const ConvProblem problem = window_problem(inputs[0].shape(), inputs[0].dtype(), attributes);
  const Windows windows(problem);
  const Tensor x = dense(inputs[0], Layout::channels_last);
  // Rows that follow each other share turned rows.
  constexpr std::int64_t kShare = 8;
  const std::int64_t grain = std::max<std::int64_t>(kShare, kTask / windows.column_row);
  dispatch_floating(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = x.data<T>();
    T* out = writable<T>(outputs[0]);
    parallel_ranges(
        outputs[0].numel() / windows.column_row, grain,
        [&](std::int64_t begin, std::int64_t end) { unfold_rows(windows, in, begin, end, out); });
  });
}

OpField field_of_unfold(Specs inputs, const Attributes& attributes) {
  const ConvProblem problem = window_problem(inputs[0].shape, inputs[0].dtype, attributes);
  OpField field = problem_field(problem);
  if (problem.dims > 1) field.positions = spatial_of(problem.output_shape());
  return field;
}

std::vector<Tensor> gradient_of_unfold(const BackwardCall& call) {
  return {apply1(fold, {call.grads[0]},
                 call.attributes.with("input", spatial_of(call.input_specs[0].shape)))};
}

// ---- fold; attribute "input": the spatial sizes of the result

// Which taps of which outputs read a cell.
struct Reader {
  std::int64_t tap;
  std::int64_t output;
};

std::vector<std::vector<Reader>> readers(const AxisTable& table, std::int64_t cells) {
  std::vector<std::vector<Reader>> result(static_cast<std::size_t>(cells));
  for (int tap = 0; tap < table.taps; ++tap) {
    for (std::int64_t output = 0; output < table.outputs; ++output) {
      const std::int32_t cell = table.at(tap, output);
      if (cell != kPaddingCell) result[static_cast<std::size_t>(cell)].push_back({tap, output});
    }
  }
  return result;
}

// Adds, for one pair of outer taps, the columns of a row of outputs to a turned row of inputs.
// kRun: the values of the one run of a dense kernel's row, where that is fixed.
template <std::int64_t kRun, class T>
void add_dense(const Windows& w, const T* columns, T* turned) {
  const std::int64_t run = kRun > 0 ? kRun : w.run;
  const std::int64_t taps = w.taps;
  const std::int64_t width = w.width;
  const std::int64_t stride = w.axes[2].stride;
  const std::int64_t slab = w.channels * width;
  for (std::int64_t o2 = 0; o2 < w.outputs[2]; ++o2, turned += stride) {
    for (T *to = turned, *end = turned + slab; to < end; to += width, columns += taps) {
      for (std::int64_t i = 0; i < run; ++i) to[i] += columns[i];
    }
  }
}

template <class T>
void add_dilated(const Windows& w, const T* columns, T* turned) {
  const std::int64_t dilation = w.axes[2].dilation;
  for (std::int64_t o2 = 0; o2 < w.outputs[2]; ++o2, turned += w.axes[2].stride) {
    for (std::int64_t c = 0; c < w.channels; ++c, columns += w.taps) {
      for (std::int64_t k = 0; k < w.runs; ++k) turned[c * w.width + k * dilation] += columns[k];
    }
  }
}

template <class T>
void add_row(const Windows& w, const T* columns, T* turned) {
  if (w.runs > 1) return add_dilated(w, columns, turned);
  switch (w.run) {
    case 1:
      return add_dense<1>(w, columns, turned);
    case 2:
      return add_dense<2>(w, columns, turned);
    case 3:
      return add_dense<3>(w, columns, turned);
    case 5:
      return add_dense<5>(w, columns, turned);
    default:
      return add_dense<0>(w, columns, turned);
  }
}

// The cells of a turned row that are not padding.
template <class T>
void turn_back(const Windows& w, const T* turned, T* row) {
  const T* from = turned + w.axes[2].padding.before;
  const std::int64_t channels = w.channels;
  const std::int64_t width = w.width;
  for (std::int64_t i = 0; i < w.axes[2].input; ++i, row += channels) {
    for (std::int64_t c = 0; c < channels; ++c) row[c] = from[c * width + i];
  }
}

Shape folded_shape(const Shape& columns, const Attributes& attributes) {
  std::int64_t taps = 1;
  for (const std::int64_t size : attributes.integers("kernel")) {
    FOVEA_CHECK(size >= 1 && !__builtin_mul_overflow(taps, size, &taps),
                "fold: the kernel is {}, but every size must be at least 1, and their product fit "
                "63 bits",
                attributes.integers("kernel"));
  }
  FOVEA_CHECK(columns.rank() == 3,
              "fold: the columns are {}, but [N, C * taps, positions] is needed", columns);
  FOVEA_CHECK(columns[1] % taps == 0,
              "fold: the columns {} hold {} values each, which is not a multiple of the {} taps of "
              "kernel {}",
              columns, columns[1], taps, attributes.integers("kernel"));
  return with_channels(attributes.integers("input"), columns[0], columns[1] / taps);
}

std::vector<TensorSpec> infer_fold(Specs inputs, const Attributes& attributes) {
  require_floating("fold", inputs[0], "columns");
  const Shape x = folded_shape(inputs[0].shape, attributes);
  const ConvProblem problem = window_problem(x, inputs[0].dtype, attributes);
  with_a_sample(problem).validate("fold");
  FOVEA_CHECK(inputs[0].shape == columns_shape(problem),
              "fold: the columns are {}, but an input of {} has the positions {} = {}, so {} is "
              "needed",
              inputs[0].shape, spatial_of(x), spatial_of(problem.output_shape()),
              positions(problem), columns_shape(problem));
  return {make_spec(x, problem.dtype, Layout::channels_last)};
}

void run_fold(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const ConvProblem problem = window_problem(outputs[0].shape(), inputs[0].dtype(), attributes);
  const Windows w(problem);
  const Tensor columns = dense(inputs[0], Layout::channels_last);
  const auto readers0 = readers(w.table[0], w.axes[0].input);
  const auto readers1 = readers(w.table[1], w.axes[1].input);
  const std::int64_t grain =
      std::max<std::int64_t>(1, kTask / (w.input_row * w.axes[0].kernel * w.axes[1].kernel));
  dispatch_floating(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = columns.data<T>();
    T* out = writable<T>(outputs[0]);
    parallel_ranges(
        outputs[0].numel() / w.input_row, grain, [&](std::int64_t begin, std::int64_t end) {
          std::vector<T> turned(static_cast<std::size_t>(w.channels * w.width));
          for (std::int64_t i = begin; i < end; ++i) {
            std::fill(turned.begin(), turned.end(), T(0));
            const std::int64_t i1 = i % w.axes[1].input;
            const std::int64_t i0 = i / w.axes[1].input % w.axes[0].input;
            const std::int64_t n = i / w.axes[1].input / w.axes[0].input;
            for (const Reader& r0 : readers0[static_cast<std::size_t>(i0)]) {
              for (const Reader& r1 : readers1[static_cast<std::size_t>(i1)]) {
                const std::int64_t first_tap =
                    (r0.tap * w.axes[1].kernel + r1.tap) * w.axes[2].kernel;
                const std::int64_t row = (n * w.outputs[0] + r0.output) * w.outputs[1] + r1.output;
                add_row(w, in + row * w.column_row + first_tap, turned.data());
              }
            }
            turn_back(w, turned.data(), out + i * w.input_row);
          }
        });
  });
}

std::vector<Tensor> gradient_of_fold(const BackwardCall& call) {
  return {apply1(unfold, {call.grads[0]}, call.attributes)};
}

}  // namespace

const OpDef unfold = {.name = "unfold",
                      .infer = infer_unfold,
                      .run = run_unfold,
                      .backward = gradient_of_unfold,
                      .field = field_of_unfold};

const OpDef fold = {.name = "fold",
                    .infer = infer_fold,
                    .run = run_fold,
                    .backward = gradient_of_fold,
                    .field = global_field};

}  // namespace fovea::ops
