// Softmax and its logarithm over one axis, and the negative log-likelihood.
//
// dL/dx = y (g - sum(g y)) for softmax and g - e^y sum(g) for its logarithm: a fused operator each,
// and the same from operators for when the derivative is to be differentiated again. nll_loss is
// linear in the log-probabilities, and nll_loss_backward is its transpose.
#include <algorithm>

#include "core/check.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "kernels/softmax.h"
#include "ops/checks.h"
#include "ops/families.h"
#include "ops/pointwise.h"

namespace fovea::ops {
namespace {

constexpr std::int64_t kElementsPerTask = 1 << 14;

// --- softmax, log_softmax

std::vector<TensorSpec> softmax_spec(std::string_view op, const TensorSpec& x,
                                     const Attributes& attributes) {
  require_floating(op, x);
  const std::int64_t axis = attributes.integer("axis");
  FOVEA_CHECK(axis >= 0 && axis < x.shape.rank(), "{}: axis {} is outside the {} axes of {}", op,
              axis, x.shape.rank(), x.shape);
  return {spec_like(x, x.dtype)};
}

// `tensor` in the memory order of `out`.
Tensor as_laid_out(const Tensor& tensor, const Tensor& out) {
  if (tensor.strides() == out.strides()) return tensor;
  Tensor copy = allocate_tensor(spec_of(out));
  copy_elements(tensor, copy);
  return copy;
}

// Calls body(shape, first, last) for pieces of the columns along the axis. Dense memory in any
// order of axes is [outer, size, inner] around each of them.
template <class Body>
void for_columns(const Tensor& x, const Attributes& attributes, const Body& body) {
  if (x.numel() == 0) return;
  const int axis = static_cast<int>(attributes.integer("axis"));
  const std::int64_t size = x.shape()[axis];
  const kernels::SoftmaxShape shape = {.size = size,
                                       .inner = size == 1 ? x.numel() : x.strides()[axis]};
  parallel_ranges(x.numel() / size, std::max<std::int64_t>(1, kElementsPerTask / size),
                  [&](std::int64_t first, std::int64_t last) { body(shape, first, last); });
}

void run_softmax(const Tensor& input, const Attributes& attributes, Tensor& output,
                 bool logarithm) {
  const Tensor x = as_laid_out(input, output);
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* in = x.data<T>();
    T* out = writable<T>(output);
    for_columns(output, attributes,
                [&](const kernels::SoftmaxShape& shape, std::int64_t first, std::int64_t last) {
                  kernels::softmax(shape, logarithm, first, last, in, out);
                });
  });
}

// (g, y) -> dx
template <const char* kName>
std::vector<TensorSpec> backward_infer(Specs inputs, const Attributes& attributes) {
  require_same_dtype(kName, inputs[0], inputs[1]);
  require_same_shape(kName, inputs[0], "the gradient", inputs[1], "the output");
  return softmax_spec(kName, inputs[1], attributes);
}

template <bool kLogarithm>
void backward_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor g = as_laid_out(inputs[0], outputs[0]);
  const Tensor y = as_laid_out(inputs[1], outputs[0]);
  dispatch_floating(y.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* gradient = g.data<T>();
    const T* result = y.data<T>();
    T* dx = writable<T>(outputs[0]);
    for_columns(outputs[0], attributes,
                [&](const kernels::SoftmaxShape& shape, std::int64_t first, std::int64_t last) {
                  kernels::softmax_backward(shape, kLogarithm, first, last, gradient, result, dx);
                });
  });
}

Tensor sum_along(const Tensor& x, const Attributes& attributes) {
  return apply1(sum, {x}, {{"axes", Shape{attributes.integer("axis")}}, {"keep", true}});
}

std::vector<TensorSpec> softmax_infer(Specs inputs, const Attributes& attributes) {
  return softmax_spec("softmax", inputs[0], attributes);
}

void softmax_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  run_softmax(inputs[0], attributes, outputs[0], false);
}

std::vector<Tensor> softmax_backward_of(const BackwardCall& call) {
  const Tensor& g = call.grads[0];
  const Tensor& y = call.outputs[0];
  if (!recording_enabled()) return {apply1(softmax_backward, {g, y}, call.attributes)};
  const Tensor dot = sum_along(apply1(mul, {g, y}), call.attributes);
  return {apply1(mul, {y, apply1(sub, {g, dot})})};
}

std::vector<TensorSpec> log_softmax_infer(Specs inputs, const Attributes& attributes) {
  return softmax_spec("log_softmax", inputs[0], attributes);
}

void log_softmax_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  run_softmax(inputs[0], attributes, outputs[0], true);
}

std::vector<Tensor> log_softmax_backward_of(const BackwardCall& call) {
  const Tensor& g = call.grads[0];
  if (!recording_enabled()) {
    return {apply1(log_softmax_backward, {g, call.outputs[0]}, call.attributes)};
  }
  const Tensor p = apply1(exp, {call.outputs[0]});
  return {apply1(sub, {g, apply1(mul, {p, sum_along(g, call.attributes)})})};
}

// --- nll_loss

void check_labels(std::string_view op, const TensorSpec& labels) {
  FOVEA_CHECK(labels.dtype == DType::int64 && labels.shape.rank() == 1,
              "{}: labels must be int64 [N], one class number per sample, but are {} {}{}", op,
              name(labels.dtype), labels.shape,
              labels.dtype == DType::int64 ? "" : ". Convert them: labels.to(DType::int64).");
  FOVEA_CHECK(labels.shape[0] >= 1, "{}: the batch is empty; the mean over no sample is undefined",
              op);
}

// Labels in order, after all of them were checked.
std::vector<std::int64_t> checked_labels(std::string_view op, const Tensor& labels,
                                         std::int64_t classes) {
  std::vector<std::int64_t> values = labels.to_vector<std::int64_t>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    FOVEA_CHECK(values[i] >= 0 && values[i] < classes,
                "{}: labels[{}] is {}, but there are {} classes, numbered 0 to {}", op, i,
                values[i], classes, classes - 1);
  }
  return values;
}

std::vector<TensorSpec> nll_loss_infer(Specs inputs, const Attributes&) {
  const TensorSpec& x = inputs[0];
  require_floating("nll_loss", x);
  FOVEA_CHECK(x.shape.rank() == 2,
              "nll_loss: log-probabilities must be [N, classes], but their shape is {}{}", x.shape,
              x.shape.rank() > 2 ? ". Flatten them first: flatten(x)." : "");
  check_labels("nll_loss", inputs[1]);
  FOVEA_CHECK(x.shape[0] == inputs[1].shape[0],
              "nll_loss: {} samples (shape {}) but {} labels; there must be one label per sample",
              x.shape[0], x.shape, inputs[1].shape[0]);
  return {make_spec({}, x.dtype)};
}

void nll_loss_run(Inputs inputs, const Attributes&, Outputs outputs) {
  const Tensor& x = inputs[0];
  const std::vector<std::int64_t> labels = checked_labels("nll_loss", inputs[1], x.size(1));
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* data = x.data<T>();
    double total = 0;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      total -= static_cast<double>(
          data[static_cast<std::int64_t>(i) * x.strides()[0] + labels[i] * x.strides()[1]]);
    }
    *writable<T>(outputs[0]) = static_cast<T>(total / static_cast<double>(labels.size()));
  });
}

std::vector<Tensor> nll_loss_backward_of(const BackwardCall& call) {
  return {apply1(nll_loss_backward, {call.grads[0], call.inputs[1]},
                 {{"classes", call.input_specs[0].shape[1]}}),
          Tensor()};
}

std::vector<TensorSpec> nll_loss_backward_infer(Specs inputs, const Attributes& attributes) {
  const TensorSpec& g = inputs[0];
  require_floating("nll_loss_backward", g, "gradient");
  require_rank("nll_loss_backward", g, "gradient", 0);
  check_labels("nll_loss_backward", inputs[1]);
  return {make_spec({inputs[1].shape[0], attributes.integer("classes")}, g.dtype)};
}

void nll_loss_backward_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const std::int64_t classes = attributes.integer("classes");
  const std::vector<std::int64_t> labels = checked_labels("nll_loss_backward", inputs[1], classes);
  outputs[0].fill(0);
  dispatch_floating(inputs[0].dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T share = -*inputs[0].data<T>() / static_cast<T>(labels.size());
    T* out = writable<T>(outputs[0]);
    for (std::size_t i = 0; i < labels.size(); ++i)
      out[static_cast<std::int64_t>(i) * classes + labels[i]] = share;
  });
}

std::vector<Tensor> nll_loss_backward_backward(const BackwardCall& call) {
  return {apply1(nll_loss, {call.grads[0], call.inputs[1]}), Tensor()};
}

constexpr char kSoftmaxBackward[] = "softmax_backward";
constexpr char kLogSoftmaxBackward[] = "log_softmax_backward";

// Along space, an output sees all of the axis.
OpField axis_field(Specs, const Attributes& attributes) {
  OpField field;
  field.global = attributes.integer("axis") >= 2;
  return field;
}

}  // namespace

const OpDef softmax = {.name = "softmax",
                       .infer = softmax_infer,
                       .run = softmax_run,
                       .backward = softmax_backward_of,
                       .saves = {.outputs = 0b1},
                       .field = axis_field};
const OpDef log_softmax = {.name = "log_softmax",
                           .infer = log_softmax_infer,
                           .run = log_softmax_run,
                           .backward = log_softmax_backward_of,
                           .saves = {.outputs = 0b1},
                           .field = axis_field};
const OpDef softmax_backward = {.name = kSoftmaxBackward,
                                .infer = backward_infer<kSoftmaxBackward>,
                                .run = backward_run<false>,
                                .field = axis_field};
const OpDef log_softmax_backward = {.name = kLogSoftmaxBackward,
                                    .infer = backward_infer<kLogSoftmaxBackward>,
                                    .run = backward_run<true>,
                                    .field = axis_field};
const OpDef nll_loss = {.name = "nll_loss",
                        .infer = nll_loss_infer,
                        .run = nll_loss_run,
                        .backward = nll_loss_backward_of,
                        .saves = {.inputs = 0b10}};
const OpDef nll_loss_backward = {.name = "nll_loss_backward",
                                 .infer = nll_loss_backward_infer,
                                 .run = nll_loss_backward_run,
                                 .backward = nll_loss_backward_backward,
                                 .saves = {.inputs = 0b10}};

}  // namespace fovea::ops
