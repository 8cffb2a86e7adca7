// Convolution and its two derivatives as operators.
//
// y = conv(x, w) is linear in each argument, so the family {forward, backward_data,
// backward_weights} is closed under differentiation [B]: each one's backward is the other two.
// Padding with a constant makes y affine in x; backward_data, and what is derived from it, is of
// its linear part. Shape errors are raised here; the arithmetic of output sizes is ConvProblem's.
//
// conv_fused adds what often follows, activation(conv + residual), while the sums are in registers.
// Where the activation's slope can be told from its output it has a gradient, which saves that
// output alone; conv1d() to conv3d() compute the others apart where a gradient is wanted.
#include <algorithm>

#include "core/check.h"
#include "ops/checks.h"
#include "ops/conv_problem.h"
#include "ops/epilogue.h"
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
  conv::choose(with_a_sample(problem), Pass::forward, plan_options(attributes));
  return {make_spec(problem.output_shape(), problem.dtype, Layout::channels_last)};
}

void run_forward(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const ConvProblem problem =
      make_problem(inputs[0].shape(), inputs[1].shape(), inputs[0].dtype(), attributes);
  run_conv_pass(Pass::forward, problem, attributes, inputs, outputs[0]);
}

// Of x, w and bias, given the gradient of the sums.
std::vector<Tensor> gradients_of_sum(const BackwardCall& call, const Tensor& g) {
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

std::vector<Tensor> backward_forward(const BackwardCall& call) {
  return gradients_of_sum(call, call.grads[0]);
}

OpCost cost_forward(Specs inputs, Specs outputs, const Attributes& attributes) {
  return conv_cost(inputs, outputs,
                   make_problem(inputs[0].shape, inputs[1].shape, inputs[0].dtype, attributes));
}

OpField field_forward(Specs inputs, const Attributes& attributes) {
  return problem_field(make_problem(inputs[0].shape, inputs[1].shape, inputs[0].dtype, attributes));
}

// ---- fused: (x, w, bias?, residual?) -> y; attributes of ops/epilogue.h

std::vector<TensorSpec> infer_fused(Specs inputs, const Attributes& attributes) {
  std::vector<TensorSpec> outputs = infer_forward(inputs, attributes);
  check_epilogue(conv_name(inputs[0].shape.rank() - 2), inputs, outputs[0], attributes);
  return outputs;
}

void run_fused(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const ConvProblem problem =
      make_problem(inputs[0].shape(), inputs[1].shape(), inputs[0].dtype(), attributes);
  run_conv_pass(Pass::forward, problem, attributes, inputs, outputs[0]);
}

std::vector<Tensor> backward_fused(const BackwardCall& call) {
  const Tensor g = through_activation(call.grads[0], call.outputs[0], call.attributes);
  std::vector<Tensor> grads = gradients_of_sum(call, g);
  grads.push_back(call.needs_grad[3] ? g : Tensor());
  return grads;
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
  conv::choose(with_a_sample(problem), Pass::backward_data, plan_options(attributes));
  return {make_spec(x, inputs[0].dtype, Layout::channels_last)};
}

void run_data(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const ConvProblem problem =
      make_problem(outputs[0].shape(), inputs[1].shape(), inputs[0].dtype(), attributes);
  run_conv_pass(Pass::backward_data, problem, attributes, inputs, outputs[0]);
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
  conv::choose(with_a_sample(problem), Pass::backward_weights, plan_options(attributes));
  return {make_spec(w, inputs[0].dtype)};
}

void run_weights(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const ConvProblem problem =
      make_problem(inputs[0].shape(), outputs[0].shape(), inputs[0].dtype(), attributes);
  run_conv_pass(Pass::backward_weights, problem, attributes, inputs, outputs[0]);
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

const OpDef conv_fused = {.name = "conv_fused",
                          .infer = infer_fused,
                          .run = run_fused,
                          .backward = backward_fused,
                          .saves = {.inputs = 0b0011, .outputs = 0b1},
                          .cost = cost_forward,
                          .field = field_forward};

const OpDef conv_backward_data = {.name = "conv_backward_data",
                                  .infer = infer_data,
                                  .run = run_data,
                                  .backward = backward_of_data,
                                  .saves = {.inputs = 0b11, .outputs = 0},
                                  .cost = cost_data,
                                  .field = global_field};

const OpDef conv_backward_weights = {.name = "conv_backward_weights",
                                     .infer = infer_weights,
                                     .run = run_weights,
                                     .backward = backward_of_weights,
                                     .saves = {.inputs = 0b11, .outputs = 0},
                                     .cost = cost_weights,
                                     .field = global_field};

}  // namespace fovea::ops
