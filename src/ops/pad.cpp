// Padding as an operator of its own, and its adjoint.
//
// pad is affine: it copies input cells, and fills in a constant or the mean of the channel. The
// adjoint adds the gradients of all cells that were made from one input cell. Both are those of
// conv/padded_input.h, so a convolution with a padding mode equals this and one without.
#include "conv/padded_input.h"
#include "core/check.h"
#include "core/dispatch.h"
#include "ops/checks.h"
#include "ops/conv_problem.h"
#include "ops/families.h"

namespace fovea::ops {
namespace {

// Padding is a convolution with a kernel of one cell that is never carried out.
ConvProblem pad_problem(const Shape& input, DType dtype, const Attributes& attributes) {
  const Shape ones = Shape::filled(input.rank() - 2, 1);
  return make_problem(
      input, with_channels(ones, input[1], 1), dtype,
      attributes.with("stride", ones).with("dilation", ones).with("groups", input[1]));
}

ConvProblem checked_pad(std::string_view op, const Shape& input, DType dtype,
                        const Attributes& attributes) {
  const ConvProblem problem = pad_problem(input, dtype, attributes);
  with_a_sample(problem).validate(op);
  return problem;
}

std::vector<TensorSpec> infer_pad(Specs inputs, const Attributes& attributes) {
  require_floating("pad", inputs[0]);
  const ConvProblem problem = checked_pad("pad", inputs[0].shape, inputs[0].dtype, attributes);
  return {make_spec(problem.output_shape(), problem.dtype, Layout::channels_last)};
}

void run_pad(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const ConvProblem problem = pad_problem(inputs[0].shape(), inputs[0].dtype(), attributes);
  const Tensor x = dense(inputs[0], Layout::channels_last);
  dispatch_floating(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    conv::copy_padded(problem, x.data<T>(), writable<T>(outputs[0]));
  });
}

std::vector<Tensor> gradient_of_pad(const BackwardCall& call) {
  return {apply1(pad_backward, {call.grads[0]},
                 call.attributes.with("padding_value", 0.0)
                     .with("input", spatial_of(call.input_specs[0].shape)))};
}

OpField field_of_pad(Specs, const Attributes& attributes) {
  const Shape& before = attributes.integers("before");
  const Shape ones = Shape::filled(before.rank(), 1);
  return {.global = false, .window = ones, .stride = ones, .before = before};
}

// ---- pad_backward: g -> dx; attribute "input": the spatial sizes of x

Shape input_shape(const Shape& gradient, const Attributes& attributes) {
  return with_channels(attributes.integers("input"), gradient[0], gradient[1]);
}

std::vector<TensorSpec> infer_pad_backward(Specs inputs, const Attributes& attributes) {
  const Shape input = input_shape(inputs[0].shape, attributes);
  const ConvProblem problem = checked_pad("pad_backward", input, inputs[0].dtype, attributes);
  FOVEA_CHECK(inputs[0].shape == problem.output_shape(),
              "pad_backward: the gradient is {}, but {} padded is {}", inputs[0].shape, input,
              problem.output_shape());
  return {make_spec(input, problem.dtype, Layout::channels_last)};
}

void run_pad_backward(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const ConvProblem problem = pad_problem(outputs[0].shape(), inputs[0].dtype(), attributes);
  const Tensor g = dense(inputs[0], Layout::channels_last);
  dispatch_floating(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    conv::fold_padding(problem, g.data<T>(), writable<T>(outputs[0]));
  });
}

std::vector<Tensor> gradient_of_pad_backward(const BackwardCall& call) {
  return {apply1(pad, {call.grads[0]}, call.attributes)};
}

}  // namespace

const OpDef pad = {.name = "pad",
                   .infer = infer_pad,
                   .run = run_pad,
                   .backward = gradient_of_pad,
                   .field = field_of_pad};

const OpDef pad_backward = {.name = "pad_backward",
                            .infer = infer_pad_backward,
                            .run = run_pad_backward,
                            .backward = gradient_of_pad_backward,
                            .field = global_field};

}  // namespace fovea::ops
