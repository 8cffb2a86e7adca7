// Functions of one variable whose derivative is taken from the input: for each f an operator, and
// one for g f'(x).
//
// Where f is made of straight pieces, g f'(x) is linear in g and its own derivative. Elsewhere the
// same slope is also written with operators, for when the derivative is recorded to be
// differentiated again.
//
// To add one: its kernel in kernels/curve.cpp, and here a row of kCurves and its two OpDefs.
#include <cmath>
#include <limits>

#include "core/check.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "kernels/curve.h"
#include "ops/checks.h"
#include "ops/families.h"
#include "ops/pointwise.h"

namespace fovea::ops {
namespace {

using kernels::Curve;

constexpr std::int64_t kGrain = 32768;  // elements of one task

Tensor product(const Tensor& a, const Tensor& b) {
  return apply1(mul, {a, b});
}
Tensor plus(const Tensor& a, double value) {
  return apply1(add_scalar, {a}, {{"value", value}});
}

// --- g f'(x) from operators

Tensor pow_slope(const Tensor& g, const Tensor& x, const Attributes& attributes) {
  const double exponent = attributes.number("exponent");
  if (exponent == 0) return scaled(g, 0);
  return scaled(product(g, apply1(pow, {x}, {{"exponent", exponent - 1}})), exponent);
}

// f' = 2 / sqrt(pi) e^(-x^2)
Tensor erf_slope(const Tensor& g, const Tensor& x, const Attributes&) {
  return scaled(product(g, apply1(exp, {apply1(neg, {product(x, x)})})), 2 / std::sqrt(M_PI));
}

// f' = a e^x below zero, else 1.
Tensor elu_slope(const Tensor& g, const Tensor& x, const Attributes& attributes) {
  const double scale = attributes.number("scale");
  const Tensor below =
      apply1(clamp, {x}, {{"low", -std::numeric_limits<double>::infinity()}, {"high", 0.0}});
  const Tensor bent = scaled(product(g, apply1(exp, {below})), scale);
  return apply1(add, {bent, scaled(apply1(relu_backward, {g, x}), 1 - scale)});
}

// f' = Phi(x) + x phi(x)
Tensor gelu_slope(const Tensor& g, const Tensor& x, const Attributes&) {
  const Tensor share = scaled(plus(apply1(erf, {scaled(x, std::sqrt(0.5))}), 1), 0.5);
  const Tensor density =
      scaled(apply1(exp, {scaled(product(x, x), -0.5)}), 1 / std::sqrt(2 * M_PI));
  return product(g, apply1(add, {share, product(x, density)}));
}

// f' = s (1 + x (1 - s)) with s = sigmoid(x)
Tensor silu_slope(const Tensor& g, const Tensor& x, const Attributes&) {
  const Tensor s = apply1(sigmoid, {x});
  const Tensor rest = plus(scaled(s, -1), 1);
  return product(g, product(s, plus(product(x, rest), 1)));
}

// f' = h + x h' with h = clamp(x / 6 + 1/2, 0, 1)
Tensor hardswish_slope(const Tensor& g, const Tensor& x, const Attributes&) {
  const Attributes unit = {{"low", 0.0}, {"high", 1.0}};
  const Tensor line = plus(scaled(x, 1.0 / 6), 0.5);
  const Tensor bent = apply1(clamp_backward, {scaled(product(g, x), 1.0 / 6), line}, unit);
  return apply1(add, {product(g, apply1(clamp, {line}, unit)), bent});
}

Tensor softplus_slope(const Tensor& g, const Tensor& x, const Attributes&) {
  return product(g, apply1(sigmoid, {x}));
}

// --- the list

struct CurveDef {
  Curve curve;
  std::string_view name, backward_name;
  const OpDef* backward;
  // Attributes that are the kernel's parameters; empty: none.
  std::string_view a, b;
  Tensor (*slope)(const Tensor& g, const Tensor& x, const Attributes&);  // null: straight pieces
};

constexpr CurveDef kCurves[] = {
    {Curve::abs, "abs", "abs_backward", &abs_backward, "", "", nullptr},
    {Curve::clamp, "clamp", "clamp_backward", &clamp_backward, "low", "high", nullptr},
    {Curve::pow, "pow", "pow_backward", &pow_backward, "exponent", "", pow_slope},
    {Curve::erf, "erf", "erf_backward", &erf_backward, "", "", erf_slope},
    {Curve::leaky_relu, "leaky_relu", "leaky_relu_backward", &leaky_relu_backward, "slope", "",
     nullptr},
    {Curve::elu, "elu", "elu_backward", &elu_backward, "scale", "", elu_slope},
    {Curve::gelu, "gelu", "gelu_backward", &gelu_backward, "", "", gelu_slope},
    {Curve::silu, "silu", "silu_backward", &silu_backward, "", "", silu_slope},
    {Curve::hardswish, "hardswish", "hardswish_backward", &hardswish_backward, "", "",
     hardswish_slope},
    {Curve::softplus, "softplus", "softplus_backward", &softplus_backward, "", "", softplus_slope},
    {Curve::relu6, "relu6", "relu6_backward", &relu6_backward, "", "", nullptr},
};

constexpr const CurveDef& def_of(Curve curve) {
  return kCurves[static_cast<std::size_t>(curve)];
}

kernels::CurveParameters parameters_of(const CurveDef& def, const Attributes& attributes) {
  return {.a = def.a.empty() ? 0 : attributes.number(def.a),
          .b = def.b.empty() ? 0 : attributes.number(def.b)};
}

// `tensor` in the memory order of `out`, so that both are walked as one run.
Tensor as_laid_out(const Tensor& tensor, const Tensor& out) {
  if (tensor.strides() == out.strides()) return tensor;
  Tensor copy = allocate_tensor(spec_of(out));
  copy_elements(tensor, copy);
  return copy;
}

template <Curve kCurve>
std::vector<TensorSpec> infer_curve(Specs inputs, const Attributes& attributes) {
  constexpr const CurveDef& def = def_of(kCurve);
  const kernels::CurveParameters parameters = parameters_of(def, attributes);
  FOVEA_CHECK(!std::isnan(parameters.a) && !std::isnan(parameters.b), "{}: {} is not a number",
              def.name, std::isnan(parameters.a) ? def.a : def.b);
  FOVEA_CHECK(def.b.empty() || parameters.a <= parameters.b, "{}: {} {} is above {} {}", def.name,
              def.a, parameters.a, def.b, parameters.b);
  return infer_unary(def.name, inputs);
}

template <Curve kCurve>
void run_curve(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor x = as_laid_out(inputs[0], outputs[0]);
  const kernels::CurveParameters parameters = parameters_of(def_of(kCurve), attributes);
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* from = x.data<T>();
    T* to = writable<T>(outputs[0]);
    parallel_ranges(x.numel(), kGrain, [&](std::int64_t first, std::int64_t last) {
      kernels::curve(kCurve, parameters, last - first, from + first, to + first);
    });
  });
}

template <Curve kCurve>
std::vector<Tensor> backward_of(const BackwardCall& call) {
  constexpr const CurveDef& def = def_of(kCurve);
  const Tensor& g = call.grads[0];
  const Tensor& x = call.inputs[0];
  if (def.slope != nullptr && recording_enabled()) return {def.slope(g, x, call.attributes)};
  return {apply1(*def.backward, {g, x}, call.attributes)};
}

template <Curve kCurve>
std::vector<TensorSpec> infer_slope(Specs inputs, const Attributes&) {
  constexpr std::string_view name = def_of(kCurve).backward_name;
  require_same_shape(name, inputs[0], "the gradient", inputs[1], "the input");
  return infer_binary(name, inputs);
}

template <Curve kCurve>
void run_slope(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor g = as_laid_out(inputs[0], outputs[0]);
  const Tensor x = as_laid_out(inputs[1], outputs[0]);
  const kernels::CurveParameters parameters = parameters_of(def_of(kCurve), attributes);
  dispatch_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* gradient = g.data<T>();
    const T* from = x.data<T>();
    T* to = writable<T>(outputs[0]);
    parallel_ranges(x.numel(), kGrain, [&](std::int64_t first, std::int64_t last) {
      kernels::curve_backward(kCurve, parameters, last - first, gradient + first, from + first,
                              to + first);
    });
  });
}

// Of straight pieces: linear in g, constant in x.
template <Curve kCurve>
std::vector<Tensor> backward_of_slope(const BackwardCall& call) {
  if (!call.needs_grad[0]) return {};
  return {apply1(*def_of(kCurve).backward, {call.grads[0], call.inputs[1]}, call.attributes)};
}

template <Curve kCurve>
constexpr OpDef curve_op() {
  static_assert(def_of(kCurve).curve == kCurve, "kCurves is in the order of the enum");
  return {.name = def_of(kCurve).name,
          .infer = infer_curve<kCurve>,
          .run = run_curve<kCurve>,
          .backward = backward_of<kCurve>,
          .saves = {.inputs = kFirst}};
}

template <Curve kCurve>
constexpr OpDef slope_op() {
  constexpr bool kStraight = def_of(kCurve).slope == nullptr;
  return {.name = def_of(kCurve).backward_name,
          .infer = infer_slope<kCurve>,
          .run = run_slope<kCurve>,
          .backward = kStraight ? backward_of_slope<kCurve> : nullptr,
          .saves = {.inputs = kStraight ? kSecond : 0}};
}

}  // namespace

const OpDef abs = curve_op<Curve::abs>();
const OpDef abs_backward = slope_op<Curve::abs>();
const OpDef clamp = curve_op<Curve::clamp>();
const OpDef clamp_backward = slope_op<Curve::clamp>();
const OpDef pow = curve_op<Curve::pow>();
const OpDef pow_backward = slope_op<Curve::pow>();
const OpDef erf = curve_op<Curve::erf>();
const OpDef erf_backward = slope_op<Curve::erf>();
const OpDef leaky_relu = curve_op<Curve::leaky_relu>();
const OpDef leaky_relu_backward = slope_op<Curve::leaky_relu>();
const OpDef elu = curve_op<Curve::elu>();
const OpDef elu_backward = slope_op<Curve::elu>();
const OpDef gelu = curve_op<Curve::gelu>();
const OpDef gelu_backward = slope_op<Curve::gelu>();
const OpDef silu = curve_op<Curve::silu>();
const OpDef silu_backward = slope_op<Curve::silu>();
const OpDef hardswish = curve_op<Curve::hardswish>();
const OpDef hardswish_backward = slope_op<Curve::hardswish>();
const OpDef softplus = curve_op<Curve::softplus>();
const OpDef softplus_backward = slope_op<Curve::softplus>();
const OpDef relu6 = curve_op<Curve::relu6>();
const OpDef relu6_backward = slope_op<Curve::relu6>();

}  // namespace fovea::ops
