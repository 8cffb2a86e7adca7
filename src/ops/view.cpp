// Operators that look at memory in another way: reshape, permute, slice, contiguous, and the
// adjoint of slice.
//
// `view` answers without copying where strides allow it; `run` copies, for those places that must
// fill memory they are given.
#include <algorithm>

#include "core/check.h"
#include "ops/checks.h"
#include "ops/families.h"

namespace fovea::ops {
namespace {

// The shape asked for, with -1 replaced by what is left over.
Shape resolve_shape(const Shape& from, const Shape& wanted) {
  Shape shape = wanted;
  int open = -1;
  std::int64_t known = 1;
  for (int i = 0; i < wanted.rank(); ++i) {
    FOVEA_CHECK(
        wanted[i] >= -1,
        "reshape: shape {} has the size {} on axis {}; sizes are positive, and one may be -1",
        wanted, wanted[i], i);
    FOVEA_CHECK(wanted[i] != -1 || open == -1,
                "reshape: shape {} has more than one -1, so it is not determined", wanted);
    if (wanted[i] == -1) {
      open = i;
    } else {
      FOVEA_CHECK(!__builtin_mul_overflow(known, wanted[i], &known),
                  "reshape: shape {} is too large", wanted);
    }
  }
  const std::int64_t count = from.numel();
  if (open >= 0) {
    FOVEA_CHECK(known != 0 && count % known == 0,
                "reshape: shape {} has {} elements, which {} cannot hold: they do not divide by "
                "{}, the product of the "
                "other sizes",
                from, count, wanted, known);
    shape[open] = count / known;
  }
  FOVEA_CHECK(shape.numel() == count, "reshape: shape {} has {} elements, but {} has {}", from,
              count, shape, shape.numel());
  return shape;
}

std::vector<TensorSpec> infer_reshape(Specs inputs, const Attributes& attributes) {
  const TensorSpec& input = inputs[0];
  return {make_spec(resolve_shape(input.shape, attributes.integers("shape")), input.dtype)};
}

Tensor view_reshape(const Tensor& input, const Attributes& attributes) {
  return view::reshape(input, resolve_shape(input.shape(), attributes.integers("shape")));
}

void run_reshape(Inputs inputs, const Attributes&, Outputs outputs) {
  Tensor target = view::reshape(outputs[0], inputs[0].shape());
  FOVEA_ASSERT(target.defined(), "the output is row-major");
  copy_elements(inputs[0], target);
}

std::vector<Tensor> reshape_backward(const BackwardCall& call) {
  return {apply1(reshape, {call.grads[0]}, {{"shape", call.input_specs[0].shape}})};
}

// The cells stay where they are; or they are counted in one spatial axis instead of several, or the
// other way round.
OpField reshape_field(Specs inputs, const Attributes& attributes) {
  const Shape& from = inputs[0].shape;
  const Shape to = resolve_shape(from, attributes.integers("shape"));
  if (from.rank() < 3 || to.rank() < 3) return {};  // no space, which says enough
  const Shape cells = spatial_of(from);
  const Shape counted = spatial_of(to);
  if (cells == counted) return {};
  const bool same = from[0] == to[0] && from[1] == to[1];
  if (same && counted.rank() == 1) {
    OpField field;
    field.positions = cells;
    return field;
  }
  OpField field;
  field.global = !same || cells.rank() != 1;
  return field;
}

Shape inverse(const Shape& axes) {
  Shape result = axes;
  for (int i = 0; i < axes.rank(); ++i) result[static_cast<int>(axes[i])] = i;
  return result;
}

// The axes counted from the front; Error unless each occurs once.
Shape resolve_axes(const Shape& axes, const Shape& shape) {
  const int rank = shape.rank();
  FOVEA_CHECK(axes.rank() == rank, "permute: {} names {} axes, but shape {} has {}", axes,
              axes.rank(), shape, rank);
  Shape result;
  for (const std::int64_t axis : axes) {
    FOVEA_CHECK(axis >= -rank && axis < rank,
                "permute: axis {} in {} is outside the {} axes of shape {}", axis, axes, rank,
                shape);
    const std::int64_t from_front = axis < 0 ? axis + rank : axis;
    FOVEA_CHECK(std::find(result.begin(), result.end(), from_front) == result.end(),
                "permute: {} names axis {} twice; each axis of shape {} must occur once", axes,
                from_front, shape);
    result.push_back(from_front);
  }
  return result;
}

std::vector<TensorSpec> infer_permute(Specs inputs, const Attributes& attributes) {
  const TensorSpec& input = inputs[0];
  TensorSpec output = input;
  const Shape axes = resolve_axes(attributes.integers("axes"), input.shape);
  for (int i = 0; i < axes.rank(); ++i) {
    output.shape[i] = input.shape[static_cast<int>(axes[i])];
    output.strides[i] = input.strides[static_cast<int>(axes[i])];
  }
  if (!is_dense(output.shape, output.strides))
    output.strides = strides_like(output.shape, output.strides);
  return {output};
}

Tensor view_permute(const Tensor& input, const Attributes& attributes) {
  return view::permute(input, resolve_axes(attributes.integers("axes"), input.shape()));
}

void run_permute(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  copy_elements(view_permute(inputs[0], attributes), outputs[0]);
}

std::vector<Tensor> permute_backward(const BackwardCall& call) {
  const Shape axes = resolve_axes(call.attributes.integers("axes"), call.input_specs[0].shape);
  return {apply1(permute, {call.grads[0]}, {{"axes", inverse(axes)}})};
}

OpField permute_field(Specs inputs, const Attributes& attributes) {
  const Shape axes = resolve_axes(attributes.integers("axes"), inputs[0].shape);
  OpField field;
  for (int axis = 2; axis < axes.rank(); ++axis) field.global = field.global || axes[axis] != axis;
  return field;
}

// Every step-th index of [begin, end) along one axis, as Python's begin:end:step counts it.
struct Range {
  int axis = 0;
  std::int64_t begin = 0;
  std::int64_t size = 0;
  std::int64_t step = 1;
};

Range resolve_range(const Shape& shape, const Attributes& attributes) {
  const std::int64_t axis = attributes.integer("axis");
  const int rank = shape.rank();
  FOVEA_CHECK(axis >= -rank && axis < rank, "slice: axis {} is outside the {} axes of shape {}",
              axis, rank, shape);
  Range range;
  range.axis = static_cast<int>(axis < 0 ? axis + rank : axis);
  range.step = attributes.integer("step");
  FOVEA_CHECK(range.step >= 1, "slice: step is {}, but must be at least 1", range.step);
  const std::int64_t extent = shape[range.axis];
  const auto clamp = [extent](std::int64_t place) {
    return std::clamp<std::int64_t>(place < 0 ? place + extent : place, 0, extent);
  };
  range.begin = clamp(attributes.integer("begin"));
  const std::int64_t end = clamp(attributes.integer("end"));
  if (end > range.begin) range.size = (end - range.begin - 1) / range.step + 1;
  return range;
}

Tensor view_range(const Tensor& tensor, const Range& range) {
  Shape shape = tensor.shape();
  Strides strides = tensor.strides();
  const std::int64_t stride = strides[range.axis];
  shape[range.axis] = range.size;
  if (range.size > 1) strides[range.axis] = stride * range.step;  // else the product may not fit
  return view::strided(tensor, range.size > 0 ? range.begin * stride : 0, shape, strides);
}

std::vector<TensorSpec> infer_slice(Specs inputs, const Attributes& attributes) {
  const Range range = resolve_range(inputs[0].shape, attributes);
  Shape shape = inputs[0].shape;
  shape[range.axis] = range.size;
  return {{shape, inputs[0].dtype, strides_like(shape, inputs[0].strides)}};
}

Tensor view_slice(const Tensor& input, const Attributes& attributes) {
  return view_range(input, resolve_range(input.shape(), attributes));
}

void run_slice(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  copy_elements(view_slice(inputs[0], attributes), outputs[0]);
}

std::vector<Tensor> slice_gradient(const BackwardCall& call) {
  return {apply1(slice_backward, {call.grads[0]},
                 call.attributes.with("shape", call.input_specs[0].shape))};
}

OpField one_cell(int dims) {
  return {.window = Shape::filled(dims, 1),
          .stride = Shape::filled(dims, 1),
          .before = Shape::filled(dims, 0)};
}

OpField slice_field(Specs inputs, const Attributes& attributes) {
  const Range range = resolve_range(inputs[0].shape, attributes);
  if (range.axis < 2) return {};
  OpField field = one_cell(inputs[0].shape.rank() - 2);
  field.stride[range.axis - 2] = range.step;
  field.before[range.axis - 2] = -range.begin;
  return field;
}

// g in its place in zeros of the attribute "shape".
std::vector<TensorSpec> infer_slice_backward(Specs inputs, const Attributes& attributes) {
  const Shape& shape = attributes.integers("shape");
  const Range range = resolve_range(shape, attributes);
  Shape expected = shape;
  expected[range.axis] = range.size;
  FOVEA_CHECK(inputs[0].shape == expected,
              "slice_backward: the gradient is {}, but that slice of {} is {}", inputs[0].shape,
              shape, expected);
  return {{shape, inputs[0].dtype, strides_like(shape, inputs[0].strides)}};
}

void run_slice_backward(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  outputs[0].fill(0);
  Tensor target = view_range(outputs[0], resolve_range(outputs[0].shape(), attributes));
  copy_elements(inputs[0], target);
}

std::vector<Tensor> slice_backward_gradient(const BackwardCall& call) {
  return {apply1(slice, {call.grads[0]}, call.attributes)};
}

OpField slice_backward_field(Specs inputs, const Attributes& attributes) {
  const Range range = resolve_range(attributes.integers("shape"), attributes);
  if (range.axis < 2) return {};
  const int dims = inputs[0].shape.rank() - 2;
  OpField field = one_cell(dims);
  field.before[range.axis - 2] = range.begin;
  field.dilation = Shape::filled(dims, 1);
  field.dilation[range.axis - 2] = range.step;
  return field;
}

Layout layout_of(const Attributes& attributes) {
  const std::int64_t value = attributes.integer("layout");
  FOVEA_ASSERT(value >= 0 && value <= static_cast<std::int64_t>(Layout::channels_last), "layout {}",
               value);
  return static_cast<Layout>(value);
}

std::vector<TensorSpec> infer_contiguous(Specs inputs, const Attributes& attributes) {
  return {make_spec(inputs[0].shape, inputs[0].dtype, layout_of(attributes))};
}

Tensor view_contiguous(const Tensor& input, const Attributes& attributes) {
  if (!input.is_contiguous(layout_of(attributes))) return {};
  return view::strided(input, 0, input.shape(), input.strides());
}

void run_contiguous(Inputs inputs, const Attributes&, Outputs outputs) {
  copy_elements(inputs[0], outputs[0]);
}

// The elements are the same ones; only their place in memory differs.
std::vector<Tensor> contiguous_backward(const BackwardCall& call) {
  return {call.grads[0]};
}

}  // namespace

const OpDef reshape = {.name = "reshape",
                       .infer = infer_reshape,
                       .run = run_reshape,
                       .view = view_reshape,
                       .backward = reshape_backward,
                       .field = reshape_field};
const OpDef permute = {.name = "permute",
                       .infer = infer_permute,
                       .run = run_permute,
                       .view = view_permute,
                       .backward = permute_backward,
                       .field = permute_field};
const OpDef slice = {.name = "slice",
                     .infer = infer_slice,
                     .run = run_slice,
                     .view = view_slice,
                     .backward = slice_gradient,
                     .field = slice_field};
const OpDef slice_backward = {.name = "slice_backward",
                              .infer = infer_slice_backward,
                              .run = run_slice_backward,
                              .backward = slice_backward_gradient,
                              .field = slice_backward_field};
const OpDef contiguous = {.name = "contiguous",
                          .infer = infer_contiguous,
                          .run = run_contiguous,
                          .view = view_contiguous,
                          .backward = contiguous_backward};

}  // namespace fovea::ops
