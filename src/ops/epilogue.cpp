// What fused operators share.
#include "ops/epilogue.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "ops/checks.h"
#include "ops/families.h"

namespace fovea::ops {
namespace {

// What computes an activation, and g f'(s) from y = f(s); null where f' does not follow from y.
struct ActivationOps {
  Activation activation;
  const OpDef* forward;
  const OpDef* through;
};
constexpr ActivationOps kOps[] = {
    {Activation::none, nullptr, nullptr},
    {Activation::relu, &relu, &relu_backward},
    {Activation::relu6, &relu6, &relu6_backward},
    {Activation::leaky_relu, &leaky_relu, &leaky_relu_backward},
    {Activation::sigmoid, &sigmoid, &sigmoid_backward},
    {Activation::tanh, &tanh, &tanh_backward},
    {Activation::gelu, &gelu, nullptr},
    {Activation::silu, &silu, nullptr},
    {Activation::hardswish, &hardswish, nullptr},
};
static_assert(std::ranges::equal(kOps, kActivations, {}, &ActivationOps::activation));

const ActivationOps& ops_of(Activation activation) {
  return kOps[static_cast<std::size_t>(activation)];
}

Attributes parameters(Activation activation, double slope) {
  return activation == Activation::leaky_relu ? Attributes{{"slope", slope}} : Attributes();
}

Activation activation_of(const Attributes& attributes) {
  return static_cast<Activation>(attributes.integer("activation"));
}

}  // namespace

void check_epilogue(std::string_view op, Specs inputs, const TensorSpec& output,
                    const Attributes& attributes) {
  FOVEA_CHECK(!std::isnan(attributes.number("slope")),
              "{}: the slope of the epilogue's leaky_relu is not a number", op);
  const TensorSpec& residual = inputs[3];
  if (!residual.defined) return;
  require_same_dtype(op, inputs[0], residual);
  FOVEA_CHECK(residual.shape == output.shape,
              "{}: the residual is {}, but it is added to the output of input {} and weight {}, "
              "which is {}; both must have one shape",
              op, residual.shape, inputs[0].shape, inputs[1].shape, output.shape);
}

void set_activation(conv::ConvArgs& args, const Attributes& attributes) {
  args.activation = activation_of(attributes);
  args.activation_slope = attributes.number("slope");
}

Tensor activated(const Tensor& sums, Activation activation, double slope) {
  if (activation == Activation::none) return sums;
  return apply1(*ops_of(activation).forward, {sums}, parameters(activation, slope));
}

bool slope_shows_in_output(Activation activation, double slope) {
  if (activation == Activation::none) return true;
  // A negative slope turns the sign round.
  if (activation == Activation::leaky_relu && slope < 0) return false;
  return ops_of(activation).through != nullptr;
}

Tensor through_activation(const Tensor& g, const Tensor& y, const Attributes& attributes) {
  const Activation activation = activation_of(attributes);
  if (activation == Activation::none) return g;
  const OpDef* const through = ops_of(activation).through;
  FOVEA_ASSERT(through != nullptr, "the gradient of a fused {} was asked for", name(activation));
  return apply1(*through, {g, y}, parameters(activation, attributes.number("slope")));
}

}  // namespace fovea::ops
