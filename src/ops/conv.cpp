// Convolution and its two derivatives as operators.
//
// y = conv(x, w) is linear in each argument, so the family {forward, backward_data,
// backward_weights} is closed under differentiation [B]: each one's backward is the other two.
// Padding with a constant makes y affine in x; backward_data, and what is derived from it, is of
// its linear part. Shape errors are raised here; the arithmetic of output sizes is ConvProblem's.
#include <algorithm>

#include "core/check.h"
#include "ops/checks.h"
#include "ops/conv_problem.h"
#include "ops/families.h"

namespace fovea::ops {
namespace {

Attributes linear_part(const Attributes& attributes) {
  return attributes.with("padding_value", 0.0);
}

// ---- forward: (x, w, bias?) -> y

std::vector<TensorSpec> infer_forward(Specs inputs, const Attributes& attributes) {
  const std::string op = conv_name(inputs[0].shape.rank() - 2);
  const ConvProblem problem = checked_problem(op, inputs[0], inputs[1], attributes);
  const TensorSpec& bias = inputs[2];
  if (bias.defined) {
    require_same_dtype(op, inputs[0], bias);
    FOVEA_CHECK(bias.shape == Shape{problem.out_channels},
                "{}: bias is {}, but weight {} has {} output channels, so [{}] is needed", op,
                bias.shape, inputs[1].shape, problem.out_channels, problem.out_channels);
  }
  conv::choose(problem, Pass::forward, plan_options(attributes));
  return {make_spec(problem.output_shape(), problem.dtype, Layout::channels_last)};
}

void run_forward(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const ConvProblem problem =
      make_problem(inputs[0].shape(), inputs[1].shape(), inputs[0].dtype(), attributes);
  run_conv_pass(Pass::forward, problem, attributes, inputs[0], inputs[1], inputs[2], outputs[0]);
}

std::vector<Tensor> backward_forward(const BackwardCall& call) {
  const Tensor& g = call.grads[0];
  const Shape& x = call.input_specs[0].shape;
  const Shape& w = call.input_specs[1].shape;
  std::vector<Tensor> grads(3);
  if (call.needs_grad[0]) {
    grads[0] = apply1(conv_backward_data, {g, call.inputs[1]},
                      linear_part(call.attributes).with("input", spatial_of(x)));
  }
  if (call.needs_grad[1]) {
    grads[1] = apply1(conv_backward_weights, {call.inputs[0], g},
                      call.attributes.with("kernel", spatial_of(w)));
  }
  if (call.needs_grad[2]) {
    grads[2] = apply1(sum, {g}, {{"axes", all_but_channels(x.rank())}, {"keep", false}});
  }
  return grads;
}

OpCost cost_forward(Specs inputs, Specs outputs, const Attributes& attributes) {
  return conv_cost(inputs, outputs,
                   make_problem(inputs[0].shape, inputs[1].shape, inputs[0].dtype, attributes));
}

OpField field_forward(Specs inputs, const Attributes& attributes) {
  const ConvProblem problem =
      make_problem(inputs[0].shape, inputs[1].shape, inputs[0].dtype, attributes);
  OpField field{.global = false,
                .window = {},
                .stride = attributes.integers("stride"),
                .before = attributes.integers("before")};
  for (int i = 0; i < problem.dims; ++i)
    field.window.push_back(problem.axes[static_cast<std::size_t>(i)].span());
  return field;
}

// ---- backward_data: (g, w) -> dx; attribute "input": the spatial sizes of x

Shape data_shape(Specs inputs, const Attributes& attributes) {
  return with_channels(attributes.integers("input"), inputs[0].shape[0],
                       inputs[1].shape[1] * attributes.integer("groups"));
}

std::vector<TensorSpec> infer_data(Specs inputs, const Attributes& attributes) {
  const Shape x = data_shape(inputs, attributes);
  const ConvProblem problem = checked_problem(conv_name(x.rank() - 2),
                                              make_spec(x, inputs[0].dtype), inputs[1], attributes);
  FOVEA_CHECK(inputs[0].shape == problem.output_shape(),
              "conv_backward_data: the gradient is {}, but the output of {} is {}", inputs[0].shape,
              problem.to_string(), problem.output_shape());
  conv::choose(problem, Pass::backward_data, plan_options(attributes));
  return {make_spec(x, inputs[0].dtype, Layout::channels_last)};
}

void run_data(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const ConvProblem problem =
      make_problem(outputs[0].shape(), inputs[1].shape(), inputs[0].dtype(), attributes);
  run_conv_pass(Pass::backward_data, problem, attributes, inputs[0], inputs[1], {}, outputs[0]);
}

std::vector<Tensor> backward_of_data(const BackwardCall& call) {
  const Tensor& v = call.grads[0];
  std::vector<Tensor> grads(2);
  if (call.needs_grad[0]) grads[0] = apply1(conv, {v, call.inputs[1], {}}, call.attributes);
  if (call.needs_grad[1]) {
    grads[1] = apply1(conv_backward_weights, {v, call.inputs[0]},
                      call.attributes.with("kernel", spatial_of(call.input_specs[1].shape)));
  }
  return grads;
}

OpCost cost_data(Specs inputs, Specs outputs, const Attributes& attributes) {
  return conv_cost(inputs, outputs,
                   make_problem(outputs[0].shape, inputs[1].shape, inputs[0].dtype, attributes));
}

// ---- backward_weights: (x, g) -> dw; attribute "kernel": the spatial sizes of w

Shape weight_shape(Specs inputs, const Attributes& attributes) {
  return with_channels(
      attributes.integers("kernel"), inputs[1].shape[1],
      inputs[0].shape[1] / std::max<std::int64_t>(attributes.integer("groups"), 1));
}

std::vector<TensorSpec> infer_weights(Specs inputs, const Attributes& attributes) {
  const Shape w = weight_shape(inputs, attributes);
  const ConvProblem problem = checked_problem(conv_name(w.rank() - 2), inputs[0],
                                              make_spec(w, inputs[1].dtype), attributes);
  FOVEA_CHECK(inputs[1].shape == problem.output_shape(),
              "conv_backward_weights: the gradient is {}, but the output of {} is {}",
              inputs[1].shape, problem.to_string(), problem.output_shape());
  conv::choose(problem, Pass::backward_weights, plan_options(attributes));
  return {make_spec(w, inputs[0].dtype)};
}

void run_weights(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const ConvProblem problem =
      make_problem(inputs[0].shape(), outputs[0].shape(), inputs[0].dtype(), attributes);
  run_conv_pass(Pass::backward_weights, problem, attributes, inputs[0], inputs[1], {}, outputs[0]);
}

std::vector<Tensor> backward_of_weights(const BackwardCall& call) {
  const Tensor& u = call.grads[0];
  std::vector<Tensor> grads(2);
  if (call.needs_grad[0]) {
    grads[0] =
        apply1(conv_backward_data, {call.inputs[1], u},
               linear_part(call.attributes).with("input", spatial_of(call.input_specs[0].shape)));
  }
  if (call.needs_grad[1]) grads[1] = apply1(conv, {call.inputs[0], u, {}}, call.attributes);
  return grads;
}

OpCost cost_weights(Specs inputs, Specs outputs, const Attributes& attributes) {
  return conv_cost(inputs, outputs,
                   make_problem(inputs[0].shape, outputs[0].shape, inputs[0].dtype, attributes));
}

}  // namespace

const OpDef conv = {.name = "conv",
                    .infer = infer_forward,
                    .run = run_forward,
                    .backward = backward_forward,
                    .saves = {.inputs = 0b011, .outputs = 0},
                    .cost = cost_forward,
                    .field = field_forward};

const OpDef conv_backward_data = {.name = "conv_backward_data",
                                  .infer = infer_data,
                                  .run = run_data,
                                  .backward = backward_of_data,
                                  .saves = {.inputs = 0b11, .outputs = 0},
                                  .cost = cost_data};

const OpDef conv_backward_weights = {.name = "conv_backward_weights",
                                     .infer = infer_weights,
                                     .run = run_weights,
                                     .backward = backward_of_weights,
                                     .saves = {.inputs = 0b11, .outputs = 0},
                                     .cost = cost_weights};

}  // namespace fovea::ops
