// What fused operators share.
#include "ops/epilogue.h"

#include <cmath>

#include "core/check.h"
#include "ops/checks.h"
#include "ops/families.h"

namespace fovea::ops {
namespace {

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

bool slope_shows_in_output(Activation activation, double slope) {
  switch (activation) {
    case Activation::none:
    case Activation::relu:
    case Activation::relu6:
    case Activation::sigmoid:
    case Activation::tanh:
      return true;
    case Activation::leaky_relu:
      return slope >= 0;
    case Activation::gelu:
    case Activation::silu:
    case Activation::hardswish:
      return false;
  }
  FOVEA_ASSERT(false);
}

Tensor through_activation(const Tensor& g, const Tensor& y, const Attributes& attributes) {
  const Activation activation = activation_of(attributes);
  switch (activation) {
    case Activation::none:
      return g;
    case Activation::relu:
      return apply1(relu_backward, {g, y});
    case Activation::relu6: {
      const Tensor below = apply1(add_scalar, {apply1(neg, {y})}, {{"value", 6.0}});
      return apply1(relu_backward, {apply1(relu_backward, {g, y}), below});
    }
    case Activation::leaky_relu:
      return apply1(leaky_relu_backward, {g, y}, {{"slope", attributes.number("slope")}});
    case Activation::sigmoid:
      return apply1(sigmoid_backward, {g, y});
    case Activation::tanh:
      return apply1(tanh_backward, {g, y});
    case Activation::gelu:
    case Activation::silu:
    case Activation::hardswish:
      break;
  }
  FOVEA_ASSERT(false, "the gradient of a fused {} was asked for", name(activation));
}

}  // namespace fovea::ops
