// The data sets by name, and what a network remembers of one. To add a data set: its file, its
// declaration in fovea/data.h, and a line here.
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

void describe(nn::Model& model, const Dataset& dataset) {
  nn::ModelInfo& info = model.info;
  const Shape sample = dataset.sample_shape();
  FOVEA_CHECK(info.input.rank() == 0 || info.input == sample,
              "describe: {} takes samples {}, but those of the data set are {}",
              info.architecture.empty() ? "the network" : info.architecture, info.input, sample);
  const auto classes = info.options.find("classes");
  FOVEA_CHECK(
      classes == info.options.end() || classes->second == std::to_string(dataset.classes().size()),
      "describe: {} was built for {} classes, but the data set has {}; build it with .classes = {}",
      info.architecture.empty() ? "the network" : info.architecture, classes->second,
      dataset.classes().size(), dataset.classes().size());
  info.input = sample;
  info.mean = dataset.mean();
  info.stddev = dataset.stddev();
  info.classes = dataset.classes();
}

}  // namespace fovea::data
