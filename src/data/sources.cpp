// The data sets by name. To add one: its file, its declaration in fovea/data.h, and a line here.
#include <array>

#include "core/check.h"
#include "fovea/data.h"

namespace fovea::data {
namespace {

std::shared_ptr<const Dataset> open_fashion_mnist(const std::string& path, Split split) {
  FOVEA_CHECK(
      path.empty(),
      "fashion-mnist: takes no folder, but '{}' is given; mnist:{} reads any folder of that format",
      path, path);
  return fashion_mnist(split);
}

std::shared_ptr<const Dataset> open_mnist(const std::string& path, Split split) {
  FOVEA_CHECK(!path.empty(), "mnist: needs the folder of its four files, as in mnist:DIR");
  return mnist(path, split);
}

constexpr std::array kSources = {
    SourceDef{"fashion-mnist",
              "60,000 + 10,000 images of clothes, 28x28 grey, from dataset-fashion-mnist",
              open_fashion_mnist},
    SourceDef{"mnist", "mnist:DIR, a folder with the four files of MNIST's format", open_mnist},
};

}  // namespace

Dataset::~Dataset() = default;

std::span<const SourceDef> sources() {
  return kSources;
}

std::shared_ptr<const Dataset> open(const std::string& source, Split split) {
  const std::size_t colon = source.find(':');
  const std::string name = source.substr(0, colon);
  std::string names;
  for (const SourceDef& candidate : kSources) {
    if (candidate.name == name) {
      return candidate.open(colon == std::string::npos ? "" : source.substr(colon + 1), split);
    }
    names += fmt::format("{}{}", names.empty() ? "" : ", ", candidate.name);
  }
  throw_error(fmt::format("data: there is no data set '{}'; there are: {}", name, names));
}

}  // namespace fovea::data
