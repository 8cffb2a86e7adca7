// What optimisers share: the list of parameters, and its checks.
#include <cmath>
#include <unordered_set>
#include <utility>

#include "core/check.h"
#include "core/tensor_impl.h"
#include "fovea/optim.h"
#include "optim/parameters.h"

namespace fovea::optim {

Optimizer::Optimizer(std::vector<Tensor> parameters, double lr)
    : parameters_(std::move(parameters)), lr_(lr) {
  FOVEA_CHECK(!parameters_.empty(),
              "optimizer: there are no parameters; does the module have any?");
  require_number("optimizer", "lr", lr, lr >= 0, "at least 0");
  std::unordered_set<const TensorImpl*> seen;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& parameter = parameters_[i];
    FOVEA_CHECK(parameter.defined() && is_floating(parameter.dtype()) && parameter.requires_grad(),
                "optimizer: parameter {} ({}) must be a floating tensor with requires_grad", i,
                parameter.describe());
    FOVEA_CHECK(is_dense(parameter.shape(), parameter.strides()),
                "optimizer: parameter {} ({}, strides {}) is not dense in memory; use its "
                "contiguous() copy",
                i, parameter.describe(), parameter.strides());
    FOVEA_CHECK(seen.insert(parameter.impl().get()).second,
                "optimizer: parameter {} ({}) is in the list twice and would be updated twice", i,
                parameter.describe());
  }
}

Optimizer::~Optimizer() = default;

void Optimizer::zero_grad() {
  for (Tensor& parameter : parameters_) parameter.set_grad({});
}

std::vector<Tensor> zeros_like(const std::vector<Tensor>& parameters) {
  std::vector<Tensor> result;
  result.reserve(parameters.size());
  for (const Tensor& parameter : parameters) {
    result.push_back(allocate_tensor(spec_of(parameter)));
    result.back().fill(0);
  }
  return result;
}

Tensor gradient_of(const Tensor& parameter) {
  Tensor gradient = parameter.grad();
  if (!gradient.defined() || gradient.strides() == parameter.strides()) return gradient;
  Tensor copy = allocate_tensor(spec_of(parameter));
  copy_elements(gradient, copy);
  return copy;
}

void require_number(std::string_view optimizer, std::string_view option, double value, bool valid,
                    std::string_view range) {
  FOVEA_CHECK(valid && std::isfinite(value), "{}: {} is {}, but must be finite and {}", optimizer,
              option, value, range);
}

}  // namespace fovea::optim
