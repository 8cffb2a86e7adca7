// Images with masks: DIR/images/1.jpg and DIR/masks/1.png, or both in DIR/train, DIR/test and
// DIR/val. The levels of a mask become classes in rising order, or in that of the option `values`.
#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "core/check.h"
#include "core/printable.h"
#include "data/folder.h"
#include "data/images.h"
#include "data/source_list.h"
#include "data/text.h"

namespace fovea::data {
namespace {

constexpr std::size_t kMostFound = 64;  // more levels are those of a photograph

struct MaskOptions {
  ImageOptions image;
  std::vector<int> values;                  // the level of each class
  std::array<std::uint8_t, 256> classes{};  // of each level, kNoClass where `known` is false
  std::array<bool, 256> known{};            // it is a class, or ignored
};

// "DIR/train/images/a/1.jpg" -> "a/1"; `folder` is the name of the one before.
std::string key_of(const std::string& path, const std::string& folder) {
  const std::size_t start = path.rfind("/" + folder + "/") + folder.size() + 2;
  std::string key = path.substr(start, path.rfind('.') - start);
  constexpr std::string_view kSuffix = "_mask";
  if (folder == "masks" && key.ends_with(kSuffix)) key.resize(key.size() - kSuffix.size());
  return key;
}

struct Pairs {
  LabelledFiles images;  // all of one label, which stands for none
  std::vector<std::string> masks;
};

// Files of the "classes" images (0) and masks (1), each image beside its mask.
Pairs pairs_of(const std::string& op, const LabelledFiles& files) {
  std::map<std::string, std::string> masks;
  for (std::size_t i = 0; i < files.paths.size(); ++i)
    if (files.labels[i] == 1) masks[key_of(files.paths[i], "masks")] = files.paths[i];
  Pairs pairs;
  for (std::size_t i = 0; i < files.paths.size(); ++i) {
    if (files.labels[i] != 0) continue;
    const std::string key = key_of(files.paths[i], "images");
    const auto mask = masks.find(key);
    FOVEA_CHECK(mask != masks.end(),
                "{}: '{}' has no mask; expected masks/{}.png or masks/{}_mask.png", op,
                printable(files.paths[i]), printable(key), printable(key));
    pairs.images.paths.push_back(files.paths[i]);
    pairs.images.labels.push_back(0);
    pairs.masks.push_back(mask->second);
  }
  return pairs;
}

class MaskSamples : public FileSamples {
 public:
  MaskSamples(Pairs pairs, MaskOptions options)
      : FileSamples(std::move(pairs.images)),
        masks_(std::move(pairs.masks)),
        options_(std::move(options)) {}

  Tensor decode(std::int64_t index) const override {
    return read_sized_image(path(index), options_.image);
  }
  bool has_masks() const override { return true; }
  Tensor mask(std::int64_t index) const override {
    const std::string& path = masks_[static_cast<std::size_t>(index)];
    Tensor levels = read_png_mask(path);
    levels = levels.reshape({levels.size(1), levels.size(2)});
    Tensor classes = Tensor::empty(levels.shape(), DType::uint8);
    const auto* in = levels.data<std::uint8_t>();
    auto* out = classes.mutable_data<std::uint8_t>();
    for (std::int64_t i = 0; i < levels.numel(); ++i) {
      FOVEA_CHECK(options_.known[in[i]],
                  "'{}' has the level {}, which is none of the {} classes; ignored={} leaves such "
                  "pixels out",
                  path, in[i], options_.values.size(), in[i]);
      out[i] = options_.classes[in[i]];
    }
    const Shape& size = options_.image.size;
    return size.empty() ? classes : fit_mask(classes, size, options_.image.resize, kNoClass);
  }
  std::string advice() const override { return kImageAdvice; }

 private:
  std::vector<std::string> masks_;
  MaskOptions options_;
};

std::vector<int> levels_from(const Arguments& arguments, std::string_view key) {
  std::vector<int> levels;
  const auto text = arguments.find(key);
  std::string_view rest = text ? std::string_view(*text) : std::string_view();
  while (!rest.empty()) {
    const auto level = number_of(take_until(rest, ','));
    if (!level || *level < 0 || *level > 255 || *level != static_cast<int>(*level))
      arguments.fail(key, "whole numbers from 0 to 255 with commas between them, as in 0,255");
    levels.push_back(static_cast<int>(*level));
  }
  return levels;
}

// Those that occur in the masks, in rising order.
std::vector<int> levels_in(const std::string& op, const std::vector<std::string>& masks,
                           const std::vector<int>& ignored) {
  std::array<bool, 256> found{};
  for (const std::string& path : masks) {
    try {
      const Tensor mask = read_png_mask(path);
      const auto* level = mask.data<std::uint8_t>();
      for (std::int64_t i = 0; i < mask.numel(); ++i) found[level[i]] = true;
    } catch (const Error&) {  // said, or counted, where the samples are read
    }
  }
  for (const int level : ignored) found[static_cast<std::size_t>(level)] = false;
  std::vector<int> levels;
  for (int level = 0; level < 256; ++level)
    if (found[static_cast<std::size_t>(level)]) levels.push_back(level);
  FOVEA_CHECK(levels.size() <= kMostFound,
              "{}: the masks have {} different levels, as pictures do; if they are masks, values= "
              "names the levels of the classes",
              op, levels.size());
  FOVEA_CHECK(
      levels.size() >= 2,
      "{}: the training masks have {} different levels, but at least two classes are needed", op,
      levels.size());
  return levels;
}

std::vector<std::string> class_names(const Arguments& arguments, const std::vector<int>& values) {
  std::vector<std::string> names;
  if (const auto text = arguments.find("names")) {
    std::string_view rest = *text;
    while (!rest.empty()) names.push_back(printable(std::string(take_until(rest, ','))));
    if (names.size() != values.size())
      arguments.fail("names", fmt::format("a name for each of the {} classes", values.size()));
  } else {
    for (const int value : values) names.push_back(std::to_string(value));
  }
  return names;
}

}  // namespace

std::vector<SourceOption> mask_options() {
  return joined(
      {image_options(),
       {{"values", "LEVEL,..", "the level of each class (default: those in the training masks)"},
        {"ignored", "LEVEL,..", "pixels of these levels belong to no class (default: none)"},
        {"names", "NAME,..", "of the classes (default: their levels)"}}});
}

std::shared_ptr<const Source> open_masks(const Arguments& arguments) {
  const std::string& op = arguments.op();
  const FolderTree tree = find_files(op, arguments.path(), {".png", ".jpg", ".jpeg"});
  FOVEA_CHECK((tree.classes == std::vector<std::string>{"images", "masks"}),
              "{0}: expected the folders {1}/images and {1}/masks, or both in {1}/train and so on, "
              "and nothing beside them",
              op, arguments.path());
  const Pairs train = pairs_of(op, tree.train);

  MaskOptions options;
  options.image = image_options_from(arguments);
  const std::vector<int> ignored = levels_from(arguments, "ignored");
  options.values = levels_from(arguments, "values");
  if (options.values.empty()) options.values = levels_in(op, train.masks, ignored);
  options.classes.fill(kNoClass);
  for (std::size_t c = 0; c < options.values.size() && c < kNoClass; ++c) {
    const auto level = static_cast<std::size_t>(options.values[c]);
    if (options.known[level]) arguments.fail("values", "each level once");
    options.known[level] = true;
    options.classes[level] = static_cast<std::uint8_t>(c);
  }
  for (const int level : ignored) options.known[static_cast<std::size_t>(level)] = true;

  const auto reader = [&](Pairs pairs) -> SampleReader {
    return [pairs = std::move(pairs), options] {
      return std::make_shared<const MaskSamples>(pairs, options);
    };
  };
  Collection collection;
  collection.parts = PartBy::file_numbers;
  collection.classes = class_names(arguments, options.values);
  collection.train = reader(train);
  if (tree.validation) collection.validation = reader(pairs_of(op, *tree.validation));
  if (tree.test) collection.test = reader(pairs_of(op, *tree.test));
  return split_source(arguments, std::move(collection));
}

}  // namespace fovea::data
