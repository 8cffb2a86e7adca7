// Convolution and its two derivatives as operators.
//
// y = conv(x, w) is linear in each argument, so the family {forward, backward_data,
// backward_weights} is closed under differentiation [B]: each one's backward is the other two.
// Shape errors are raised here; the arithmetic of output sizes is ConvProblem's.
#include <algorithm>

#include "conv/algorithms.h"
#include "core/check.h"
#include "core/dispatch.h"
#include "ops/checks.h"
#include "ops/families.h"

namespace fovea::ops {
namespace {

std::string op_name(int dims) {
  return fmt::format("conv{}d", dims);
}

// The problem of a call, from the shapes of x and w.
ConvProblem make_problem(const Shape& x, const Shape& w, DType dtype,
                         const Attributes& attributes) {
  ConvProblem problem;
  problem.dims = x.rank() - 2;
  problem.batch = x[0];
  problem.in_channels = x[1];
  problem.out_channels = w[0];
  problem.groups = attributes.integer("groups");
  problem.dtype = dtype;
  const Shape& stride = attributes.integers("stride");
  const Shape& dilation = attributes.integers("dilation");
  const Shape& before = attributes.integers("before");
  const Shape& after = attributes.integers("after");
  for (int i = 0; i < problem.dims; ++i) {
    problem.axes[static_cast<std::size_t>(i)] = {.input = x[i + 2],
                                                 .kernel = w[i + 2],
                                                 .stride = stride[i],
                                                 .dilation = dilation[i],
                                                 .padding = {before[i], after[i]}};
  }
  return problem;
}

// A hint for the commonest mistake: images stored as N,H,W,C.
std::string layout_hint(const Shape& x, std::int64_t channels) {
  if (x.back() != channels) return {};
  Shape order{0, x.rank() - 1};
  for (int axis = 1; axis < x.rank() - 1; ++axis) order.push_back(axis);
  constexpr std::string_view kNames[] = {"N,W,C", "N,H,W,C", "N,D,H,W,C"};
  return fmt::format(" The last axis has {}: is this {} data? Use input.permute({{{}}}).", channels,
                     kNames[x.rank() - 3], fmt::join(order, ", "));
}

// Checks x against w, and returns the validated problem.
ConvProblem checked_problem(const TensorSpec& x, const TensorSpec& w,
                            const Attributes& attributes) {
  const std::string op = op_name(x.shape.rank() - 2);
  require_floating(op, x, "input");
  require_same_dtype(op, x, w);
  const std::int64_t groups = attributes.integer("groups");
  FOVEA_CHECK(groups >= 1 && groups <= std::max<std::int64_t>(x.shape[1], 1),
              "{}: groups is {}, but must be at least 1 and at most the {} input channels", op,
              groups, x.shape[1]);
  const std::int64_t channels = w.shape[1] * groups;
  FOVEA_CHECK(x.shape[1] == channels,
              "{}: input has {} channels (shape {}) but weight {} with groups={} needs {}.{}", op,
              x.shape[1], x.shape, w.shape, groups, channels, layout_hint(x.shape, channels));
  ConvProblem problem = make_problem(x.shape, w.shape, x.dtype, attributes);
  problem.validate(op);
  return problem;
}

Shape with_channels(const Shape& spatial, std::int64_t first, std::int64_t second) {
  Shape shape{first, second};
  for (const std::int64_t size : spatial) shape.push_back(size);
  return shape;
}

Shape spatial_of(const Shape& shape) {
  Shape spatial;
  for (int axis = 2; axis < shape.rank(); ++axis) spatial.push_back(shape[axis]);
  return spatial;
}

void run_pass(Pass pass, const ConvProblem& problem, const Attributes& attributes,
              const Tensor& first, const Tensor& second, const Tensor& bias, Tensor& result) {
  const bool weights_second = pass != Pass::backward_weights;
  const Tensor a = dense(first, Layout::channels_last);
  const Tensor b = dense(second, weights_second ? Layout::row_major : Layout::channels_last);
  const Tensor c = bias.defined() ? dense(bias, Layout::row_major) : Tensor();
  dispatch_floating(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    conv::run(problem, pass, attributes.text("algorithm"),
              {.first = a.data<T>(),
               .second = b.data<T>(),
               .bias = c.defined() ? c.data<T>() : nullptr,
               .result = result.mutable_data<T>(),
               .weights = weights_second ? conv::weight_storage(b) : nullptr});
  });
}

OpCost conv_cost(Specs inputs, Specs outputs, const ConvProblem& problem) {
  OpCost cost{.multiply_adds = problem.multiply_adds(), .bytes = 0};
  for (const TensorSpec& spec : inputs)
    cost.bytes += spec.defined ? static_cast<std::int64_t>(spec.bytes()) : 0;
  for (const TensorSpec& spec : outputs) cost.bytes += static_cast<std::int64_t>(spec.bytes());
  return cost;
}

// ---- forward: (x, w, bias?) -> y

std::vector<TensorSpec> infer_forward(Specs inputs, const Attributes& attributes) {
  const ConvProblem problem = checked_problem(inputs[0], inputs[1], attributes);
  const TensorSpec& bias = inputs[2];
  if (bias.defined) {
    require_same_dtype(op_name(problem.dims), inputs[0], bias);
    FOVEA_CHECK(bias.shape == Shape{problem.out_channels},
                "conv{}d: bias is {}, but weight {} has {} output channels, so [{}] is needed",
                problem.dims, bias.shape, inputs[1].shape, problem.out_channels,
                problem.out_channels);
  }
  conv::choose(problem, Pass::forward, attributes.text("algorithm"));
  return {make_spec(problem.output_shape(), problem.dtype, Layout::channels_last)};
}

void run_forward(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const ConvProblem problem =
      make_problem(inputs[0].shape(), inputs[1].shape(), inputs[0].dtype(), attributes);
  run_pass(Pass::forward, problem, attributes, inputs[0], inputs[1], inputs[2], outputs[0]);
}

std::vector<Tensor> backward_forward(const BackwardCall& call) {
  const Tensor& g = call.grads[0];
  const Shape& x = call.input_specs[0].shape;
  const Shape& w = call.input_specs[1].shape;
  std::vector<Tensor> grads(3);
  if (call.needs_grad[0]) {
    grads[0] = apply1(conv_backward_data, {g, call.inputs[1]},
                      call.attributes.with("input", spatial_of(x)));
  }
  if (call.needs_grad[1]) {
    grads[1] = apply1(conv_backward_weights, {call.inputs[0], g},
                      call.attributes.with("kernel", spatial_of(w)));
  }
  if (call.needs_grad[2]) {
    Shape axes{0};
    for (int axis = 2; axis < x.rank(); ++axis) axes.push_back(axis);
    grads[2] = apply1(sum, {g}, {{"axes", axes}, {"keep", false}});
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
  const ConvProblem problem = checked_problem(make_spec(x, inputs[0].dtype), inputs[1], attributes);
  FOVEA_CHECK(inputs[0].shape == problem.output_shape(),
              "conv_backward_data: the gradient is {}, but the output of {} is {}", inputs[0].shape,
              problem.to_string(), problem.output_shape());
  conv::choose(problem, Pass::backward_data, attributes.text("algorithm"));
  return {make_spec(x, inputs[0].dtype, Layout::channels_last)};
}

void run_data(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const ConvProblem problem =
      make_problem(outputs[0].shape(), inputs[1].shape(), inputs[0].dtype(), attributes);
  run_pass(Pass::backward_data, problem, attributes, inputs[0], inputs[1], {}, outputs[0]);
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
  const ConvProblem problem = checked_problem(inputs[0], make_spec(w, inputs[1].dtype), attributes);
  FOVEA_CHECK(inputs[1].shape == problem.output_shape(),
              "conv_backward_weights: the gradient is {}, but the output of {} is {}",
              inputs[1].shape, problem.to_string(), problem.output_shape());
  conv::choose(problem, Pass::backward_weights, attributes.text("algorithm"));
  return {make_spec(w, inputs[0].dtype)};
}

void run_weights(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const ConvProblem problem =
      make_problem(inputs[0].shape(), outputs[0].shape(), inputs[0].dtype(), attributes);
  run_pass(Pass::backward_weights, problem, attributes, inputs[0], inputs[1], {}, outputs[0]);
}

std::vector<Tensor> backward_of_weights(const BackwardCall& call) {
  const Tensor& u = call.grads[0];
  std::vector<Tensor> grads(2);
  if (call.needs_grad[0]) {
    grads[0] = apply1(conv_backward_data, {call.inputs[1], u},
                      call.attributes.with("input", spatial_of(call.input_specs[0].shape)));
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
