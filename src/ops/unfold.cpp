// Patches as columns (unfold, im2col), and the adjoint, which adds them back (fold).
//
// Column p of a sample holds what the taps read at output position p, in the order of a weight: all
// taps of channel 0, of channel 1, ... Columns are contiguous in memory (channels-last). Both
// operators read the patch table with zeros as padding; other modes pad first, so that each stays
// the other's derivative. fold gathers: each input row is summed by one task, in the order of the
// taps.
#include <algorithm>
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
  return problem.output_positions() / problem.batch;
}

Shape columns_shape(const ConvProblem& problem) {
  return {problem.batch, problem.in_channels * problem.taps(), positions(problem)};
}

struct Tables {
  explicit Tables(const ConvProblem& problem)
      : axes(conv::three_axes(problem)),
        channels(problem.in_channels),
        taps(problem.taps()),
        outputs(conv::output_sizes(axes)) {
    for (std::size_t a = 0; a < 3; ++a)
      table[a] = conv::make_axis_table(axes[a], PaddingMode::zeros);
  }
  std::array<ConvAxis, 3> axes;
  std::array<AxisTable, 3> table;
  std::int64_t channels;
  std::int64_t taps;
  std::array<std::int64_t, 3> outputs;
};

// ---- unfold

// The columns of one row of outputs.
template <class T>
void unfold_row(const Tables& t, const T* image, std::int64_t o0, std::int64_t o1, T* columns) {
  const std::int64_t column = t.channels * t.taps;
  T* tap = columns;
  for (int k0 = 0; k0 < t.table[0].taps; ++k0) {
    const std::int32_t i0 = t.table[0].at(k0, o0);
    for (int k1 = 0; k1 < t.table[1].taps; ++k1) {
      const std::int32_t i1 = t.table[1].at(k1, o1);
      const bool outside = i0 == kPaddingCell || i1 == kPaddingCell;
      const T* row =
          image + (outside ? 0 : (i0 * t.axes[1].input + i1) * t.axes[2].input * t.channels);
      for (int k2 = 0; k2 < t.table[2].taps; ++k2, ++tap) {
        T* to = tap;
        for (std::int64_t o2 = 0; o2 < t.outputs[2]; ++o2, to += column) {
          const std::int32_t i2 = t.table[2].at(k2, o2);
          if (outside || i2 == kPaddingCell) {
            for (std::int64_t c = 0; c < t.channels; ++c) to[c * t.taps] = T(0);
          } else {
            const T* from = row + i2 * t.channels;
            for (std::int64_t c = 0; c < t.channels; ++c) to[c * t.taps] = from[c];
          }
        }
      }
    }
  }
}

std::vector<TensorSpec> infer_unfold(Specs inputs, const Attributes& attributes) {
  require_floating("unfold", inputs[0]);
  const ConvProblem problem = window_problem(inputs[0].shape, inputs[0].dtype, attributes);
  problem.validate("unfold");
  return {make_spec(columns_shape(problem), problem.dtype, Layout::channels_last)};
}

void run_unfold(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const ConvProblem problem = window_problem(inputs[0].shape(), inputs[0].dtype(), attributes);
  const Tables tables(problem);
  const Tensor x = dense(inputs[0], Layout::channels_last);
  const std::int64_t image = x.numel() / problem.batch;
  const std::int64_t row = tables.outputs[2] * tables.channels * tables.taps;
  dispatch_floating(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = x.data<T>();
    T* out = writable<T>(outputs[0]);
    parallel_ranges(outputs[0].numel() / row, std::max<std::int64_t>(1, kTask / row),
                    [&](std::int64_t begin, std::int64_t end) {
                      for (std::int64_t i = begin; i < end; ++i) {
                        const std::int64_t o1 = i % tables.outputs[1];
                        const std::int64_t o0 = i / tables.outputs[1] % tables.outputs[0];
                        const std::int64_t n = i / tables.outputs[1] / tables.outputs[0];
                        unfold_row(tables, in + n * image, o0, o1, out + i * row);
                      }
                    });
  });
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

// Adds, for one pair of outer taps, the columns of a row of outputs to a row of inputs.
template <class T>
void fold_row(const Tables& t, const T* columns, T* row) {
  const std::int64_t column = t.channels * t.taps;
  for (int k2 = 0; k2 < t.table[2].taps; ++k2) {
    const T* from = columns + k2;
    for (std::int64_t o2 = 0; o2 < t.outputs[2]; ++o2, from += column) {
      const std::int32_t i2 = t.table[2].at(k2, o2);
      if (i2 == kPaddingCell) continue;
      T* to = row + i2 * t.channels;
      for (std::int64_t c = 0; c < t.channels; ++c) to[c] += from[c * t.taps];
    }
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
  problem.validate("fold");
  FOVEA_CHECK(inputs[0].shape == columns_shape(problem),
              "fold: the columns are {}, but an input of {} has the positions {} = {}, so {} is "
              "needed",
              inputs[0].shape, spatial_of(x), spatial_of(problem.output_shape()),
              positions(problem), columns_shape(problem));
  return {make_spec(x, problem.dtype, Layout::channels_last)};
}

void run_fold(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const ConvProblem problem = window_problem(outputs[0].shape(), inputs[0].dtype(), attributes);
  const Tables tables(problem);
  const Tensor columns = dense(inputs[0], Layout::channels_last);
  const auto readers0 = readers(tables.table[0], tables.axes[0].input);
  const auto readers1 = readers(tables.table[1], tables.axes[1].input);
  const std::int64_t row = tables.axes[2].input * tables.channels;
  const std::int64_t column_row = tables.outputs[2] * tables.channels * tables.taps;
  const std::int64_t grain =
      std::max<std::int64_t>(1, kTask / (row * tables.axes[0].kernel * tables.axes[1].kernel));
  dispatch_floating(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = columns.data<T>();
    T* out = writable<T>(outputs[0]);
    parallel_ranges(outputs[0].numel() / row, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        T* to = out + i * row;
        std::fill_n(to, row, T(0));
        const std::int64_t i1 = i % tables.axes[1].input;
        const std::int64_t i0 = i / tables.axes[1].input % tables.axes[0].input;
        const std::int64_t n = i / tables.axes[1].input / tables.axes[0].input;
        for (const Reader& r0 : readers0[static_cast<std::size_t>(i0)]) {
          for (const Reader& r1 : readers1[static_cast<std::size_t>(i1)]) {
            const std::int64_t first_tap =
                (r0.tap * tables.axes[1].kernel + r1.tap) * tables.axes[2].kernel;
            const std::int64_t outputs_row =
                (n * tables.outputs[0] + r0.output) * tables.outputs[1] + r1.output;
            fold_row(tables, in + outputs_row * column_row + first_tap, to);
          }
        }
      }
    });
  });
}

std::vector<Tensor> gradient_of_fold(const BackwardCall& call) {
  return {apply1(unfold, {call.grads[0]}, call.attributes)};
}

}  // namespace

const OpDef unfold = {
    .name = "unfold", .infer = infer_unfold, .run = run_unfold, .backward = gradient_of_unfold};

const OpDef fold = {
    .name = "fold", .infer = infer_fold, .run = run_fold, .backward = gradient_of_fold};

}  // namespace fovea::ops
