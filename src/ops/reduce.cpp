// Sums and maxima over axes, and broadcasting, which is the adjoint of sums.
//
// The axes are sorted by the input's strides and merged, so that the innermost one is contiguous:
// it is either reduced (sums along rows) or kept (sums down columns, as a bias gradient over
// channels-last data). The kept part is cut into units and the reduced part into chunks, both from
// the shape alone; every chunk adds up in double into a place of its own, and the chunks are added
// in order: the result has the same bits for any number of threads.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/check.h"
#include "core/dispatch.h"
#include "core/storage.h"
#include "fovea/executor.h"
#include "kernels/reduce.h"
#include "ops/checks.h"
#include "ops/families.h"

namespace fovea::ops {
namespace {

constexpr std::int64_t kTask = 32768;    // elements that make a task worth its start
constexpr std::int64_t kChunk = 65536;   // elements of a reduction that are added up by one task
constexpr std::int64_t kMaxChunks = 64;  // bounds the partial sums
constexpr std::int64_t kColumnBlock = 2048;  // columns whose sums stay in the first cache

struct Axis {
  std::int64_t size = 1;
  std::int64_t stride = 1;      // in the input
  std::int64_t out_stride = 0;  // in the output; 0 where reduced
  bool reduced = false;
};

std::int64_t product(const std::vector<Axis>& axes) {
  std::int64_t result = 1;
  for (const Axis& axis : axes) result *= axis.size;
  return result;
}

// Where element `index`, counted over `axes` in their order, lies.
std::int64_t offset_of(std::int64_t index, const std::vector<Axis>& axes,
                       std::int64_t Axis::*stride) {
  std::int64_t offset = 0;
  for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
    offset += index % axis->size * ((*axis).*stride);
    index /= axis->size;
  }
  return offset;
}

bool contains(const Shape& axes, int axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

Shape kept_shape(const Shape& shape, const Shape& axes, bool keep) {
  Shape result;
  for (int i = 0; i < shape.rank(); ++i) {
    if (!contains(axes, i)) {
      result.push_back(shape[i]);
    } else if (keep) {
      result.push_back(1);
    }
  }
  return result;
}

// The input's axes, outermost in memory first, merged where possible; at least one.
std::vector<Axis> memory_axes(const Tensor& input, const Shape& reduced) {
  const Shape& shape = input.shape();
  const Shape sums = kept_shape(shape, reduced, /*keep=*/true);
  const Strides out = strides_of(sums, Layout::row_major);
  std::vector<Axis> axes;
  for (int i = 0; i < shape.rank(); ++i) {
    const bool gone = contains(reduced, i);
    if (shape[i] != 1) axes.push_back({shape[i], input.strides()[i], gone ? 0 : out[i], gone});
  }
  std::stable_sort(axes.begin(), axes.end(),
                   [](const Axis& a, const Axis& b) { return a.stride > b.stride; });
  std::vector<Axis> merged;
  for (Axis axis : axes) {
    if (!merged.empty() && merged.back().reduced == axis.reduced &&
        merged.back().stride == axis.stride * axis.size &&
        merged.back().out_stride == axis.out_stride * axis.size) {
      axis.size *= merged.back().size;
      merged.back() = axis;
    } else {
      merged.push_back(axis);
    }
  }
  if (merged.empty()) merged.push_back({1, 1, 1, false});
  return merged;
}

// One sum, as units of kept cells times chunks of the reduction.
struct SumPlan {
  explicit SumPlan(std::vector<Axis> axes) : inner(axes.back()) {
    axes.pop_back();
    for (const Axis& axis : axes) (axis.reduced ? reduced : kept).push_back(axis);
    const std::int64_t rows = product(reduced);
    columns = inner.reduced ? 1 : inner.size;
    column_block = std::min(columns, kColumnBlock);
    column_blocks = (columns + column_block - 1) / column_block;
    units = product(kept) * column_blocks;
    steps = inner.reduced ? rows * inner.size : rows;
    const std::int64_t work = steps * column_block;
    units_per_task = std::max<std::int64_t>(1, kTask / work);
    chunks = std::clamp<std::int64_t>(work / kChunk, 1, std::min(kMaxChunks, steps));
    sums = product(kept) * columns;
  }

  Axis inner;
  std::vector<Axis> kept;     // but for `inner`
  std::vector<Axis> reduced;  // but for `inner`
  std::int64_t columns;       // kept cells along `inner`
  std::int64_t column_block;
  std::int64_t column_blocks;
  std::int64_t units;  // kept cells, or blocks of columns
  std::int64_t steps;  // length of one reduction: rows, or elements where `inner` is reduced
  std::int64_t units_per_task;
  std::int64_t chunks;
  std::int64_t sums;  // elements of the result
};

struct Sum {
  static constexpr double kStart = 0;
  template <class T>
  static void rows(const kernels::Rows& shape, const T* x, double* results) {
    kernels::sum_rows(shape, x, results);
  }
  template <class T>
  static void columns(const kernels::Rows& shape, const T* x, double* results) {
    kernels::sum_columns(shape, x, results);
  }
  static double join(double a, double b) { return a + b; }
};

struct Max {
  static constexpr double kStart = -std::numeric_limits<double>::infinity();
  template <class T>
  static void rows(const kernels::Rows& shape, const T* x, double* results) {
    kernels::max_rows(shape, x, results);
  }
  template <class T>
  static void columns(const kernels::Rows& shape, const T* x, double* results) {
    kernels::max_columns(shape, x, results);
  }
  static double join(double a, double b) { return b > a || std::isnan(b) ? b : a; }
};

// Steps [begin, end) of the rows that are units [first, last).
template <class Kind, class T>
void add_rows(const SumPlan& plan, const T* x, std::int64_t first, std::int64_t last,
              std::int64_t begin, std::int64_t end, double* sums) {
  const Axis along = plan.kept.empty() ? Axis{} : plan.kept.back();
  while (first < last) {
    const std::int64_t run = std::min(last - first, along.size - first % along.size);
    const T* start = x + offset_of(first, plan.kept, &Axis::stride);
    for (std::int64_t step = begin; step < end;) {
      const std::int64_t place = step % plan.inner.size;
      const std::int64_t count = std::min(end - step, plan.inner.size - place);
      const std::int64_t row = offset_of(step / plan.inner.size, plan.reduced, &Axis::stride);
      Kind::rows({.rows = run, .columns = count, .stride = along.stride}, start + row + place,
                 sums + first);
      step += count;
    }
    first += run;
  }
}

// Rows [begin, end) of the columns that are units [first, last).
template <class Kind, class T>
void add_columns(const SumPlan& plan, const T* x, std::int64_t first, std::int64_t last,
                 std::int64_t begin, std::int64_t end, double* sums) {
  const Axis along = plan.reduced.empty() ? Axis{} : plan.reduced.back();
  for (std::int64_t unit = first; unit < last; ++unit) {
    const std::int64_t cell = unit / plan.column_blocks;
    const std::int64_t column = unit % plan.column_blocks * plan.column_block;
    const std::int64_t count = std::min(plan.column_block, plan.columns - column);
    const T* start = x + offset_of(cell, plan.kept, &Axis::stride) + column;
    for (std::int64_t row = begin; row < end;) {
      const std::int64_t run = std::min(end - row, along.size - row % along.size);
      Kind::columns({.rows = run, .columns = count, .stride = along.stride},
                    start + offset_of(row, plan.reduced, &Axis::stride),
                    sums + cell * plan.columns + column);
      row += run;
    }
  }
}

// Adds the chunks in order and puts each sum in its place.
template <class Kind, class T>
void write_sums(const SumPlan& plan, const double* partial, T* out) {
  std::vector<Axis> cells = plan.kept;
  if (!plan.inner.reduced) cells.push_back(plan.inner);
  parallel_ranges(plan.sums, kTask, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      double total = partial[i];
      for (std::int64_t chunk = 1; chunk < plan.chunks; ++chunk)
        total = Kind::join(total, partial[chunk * plan.sums + i]);
      out[offset_of(i, cells, &Axis::out_stride)] = static_cast<T>(total);
    }
  });
}

template <class Kind, class T>
void sum_all(const SumPlan& plan, const T* x, T* out) {
  const Workspace workspace(static_cast<std::size_t>(plan.sums * plan.chunks) * sizeof(double));
  double* partial = workspace.as<double>();
  const std::int64_t groups = (plan.units + plan.units_per_task - 1) / plan.units_per_task;
  parallel_for(groups * plan.chunks, [&](std::int64_t task) {
    const std::int64_t chunk = task % plan.chunks;
    const std::int64_t first = task / plan.chunks * plan.units_per_task;
    const std::int64_t last = std::min(plan.units, first + plan.units_per_task);
    const std::int64_t begin = plan.steps * chunk / plan.chunks;
    const std::int64_t end = plan.steps * (chunk + 1) / plan.chunks;
    double* sums = partial + chunk * plan.sums;
    const auto place = [&](std::int64_t unit) {
      return unit / plan.column_blocks * plan.columns +
             unit % plan.column_blocks * plan.column_block;
    };
    std::fill(sums + place(first), sums + place(last), Kind::kStart);
    if (plan.inner.reduced) {
      add_rows<Kind>(plan, x, first, last, begin, end, sums);
    } else {
      add_columns<Kind>(plan, x, first, last, begin, end, sums);
    }
  });
  write_sums<Kind>(plan, partial, out);
}

// The input itself where some axis is contiguous, or else a dense copy in its own order.
Tensor with_contiguous_axis(const Tensor& input, const Shape& axes) {
  if (memory_axes(input, axes).back().stride == 1) return input;
  const Strides strides = strides_like(input.shape(), input.strides());
  Tensor copy = allocate_tensor({input.shape(), input.dtype(), strides});
  copy_elements(input, copy);
  return copy;
}

std::vector<TensorSpec> infer_reduction(std::string_view op, const TensorSpec& input,
                                        const Attributes& attributes) {
  require_floating(op, input);
  const Shape& axes = attributes.integers("axes");
  for (int i = 0; i < axes.rank(); ++i) {
    FOVEA_CHECK(axes[i] >= 0 && axes[i] < input.shape.rank(),
                "{}: axis {} is outside the {} axes of shape {}", op, axes[i], input.shape.rank(),
                input.shape);
    FOVEA_CHECK(i == 0 || axes[i - 1] < axes[i],
                "{}: axes {} must be distinct and in ascending order", op, axes);
  }
  return {make_spec(kept_shape(input.shape, axes, attributes.flag("keep")), input.dtype)};
}

template <class Kind>
void run_reduction(const Tensor& whole, const Shape& axes, Tensor& output) {
  const Tensor input = with_contiguous_axis(whole, axes);
  const SumPlan plan(memory_axes(input, axes));
  dispatch_floating(input.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    sum_all<Kind>(plan, input.data<T>(), writable<T>(output));
  });
}

std::vector<TensorSpec> infer_sum(Specs inputs, const Attributes& attributes) {
  return infer_reduction("sum", inputs[0], attributes);
}

void run_sum(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  Tensor& output = outputs[0];
  if (inputs[0].numel() == 0) {
    output.fill(0);
    return;
  }
  run_reduction<Sum>(inputs[0], attributes.integers("axes"), output);
}

std::vector<Tensor> sum_backward(const BackwardCall& call) {
  const Shape& shape = call.input_specs[0].shape;
  const Shape kept = kept_shape(shape, call.attributes.integers("axes"), /*keep=*/true);
  Tensor gradient = call.grads[0];
  if (gradient.shape() != kept) gradient = apply1(reshape, {gradient}, {{"shape", kept}});
  if (shape == kept) return {gradient};
  return {apply1(broadcast, {gradient}, {{"shape", shape}})};
}

// A sum over space sees all of it.
OpField sum_field(Specs, const Attributes& attributes) {
  const Shape& axes = attributes.integers("axes");
  return {
      .global = std::any_of(axes.begin(), axes.end(), [](std::int64_t axis) { return axis >= 2; }),
      .window = {},
      .stride = {},
      .before = {}};
}

std::vector<TensorSpec> infer_max(Specs inputs, const Attributes& attributes) {
  std::vector<TensorSpec> outputs = infer_reduction("max", inputs[0], attributes);
  FOVEA_CHECK(inputs[0].numel() > 0 || outputs[0].numel() == 0,
              "max: shape {} has no elements along axes {}, so there is no largest one",
              inputs[0].shape, attributes.integers("axes"));
  return outputs;
}

void run_max(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  if (inputs[0].numel() == 0) return;
  run_reduction<Max>(inputs[0], attributes.integers("axes"), outputs[0]);
}

// Equal maxima share the gradient.
std::vector<Tensor> max_backward(const BackwardCall& call) {
  const Tensor& x = call.inputs[0];
  const Shape& axes = call.attributes.integers("axes");
  const Shape kept = kept_shape(x.shape(), axes, /*keep=*/true);
  const auto as_kept = [&](const Tensor& tensor) {
    return tensor.shape() == kept ? tensor : apply1(reshape, {tensor}, {{"shape", kept}});
  };
  const Tensor wins = apply1(equal, {x, as_kept(call.outputs[0])});
  const Tensor count = apply1(sum, {wins}, {{"axes", axes}, {"keep", true}});
  const Tensor share = apply1(div, {as_kept(call.grads[0]), count});
  return {apply1(mul, {wins, share})};
}

std::vector<TensorSpec> infer_broadcast(Specs inputs, const Attributes& attributes) {
  const Shape& from = inputs[0].shape;
  const Shape& to = attributes.integers("shape");
  FOVEA_CHECK(from.rank() <= to.rank(),
              "broadcast: shape {} has more axes than {}, to which it should be repeated", from,
              to);
  const int extra = to.rank() - from.rank();
  for (int i = 0; i < from.rank(); ++i) {
    FOVEA_CHECK(from[i] == to[i + extra] || from[i] == 1,
                "broadcast: shape {} cannot be repeated to {}: axis {} has {}, but only 1 or {} "
                "would do there",
                from, to, i, from[i], to[i + extra]);
  }
  return {make_spec(to, inputs[0].dtype)};
}

Tensor view_broadcast(const Tensor& input, const Attributes& attributes) {
  return view::broadcast(input, attributes.integers("shape"));
}

void run_broadcast(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  copy_elements(view_broadcast(inputs[0], attributes), outputs[0]);
}

std::vector<Tensor> broadcast_backward(const BackwardCall& call) {
  return {sum_to(call.grads[0], call.input_specs[0].shape)};
}

}  // namespace

Tensor sum_to(const Tensor& gradient, const Shape& shape) {
  if (gradient.shape() == shape) return gradient;
  const int extra = gradient.rank() - shape.rank();
  FOVEA_ASSERT(extra >= 0, "from {} to {}", gradient.shape(), shape);
  Shape axes;
  for (int i = 0; i < gradient.rank(); ++i) {
    if (i < extra || shape[i - extra] != gradient.shape()[i]) axes.push_back(i);
  }
  Tensor result = apply1(sum, {gradient}, {{"axes", axes}, {"keep", true}});
  if (result.shape() != shape) result = apply1(reshape, {result}, {{"shape", shape}});
  return result;
}

const OpDef sum = {.name = "sum",
                   .infer = infer_sum,
                   .run = run_sum,
                   .backward = sum_backward,
                   .field = sum_field};
const OpDef max = {.name = "max",
                   .infer = infer_max,
                   .run = run_max,
                   .backward = max_backward,
                   .saves = {.inputs = 0b1, .outputs = 0b1},
                   .field = sum_field};
const OpDef broadcast = {.name = "broadcast",
                         .infer = infer_broadcast,
                         .run = run_broadcast,
                         .view = view_broadcast,
                         .backward = broadcast_backward};

}  // namespace fovea::ops
