// The list of networks. To add one: its file, its declaration in fovea/models.h, and a line here.
#include "fovea/models.h"

#include <fmt/ranges.h>

#include <vector>

#include "core/check.h"

namespace fovea::models {
namespace {

constexpr ModelDef kModels[] = {
    {"lenet5", "LeNet-5 as built today: ReLU and max pooling, 1x28x28", lenet5},
    {"lenet5_1998", "LeNet-5 close to 1998: sigmoid and average pooling, 1x28x28", lenet5_1998},
};

}  // namespace

std::span<const ModelDef> list() {
  return kModels;
}

nn::Model build(std::string_view name, const Options& options) {
  std::vector<std::string_view> names;
  for (const ModelDef& model : kModels) {
    if (model.name == name) return model.build(options);
    names.push_back(model.name);
  }
  throw_error(
      fmt::format("models: there is no network '{}'; known: {}", name, fmt::join(names, ", ")));
}

}  // namespace fovea::models
