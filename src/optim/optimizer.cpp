// What optimisers share: the list of parameters with its checks, and the state.
//
// An optimiser that keeps tensors from step to step gets them from add_state(), and with that they
// are in checkpoints.
#include <cmath>
#include <unordered_set>
#include <utility>

#include "core/check.h"
#include "core/tensor_impl.h"
#include "fovea/optim.h"
#include "optim/parameters.h"

namespace fovea::optim {

Optimizer::Optimizer(std::vector<ParameterGroup> groups, double lr, double weight_decay) : lr_(lr) {
  for (ParameterGroup& group : groups) {
    const Setting setting = {.lr_scale = group.lr_scale,
                             .weight_decay = group.weight_decay.value_or(weight_decay)};
    require_number("optimizer", "lr_scale", setting.lr_scale, setting.lr_scale >= 0, "at least 0");
    require_number("optimizer", "weight_decay", setting.weight_decay, setting.weight_decay >= 0,
                   "at least 0");
    for (Tensor& parameter : group.parameters) {
      parameters_.push_back(std::move(parameter));
      settings_.push_back(setting);
    }
  }
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

std::vector<Tensor> Optimizer::add_state(std::string_view name) {
  std::vector<Tensor> tensors;
  tensors.reserve(parameters_.size());
  for (const Tensor& parameter : parameters_) {
    Tensor& tensor = tensors.emplace_back(allocate_tensor(spec_of(parameter)));
    tensor.fill(0);
    kept_.emplace(fmt::format("{}.{}", name, tensors.size() - 1), tensor);
  }
  return tensors;
}

OptimizerState Optimizer::state() const {
  return {.method = std::string(method()), .steps = steps_, .lr = lr_, .tensors = kept_};
}

void Optimizer::set_state(const OptimizerState& state) {
  FOVEA_CHECK(state.method == method(), "optimizer: this is {}, but the state is one of '{}'",
              method(), state.method);
  FOVEA_CHECK(state.steps >= 0, "optimizer: the state counts {} steps", state.steps);
  require_number("optimizer", "lr", state.lr, state.lr >= 0, "at least 0");
  for (const auto& [name, tensor] : kept_) {
    const auto given = state.tensors.find(name);
    FOVEA_CHECK(given != state.tensors.end() && given->second.defined(),
                "optimizer: the state has no '{}', which {} with these options keeps", name,
                method());
    FOVEA_CHECK(given->second.shape() == tensor.shape() && given->second.dtype() == tensor.dtype(),
                "optimizer: '{}' of the state is {}, but the parameter is {}", name,
                given->second.describe(), tensor.describe());
  }
  for (const auto& [name, tensor] : state.tensors) {
    FOVEA_CHECK(kept_.contains(name),
                "optimizer: the state has a '{}', which {} with these options does not keep", name,
                method());
  }
  for (auto& [name, tensor] : kept_) tensor.copy_from(state.tensors.at(name));
  steps_ = state.steps;
  lr_ = state.lr;
}

std::vector<ParameterGroup> one_group(std::vector<Tensor> parameters) {
  std::vector<ParameterGroup> groups;
  groups.push_back({.parameters = std::move(parameters)});
  return groups;
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
