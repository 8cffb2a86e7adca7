// Pictures of samples; svg.cpp has those of a training. See pictures.h.
#include "pictures.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace cli {
namespace {

constexpr std::int64_t kLeastSide = 48;  // in a sheet, unless that would take a factor above 8
constexpr std::int64_t kGap = 2;
constexpr std::int64_t kPlotHeight = 48;
constexpr std::int64_t kPlotWidth = 128;

// Tab10, and grey.
using Colour = std::array<int, 3>;
constexpr std::int64_t kColourCount = 9;
constexpr Colour kColours[kColourCount] = {{31, 119, 180},  {255, 127, 14},  {44, 160, 44},
                                           {214, 39, 40},   {148, 103, 189}, {140, 86, 75},
                                           {227, 119, 194}, {188, 189, 34},  {23, 190, 207}};
constexpr const char* kColourNames[kColourCount] = {"blue",  "orange", "green", "red", "purple",
                                                    "brown", "pink",   "olive", "cyan"};
constexpr Colour kGrey = {127, 127, 127};

std::uint8_t pixel(double level) {
  return static_cast<std::uint8_t>(std::clamp(std::lround(level * 255), 0L, 255L));
}

// Columns from the least to the largest value of their stretch of time.
fovea::Tensor plot_of(const std::vector<double>& signal) {
  const auto [low, high] = std::minmax_element(signal.begin(), signal.end());
  const double range = std::max(*high - *low, 1e-12);
  const auto length = static_cast<std::int64_t>(signal.size());
  const std::int64_t width = std::min(length, kPlotWidth);
  const auto row_of = [range, top = *high](double value) {
    return std::lround((top - value) / range * (kPlotHeight - 1));
  };
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(width * kPlotHeight), 255);
  for (std::int64_t x = 0; x < width; ++x) {
    const auto first = signal.begin() + x * length / width;
    // One step further than the next column begins, so that steep lines have no holes.
    const auto last = signal.begin() + std::min(length, (x + 1) * length / width + 1);
    const auto [least, most] = std::minmax_element(first, last);
    for (std::int64_t y = row_of(*most); y <= row_of(*least); ++y)
      pixels[static_cast<std::size_t>(y * width + x)] = 0;
  }
  return fovea::Tensor::from(pixels, {1, kPlotHeight, width});
}

}  // namespace

fovea::Tensor picture_of(std::span<const float> values, const fovea::Shape& shape,
                         const std::vector<double>& mean, const std::vector<double>& stddev) {
  const std::int64_t channels = shape[0];
  const auto level = [&](std::int64_t cell, std::int64_t channel) {
    const auto c = static_cast<std::size_t>(channel);
    const auto at = static_cast<std::size_t>(cell * channels + channel);
    return static_cast<double>(values[at]) * stddev[c] + mean[c];
  };
  if (shape.rank() == 2) {
    std::vector<double> signal;
    for (std::int64_t i = 0; i < shape[1]; ++i) signal.push_back(level(i, 0));
    return plot_of(signal);
  }
  const std::int64_t height = shape[shape.rank() - 2];
  const std::int64_t width = shape[shape.rank() - 1];
  const std::int64_t first = shape.rank() == 4 ? shape[1] / 2 * height * width : 0;
  const std::int64_t shown = channels == 3 ? 3 : 1;
  std::vector<double> levels;
  for (std::int64_t cell = 0; cell < height * width; ++cell) {
    for (std::int64_t c = 0; c < shown; ++c) levels.push_back(level(first + cell, c));
  }
  // Images have levels of 0 to 1; others, such as spectrograms, are stretched to them.
  constexpr double kSlack = 0.01;
  const auto [least, most] = std::minmax_element(levels.begin(), levels.end());
  const bool image = shape.rank() == 3 && *least >= -kSlack && *most <= 1 + kSlack;
  const double low = image ? 0 : *least;
  const double range = image ? 1 : std::max(*most - *least, 1e-12);
  std::vector<std::uint8_t> pixels;
  for (const double one : levels) pixels.push_back(pixel((one - low) / range));
  return fovea::Tensor::from(pixels, {height, width, shown}).permute({2, 0, 1});
}

fovea::Tensor picture_of(const fovea::data::Dataset& dataset, std::int64_t index) {
  const fovea::Shape shape = dataset.sample_shape();
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  dataset.read(index, values);
  fovea::Tensor picture = picture_of(values, shape, dataset.mean(), dataset.stddev());
  if (!dataset.has_masks()) return picture;
  std::vector<std::int64_t> mask(static_cast<std::size_t>(shape.numel() / shape[0]));
  dataset.read_mask(index, mask);
  return with_mask(picture, mask);
}

fovea::Tensor with_mask(const fovea::Tensor& picture, std::span<const std::int64_t> mask) {
  const std::int64_t height = picture.size(1);
  const std::int64_t width = picture.size(2);
  const std::int64_t channels = picture.size(0);
  const auto pixels = picture.permute({1, 2, 0}).to_vector<std::uint8_t>();
  std::vector<std::uint8_t> mixed;
  for (std::int64_t i = 0; i < height * width; ++i) {
    const std::int64_t c = mask[static_cast<std::size_t>(i)];
    const Colour* const colour = c == fovea::data::kIgnored
                                     ? &kGrey
                                     : (c == 0 ? nullptr : &kColours[(c - 1) % kColourCount]);
    for (std::int64_t channel = 0; channel < 3; ++channel) {
      const int own = pixels[static_cast<std::size_t>(i * channels + channel % channels)];
      const int over = colour == nullptr ? own : (*colour)[static_cast<std::size_t>(channel)];
      mixed.push_back(static_cast<std::uint8_t>((own + over) / 2));
    }
  }
  return fovea::Tensor::from(mixed, {height, width, 3}).permute({2, 0, 1});
}

std::string mask_colours(const std::vector<std::string>& classes) {
  constexpr std::size_t kMost = 2 * kColourCount;  // colours come again in the same order
  std::string text = "classes in colours:";
  for (std::size_t c = 1; c < classes.size() && c <= kMost; ++c)
    text += fmt::format(" {} {},", classes[c], kColourNames[(c - 1) % kColourCount]);
  if (classes.size() > kMost + 1) text += " and so on,";
  return text + fmt::format(" {} in none, no class grey", classes.front());
}

fovea::Tensor sheet_of(const std::vector<fovea::Tensor>& pictures, std::int64_t columns) {
  const auto count = static_cast<std::int64_t>(pictures.size());
  const std::int64_t channels = pictures.front().size(0);
  const std::int64_t height = pictures.front().size(1);
  const std::int64_t width = pictures.front().size(2);
  const std::int64_t side = std::min(height, width);
  const std::int64_t scale = std::clamp<std::int64_t>((kLeastSide + side - 1) / side, 1, 8);
  columns = std::min(columns, count);
  const std::int64_t rows = (count + columns - 1) / columns;
  const std::int64_t sheet_width = columns * (scale * width + kGap) + kGap;
  const std::int64_t sheet_height = rows * (scale * height + kGap) + kGap;
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(sheet_height * sheet_width * channels),
                                   255);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::vector<std::uint8_t> picture =
        pictures[static_cast<std::size_t>(i)].permute({1, 2, 0}).to_vector<std::uint8_t>();
    const std::int64_t top = i / columns * (scale * height + kGap) + kGap;
    const std::int64_t left = i % columns * (scale * width + kGap) + kGap;
    for (std::int64_t y = 0; y < scale * height; ++y) {
      for (std::int64_t x = 0; x < scale * width; ++x) {
        const std::int64_t from = (y / scale * width + x / scale) * channels;
        const std::int64_t to = ((top + y) * sheet_width + left + x) * channels;
        std::copy_n(picture.begin() + from, channels, pixels.begin() + to);
      }
    }
  }
  return fovea::Tensor::from(pixels, {sheet_height, sheet_width, channels}).permute({2, 0, 1});
}

}  // namespace cli
