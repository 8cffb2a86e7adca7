// MNIST and the data sets that share its format: two IDX files per split, images and labels. To add
// a data set of this format: a function like fashion_mnist below and a line in sources.cpp.
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "core/check.h"
#include "data/source_list.h"
#include "fovea/data.h"

namespace fovea::data {
namespace {

// Those of Fashion-MNIST's 60,000 training images, kept here so that the test split alone can be
// normalised without reading them.
constexpr double kFashionMean = 0.28604059698879553;
constexpr double kFashionDeviation = 0.35302424451492237;
constexpr const char* kFashionFolder = "/usr/share/datasets/fashion-mnist";

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

std::vector<std::int64_t> read_labels(std::string_view op, const std::string& folder,
                                      std::string_view stem, std::int64_t images,
                                      std::size_t classes) {
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
  return labels.to_vector<std::int64_t>();
}

std::shared_ptr<const Samples> read_split(std::string_view op, const std::string& folder,
                                          std::string_view stem, std::size_t classes) {
  const Tensor images = read_images(op, folder, stem);
  const std::int64_t count = images.size(0);
  return std::make_shared<const ArraySamples>(
      images.reshape({count, 1, images.size(1), images.size(2)}),
      read_labels(op, folder, stem, count, classes), fmt::format("'{}', {}", folder, stem));
}

Collection collect(const std::string& op, const std::string& folder,
                   std::vector<std::string> classes) {
  Collection collection;
  const std::size_t count = classes.size();
  collection.classes = std::move(classes);
  collection.train = [=] { return read_split(op, folder, "train", count); };
  collection.test = [=] { return read_split(op, folder, "t10k", count); };
  return collection;
}

Collection mnist_collection(const std::string& folder) {
  FOVEA_CHECK(exists(folder),
              "mnist: there is no folder '{}'; it should hold MNIST's four files, such as "
              "train-images-idx3-ubyte.gz",
              folder);
  return collect("mnist", folder, {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"});
}

Collection fashion_collection() {
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
  Collection collection = collect("fashion-mnist", folder,
                                  {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal",
                                   "Shirt", "Sneaker", "Bag", "Ankle boot"});
  collection.statistics = {.mean = {kFashionMean}, .stddev = {kFashionDeviation}};
  return collection;
}

}  // namespace

std::shared_ptr<const Source> open_mnist(const Arguments& arguments) {
  return split_source(arguments, mnist_collection(arguments.path()));
}

std::shared_ptr<const Source> open_fashion_mnist(const Arguments& arguments) {
  return split_source(arguments, fashion_collection());
}

std::shared_ptr<const Dataset> mnist(const std::string& folder, Split split) {
  return split_source("mnist", mnist_collection(folder))->open(split);
}

std::shared_ptr<const Dataset> fashion_mnist(Split split) {
  return split_source("fashion-mnist", fashion_collection())->open(split);
}

}  // namespace fovea::data
