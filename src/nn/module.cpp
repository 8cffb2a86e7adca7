// Module: the tree of named parameters and buffers that every network is.
//
// A module keeps pointers to members of its own; that is why it can be neither copied nor moved.
// Everything that goes over the whole tree (saving, optimisers, inspect) starts from
// named_parameters(), named_buffers() or visit().
#include <algorithm>

#include "autograd/trace.h"
#include "core/check.h"
#include "core/tensor_impl.h"
#include "fovea/autograd.h"
#include "fovea/nn.h"
#include "nn/blame.h"

namespace fovea::nn {
namespace {

// Whether `name` is `pattern` to its end, or to a dot.
bool matches_from(std::string_view pattern, std::string_view name) {
  while (!pattern.empty() && pattern.front() != '*') {
    if (name.empty() || name.front() != pattern.front()) return false;
    pattern.remove_prefix(1);
    name.remove_prefix(1);
  }
  if (pattern.empty()) return name.empty() || name.front() == '.';
  pattern.remove_prefix(1);
  for (std::size_t skipped = 0; skipped <= name.size(); ++skipped)
    if (matches_from(pattern, name.substr(skipped))) return true;
  return false;
}

// Replaces what every handle to `tensor` sees, so that an optimiser's handles follow.
void convert(Tensor& tensor, DType dtype) {
  if (tensor.dtype() == dtype || !is_floating(tensor.dtype())) return;
  const NoGrad no_grad;
  const Tensor converted = tensor.detach().to(dtype);
  TensorImpl& impl = *tensor.impl();
  impl.storage = converted.impl()->storage;
  impl.offset = converted.impl()->offset;
  impl.strides = converted.impl()->strides;
  impl.dtype = dtype;
  if (impl.autograd) impl.autograd->grad = Tensor();
}

}  // namespace

Module::~Module() = default;

bool matches(std::string_view pattern, std::string_view name) {
  return !pattern.empty() && matches_from(pattern, name);
}

Tensor Module::operator()(const Tensor& input) {
  const autograd::LayerScope scope(name_, this, [this] { return describe(); });
  // Of a layer made of others the innermost one says where the mistake is.
  if (!children_.empty()) return forward(input);
  return blaming(*this, [&] { return forward(input); });
}

std::vector<NamedTensor> Module::named_parameters() const {
  std::vector<NamedTensor> out;
  collect("", false, out);
  return out;
}

std::vector<NamedTensor> Module::named_buffers() const {
  std::vector<NamedTensor> out;
  collect("", true, out);
  return out;
}

std::vector<NamedGenerator> Module::named_generators() const {
  std::vector<NamedGenerator> out;
  collect("", out);
  return out;
}

std::vector<Tensor> Module::parameters() const {
  std::vector<Tensor> out;
  for (NamedTensor& parameter : named_parameters()) out.push_back(std::move(parameter.tensor));
  return out;
}

std::vector<Tensor> Module::state() const {
  std::vector<Tensor> out = parameters();
  for (NamedTensor& buffer : named_buffers()) out.push_back(std::move(buffer.tensor));
  return out;
}

std::int64_t Module::parameter_count() const {
  std::int64_t count = 0;
  for (const Tensor& parameter : parameters()) count += parameter.numel();
  return count;
}

std::vector<std::string> Module::freeze(std::string_view pattern) {
  std::vector<std::string> names;
  for (NamedTensor& parameter : named_parameters()) {
    if (!matches(pattern, parameter.name)) continue;
    parameter.tensor.set_requires_grad(false);
    parameter.tensor.set_grad(Tensor());
    names.push_back(std::move(parameter.name));
  }
  visit([](const std::string&, Module& module) {
    const std::vector<Tensor> own = module.parameters();
    module.frozen_ = !own.empty() && std::none_of(own.begin(), own.end(), [](const Tensor& one) {
      return one.requires_grad();
    });
  });
  train(training_);
  return names;
}

void Module::train(bool on) {
  training_ = on && !frozen_;
  for (const auto& [name, child] : children_) child->train(training_);
}

void Module::zero_grad() {
  for (Tensor& parameter : parameters()) parameter.set_grad(Tensor());
}

void Module::to(DType dtype) {
  FOVEA_CHECK(is_floating(dtype), "{}: cannot convert to {}; parameters are float32 or float64",
              describe(), fovea::name(dtype));
  for (NamedTensor& parameter : named_parameters()) convert(parameter.tensor, dtype);
  for (NamedTensor& buffer : named_buffers()) convert(buffer.tensor, dtype);
}

void Module::visit(const std::function<void(const std::string&, Module&)>& visit) {
  const std::function<void(const std::string&, Module&)> walk = [&](const std::string& path,
                                                                    Module& module) {
    visit(path, module);
    for (const auto& [name, child] : module.children_) {
      walk(path.empty() ? name : path + "." + name, *child);
    }
  };
  walk("", *this);
}

Tensor& Module::add_parameter(std::string name, Tensor& value) {
  check_name(name);
  FOVEA_CHECK(value.defined() && is_floating(value.dtype()),
              "add_parameter: '{}' must be a float32 or float64 tensor, but is {}", name,
              value.defined() ? value.describe() : "undefined");
  value.set_requires_grad();
  parameters_.emplace_back(std::move(name), &value);
  return value;
}

Tensor& Module::add_buffer(std::string name, Tensor& value) {
  check_name(name);
  FOVEA_CHECK(value.defined(), "add_buffer: '{}' is undefined", name);
  buffers_.emplace_back(std::move(name), &value);
  return value;
}

void Module::add_generator(std::string name, Generator& generator) {
  check_name(name);
  generators_.emplace_back(std::move(name), &generator);
}

void Module::add_module(std::string name, Module& child) {
  check_name(name);
  FOVEA_CHECK(&child != this && child.name_.empty(),
              "add_module: '{}' ({}) is part of a module already; register each module once", name,
              child.describe());
  child.name_ = name;
  children_.emplace_back(std::move(name), &child);
}

void Module::check_name(const std::string& name) const {
  FOVEA_CHECK(!name.empty() && name.find('.') == std::string::npos,
              "module: the name '{}' is empty or holds a dot; dots separate modules in full names",
              name);
  const auto taken = [&](const auto& members) {
    return std::any_of(members.begin(), members.end(),
                       [&](const auto& member) { return member.first == name; });
  };
  FOVEA_CHECK(!taken(parameters_) && !taken(buffers_) && !taken(generators_) && !taken(children_),
              "module: the name '{}' is taken already; names are unique within a module", name);
}

void Module::collect(const std::string& prefix, bool buffers, std::vector<NamedTensor>& out) const {
  for (const auto& [name, tensor] : buffers ? buffers_ : parameters_) {
    out.push_back({prefix + name, *tensor});
  }
  for (const auto& [name, child] : children_) child->collect(prefix + name + ".", buffers, out);
}

void Module::collect(const std::string& prefix, std::vector<NamedGenerator>& out) const {
  for (const auto& [name, generator] : generators_) out.push_back({prefix + name, generator});
  for (const auto& [name, child] : children_) child->collect(prefix + name + ".", out);
}

Module& Model::module() const {
  FOVEA_CHECK(module_ != nullptr,
              "model: this model is empty; build one, as with models::lenet5(), or load one");
  return *module_;
}

}  // namespace fovea::nn
