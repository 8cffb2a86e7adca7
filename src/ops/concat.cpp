// Tensors one behind another along an axis; the gradient of each is its slice.
#include <algorithm>

#include "core/check.h"
#include "fovea/executor.h"
#include "ops/checks.h"
#include "ops/families.h"

namespace fovea::ops {
namespace {

constexpr std::int64_t kTask = 1 << 16;  // elements of one task

int axis_of(const Attributes& attributes) {
  return static_cast<int>(attributes.integer("axis"));
}

std::vector<TensorSpec> concat_infer(Specs inputs, const Attributes& attributes) {
  FOVEA_CHECK(!inputs.empty(), "concat: needs at least one tensor");
  const TensorSpec& first = inputs[0];
  const int axis = axis_of(attributes);
  FOVEA_CHECK(axis >= 0 && axis < first.shape.rank(),
              "concat: axis {} is outside the {} axes of shape {}", axis, first.shape.rank(),
              first.shape);
  Shape shape = first.shape;
  shape[axis] = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const TensorSpec& input = inputs[i];
    FOVEA_CHECK(input.dtype == first.dtype,
                "concat: tensor {} is {} but tensor 0 is {}; convert one with .to()", i,
                name(input.dtype), name(first.dtype));
    FOVEA_CHECK(input.shape.rank() == shape.rank(),
                "concat: tensor {} has {} axes (shape {}) but tensor 0 has {} (shape {})", i,
                input.shape.rank(), input.shape, first.shape.rank(), first.shape);
    for (int other = 0; other < shape.rank(); ++other) {
      FOVEA_CHECK(
          other == axis || input.shape[other] == first.shape[other],
          "concat: tensor {} is {} but tensor 0 is {}: along axis {} they are put together, "
          "so axis {} must have one size, not {} and {}",
          i, input.shape, first.shape, axis, other, input.shape[other], first.shape[other]);
    }
    FOVEA_CHECK(!__builtin_add_overflow(shape[axis], input.shape[axis], &shape[axis]),
                "concat: axis {} is too long", axis);
  }
  return {{shape, first.dtype, strides_like(shape, first.strides)}};
}

// Cells [begin, begin + count) of one axis.
Tensor part_of(const Tensor& tensor, int axis, std::int64_t begin, std::int64_t count) {
  Shape shape = tensor.shape();
  shape[axis] = count;
  return view::strided(tensor, begin * tensor.strides()[axis], shape, tensor.strides());
}

// In pieces along the first axis.
void copy_in_parallel(const Tensor& source, const Tensor& target) {
  if (source.numel() == 0) return;
  const std::int64_t size = source.shape()[0];
  const std::int64_t grain = std::max<std::int64_t>(1, kTask / (source.numel() / size));
  parallel_ranges(size, grain, [&](std::int64_t first, std::int64_t last) {
    Tensor place = part_of(target, 0, first, last - first);
    copy_elements(part_of(source, 0, first, last - first), place);
  });
}

void concat_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const int axis = axis_of(attributes);
  std::int64_t begin = 0;
  for (const Tensor& input : inputs) {
    const std::int64_t size = input.shape()[axis];
    copy_in_parallel(input, part_of(outputs[0], axis, begin, size));
    begin += size;
  }
}

std::vector<Tensor> concat_backward(const BackwardCall& call) {
  const int axis = axis_of(call.attributes);
  std::vector<Tensor> grads(call.input_specs.size());
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < grads.size(); ++i) {
    const std::int64_t end = begin + call.input_specs[i].shape[axis];
    if (call.needs_grad[i]) {
      grads[i] = apply1(slice, {call.grads[0]},
                        {{"axis", std::int64_t{axis}},
                         {"begin", begin},
                         {"end", end},
                         {"step", std::int64_t{1}}});
    }
    begin = end;
  }
  return grads;
}

// Along space, the hull of the place itself, as for the first tensor, and of the place in the last
// one.
OpField concat_field(Specs inputs, const Attributes& attributes) {
  const int axis = axis_of(attributes);
  if (axis < 2) return {};
  std::int64_t before = 0;
  for (const TensorSpec& input : inputs.first(inputs.size() - 1)) before += input.shape[axis];
  const int dims = inputs[0].shape.rank() - 2;
  OpField field{.window = Shape::filled(dims, 1),
                .stride = Shape::filled(dims, 1),
                .before = Shape::filled(dims, 0)};
  field.window[axis - 2] += before;
  field.before[axis - 2] = before;
  return field;
}

}  // namespace

const OpDef concat = {.name = "concat",
                      .infer = concat_infer,
                      .run = concat_run,
                      .backward = concat_backward,
                      .field = concat_field};

}  // namespace fovea::ops
