// fovea sample: one sample of a data set, written as an image.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "commands.h"
#include "support.h"

namespace cli {
namespace {

using fovea::data::Split;

struct SampleOptions {
  std::string data;
  std::int64_t index = 0;
  Split split = Split::test;
  std::string out;
  bool json = false;
};

// Undoes the normalisation. The samples come channels-last, as [H, W, C]; images are [C, H, W].
fovea::Tensor image_of(const fovea::data::Dataset& dataset, std::int64_t index) {
  const fovea::Shape shape = dataset.sample_shape();
  if (shape.rank() != 3 || (shape[0] != 1 && shape[0] != 3)) {
    throw fovea::Error(fmt::format("sample: samples of {} are no images", join_sizes(shape)));
  }
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  dataset.read(index, values);
  const std::vector<double> mean = dataset.mean();
  const std::vector<double> stddev = dataset.stddev();
  std::vector<std::uint8_t> pixels;
  pixels.reserve(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t channel = i % mean.size();
    const double level = (static_cast<double>(values[i]) * stddev[channel] + mean[channel]) * 255;
    pixels.push_back(static_cast<std::uint8_t>(std::clamp(std::lround(level), 0L, 255L)));
  }
  return fovea::Tensor::from(pixels, {shape[1], shape[2], shape[0]}).permute({2, 0, 1});
}

void sample(const SampleOptions& options) {
  require_png(options.out);
  const auto dataset = fovea::data::open(options.data, options.split);
  if (options.index >= dataset->size()) {
    throw fovea::Error(fmt::format("sample: there is no sample {}; '{}' has {}, numbered from 0",
                                   options.index, options.data, dataset->size()));
  }
  fovea::data::write_png(options.out, image_of(*dataset, options.index));
  const std::int64_t label = dataset->label(options.index);
  const std::string& name = dataset->classes().at(static_cast<std::size_t>(label));
  if (options.json) {
    print_json(
        {{"file", options.out}, {"index", options.index}, {"class", name}, {"label", label}});
  } else {
    fmt::print("{}: sample {} of {}, labelled {}\n", options.out, options.index, options.data,
               name);
  }
}

}  // namespace

Action sample_command(CLI::App& app) {
  const auto options = std::make_shared<SampleOptions>();
  add_data(app, options->data);
  app.add_option("--index", options->index, "Which sample, from 0")
      ->check(whole_number(0))
      ->capture_default_str()
      ->type_name("N");
  add_split(app, options->split);
  app.add_option("--out", options->out, "The PNG to write")->required()->type_name("FILE.png");
  app.add_flag("--json", options->json, "Print one JSON object");
  app.footer("Example:\n  fovea sample --data fashion-mnist --index 0 --out shoe.png");
  return [options] { sample(*options); };
}

}  // namespace cli
