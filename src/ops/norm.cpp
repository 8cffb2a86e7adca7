// Batch normalisation [D section 5] and group normalisation (Wu and He, 2018; with a group per
// channel it is instance normalisation):
//   y = (x - mean) / sqrt(variance + eps) w + b,
// with the biased variance, over batch and space, or over a group's channels and space of each
// sample. Mean and variance are outputs too: backward needs them, and so do running statistics.
// Each has a fused backward operator; norm_formula.h has the same from differentiable ones.
// batch_norm_fused is batch normalisation in training with what follows it in most networks:
// activation(y + residual), an activation that keeps its results within bounds.
#include "core/check.h"
#include "ops/checks.h"
#include "ops/epilogue.h"
#include "ops/families.h"
#include "ops/norm_columns.h"
#include "ops/norm_formula.h"
#include "ops/pointwise.h"

namespace fovea::ops {
namespace {

// [N, C, spatial...] with at least one element per mean of a sample, and of the batch where that is
// what has a mean.
void check_input(std::string_view op, const TensorSpec& x, bool of_batch = false) {
  require_floating(op, x);
  FOVEA_CHECK(x.shape.rank() >= 2 && x.shape.rank() <= 5,
              "{}: input must be [N, C] or [N, C, spatial...] with one to three spatial axes, but "
              "its shape is {}",
              op, x.shape);
  FOVEA_CHECK((x.shape[0] >= 1 || !of_batch) && x.shape[1] >= 1 && spatial_of(x.shape).numel() >= 1,
              "{}: input {} has no elements, so it has no mean", op, x.shape);
}

Tensor channels_last(const Tensor& x) {
  return dense(x, Layout::channels_last);
}
Tensor row_major(const Tensor& x) {
  return x.defined() ? dense(x, Layout::row_major) : x;
}

ColumnNorm batch_columns(const Shape& shape) {
  return {.outer = 1, .rows = shape.numel() / shape[1], .columns = shape[1], .groups = shape[1]};
}

ColumnNorm sample_columns(const Shape& shape, std::int64_t groups) {
  return {
      .outer = shape[0], .rows = spatial_of(shape).numel(), .columns = shape[1], .groups = groups};
}

NormForm batch_form(const Shape& shape) {
  NormForm form{.view = shape, .axes = {0}, .affine = Shape::filled(shape.rank() - 1, 1)};
  for (int axis = 2; axis < shape.rank(); ++axis) form.axes.push_back(axis);
  form.affine[0] = shape[1];
  return form;
}

NormForm group_form(const Shape& shape, std::int64_t groups) {
  NormForm form{.view = {shape[0], groups, shape[1] / groups},
                .axes = {2},
                .affine = Shape::filled(shape.rank(), 1)};
  for (int axis = 2; axis < shape.rank(); ++axis) {
    form.view.push_back(shape[axis]);
    form.axes.push_back(axis + 1);
  }
  form.affine[0] = groups;
  form.affine[1] = shape[1] / groups;
  return form;
}

// --- batch_norm, of given mean and variance

constexpr std::string_view kRunning[] = {"running mean", "running variance"};

std::vector<TensorSpec> batch_norm_infer(Specs inputs, const Attributes& attributes) {
  const TensorSpec& x = inputs[0];
  check_input("batch_norm", x);
  const Shape channels = {x.shape[1]};
  check_norm("batch_norm", x, inputs[1], inputs[2], channels, attributes);
  for (std::size_t i = 0; i < 2; ++i) {
    const TensorSpec& spec = inputs[3 + i];
    require_same_dtype("batch_norm", x, spec);
    FOVEA_CHECK(spec.shape == channels, "batch_norm: {} is {}, but input {} needs {}", kRunning[i],
                spec.shape, x.shape, channels);
  }
  return {make_spec(x.shape, x.dtype, Layout::channels_last)};
}

void batch_norm_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor x = channels_last(inputs[0]);
  normalize_with(batch_columns(x.shape()), attributes.number("eps"), x, row_major(inputs[1]),
                 row_major(inputs[2]), row_major(inputs[3]), row_major(inputs[4]), outputs[0]);
}

std::vector<Tensor> batch_norm_backward_of(const BackwardCall& call) {
  return fixed_norm_backward(call, batch_form(call.inputs[0].shape()), batch_norm_backward);
}

// --- the fused backward operators: (g, x, weight?, mean, variance) -> dx, dw, db

template <const char* kName>
std::vector<TensorSpec> infer_backward(Specs inputs, const Attributes&) {
  check_input(kName, inputs[1]);
  return infer_norm_backward(kName, inputs, {inputs[1].shape[1]}, Layout::channels_last);
}

void run_backward(const ColumnNorm& shape, bool fixed, Inputs inputs, const Attributes& attributes,
                  Outputs outputs) {
  if (inputs[1].numel() == 0) {
    for (Tensor& output : outputs) output.fill(0);
    return;
  }
  normalize_backward(shape, attributes.number("eps"), fixed, channels_last(inputs[0]),
                     channels_last(inputs[1]), row_major(inputs[2]), row_major(inputs[3]),
                     row_major(inputs[4]), {outputs[0], outputs[1], outputs[2]});
}

template <bool kFixed>
void run_batch_backward(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  run_backward(batch_columns(inputs[1].shape()), kFixed, inputs, attributes, outputs);
}

void run_group_backward(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  run_backward(sample_columns(inputs[1].shape(), attributes.integer("groups")), false, inputs,
               attributes, outputs);
}

// --- batch_norm_training

std::vector<TensorSpec> training_infer(Specs inputs, const Attributes& attributes) {
  constexpr std::string_view kName = "batch_norm";  // as it is called
  const TensorSpec& x = inputs[0];
  check_input(kName, x, true);
  const Shape channels = {x.shape[1]};
  check_norm(kName, x, inputs[1], inputs[2], channels, attributes);
  FOVEA_CHECK(x.shape.numel() > x.shape[1],
              "{}: input {} has one value per channel, whose variance is zero. Use a batch of more "
              "than one, or evaluation.",
              kName, x.shape);
  return {make_spec(x.shape, x.dtype, Layout::channels_last), make_spec(channels, x.dtype),
          make_spec(channels, x.dtype)};
}

void training_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor x = channels_last(inputs[0]);
  normalize(batch_columns(x.shape()), attributes.number("eps"), x, row_major(inputs[1]),
            row_major(inputs[2]), outputs[1], outputs[2], outputs[0]);
}

std::vector<Tensor> training_backward(const BackwardCall& call) {
  return norm_backward(call, batch_form(call.inputs[0].shape()), batch_norm_training_backward);
}

// --- batch_norm_fused: (x, weight?, bias?, residual?) -> y, mean, variance; attributes
// "activation", a number of the enum Activation, and "slope"

// What an activation keeps its results within. Its slope is 1 between these bounds and 0 elsewhere.
NormEpilogue bounds_of(const Attributes& attributes) {
  switch (static_cast<Activation>(attributes.integer("activation"))) {
    case Activation::none:
      return {};
    case Activation::relu:
      return {.low = 0};
    case Activation::relu6:
      return {.low = 0, .high = 6};
    default:
      FOVEA_ASSERT(false, "batch_norm_fused has no such activation");
  }
}

std::vector<TensorSpec> fused_infer(Specs inputs, const Attributes& attributes) {
  std::vector<TensorSpec> outputs = training_infer(inputs, attributes);
  const TensorSpec& residual = inputs[3];
  if (!residual.defined) return outputs;
  require_same_dtype("batch_norm", inputs[0], residual);
  FOVEA_CHECK(residual.shape == outputs[0].shape,
              "batch_norm: the residual is {}, but it is added to the output, which is {}; "
              "both must have one shape",
              residual.shape, outputs[0].shape);
  return outputs;
}

void fused_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor x = channels_last(inputs[0]);
  NormEpilogue epilogue = bounds_of(attributes);
  if (inputs[3].defined()) epilogue.residual = channels_last(inputs[3]);
  normalize(batch_columns(x.shape()), attributes.number("eps"), x, row_major(inputs[1]),
            row_major(inputs[2]), outputs[1], outputs[2], outputs[0], epilogue);
}

bool has_activation(const Attributes& attributes) {
  return attributes.integer("activation") != static_cast<std::int64_t>(Activation::none);
}

// The gradient that reaches the normalisation is that of the residual; one operator gives both
// where nothing else is asked for.
std::vector<Tensor> fused_backward_of(const BackwardCall& call) {
  const bool simple = !recording_enabled() && has_activation(call.attributes) &&
                      call.grads[0].defined() && !call.grads[1].defined() &&
                      !call.grads[2].defined();
  if (simple) {
    std::vector<Tensor> grads = apply(batch_norm_fused_backward,
                                      {call.grads[0], call.inputs[0], call.inputs[1],
                                       call.outputs[1], call.outputs[2], call.outputs[0]},
                                      call.attributes.with("residual", bool{call.needs_grad[3]}));
    for (std::size_t i = 0; i < grads.size(); ++i) {
      if (!call.needs_grad[i]) grads[i] = Tensor();
    }
    return grads;
  }
  std::vector<Tensor> outer(call.grads.begin(), call.grads.end());
  if (outer[0].defined()) outer[0] = through_activation(outer[0], call.outputs[0], call.attributes);
  const BackwardCall inner{.inputs = call.inputs,
                           .outputs = call.outputs,
                           .input_specs = call.input_specs,
                           .grads = outer,
                           .needs_grad = call.needs_grad,
                           .attributes = call.attributes};
  std::vector<Tensor> grads = training_backward(inner);
  grads.push_back(call.needs_grad[3] ? outer[0] : Tensor());
  return grads;
}

// (g, x, weight?, mean, variance, y) -> dx, dw, db, and the gradient of the residual where the
// attribute "residual" asks for it
std::vector<TensorSpec> fused_backward_infer(Specs inputs, const Attributes& attributes) {
  constexpr std::string_view kName = "batch_norm_fused_backward";
  const TensorSpec& x = inputs[1];
  check_input(kName, x);
  require_same_shape(kName, inputs[5], "the output", x, "the input");
  std::vector<TensorSpec> outputs =
      infer_norm_backward(kName, inputs, {x.shape[1]}, Layout::channels_last);
  if (attributes.flag("residual")) outputs.push_back(outputs[0]);
  return outputs;
}

void fused_backward_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const NormEpilogue bounds = bounds_of(attributes);
  const Tensor x = channels_last(inputs[1]);
  const Tensor y = channels_last(inputs[5]);
  normalize_backward(batch_columns(x.shape()), attributes.number("eps"), channels_last(inputs[0]),
                     x, row_major(inputs[2]), row_major(inputs[3]), row_major(inputs[4]),
                     {.y = y,
                      .low = bounds.low,
                      .high = bounds.high,
                      .passed = outputs.size() > 3 ? &outputs[3] : nullptr},
                     {outputs[0], outputs[1], outputs[2]});
}

// --- group_norm

std::vector<TensorSpec> group_norm_infer(Specs inputs, const Attributes& attributes) {
  constexpr std::string_view kName = "group_norm";
  const TensorSpec& x = inputs[0];
  check_input(kName, x);
  const std::int64_t groups = attributes.integer("groups");
  FOVEA_CHECK(groups >= 1 && x.shape[1] % groups == 0,
              "{}: {} channels (shape {}) cannot be cut into {} groups of equal size: {} / {} "
              "leaves {}",
              kName, x.shape[1], x.shape, groups, x.shape[1], groups,
              groups >= 1 ? x.shape[1] % groups : 0);
  check_norm(kName, x, inputs[1], inputs[2], {x.shape[1]}, attributes);
  const Shape statistics = {x.shape[0], groups};
  return {make_spec(x.shape, x.dtype, Layout::channels_last), make_spec(statistics, x.dtype),
          make_spec(statistics, x.dtype)};
}

void group_norm_run(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor x = channels_last(inputs[0]);
  normalize(sample_columns(x.shape(), attributes.integer("groups")), attributes.number("eps"), x,
            row_major(inputs[1]), row_major(inputs[2]), outputs[1], outputs[2], outputs[0]);
}

std::vector<Tensor> group_norm_backward_of(const BackwardCall& call) {
  const NormForm form = group_form(call.inputs[0].shape(), call.attributes.integer("groups"));
  return norm_backward(call, form, group_norm_backward);
}

constexpr char kBatch[] = "batch_norm_backward";
constexpr char kTraining[] = "batch_norm_training_backward";
constexpr char kGroup[] = "group_norm_backward";

// Inputs (x, weight) and outputs (mean, variance).
constexpr Saves kNormSaves = {.inputs = 0b011, .outputs = 0b110};

}  // namespace

void update_running(Tensor& running, const Tensor& batch, double momentum, double factor) {
  std::vector<double> values = running.to_vector<double>();
  const std::vector<double> fresh = batch.to_vector<double>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = (1 - momentum) * values[i] + momentum * factor * fresh[i];
  }
  running.copy_from(Tensor::from(values, running.shape()));
}

const OpDef batch_norm = {.name = "batch_norm",
                          .infer = batch_norm_infer,
                          .run = batch_norm_run,
                          .backward = batch_norm_backward_of,
                          .saves = {.inputs = 0b11011}};
const OpDef batch_norm_backward = {
    .name = kBatch, .infer = infer_backward<kBatch>, .run = run_batch_backward<true>};
const OpDef batch_norm_training = {.name = "batch_norm_training",
                                   .infer = training_infer,
                                   .run = training_run,
                                   .backward = training_backward,
                                   .saves = kNormSaves,
                                   .field = global_field};
const OpDef batch_norm_training_backward = {.name = kTraining,
                                            .infer = infer_backward<kTraining>,
                                            .run = run_batch_backward<false>,
                                            .field = global_field};
const OpDef batch_norm_fused = {.name = "batch_norm_fused",
                                .infer = fused_infer,
                                .run = fused_run,
                                .backward = fused_backward_of,
                                .saves = {.inputs = 0b0011, .outputs = 0b111},
                                .field = global_field};
const OpDef batch_norm_fused_backward = {.name = "batch_norm_fused_backward",
                                         .infer = fused_backward_infer,
                                         .run = fused_backward_run,
                                         .field = global_field};
const OpDef group_norm = {.name = "group_norm",
                          .infer = group_norm_infer,
                          .run = group_norm_run,
                          .backward = group_norm_backward_of,
                          .saves = kNormSaves,
                          .field = global_field};
const OpDef group_norm_backward = {.name = kGroup,
                                   .infer = infer_backward<kGroup>,
                                   .run = run_group_backward,
                                   .field = global_field};

}  // namespace fovea::ops
