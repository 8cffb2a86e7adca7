// Augmentations: random changes of samples that keep their class.
//
// They work on normalised samples; what comes in from outside is the data set's background: black,
// or silence.
// Those that move cells move a mask alike.
// To add one: its function, and a line in kSteps. The program, its documentation and the tests read
// that list.
#include "data/augment.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <utility>

#include "core/check.h"
#include "data/draw.h"
#include "data/text.h"
#include "data/warp.h"

namespace fovea::data {
namespace {

// Apart from each other, and from those of initial weights, of shuffling (loader.cpp) and of splits
// (split_source.cpp), which are further apart than epochs.
constexpr std::uint64_t kSampleStreams = std::uint64_t{1} << 62;
constexpr std::uint64_t kBatchStreams = kSampleStreams + (std::uint64_t{1} << 61);

struct Levels {  // of each channel, before normalisation
  std::span<const double> mean, stddev;
};

using Change = void (*)(double value, Draw& draw, const Levels& levels, SampleView& sample);

void flip(double probability, Draw& draw, const Levels&, SampleView& sample) {
  for (int axis = sample.dims() == 3 ? 0 : 1; axis < sample.dims(); ++axis)
    if (draw.chance(probability)) mirror(sample, axis);
}

void crop(double cells, Draw& draw, const Levels&, SampleView& sample) {
  const auto most = static_cast<std::int64_t>(cells);
  Shape offset;
  for (int axis = 0; axis < sample.dims(); ++axis)
    offset.push_back(draw.below(2 * most + 1) - most);
  translate(sample, offset);
}

// About the centre of the plane.
void rotate(double degrees, Draw& draw, const Levels&, SampleView& sample) {
  const double angle = draw.between(-degrees, degrees) * std::numbers::pi / 180;
  int y = 0;
  int x = 1;
  if (sample.dims() == 3) {
    const auto axis = static_cast<int>(draw.below(3));  // about which it turns
    y = axis == 0 ? 1 : 0;
    x = axis == 2 ? 1 : 2;
  }
  const double cos = std::cos(angle);
  const double sin = std::sin(angle);
  const double cy = static_cast<double>(sample.size[y] - 1) / 2;
  const double cx = static_cast<double>(sample.size[x] - 1) / 2;
  warp(sample, y, x,
       {.yy = cos,
        .yx = sin,
        .y0 = cy - cos * cy - sin * cx,
        .xy = -sin,
        .xx = cos,
        .x0 = cx + sin * cy - cos * cx},
       Outside::background);
}

// A part of `share` to all of the area, 3:4 to 4:3 as wide as high, made as large as the sample
// (Szegedy et al., 2014).
void resized_crop(double share, Draw& draw, const Levels&, SampleView& sample) {
  const double area = draw.between(share, 1);
  const double ratio = std::exp(draw.between(std::log(0.75), std::log(4.0 / 3)));
  const auto height = static_cast<double>(sample.size[0]);
  const auto width = static_cast<double>(sample.size[1]);
  const double part_y = std::min(1.0, std::sqrt(area / ratio));
  const double part_x = std::min(1.0, std::sqrt(area * ratio));
  const double top = draw.between(0, height * (1 - part_y));
  const double left = draw.between(0, width * (1 - part_x));
  // Cell centres are at halves.
  warp(sample, 0, 1,
       {.yy = part_y, .y0 = top + part_y / 2 - 0.5, .xx = part_x, .x0 = left + part_x / 2 - 0.5},
       Outside::edge);
}

// A block of 2 to 33 % of the cells, up to 3.3 times as long in one direction as in another,
// becomes the mean (Zhong et al., "Random erasing data augmentation", 2017).
void erase(double probability, Draw& draw, const Levels&, SampleView& sample) {
  if (!draw.chance(probability)) return;
  const int dims = sample.dims();
  const double side = std::pow(draw.between(0.02, 0.33), 1.0 / dims);
  std::array<double, 3> stretch{};
  double mean = 0;
  for (int axis = 0; axis < dims; ++axis) {
    stretch[static_cast<std::size_t>(axis)] = draw.between(-1, 1) * std::log(3.3) / 2;
    mean += stretch[static_cast<std::size_t>(axis)] / dims;
  }
  std::array<std::int64_t, 3> first = {0, 0, 0};
  std::array<std::int64_t, 3> count = {1, 1, 1};  // axes in front are of size one
  std::array<std::int64_t, 3> stride = {0, 0, 0};
  for (int axis = 0; axis < dims; ++axis) {
    const auto at = static_cast<std::size_t>(axis + 3 - dims);
    const std::int64_t size = sample.size[axis];
    const double length =
        static_cast<double>(size) * side * std::exp(stretch[static_cast<std::size_t>(axis)] - mean);
    count[at] = std::clamp<std::int64_t>(std::llround(length), 1, size);
    first[at] = draw.below(size - count[at] + 1);
    stride[at] = sample.stride(axis);
  }
  for (std::int64_t z = first[0]; z < first[0] + count[0]; ++z) {
    for (std::int64_t y = first[1]; y < first[1] + count[1]; ++y) {
      float* row =
          sample.values.data() + z * stride[0] + y * stride[1] + first[2] * sample.channels;
      std::fill_n(row, count[2] * sample.channels, 0.0F);
    }
  }
}

// On levels of 0 to 1: brightness scales them, contrast spreads them about their mean, saturation
// spreads the channels of a pixel about its luma.
void jitter(double share, Draw& draw, const Levels& levels, SampleView& sample) {
  const double brightness = draw.between(1 - share, 1 + share);
  const double contrast = draw.between(1 - share, 1 + share);
  const double saturation = draw.between(1 - share, 1 + share);
  const auto channels = static_cast<std::size_t>(sample.channels);
  std::vector<double> level(sample.values.size());
  double centre = 0;
  for (std::size_t i = 0; i < level.size(); ++i) {
    const std::size_t c = i % channels;
    level[i] =
        (static_cast<double>(sample.values[i]) * levels.stddev[c] + levels.mean[c]) * brightness;
    centre += level[i] / static_cast<double>(level.size());
  }
  for (std::size_t i = 0; i < level.size(); i += channels) {
    const double grey =
        channels == 3 ? 0.299 * level[i] + 0.587 * level[i + 1] + 0.114 * level[i + 2] : level[i];
    for (std::size_t c = 0; c < channels; ++c) {
      double value = channels == 3 ? grey + (level[i + c] - grey) * saturation : level[i + c];
      value = std::clamp(centre + (value - centre) * contrast, 0.0, 1.0);
      sample.values[i + c] = static_cast<float>((value - levels.mean[c]) / levels.stddev[c]);
    }
  }
}

void shift(double share, Draw& draw, const Levels&, SampleView& sample) {
  const int last = sample.dims() - 1;
  Shape offset = Shape::filled(sample.dims(), 0);
  offset[last] = std::llround(draw.between(-share, share) * static_cast<double>(sample.size[last]));
  translate(sample, offset);
}

void gain(double share, Draw& draw, const Levels&, SampleView& sample) {
  const auto factor = static_cast<float>(draw.between(1 - share, 1 + share));
  for (float& value : sample.values) value *= factor;
}

void noise(double deviation, Draw& draw, const Levels&, SampleView& sample) {
  for (float& value : sample.values) value += static_cast<float>(deviation * draw.normal());
}

struct Step {
  AugmentationDef def;
  Change change;  // null: of whole batches
};

constexpr Step kSteps[] = {
    {{"flip", "P", "mirrors left and right with this probability, a volume along each axis", 0.5, 0,
      1, 2, 3},
     flip},
    {{"crop", "CELLS",
      "moves by up to so many cells along each axis; black, or silence, comes in, as in a random "
      "crop of the padded sample",
      4, 0, 4096, 1, 3},
     crop},
    {{"rotate", "DEGREES", "turns by up to so many degrees, a volume about a random axis", 10, 0,
      180, 2, 3},
     rotate},
    {{"resized-crop", "SHARE", "enlarges a part of at least this share of the area", 0.5, 0.01, 1,
      2, 2},
     resized_crop},
    {{"erase", "P", "with this probability a random block becomes the mean", 0.25, 0, 1, 1, 3},
     erase},
    {{"jitter", "SHARE", "changes brightness, contrast and saturation by up to this share", 0.2, 0,
      1, 2, 2},
     jitter},
    {{"shift", "SHARE",
      "moves along the last axis, time, by up to this share; black, or silence, comes in", 0.1, 0,
      1, 1, 2},
     shift},
    {{"gain", "SHARE", "louder or quieter by up to this share", 0.2, 0, 1, 1, 1}, gain},
    {{"noise", "DEVIATION", "adds normal noise; that of the data has the deviation 1", 0.1, 0, 10,
      1, 3},
     noise},
    {{"mixup", "ALPHA",
      "mixes each sample with another of its batch, and their labels; the shares are drawn from "
      "Beta(ALPHA, ALPHA)",
      0.2, 0.01, 4, 1, 3},
     nullptr},
};

Change change_of(const AugmentationDef& def) {
  for (const Step& step : kSteps)
    if (step.def.name == def.name) return step.change;
  FOVEA_ASSERT(false);
}

Augmentation parse_one(std::string_view text) {
  const std::size_t equals = text.find('=');
  const std::string_view name = trimmed(text.substr(0, equals));
  const AugmentationDef* def = nullptr;
  for (const AugmentationDef& one : augmentations())
    if (one.name == name) def = &one;
  if (def == nullptr) {
    std::vector<std::string_view> names;
    for (const AugmentationDef& one : augmentations()) names.push_back(one.name);
    throw_error(fmt::format("augment: there is no augmentation '{}'; there are: {}", name,
                            fmt::join(names, ", ")));
  }
  double value = def->usual;
  if (equals != std::string_view::npos) {
    const std::string_view number = trimmed(text.substr(equals + 1));
    const char* const end = number.data() + number.size();
    const auto [after, error] = std::from_chars(number.data(), end, value);
    FOVEA_CHECK(error == std::errc() && after == end && value >= def->least && value <= def->most,
                "augment: {}={}, but {} must be a number from {} to {}", name, number,
                def->argument, def->least, def->most);
  }
  return {.def = def, .value = value};
}

// Joehnk's algorithm.
double beta(double a, Draw& draw) {
  while (true) {
    const double x = std::pow(draw.unit(), 1 / a);
    const double y = std::pow(draw.unit(), 1 / a);
    if (x + y > 0 && x + y <= 1) return x / (x + y);
  }
}

}  // namespace

std::span<const AugmentationDef> augmentations() {
  static const std::vector<AugmentationDef> defs = [] {
    std::vector<AugmentationDef> list;
    for (const Step& step : kSteps) list.push_back(step.def);
    return list;
  }();
  return defs;
}

std::vector<Augmentation> parse_augmentations(std::string_view text) {
  std::vector<Augmentation> steps;
  if (trimmed(text).empty()) return steps;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t comma = std::min(text.find(',', start), text.size());
    const Augmentation step = parse_one(text.substr(start, comma - start));
    for (const Augmentation& before : steps)
      FOVEA_CHECK(before.def != step.def, "augment: {} is named twice", step.def->name);
    steps.push_back(step);
    start = comma + 1;
  }
  return steps;
}

Augmenter::Augmenter(std::string_view text, const Dataset& dataset, std::uint64_t seed)
    : seed_(seed), mean_(dataset.mean()), stddev_(dataset.stddev()) {
  const Shape sample = dataset.sample_shape();
  channels_ = sample[0];
  for (int axis = 1; axis < sample.rank(); ++axis) size_.push_back(sample[axis]);
  classes_ = static_cast<std::int64_t>(dataset.classes().size());
  for (std::size_t c = 0; c < mean_.size(); ++c)
    background_.push_back(static_cast<float>((dataset.background() - mean_[c]) / stddev_[c]));
  constexpr std::string_view kKinds[] = {"", "signals", "images", "volumes"};
  for (const Augmentation& step : parse_augmentations(text)) {
    const AugmentationDef& def = *step.def;
    FOVEA_CHECK(size_.rank() >= def.least_dims && size_.rank() <= def.most_dims,
                "augment: {} is for {}{}{}, but the samples are {} (channels first)", def.name,
                kKinds[def.least_dims], def.most_dims > def.least_dims ? " to " : "",
                def.most_dims > def.least_dims ? kKinds[def.most_dims] : "", sample);
    FOVEA_CHECK(change_of(def) != nullptr || !dataset.has_masks(),
                "augment: {} mixes classes of samples, but these have masks", def.name);
    if (change_of(def) == nullptr)
      mixup_ = step.value;
    else
      steps_.push_back(step);
  }
  FOVEA_CHECK(
      (steps_.empty() && mixup_ == 0) || static_cast<std::int64_t>(mean_.size()) == channels_,
      "augment: the data set has {} means for {} channels", mean_.size(), channels_);
}

void Augmenter::change(std::int64_t epoch, std::int64_t index, std::span<float> sample,
                       std::span<std::int64_t> mask) const {
  if (steps_.empty()) return;
  SampleView view{.size = size_,
                  .channels = channels_,
                  .values = sample,
                  .background = background_,
                  .mask = mask};
  Draw draw(seed_, kSampleStreams + static_cast<std::uint64_t>(epoch), index);
  const Levels levels{.mean = mean_, .stddev = stddev_};
  for (const Augmentation& step : steps_) change_of (*step.def)(step.value, draw, levels, view);
}

// Zhang et al., "mixup: beyond empirical risk minimization", 2018: one share for the whole batch.
void Augmenter::mix(std::int64_t epoch, std::int64_t batch_index, Batch& batch) const {
  if (mixup_ == 0) return;
  Draw draw(seed_, kBatchStreams + static_cast<std::uint64_t>(epoch), batch_index);
  const auto share = static_cast<float>(beta(mixup_, draw));
  const std::int64_t count = batch.images.size(0);
  std::vector<std::int64_t> partner(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t other = draw.below(i + 1);  // Fisher-Yates, from the front
    partner[static_cast<std::size_t>(i)] = partner[static_cast<std::size_t>(other)];
    partner[static_cast<std::size_t>(other)] = i;
  }
  const std::int64_t values = batch.images.numel() / count;
  float* images = batch.images.mutable_data<float>();
  const std::vector<float> before(images, images + batch.images.numel());
  const auto* labels = batch.labels.data<std::int64_t>();
  Tensor mixed = Tensor::zeros({count, classes_});
  auto* probabilities = mixed.mutable_data<float>();
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t other = partner[static_cast<std::size_t>(i)];
    const float* own = before.data() + i * values;
    const float* second = before.data() + other * values;
    float* out = images + i * values;
    for (std::int64_t v = 0; v < values; ++v) out[v] = second[v] + share * (own[v] - second[v]);
    probabilities[i * classes_ + labels[i]] += share;
    probabilities[i * classes_ + labels[other]] += 1 - share;
  }
  batch.labels = mixed;
}

}  // namespace fovea::data
