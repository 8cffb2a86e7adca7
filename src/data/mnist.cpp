// MNIST and the data sets that share its format: two IDX files per split, images and labels.
//
// Pixels are normalised as (value / 255 - mean) / stddev, with mean and deviation over all pixels
// of the training images. To add a data set of this format: a function like fashion_mnist below and
// a line in sources.cpp.
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <utility>

#include "core/check.h"
#include "fovea/data.h"

namespace fovea::data {
namespace {

struct Statistics {
  double mean = 0;
  double stddev = 1;
};

// Those of Fashion-MNIST's 60,000 training images, kept here so that the test split alone can be
// normalised without reading them.
constexpr Statistics kFashionStatistics = {.mean = 0.28604059698879553,
                                           .stddev = 0.35302424451492237};
constexpr const char* kFashionFolder = "/usr/share/datasets/fashion-mnist";

// A histogram first: its sums are exact integers, whatever the number of pixels.
Statistics measure(const Tensor& images) {
  std::array<std::int64_t, 256> histogram{};
  const auto* pixels = images.data<std::uint8_t>();
  for (std::int64_t i = 0; i < images.numel(); ++i) ++histogram[pixels[i]];
  std::int64_t sum = 0;
  std::int64_t squares = 0;
  for (std::int64_t value = 0; value < 256; ++value) {
    sum += histogram[static_cast<std::size_t>(value)] * value;
    squares += histogram[static_cast<std::size_t>(value)] * value * value;
  }
  const auto count = static_cast<double>(images.numel());
  const double mean = static_cast<double>(sum) / count;
  const double variance = static_cast<double>(squares) / count - mean * mean;
  // Images of one grey have no deviation to divide by.
  return {.mean = mean / 255, .stddev = variance > 0 ? std::sqrt(variance) / 255 : 1.0};
}

class GreyImages : public Dataset {
 public:
  GreyImages(Tensor images, Tensor labels, std::vector<std::string> classes, Statistics statistics)
      : images_(std::move(images)),
        labels_(std::move(labels)),
        classes_(std::move(classes)),
        statistics_(statistics) {
    for (std::size_t value = 0; value < normalised_.size(); ++value) {
      const double scaled = static_cast<double>(value) / 255;
      normalised_[value] = static_cast<float>((scaled - statistics.mean) / statistics.stddev);
    }
  }

  std::int64_t size() const override { return images_.size(0); }
  Shape sample_shape() const override { return {1, images_.size(1), images_.size(2)}; }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::vector<double> mean() const override { return {statistics_.mean}; }
  std::vector<double> stddev() const override { return {statistics_.stddev}; }

  void read(std::int64_t index, std::span<float> sample) const override {
    const std::int64_t pixels = images_.size(1) * images_.size(2);
    check_index(index);
    FOVEA_CHECK(static_cast<std::int64_t>(sample.size()) == pixels,
                "read: a sample has {} values, but room for {} is given", pixels, sample.size());
    const auto* source = images_.data<std::uint8_t>() + index * pixels;
    for (std::size_t i = 0; i < sample.size(); ++i) sample[i] = normalised_[source[i]];
  }

  std::int64_t label(std::int64_t index) const override {
    check_index(index);
    return labels_.data<std::uint8_t>()[index];
  }

 private:
  void check_index(std::int64_t index) const {
    FOVEA_CHECK(index >= 0 && index < size(),
                "data set: there is no sample {}; it has {}, counted from 0", index, size());
  }

  Tensor images_;  // uint8 [N, H, W]
  Tensor labels_;  // uint8 [N]
  std::vector<std::string> classes_;
  Statistics statistics_;
  std::array<float, 256> normalised_{};  // of each pixel value
};

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// One of the four files, under any of the names in use. `stem` and `kind`: "train-images",
// "idx3-ubyte".
std::string find_file(std::string_view op, const std::string& folder, std::string_view stem,
                      std::string_view kind) {
  for (const char separator : {'-', '.'}) {
    for (const std::string_view suffix : {".gz", ""}) {
      std::string path = fmt::format("{}/{}{}{}{}", folder, stem, separator, kind, suffix);
      if (exists(path)) return path;
    }
  }
  throw_error(
      fmt::format("{}: '{}' has no file {}-{}.gz or {}-{}", op, folder, stem, kind, stem, kind));
}

Tensor read_images(std::string_view op, const std::string& folder, std::string_view stem) {
  const std::string path = find_file(op, folder, fmt::format("{}-images", stem), "idx3-ubyte");
  Tensor images = read_idx(path);
  FOVEA_CHECK(images.rank() == 3,
              "{}: the images of '{}' have the shape {}, expected [N, height, width]", op, path,
              images.shape());
  FOVEA_CHECK(images.numel() > 0, "{}: '{}' holds no pixels (shape {})", op, path, images.shape());
  return images;
}

Tensor read_labels(std::string_view op, const std::string& folder, std::string_view stem,
                   std::int64_t images, std::size_t classes) {
  const std::string path = find_file(op, folder, fmt::format("{}-labels", stem), "idx1-ubyte");
  Tensor labels = read_idx(path);
  FOVEA_CHECK(labels.rank() == 1, "{}: the labels of '{}' have the shape {}, expected [N]", op,
              path, labels.shape());
  FOVEA_CHECK(labels.numel() == images, "{}: '{}' has {} labels for {} images", op, path,
              labels.numel(), images);
  const auto* values = labels.data<std::uint8_t>();
  for (std::int64_t i = 0; i < labels.numel(); ++i) {
    FOVEA_CHECK(values[i] < classes, "{}: '{}' gives sample {} the label {}, expected 0 to {}", op,
                path, i, values[i], classes - 1);
  }
  return labels;
}

// `known`: the statistics of the training images, where they need not be measured.
std::shared_ptr<const Dataset> open_folder(std::string_view op, const std::string& folder,
                                           Split split, std::vector<std::string> classes,
                                           const Statistics* known) {
  const char* stem = split == Split::train ? "train" : "t10k";
  Tensor images = read_images(op, folder, stem);
  Tensor labels = read_labels(op, folder, stem, images.size(0), classes.size());
  Statistics statistics;
  if (known != nullptr) {
    statistics = *known;
  } else {
    statistics = measure(split == Split::train ? images : read_images(op, folder, "train"));
  }
  return std::make_shared<GreyImages>(std::move(images), std::move(labels), std::move(classes),
                                      statistics);
}

}  // namespace

std::shared_ptr<const Dataset> mnist(const std::string& folder, Split split) {
  FOVEA_CHECK(exists(folder),
              "mnist: there is no folder '{}'; it should hold MNIST's four files, such as "
              "train-images-idx3-ubyte.gz",
              folder);
  return open_folder("mnist", folder, split, {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"},
                     nullptr);
}

std::shared_ptr<const Dataset> fashion_mnist(Split split) {
  const char* root = std::getenv("FOVEA_DATA");
  const bool named = root != nullptr && *root != '\0';
  const std::string folder = named ? std::string(root) + "/fashion-mnist" : kFashionFolder;
  // A folder that was named is not silently exchanged for another one.
  FOVEA_CHECK(exists(folder),
              "fashion-mnist: there is no folder '{}'{}. Install the data set with "
              "`apt-get install dataset-fashion-mnist`{}",
              folder, named ? " (FOVEA_DATA is set)" : "",
              named ? " and unset FOVEA_DATA."
                    : ", or set FOVEA_DATA to a folder that has fashion-mnist/.");
  return open_folder("fashion-mnist", folder, split,
                     {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt",
                      "Sneaker", "Bag", "Ankle boot"},
                     &kFashionStatistics);
}

}  // namespace fovea::data
