// Where a gradient is wanted, the fused operator keeps its output alone, from which the slopes of
// some activations follow. The others are computed behind the sums, which are kept for them.
#include "autograd/epilogue.h"

#include <algorithm>
#include <utility>

#include "autograd/tape.h"
#include "core/check.h"
#include "fovea/autograd.h"
#include "ops/epilogue.h"

namespace fovea {
namespace autograd {

Tensor apply_with_epilogue(const OpDef& plain, const OpDef& fused, std::vector<Tensor> inputs,
                           Attributes attributes, const Epilogue& epilogue) {
  const auto& [residual, activation, slope] = epilogue;
  const auto wanted = [](const Tensor& tensor) { return tensor.defined() && wants_grad(tensor); };
  const bool recorded = grad_enabled() && (std::ranges::any_of(inputs, wanted) || wanted(residual));
  const bool apart = recorded && !ops::slope_shows_in_output(activation, slope);
  const Activation inside = apart ? Activation::none : activation;
  Tensor result;
  if (inside == Activation::none && !residual.defined()) {
    result = apply1(plain, std::move(inputs), std::move(attributes));
  } else {
    inputs.push_back(residual);
    result = apply1(fused, std::move(inputs),
                    std::move(attributes)
                        .with("activation", static_cast<std::int64_t>(inside))
                        .with("slope", slope));
  }
  return apart ? activate(result, activation, slope) : result;
}

}  // namespace autograd

Tensor activate(const Tensor& input, Activation activation, double slope) {
  return ops::activated(input, activation, slope);
}

}  // namespace fovea
