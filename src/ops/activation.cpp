// Activations, each with its derivative as an operator of (g, y): the gradient and the output of
// the activation.
//
// relu' = [y > 0], sigmoid' = y (1 - y), tanh' = 1 - y^2: the output alone is saved. The
// derivatives are differentiated in turn by formulas written with operators.
#include "ops/families.h"
#include "ops/pointwise.h"

namespace fovea::ops {
namespace {

using kernels::Binary;
using kernels::Unary;

Tensor product(const Tensor& a, const Tensor& b) {
  return apply1(mul, {a, b});
}

template <const OpDef& kDerivative>
std::vector<Tensor> activation_backward(const BackwardCall& call) {
  return {apply1(kDerivative, {call.grads[0], call.outputs[0]})};
}

// Piecewise constant in y.
std::vector<Tensor> relu_backward_backward(const BackwardCall& call) {
  if (!call.needs_grad[0]) return {};
  return {apply1(relu_backward, {call.grads[0], call.inputs[1]})};
}

// d/dg = y (1 - y), d/dy = g (1 - 2y).
std::vector<Tensor> sigmoid_backward_backward(const BackwardCall& call) {
  std::vector<Tensor> grads(2);
  const Tensor& y = call.inputs[1];
  if (call.needs_grad[0]) grads[0] = apply1(sigmoid_backward, {call.grads[0], y});
  if (call.needs_grad[1]) {
    const Tensor slope = apply1(add_scalar, {scaled(y, -2)}, {{"value", 1.0}});
    grads[1] = product(product(call.grads[0], call.inputs[0]), slope);
  }
  return grads;
}

// d/dg = 1 - y^2, d/dy = -2 g y.
std::vector<Tensor> tanh_backward_backward(const BackwardCall& call) {
  std::vector<Tensor> grads(2);
  const Tensor& y = call.inputs[1];
  if (call.needs_grad[0]) grads[0] = apply1(tanh_backward, {call.grads[0], y});
  if (call.needs_grad[1]) grads[1] = scaled(product(product(call.grads[0], call.inputs[0]), y), -2);
  return grads;
}

}  // namespace

const OpDef relu = {
    .name = "relu",
    .infer = [](Specs inputs, const Attributes&) { return infer_unary("relu", inputs); },
    .run = run_one<Unary::relu>,
    .backward = activation_backward<relu_backward>,
    .saves = {.outputs = kFirst}};
const OpDef relu_backward = {
    .name = "relu_backward",
    .infer = [](Specs inputs,
                const Attributes&) { return infer_backward("relu_backward", inputs); },
    .run = run_two<Binary::relu_backward>,
    .backward = relu_backward_backward,
    .saves = {.inputs = kSecond}};

const OpDef sigmoid = {
    .name = "sigmoid",
    .infer = [](Specs inputs, const Attributes&) { return infer_unary("sigmoid", inputs); },
    .run = run_one<Unary::sigmoid>,
    .backward = activation_backward<sigmoid_backward>,
    .saves = {.outputs = kFirst}};
const OpDef sigmoid_backward = {
    .name = "sigmoid_backward",
    .infer = [](Specs inputs,
                const Attributes&) { return infer_backward("sigmoid_backward", inputs); },
    .run = run_two<Binary::sigmoid_backward>,
    .backward = sigmoid_backward_backward,
    .saves = {.inputs = kFirst | kSecond}};

const OpDef tanh = {
    .name = "tanh",
    .infer = [](Specs inputs, const Attributes&) { return infer_unary("tanh", inputs); },
    .run = run_one<Unary::tanh>,
    .backward = activation_backward<tanh_backward>,
    .saves = {.outputs = kFirst}};
const OpDef tanh_backward = {
    .name = "tanh_backward",
    .infer = [](Specs inputs,
                const Attributes&) { return infer_backward("tanh_backward", inputs); },
    .run = run_two<Binary::tanh_backward>,
    .backward = tanh_backward_backward,
    .saves = {.inputs = kFirst | kSecond}};

}  // namespace fovea::ops
