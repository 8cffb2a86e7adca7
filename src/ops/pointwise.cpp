// Element-wise loops over tensors of any memory order.
//
// The axes are sorted by the output's strides and merged where every operand steps through them as
// through one run, so dense operands of one layout become a single run, and a bias over
// channels-last data becomes rows of C elements. An operand that neither repeats nor is contiguous
// along the innermost run is copied once into the output's order. Threads share the rows (or one
// long run) in pieces cut from the problem alone.
#include "ops/pointwise.h"

#include <algorithm>
#include <array>

#include "core/check.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "ops/checks.h"
#include "ops/families.h"

namespace fovea::ops {
namespace {

constexpr std::int64_t kGrain = 32768;  // elements of one task

// Places of the operands in arrays.
constexpr std::size_t kOut = 0;
constexpr std::size_t kA = 1;
constexpr std::size_t kB = 2;

struct LoopAxis {
  std::int64_t size = 1;
  std::array<std::int64_t, 3> strides{};  // of out, a and b
};

// The axes that have steps, outermost first in the output's memory, merged as far as possible; at
// least one.
std::vector<LoopAxis> loop_axes(const Shape& shape, const std::array<Strides, 3>& strides) {
  std::vector<LoopAxis> axes;
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] != 1)
      axes.push_back({shape[i], {strides[kOut][i], strides[kA][i], strides[kB][i]}});
  }
  std::stable_sort(axes.begin(), axes.end(), [](const LoopAxis& x, const LoopAxis& y) {
    return x.strides[kOut] > y.strides[kOut];
  });
  std::vector<LoopAxis> merged;
  for (const LoopAxis& axis : axes) {
    const auto continues = [&](std::size_t operand) {
      return merged.back().strides[operand] == axis.strides[operand] * axis.size;
    };
    if (!merged.empty() && continues(kOut) && continues(kA) && continues(kB)) {
      merged.back() = {merged.back().size * axis.size, axis.strides};
    } else {
      merged.push_back(axis);
    }
  }
  if (merged.empty()) merged.push_back({1, {1, 1, 1}});
  return merged;
}

// A copy of `operand`, which has stride zero where it repeats, in the memory order of `out`; still
// repeating.
Tensor reorder(const Tensor& operand, const Tensor& out) {
  Shape shape = operand.shape();
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (operand.strides()[axis] == 0) shape[axis] = 1;
  }
  Tensor copy = allocate_tensor({shape, operand.dtype(), strides_like(shape, out.strides())});
  copy_elements(view::strided(operand, 0, shape, operand.strides()), copy);
  return view::broadcast(copy, operand.shape());
}

// `operand` seen in the shape of `out`, with a step of one along the output's innermost axis, or of
// zero where repetition is allowed.
Tensor prepare(const Tensor& operand, const Tensor& out, bool may_repeat) {
  Tensor expanded = view::broadcast(operand, out.shape());
  const std::int64_t step =
      loop_axes(out.shape(), {out.strides(), expanded.strides(), expanded.strides()})
          .back()
          .strides[kA];
  if (step == 1 || (step == 0 && may_repeat)) return expanded;
  if (may_repeat) return reorder(expanded, out);
  Tensor copy = allocate_tensor(spec_of(out));
  copy_elements(expanded, copy);
  return copy;
}

// Calls body(block, offsets of out, a and b) for pieces that together are all of `axes`.
template <class Body>
void for_each_block(std::vector<LoopAxis> axes, const Body& body) {
  const LoopAxis inner = axes.back();
  axes.pop_back();
  kernels::RowBlock block;
  block.columns = inner.size;
  block.a_repeats = inner.strides[kA] == 0;
  block.b_repeats = inner.strides[kB] == 0;
  if (axes.empty()) {
    parallel_ranges(inner.size, kGrain, [&](std::int64_t first, std::int64_t last) {
      kernels::RowBlock piece = block;
      piece.columns = last - first;
      body(piece, std::array<std::int64_t, 3>{first, first * inner.strides[kA],
                                              first * inner.strides[kB]});
    });
    return;
  }
  const LoopAxis row = axes.back();
  axes.pop_back();
  block.out_stride = row.strides[kOut];
  block.a_stride = row.strides[kA];
  block.b_stride = row.strides[kB];
  std::int64_t rows = row.size;
  for (const LoopAxis& axis : axes) rows *= axis.size;
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / inner.size);
  parallel_ranges(rows, grain, [&](std::int64_t first, std::int64_t last) {
    while (first < last) {
      const std::int64_t start = first % row.size;
      kernels::RowBlock piece = block;
      piece.rows = std::min(row.size - start, last - first);
      std::array<std::int64_t, 3> offsets{};
      std::int64_t rest = first / row.size;
      for (std::size_t operand = 0; operand < 3; ++operand)
        offsets[operand] = start * row.strides[operand];
      for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
        const std::int64_t index = rest % axis->size;
        rest /= axis->size;
        for (std::size_t operand = 0; operand < 3; ++operand)
          offsets[operand] += index * axis->strides[operand];
      }
      body(piece, offsets);
      first += piece.rows;
    }
  });
}

bool lie_alike(const Tensor& operand, const Tensor& out) {
  return operand.shape() == out.shape() && operand.strides() == out.strides();
}

// Calls body(piece, its first element, first element of `out`) where all operands are dense and lie
// alike, as in most calls: nothing of the above is to be found out.
template <class Body>
void in_one_run(Tensor& out, const Body& body) {
  dispatch_floating(out.dtype(), [&](auto tag) {
    auto* to = writable<typename decltype(tag)::type>(out);
    parallel_ranges(out.numel(), kGrain, [&](std::int64_t first, std::int64_t last) {
      body(kernels::RowBlock{.columns = last - first}, first, to);
    });
  });
}

// Why two shapes cannot be one, with the axis and a likely fix.
[[noreturn]] void refuse_broadcast(std::string_view op, const Shape& a, const Shape& b,
                                   int from_end) {
  const std::int64_t a_size = a[a.rank() - from_end];
  const std::int64_t b_size = b[b.rank() - from_end];
  std::string hint;
  const bool a_longer = a.rank() > b.rank();
  const Shape& tensor = a_longer ? a : b;
  const Shape& vector = a_longer ? b : a;
  if (tensor.rank() > 2 && vector.rank() == 1 && vector[0] == tensor[1]) {
    Shape shape = Shape::filled(tensor.rank() - 1, 1);
    shape[0] = vector[0];
    hint = fmt::format(" If {} holds one number per channel, use reshape({}).", vector, shape);
  }
  throw_error(
      fmt::format("{}: shapes {} and {} do not broadcast: axis -{} has {} in one and {} in the "
                  "other, but sizes, counted from the "
                  "last axis, must be equal or 1.{}",
                  op, a, b, from_end, a_size, b_size, hint));
}

Shape broadcast_shape(std::string_view op, const Shape& a, const Shape& b) {
  Shape shape = a.rank() >= b.rank() ? a : b;
  for (int from_end = 1; from_end <= std::min(a.rank(), b.rank()); ++from_end) {
    const std::int64_t a_size = a[a.rank() - from_end];
    const std::int64_t b_size = b[b.rank() - from_end];
    if (a_size != b_size && a_size != 1 && b_size != 1) refuse_broadcast(op, a, b, from_end);
    shape[shape.rank() - from_end] = a_size == 1 ? b_size : a_size;
  }
  return shape;
}

}  // namespace

TensorSpec spec_like(const TensorSpec& like, DType dtype) {
  if (!is_dense(like.shape, like.strides))
    return {like.shape, dtype, strides_like(like.shape, like.strides)};
  return {like.shape, dtype, like.strides};
}

std::vector<TensorSpec> infer_unary(std::string_view op, Specs inputs) {
  require_floating(op, inputs[0]);
  return {spec_like(inputs[0], inputs[0].dtype)};
}

std::vector<TensorSpec> infer_binary(std::string_view op, Specs inputs) {
  const TensorSpec& a = inputs[0];
  const TensorSpec& b = inputs[1];
  require_floating(op, a, "the first input");
  require_same_dtype(op, a, b);
  const Shape shape = broadcast_shape(op, a.shape, b.shape);
  for (const TensorSpec& input : inputs) {
    if (input.shape == shape && is_dense(shape, input.strides))
      return {{shape, a.dtype, input.strides}};
  }
  for (const TensorSpec& input : inputs) {
    if (input.shape == shape) return {spec_like(input, a.dtype)};
  }
  return {make_spec(shape, a.dtype)};
}

std::vector<TensorSpec> infer_backward(std::string_view op, Specs inputs) {
  require_same_shape(op, inputs[0], "the gradient", inputs[1], "the output");
  return infer_binary(op, inputs);
}

void run_unary(kernels::Unary op, const Tensor& a, Tensor& out) {
  if (out.numel() == 0) return;
  if (lie_alike(a, out)) {
    return in_one_run(out, [&]<class T>(const kernels::RowBlock& run, std::int64_t first, T* to) {
      kernels::unary(op, run, a.data<T>() + first, to + first);
    });
  }
  const Tensor source = prepare(a, out, /*may_repeat=*/false);
  const auto axes = loop_axes(out.shape(), {out.strides(), source.strides(), source.strides()});
  dispatch_floating(out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* from = source.data<T>();
    T* to = writable<T>(out);
    for_each_block(axes,
                   [&](const kernels::RowBlock& block, const std::array<std::int64_t, 3>& offsets) {
                     kernels::unary(op, block, from + offsets[kA], to + offsets[kOut]);
                   });
  });
}

void run_binary(kernels::Binary op, const Tensor& a, const Tensor& b, Tensor& out) {
  if (out.numel() == 0) return;
  if (lie_alike(a, out) && lie_alike(b, out)) {
    return in_one_run(out, [&]<class T>(const kernels::RowBlock& run, std::int64_t first, T* to) {
      kernels::binary(op, run, a.data<T>() + first, b.data<T>() + first, to + first);
    });
  }
  const Tensor first = prepare(a, out, /*may_repeat=*/true);
  const Tensor second = prepare(b, out, /*may_repeat=*/true);
  const auto axes = loop_axes(out.shape(), {out.strides(), first.strides(), second.strides()});
  dispatch_floating(out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* from_a = first.data<T>();
    const T* from_b = second.data<T>();
    T* to = writable<T>(out);
    for_each_block(axes, [&](const kernels::RowBlock& block,
                             const std::array<std::int64_t, 3>& offsets) {
      kernels::binary(op, block, from_a + offsets[kA], from_b + offsets[kB], to + offsets[kOut]);
    });
  });
}

Tensor scaled(const Tensor& tensor, double factor) {
  return apply1(mul_scalar, {tensor}, {{"value", factor}});
}

}  // namespace fovea::ops
