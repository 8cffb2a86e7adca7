// CIFAR-10 and CIFAR-100, binary version (Krizhevsky, "Learning multiple layers of features from
// tiny images", 2009): records of one label (CIFAR-100: a coarse one, then the fine one) and
// 3 x 32 x 32 bytes, plane by plane.
#include <array>
#include <filesystem>

#include "core/check.h"
#include "core/input_file.h"
#include "core/printable.h"
#include "data/source_list.h"
#include "data/text.h"

namespace fovea::data {
namespace {

constexpr std::int64_t kSide = 32;
constexpr std::int64_t kPixels = 3 * kSide * kSide;

struct Version {
  std::string_view op;
  std::int64_t label_bytes;  // of which the last one counts
  std::int64_t classes;
  std::vector<std::string> train;
  std::string test;
  std::string names;
};

const Version& cifar_10() {
  static const Version version{"cifar10",
                               1,
                               10,
                               {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                "data_batch_4.bin", "data_batch_5.bin"},
                               "test_batch.bin",
                               "batches.meta.txt"};
  return version;
}

const Version& cifar_100() {
  static const Version version{"cifar100",    2,          100,
                               {"train.bin"}, "test.bin", "fine_label_names.txt"};
  return version;
}

std::shared_ptr<const Samples> read_files(const Version& version, const std::string& folder,
                                          const std::vector<std::string>& names) {
  const std::int64_t record = version.label_bytes + kPixels;
  std::vector<std::unique_ptr<InputFile>> files;
  std::int64_t count = 0;
  for (const std::string& name : names) {
    const std::string path = folder + "/" + name;
    files.push_back(std::make_unique<InputFile>(std::string(version.op), path));
    const std::int64_t bytes = files.back()->size();
    FOVEA_CHECK(
        bytes > 0 && bytes % record == 0,
        "{}: '{}' has {} bytes, which are no whole number of records of {}: it is truncated, "
        "or not the binary version",
        version.op, path, bytes, record);
    count += bytes / record;
  }
  Tensor planes = Tensor::empty({count, 3, kSide, kSide}, DType::uint8);
  auto* out = planes.mutable_data<std::uint8_t>();
  std::vector<std::int64_t> labels;
  for (const auto& file : files) {
    for (std::int64_t left = file->size() / record; left > 0; --left, out += kPixels) {
      std::array<std::uint8_t, 2> label{};
      file->read_exactly(label.data(), static_cast<std::size_t>(version.label_bytes));
      labels.push_back(label[static_cast<std::size_t>(version.label_bytes - 1)]);
      FOVEA_CHECK(labels.back() < version.classes,
                  "{}: '{}' gives image {} the label {}, expected 0 to {}", version.op,
                  file->path(), file->size() / record - left, labels.back(), version.classes - 1);
      file->read_exactly(out, static_cast<std::size_t>(kPixels));
    }
  }
  return std::make_shared<const ArraySamples>(planes, std::move(labels),
                                              fmt::format("'{}'", folder));
}

// Those of the file beside the data; numbers where it is missing.
std::vector<std::string> class_names(const Version& version, const std::string& folder) {
  std::vector<std::string> names;
  const std::string path = folder + "/" + version.names;
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) {
    const std::string text = read_text_file(std::string(version.op), path);
    std::string_view rest = text;
    while (!rest.empty()) {
      const std::string_view name = trimmed(take_line(rest));
      if (!name.empty()) names.push_back(printable(name));
    }
    FOVEA_CHECK(static_cast<std::int64_t>(names.size()) == version.classes,
                "{}: '{}' names {} classes, expected {}", version.op, path, names.size(),
                version.classes);
  }
  for (std::int64_t label = 0; names.size() < static_cast<std::size_t>(version.classes); ++label)
    names.push_back(std::to_string(label));
  return names;
}

std::shared_ptr<const Source> open_version(const Version& version, const Arguments& arguments) {
  const std::string& folder = arguments.path();
  Collection collection;
  collection.classes = class_names(version, folder);
  collection.train = [&version, folder] { return read_files(version, folder, version.train); };
  collection.test = [&version, folder] { return read_files(version, folder, {version.test}); };
  return split_source(arguments, std::move(collection));
}

}  // namespace

std::shared_ptr<const Source> open_cifar10(const Arguments& arguments) {
  return open_version(cifar_10(), arguments);
}

std::shared_ptr<const Source> open_cifar100(const Arguments& arguments) {
  return open_version(cifar_100(), arguments);
}

}  // namespace fovea::data
