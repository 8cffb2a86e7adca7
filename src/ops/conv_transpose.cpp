// Transposed convolution: (x, w, bias?) -> y, the adjoint of the convolution that maps y's shape to
// x's.
//
// y[n, o, i*stride - before + k*dilation] += w[c, o, k] x[n, c, i]. It is the pass backward_data,
// which never multiplies inserted zeros, and its gradients are a convolution and its weights'
// gradient. The attributes are those of conv, and "output", the spatial sizes of y.
#include <algorithm>
#include <vector>

#include "core/check.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "ops/checks.h"
#include "ops/conv_problem.h"
#include "ops/families.h"

namespace fovea::ops {
namespace {

Shape output_shape(const Shape& x, const Shape& w, const Attributes& attributes) {
  return with_channels(attributes.integers("output"), x[0], w[1] * attributes.integer("groups"));
}

std::vector<TensorSpec> infer_transposed(Specs inputs, const Attributes& attributes) {
  const TensorSpec& x = inputs[0];
  const TensorSpec& w = inputs[1];
  const TensorSpec& bias = inputs[2];
  const std::string op = fmt::format("conv_transpose{}d", x.shape.rank() - 2);
  require_floating(op, x);
  require_same_dtype(op, x, w);
  const std::int64_t groups = attributes.integer("groups");
  FOVEA_CHECK(groups >= 1 && groups <= std::max<std::int64_t>(x.shape[1], 1),
              "{}: groups is {}, but must be at least 1 and at most the {} input channels", op,
              groups, x.shape[1]);
  FOVEA_CHECK(x.shape[1] == w.shape[0],
              "{}: input has {} channels (shape {}) but weight {} needs {}: it is [C_in, "
              "C_out/groups, kernel...].{}",
              op, x.shape[1], x.shape, w.shape, w.shape[0], layout_hint(x.shape, w.shape[0]));
  const Shape y = output_shape(x.shape, w.shape, attributes);
  const ConvProblem problem = make_problem(y, w.shape, x.dtype, attributes);
  with_a_sample(problem).validate(op);
  FOVEA_CHECK(x.shape == problem.output_shape(),
              "{}: input is {}, but an output of {} needs {}, the output of {}", op, x.shape, y,
              problem.output_shape(), problem.to_string());
  if (bias.defined) {
    require_same_dtype(op, x, bias);
    FOVEA_CHECK(bias.shape == Shape{y[1]},
                "{}: bias is {}, but weight {} with groups={} has {} output channels, so [{}] is "
                "needed",
                op, bias.shape, w.shape, groups, y[1], y[1]);
  }
  conv::choose(with_a_sample(problem), Pass::backward_data, plan_options(attributes));
  return {make_spec(y, x.dtype, Layout::channels_last)};
}

// Adds one bias per channel to rows of channels.
template <class T>
void add_bias(const Tensor& bias, Tensor& output) {
  const Tensor each = dense(bias, Layout::row_major);
  const std::int64_t channels = bias.numel();
  // The bias of as many positions as a row has, so that the inner loop is long.
  const std::int64_t width = output.shape().back();
  std::vector<T> row;
  row.reserve(static_cast<std::size_t>(width * channels));
  for (std::int64_t i = 0; i < width; ++i)
    row.insert(row.end(), each.data<T>(), each.data<T>() + channels);
  T* const out = writable<T>(output);
  const std::int64_t count = std::ssize(row);
  const std::int64_t grain = std::max<std::int64_t>(1, (1 << 14) / count);
  parallel_ranges(output.numel() / count, grain, [&](std::int64_t begin, std::int64_t end) {
    for (T* to = out + begin * count; to < out + end * count; to += count) {
      for (std::int64_t i = 0; i < count; ++i) to[i] += row[static_cast<std::size_t>(i)];
    }
  });
}

void run_transposed(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const ConvProblem problem =
      make_problem(outputs[0].shape(), inputs[1].shape(), inputs[0].dtype(), attributes);
  run_conv_pass(Pass::backward_data, problem, attributes, inputs.first(2), outputs[0]);
  if (!inputs[2].defined()) return;
  dispatch_floating(problem.dtype, [&](auto tag) {
    add_bias<typename decltype(tag)::type>(inputs[2], outputs[0]);
  });
}

std::vector<Tensor> gradient_of_transposed(const BackwardCall& call) {
  const Tensor& g = call.grads[0];
  std::vector<Tensor> grads(3);
  if (call.needs_grad[0]) grads[0] = apply1(conv, {g, call.inputs[1], {}}, call.attributes);
  if (call.needs_grad[1]) {
    grads[1] = apply1(conv_backward_weights, {g, call.inputs[0]},
                      call.attributes.with("kernel", spatial_of(call.input_specs[1].shape)));
  }
  if (call.needs_grad[2])
    grads[2] = apply1(sum, {g}, {{"axes", all_but_channels(g.rank())}, {"keep", false}});
  return grads;
}

OpCost cost_of_transposed(Specs inputs, Specs outputs, const Attributes& attributes) {
  return conv_cost(inputs, outputs,
                   make_problem(outputs[0].shape, inputs[1].shape, inputs[0].dtype, attributes));
}

// A window of the span over the input dilated by the stride, padded by span - 1 - before.
OpField field_of_transposed(Specs inputs, const Attributes& attributes) {
  const Shape& w = inputs[1].shape;
  const int dims = w.rank() - 2;
  OpField field{.global = false,
                .window = {},
                .stride = Shape::filled(dims, 1),
                .before = {},
                .dilation = attributes.integers("stride")};
  for (int i = 0; i < dims; ++i) {
    const std::int64_t span = attributes.integers("dilation")[i] * (w[i + 2] - 1) + 1;
    field.window.push_back(span);
    field.before.push_back(span - 1 - attributes.integers("before")[i]);
  }
  return field;
}

}  // namespace

const OpDef conv_transpose = {.name = "conv_transpose",
                              .infer = infer_transposed,
                              .run = run_transposed,
                              .backward = gradient_of_transposed,
                              .saves = {.inputs = 0b011, .outputs = 0},
                              .cost = cost_of_transposed,
                              .field = field_of_transposed};

}  // namespace fovea::ops
