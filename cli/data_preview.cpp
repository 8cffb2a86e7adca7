// fovea data preview: augmented samples of a data set as a sheet of pictures, a row for each
// sample: as it is, and as some epochs of training would see it.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data.h"
#include "pictures.h"
#include "support.h"

namespace cli {
namespace {

using fovea::data::Split;

struct PreviewOptions {
  std::string source;
  std::string augment;
  std::string out;
  Split split = Split::train;
  std::int64_t samples = 8;
  std::int64_t variants = 7;
  std::uint64_t seed = 1;
};

// The first samples, in the order of the data set.
fovea::data::Batch first_batch(const std::shared_ptr<const fovea::data::Dataset>& dataset,
                               fovea::data::LoaderOptions options) {
  options.prefetch = 0;
  return *fovea::data::Loader(dataset, options).begin();
}

void preview(const PreviewOptions& options) {
  require_png(options.out);
  const auto dataset = fovea::data::open(options.source, options.split);
  if (dataset->size() == 0) throw fovea::Error(fmt::format("'{}' has no samples", options.source));
  const std::int64_t rows = std::min(options.samples, dataset->size());
  std::vector<fovea::data::Batch> columns = {first_batch(dataset, {.batch = rows})};
  for (std::int64_t epoch = 0; epoch < options.variants; ++epoch) {
    columns.push_back(first_batch(
        dataset,
        {.batch = rows, .seed = options.seed, .epoch = epoch, .augment = options.augment}));
  }
  const fovea::Shape shape = dataset->sample_shape();
  const auto values = static_cast<std::size_t>(shape.numel());
  std::vector<fovea::Tensor> pictures;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (const auto& [images, labels] : columns) {  // channels-last: one sample behind the other
      const float* sample = images.data<float>() + static_cast<std::size_t>(row) * values;
      pictures.push_back(
          picture_of(std::span(sample, values), shape, dataset->mean(), dataset->stddev()));
      if (!dataset->has_masks()) continue;
      const std::size_t cells = values / static_cast<std::size_t>(shape[0]);
      const auto* mask = labels.data<std::int64_t>() + static_cast<std::size_t>(row) * cells;
      pictures.back() = with_mask(pictures.back(), std::span(mask, cells));
    }
  }
  fovea::data::write_png(options.out, sheet_of(pictures, options.variants + 1));
  fmt::print("{}: {} samples of {}, each as it is and in {} variants\n", options.out, rows,
             options.source, options.variants);
  if (dataset->has_masks()) fmt::print("{}\n", mask_colours(dataset->classes()));
}

}  // namespace

Action data_preview_command(CLI::App& app) {
  const auto options = std::make_shared<PreviewOptions>();
  app.add_option("source", options->source, "Data set, NAME or NAME:PATH, as of --data of train")
      ->required()
      ->check(known_source())
      ->type_name("SOURCE");
  add_augment(app, options->augment);
  app.add_option("--out", options->out, "The PNG to write")->required()->type_name("FILE.png");
  add_split(app, options->split);
  app.add_option("--samples", options->samples, "How many samples: rows of the sheet")
      ->check(whole_number(1, 64))
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--variants", options->variants, "How many variants of each: further columns")
      ->check(whole_number(1, 64))
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--seed", options->seed, "Of the augmentations")
      ->capture_default_str()
      ->type_name("N");
  app.footer(
      "Example:\n  fovea data preview fashion-mnist --augment flip,crop=3,erase --out sheet.png");
  return [options] { preview(*options); };
}

}  // namespace cli
