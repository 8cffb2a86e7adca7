// With xh = (x - mean) inverse, inverse = (variance + eps)^(-1/2) and h = g w:
//   dx = inverse (h - mean(h) - xh mean(h xh)), dw = sum(g xh), db = sum(g).
#include "ops/norm_formula.h"

#include "core/check.h"
#include "ops/checks.h"
#include "ops/families.h"
#include "ops/pointwise.h"

namespace fovea::ops {
namespace {

Tensor product(const Tensor& a, const Tensor& b) {
  return apply1(mul, {a, b});
}
Tensor plus(const Tensor& a, const Tensor& b) {
  return apply1(add, {a, b});
}
Tensor minus(const Tensor& a, const Tensor& b) {
  return apply1(sub, {a, b});
}
Tensor seen_as(const Tensor& x, const Shape& shape) {
  return x.shape() == shape ? x : apply1(reshape, {x}, {{"shape", shape}});
}
// (variance + eps)^(-1/2)
Tensor inverse_deviation(const Tensor& variance, const Attributes& attributes) {
  const Tensor shifted = apply1(add_scalar, {variance}, {{"value", attributes.number("eps")}});
  return apply1(pow, {shifted}, {{"exponent", -0.5}});
}

// Over the axes of the form, which are kept with size one.
struct Average {
  const Shape& axes;
  Tensor operator()(const Tensor& x) const {
    const Tensor total = apply1(sum, {x}, {{"axes", axes}, {"keep", true}});
    return scaled(total, static_cast<double>(total.numel()) / static_cast<double>(x.numel()));
  }
};

std::vector<Tensor> formula(const BackwardCall& call, const NormForm& form) {
  const Average average{form.axes};
  const Tensor x = seen_as(call.inputs[0], form.view);
  const Tensor g = seen_as(call.grads[0], form.view);
  const Tensor& weight = call.inputs[1];
  const Tensor centred = minus(x, average(x));
  const Tensor inverse = inverse_deviation(average(product(centred, centred)), call.attributes);
  const Tensor normal = product(centred, inverse);
  const Tensor h = weight.defined() ? product(g, seen_as(weight, form.affine)) : g;
  std::vector<Tensor> grads(3);
  const Tensor along = product(normal, average(product(h, normal)));
  grads[0] = seen_as(product(inverse, minus(minus(h, average(h)), along)), call.inputs[0].shape());
  if (call.needs_grad[1])
    grads[1] = seen_as(sum_to(product(g, normal), form.affine), weight.shape());
  if (call.needs_grad[2]) grads[2] = seen_as(sum_to(g, form.affine), call.input_specs[2].shape);
  return grads;
}

// Of x, from the gradients of mean and variance themselves: (m + 2 (x - mean) v) / n.
Tensor statistics_gradient(const BackwardCall& call, const NormForm& form) {
  if (!call.grads[1].defined() && !call.grads[2].defined()) return {};
  const Average average{form.axes};
  const Tensor x = seen_as(call.inputs[0], form.view);
  const Tensor mean = average(x);
  const double share = static_cast<double>(mean.numel()) / static_cast<double>(x.numel());
  Tensor total;
  if (call.grads[1].defined()) {
    const Tensor each = scaled(seen_as(call.grads[1], mean.shape()), share);
    total = apply1(broadcast, {each}, {{"shape", form.view}});
  }
  if (call.grads[2].defined()) {
    const Tensor each = scaled(seen_as(call.grads[2], mean.shape()), 2 * share);
    const Tensor part = product(minus(x, mean), each);
    total = total.defined() ? plus(total, part) : part;
  }
  return seen_as(total, call.inputs[0].shape());
}

std::vector<Tensor> fixed_formula(const BackwardCall& call, const NormForm& form) {
  const Tensor& x = call.inputs[0];
  const Tensor& g = call.grads[0];
  const Tensor& weight = call.inputs[1];
  const Tensor centred = minus(x, seen_as(call.inputs[3], form.affine));
  const Tensor inverse = inverse_deviation(seen_as(call.inputs[4], form.affine), call.attributes);
  const Tensor normal = product(centred, inverse);
  const Tensor h = weight.defined() ? product(g, seen_as(weight, form.affine)) : g;
  const auto kept = [&](const Tensor& all, std::size_t input) {
    return seen_as(sum_to(all, form.affine), call.input_specs[input].shape);
  };
  std::vector<Tensor> grads(5);
  const Tensor dx = product(h, inverse);
  if (call.needs_grad[0]) grads[0] = dx;
  if (call.needs_grad[1]) grads[1] = kept(product(g, normal), 1);
  if (call.needs_grad[2]) grads[2] = kept(g, 2);
  if (call.needs_grad[3]) grads[3] = kept(apply1(neg, {dx}), 3);
  if (call.needs_grad[4]) {
    grads[4] = kept(scaled(product(product(dx, normal), inverse), -0.5), 4);
  }
  return grads;
}

}  // namespace

std::vector<Tensor> norm_backward(const BackwardCall& call, const NormForm& form,
                                  const OpDef& fused) {
  std::vector<Tensor> grads(3);
  if (call.grads[0].defined()) {
    grads = recording_enabled()
                ? formula(call, form)
                : apply(fused,
                        {call.grads[0], call.inputs[0], call.inputs[1], call.outputs[1],
                         call.outputs[2]},
                        call.attributes.with("weights", call.needs_grad[1] || call.needs_grad[2]));
  }
  if (call.needs_grad[0]) {
    const Tensor extra = statistics_gradient(call, form);
    if (extra.defined()) grads[0] = grads[0].defined() ? plus(grads[0], extra) : extra;
  }
  for (std::size_t i = 0; i < 3; ++i) {
    if (!call.needs_grad[i]) grads[i] = Tensor();
  }
  return grads;
}

std::vector<Tensor> fixed_norm_backward(const BackwardCall& call, const NormForm& form,
                                        const OpDef& fused) {
  if (recording_enabled() || call.needs_grad[3] || call.needs_grad[4])
    return fixed_formula(call, form);
  std::vector<Tensor> grads =
      apply(fused, {call.grads[0], call.inputs[0], call.inputs[1], call.inputs[3], call.inputs[4]},
            call.attributes);
  grads.resize(5);
  for (std::size_t i = 0; i < 3; ++i) {
    if (!call.needs_grad[i]) grads[i] = Tensor();
  }
  return grads;
}

void check_norm(std::string_view op, const TensorSpec& x, const TensorSpec& weight,
                const TensorSpec& bias, const Shape& shape, const Attributes& attributes) {
  const double eps = attributes.number("eps");
  FOVEA_CHECK(eps > 0, "{}: eps is {}, but must be positive", op, eps);
  const auto check = [&](const TensorSpec& spec, std::string_view what) {
    if (!spec.defined) return;
    require_same_dtype(op, x, spec);
    FOVEA_CHECK(spec.shape == shape, "{}: {} is {}, but input {} needs {}", op, what, spec.shape,
                x.shape, shape);
  };
  check(weight, "weight");
  check(bias, "bias");
}

std::vector<TensorSpec> infer_norm_backward(std::string_view op, Specs inputs, const Shape& shape,
                                            Layout layout) {
  const TensorSpec& x = inputs[1];
  require_floating(op, x);
  require_same_dtype(op, inputs[0], x);
  require_same_shape(op, inputs[0], "the gradient", x, "the input");
  return {make_spec(x.shape, x.dtype, layout), make_spec(shape, x.dtype),
          make_spec(shape, x.dtype)};
}

}  // namespace fovea::ops
