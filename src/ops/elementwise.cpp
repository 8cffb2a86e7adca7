// Arithmetic on elements: add, sub, mul, div with broadcasting, functions of one variable, and
// conversion of types.
//
// To add a function of one variable: its kernel in kernels/elementwise.cpp, and here a backward
// function and an OpDef.
#include "core/check.h"
#include "core/dispatch.h"
#include "ops/families.h"
#include "ops/pointwise.h"

namespace fovea::ops {
namespace {

using kernels::Binary;
using kernels::Unary;

// x op value, with the attribute "value".
template <Binary kOp>
void run_scalar(Inputs inputs, const Attributes& attributes, Outputs outputs) {
  const Tensor value = Tensor::scalar(attributes.number("value"), inputs[0].dtype());
  run_binary(kOp, inputs[0], value, outputs[0]);
}

// The gradient of one input of a broadcasting operator, computed only where asked for.
template <class Compute>
Tensor gradient_of(const BackwardCall& call, std::size_t input, const Compute& compute) {
  if (!call.needs_grad[input]) return {};
  return sum_to(compute(), call.input_specs[input].shape);
}

std::vector<Tensor> add_backward(const BackwardCall& call) {
  const auto pass = [&] { return call.grads[0]; };
  return {gradient_of(call, 0, pass), gradient_of(call, 1, pass)};
}

std::vector<Tensor> sub_backward(const BackwardCall& call) {
  return {gradient_of(call, 0, [&] { return call.grads[0]; }),
          gradient_of(call, 1, [&] { return apply1(neg, {call.grads[0]}); })};
}

std::vector<Tensor> mul_backward(const BackwardCall& call) {
  return {gradient_of(call, 0,
                      [&] {
                        return apply1(mul, {call.grads[0], call.inputs[1]});
                      }),
          gradient_of(call, 1, [&] {
            return apply1(mul, {call.grads[0], call.inputs[0]});
          })};
}

// y = a / b: da = g / b and db = -g a / b^2 = -(g / b) y.
std::vector<Tensor> div_backward(const BackwardCall& call) {
  const Tensor da = apply1(div, {call.grads[0], call.inputs[1]});
  return {gradient_of(call, 0, [&]() -> const Tensor& { return da; }), gradient_of(call, 1, [&] {
            return apply1(neg, {apply1(mul, {da, call.outputs[0]})});
          })};
}

std::vector<Tensor> neg_backward(const BackwardCall& call) {
  return {apply1(neg, {call.grads[0]})};
}

std::vector<Tensor> exp_backward(const BackwardCall& call) {
  return {apply1(mul, {call.grads[0], call.outputs[0]})};
}

std::vector<Tensor> log_backward(const BackwardCall& call) {
  return {apply1(div, {call.grads[0], call.inputs[0]})};
}

std::vector<Tensor> sqrt_backward(const BackwardCall& call) {
  return {scaled(apply1(div, {call.grads[0], call.outputs[0]}), 0.5)};
}

std::vector<Tensor> add_scalar_backward(const BackwardCall& call) {
  return {call.grads[0]};
}

std::vector<Tensor> mul_scalar_backward(const BackwardCall& call) {
  return {scaled(call.grads[0], call.attributes.number("value"))};
}

// The chosen one has the gradient; equal ones share it.
std::vector<Tensor> choice_backward(const BackwardCall& call, bool larger) {
  const auto share = [&](std::size_t own, std::size_t other) {
    return gradient_of(call, own, [&] {
      const Tensor chosen =
          apply1(above, {call.inputs[larger ? own : other], call.inputs[larger ? other : own]});
      return apply1(mul, {call.grads[0], chosen});
    });
  };
  return {share(0, 1), share(1, 0)};
}

DType cast_type(const Attributes& attributes) {
  const std::int64_t value = attributes.integer("dtype");
  FOVEA_ASSERT(value >= 0 && value <= static_cast<std::int64_t>(DType::uint8), "dtype {}", value);
  return static_cast<DType>(value);
}

std::vector<TensorSpec> infer_cast(Specs inputs, const Attributes& attributes) {
  return {spec_like(inputs[0], cast_type(attributes))};
}

void run_cast(Inputs inputs, const Attributes&, Outputs outputs) {
  copy_elements(inputs[0], outputs[0]);
}

std::vector<Tensor> cast_backward(const BackwardCall& call) {
  const auto type = static_cast<std::int64_t>(call.input_specs[0].dtype);
  return {apply1(cast, {call.grads[0]}, {{"dtype", type}})};
}

}  // namespace

const OpDef add = {
    .name = "add",
    .infer = [](Specs inputs, const Attributes&) { return infer_binary("add", inputs); },
    .run = run_two<Binary::add>,
    .backward = add_backward};
const OpDef sub = {
    .name = "sub",
    .infer = [](Specs inputs, const Attributes&) { return infer_binary("sub", inputs); },
    .run = run_two<Binary::sub>,
    .backward = sub_backward};
const OpDef mul = {
    .name = "mul",
    .infer = [](Specs inputs, const Attributes&) { return infer_binary("mul", inputs); },
    .run = run_two<Binary::mul>,
    .backward = mul_backward,
    .saves = {.inputs = kFirst | kSecond}};
const OpDef div = {
    .name = "div",
    .infer = [](Specs inputs, const Attributes&) { return infer_binary("div", inputs); },
    .run = run_two<Binary::div>,
    .backward = div_backward,
    .saves = {.inputs = kSecond, .outputs = kFirst}};
const OpDef neg = {
    .name = "neg",
    .infer = [](Specs inputs, const Attributes&) { return infer_unary("neg", inputs); },
    .run = run_one<Unary::neg>,
    .backward = neg_backward};
const OpDef exp = {
    .name = "exp",
    .infer = [](Specs inputs, const Attributes&) { return infer_unary("exp", inputs); },
    .run = run_one<Unary::exp>,
    .backward = exp_backward,
    .saves = {.outputs = kFirst}};
const OpDef log = {
    .name = "log",
    .infer = [](Specs inputs, const Attributes&) { return infer_unary("log", inputs); },
    .run = run_one<Unary::log>,
    .backward = log_backward,
    .saves = {.inputs = kFirst}};
const OpDef sqrt = {
    .name = "sqrt",
    .infer = [](Specs inputs, const Attributes&) { return infer_unary("sqrt", inputs); },
    .run = run_one<Unary::sqrt>,
    .backward = sqrt_backward,
    .saves = {.outputs = kFirst}};
const OpDef add_scalar = {
    .name = "add_scalar",
    .infer = [](Specs inputs, const Attributes&) { return infer_unary("add_scalar", inputs); },
    .run = run_scalar<Binary::add>,
    .backward = add_scalar_backward};
const OpDef mul_scalar = {
    .name = "mul_scalar",
    .infer = [](Specs inputs, const Attributes&) { return infer_unary("mul_scalar", inputs); },
    .run = run_scalar<Binary::mul>,
    .backward = mul_scalar_backward};
const OpDef cast = {
    .name = "cast", .infer = infer_cast, .run = run_cast, .backward = cast_backward};

const OpDef maximum = {
    .name = "maximum",
    .infer = [](Specs inputs, const Attributes&) { return infer_binary("maximum", inputs); },
    .run = run_two<Binary::maximum>,
    .backward = [](const BackwardCall& call) { return choice_backward(call, true); },
    .saves = {.inputs = kFirst | kSecond}};
const OpDef minimum = {
    .name = "minimum",
    .infer = [](Specs inputs, const Attributes&) { return infer_binary("minimum", inputs); },
    .run = run_two<Binary::minimum>,
    .backward = [](const BackwardCall& call) { return choice_backward(call, false); },
    .saves = {.inputs = kFirst | kSecond}};
const OpDef above = {
    .name = "above",
    .infer = [](Specs inputs, const Attributes&) { return infer_binary("above", inputs); },
    .run = run_two<Binary::above>};
const OpDef equal = {
    .name = "equal",
    .infer = [](Specs inputs, const Attributes&) { return infer_binary("equal", inputs); },
    .run = run_two<Binary::equal>};

}  // namespace fovea::ops
