// The data sets by name, and what a network remembers of one. To add a data set: its file, its
// declaration in source_list.h, and a line here.
#include "core/check.h"
#include "core/printable.h"
#include "data/source_list.h"
#include "fovea/data.h"

namespace fovea::data {
namespace {

std::vector<SourceOption> of_files() {
  return joined(
      {split_options(PartBy::file_numbers), test_options(PartBy::file_numbers), file_options()});
}

// Built when it is first needed: the options of one source are several lists.
const std::vector<SourceDef>& list() {
  static const std::vector<SourceDef> all = {
      {"fashion-mnist", "",
       "60,000 + 10,000 images of clothes, 28x28 grey, from dataset-fashion-mnist", split_options(),
       open_fashion_mnist},
      {"mnist", "DIR", "the four files of MNIST's format (IDX, plain or gzip)", split_options(),
       open_mnist},
      {"cifar10", "DIR", "CIFAR-10, binary version: data_batch_1.bin to 5, test_batch.bin",
       split_options(), open_cifar10},
      {"cifar100", "DIR", "CIFAR-100, binary version: train.bin, test.bin", split_options(),
       open_cifar100},
      {"images", "DIR", "PNG and JPEG files, a folder per class",
       joined({image_options(), of_files()}), open_images},
      {"masks", "DIR",
       "PNG and JPEG files in DIR/images, and for each a mask in DIR/masks: a PNG whose grey "
       "levels, or places in a palette, are the classes of the pixels",
       joined({mask_options(), of_files()}), open_masks},
      {"audio", "DIR", "WAV and FLAC files, a folder per class or named CLASS_...",
       joined({sound_options(), of_files()}), open_sounds},
      {"volumes", "FILE.npz or DIR",
       "an archive with train_images, train_labels and so on, or NIfTI and .npy files, a folder "
       "per "
       "class",
       joined({volume_options(), of_files()}), open_volumes},
      {"series", "DIR or FILE",
       "time series: NAME_TRAIN.ts and NAME_TEST.ts, a .csv with a sample per row, or CSV files, a "
       "folder per class",
       joined({series_options(), of_files()}), open_series},
  };
  return all;
}

std::string names() {
  std::string all;
  for (const SourceDef& def : list()) all += fmt::format("{}{}", all.empty() ? "" : ", ", def.name);
  return all;
}

}  // namespace

Dataset::~Dataset() = default;

bool Dataset::has_masks() const {
  return false;
}

void Dataset::read_mask(std::int64_t, std::span<std::int64_t>) const {
  throw_error("data set: its samples have labels, no masks");
}

std::string Dataset::name(std::int64_t index) const {
  return fmt::format("sample {}", index);
}

std::vector<Broken> Dataset::broken() const {
  return {};
}

double Dataset::background() const {
  return 0;
}

Source::~Source() = default;

std::string_view name(Split split) {
  switch (split) {
    case Split::train:
      return "train";
    case Split::validation:
      return "validation";
    case Split::test:
      return "test";
  }
  FOVEA_ASSERT(false);
}

std::span<const SourceDef> sources() {
  return list();
}

std::shared_ptr<const Source> open(const std::string& source) {
  const std::size_t end = source.find_first_of(":?");
  const std::string name = source.substr(0, end);
  for (const SourceDef& def : list()) {
    if (def.name != name) continue;
    const bool colon = end != std::string::npos && source[end] == ':';
    const std::string rest = end == std::string::npos ? "" : source.substr(end + (colon ? 1 : 0));
    return def.open(Arguments(def, rest));
  }
  throw_error(
      fmt::format("data: there is no data set '{}'; there are: {}", printable(name), names()));
}

std::shared_ptr<const Dataset> open(const std::string& source, Split split) {
  return open(source)->open(split);
}

SourceOption fit_option() {
  return {
      "resize", "crop, stretch, pad or none",
      "how a sample gets its size: scaled until it covers it, and the middle of that; scaled "
      "along each axis; scaled until it fits, with zeros around; or not scaled, the middle of it "
      "with zeros around where it is smaller (default: crop)"};
}

Fit fit_from(const Arguments& arguments) {
  constexpr Fit kFits[] = {Fit::crop, Fit::stretch, Fit::pad, Fit::none};
  const Fit fit = kFits[arguments.choice("resize", {"crop", "stretch", "pad", "none"})];
  FOVEA_CHECK(!arguments.has("resize") || arguments.has("size"),
              "{}: resize is given without size, as in size=64&resize=crop", arguments.op());
  return fit;
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
