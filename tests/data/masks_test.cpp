// Images with masks: how they are found, sized, ignored and moved along with their images.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "data/fit.h"
#include "fovea/data.h"
#include "support/errors.h"
#include "support/files.h"
#include "support/png.h"

namespace fovea::data {
namespace {

using testing::error_of;
using testing::TempFolder;
using testing::write_file;
using Mask = std::vector<std::int64_t>;

Mask mask_of(const Dataset& dataset, std::int64_t index) {
  const Shape shape = dataset.sample_shape();
  Mask mask(static_cast<std::size_t>(shape.numel() / shape[0]));
  dataset.read_mask(index, mask);
  return mask;
}

class Masks : public ::testing::Test {
 protected:
  void picture(const std::string& name, const std::vector<std::uint8_t>& levels,
               std::int64_t width) {
    std::filesystem::create_directories(std::filesystem::path(folder_ / name).parent_path());
    const auto height = static_cast<std::int64_t>(levels.size()) / width;
    write_png(folder_ / name, Tensor::from(levels, {1, height, width}));
  }
  // 4x4, bright where the mask has the level 200.
  void samples(int count) {
    for (int i = 0; i < count; ++i) {
      std::vector<std::uint8_t> image(16, 10);
      std::vector<std::uint8_t> mask(16, 0);
      image[static_cast<std::size_t>(i)] = 250;
      mask[static_cast<std::size_t>(i)] = 200;
      mask[15] = 77;
      picture("set/images/" + std::to_string(i) + ".png", image, 4);
      picture("set/masks/" + std::to_string(i) + ".png", mask, 4);
    }
  }
  std::string source(const std::string& options = "") {
    return "masks:" + (folder_ / "set") + options;
  }
  std::string error(const std::string& options = "") {
    return error_of([&] { open(source(options), Split::train); });
  }
  TempFolder folder_;
};

TEST_F(Masks, LevelsBecomeClassesAndSomeAreIgnored) {
  samples(10);
  const auto plain = open(source(), Split::train);
  EXPECT_TRUE(plain->has_masks());
  EXPECT_EQ(plain->classes(), (std::vector<std::string>{"0", "77", "200"}));
  const auto named = open(source("?ignored=77&names=ground,figure"), Split::train);
  EXPECT_EQ(named->classes(), (std::vector<std::string>{"ground", "figure"}));
  EXPECT_EQ(named->size(), 8) << "a fifth is for the test";
  for (std::int64_t i = 0; i < named->size(); ++i) {
    const auto place =
        static_cast<std::size_t>(std::stoi(std::filesystem::path(named->name(i)).stem().string()));
    Mask expected(16, 0);
    expected[place] = 1;
    expected[15] = kIgnored;
    EXPECT_EQ(mask_of(*named, i), expected);
  }
  const auto turned = open(source("?values=200,0&ignored=77"), Split::train);
  EXPECT_EQ(mask_of(*turned, 0)[14], 1);
}

TEST_F(Masks, SamplesHaveNoLabelAndOthersHaveNoMask) {
  samples(5);
  const auto dataset = open(source(), Split::train);
  EXPECT_CONTAINS(error_of([&] { dataset->label(0); }), "masks");
  Mask mask(3);
  EXPECT_CONTAINS(error_of([&] { dataset->read_mask(0, mask); }), "16", "3");
  picture("tree/a/1.png", {1, 2}, 2);
  const auto labelled = open("images:" + (folder_ / "tree") + "?test=0", Split::train);
  EXPECT_CONTAINS(error_of([&] { labelled->read_mask(0, mask); }), "labels");
}

TEST_F(Masks, BatchesHoldThem) {
  samples(10);
  const auto kept = open(source(), Split::train);
  const auto decoded = open(source("?keep=0"), Split::train);
  for (const auto& dataset : {kept, decoded}) {
    Loader loader(dataset, {.batch = 3});
    const Batch batch = *loader.begin();
    ASSERT_EQ(batch.labels.shape(), Shape({3, 4, 4}));
    const Mask labels = batch.labels.to_vector<std::int64_t>();
    for (std::int64_t i = 0; i < 3; ++i) {
      const Mask mask = mask_of(*dataset, i);
      EXPECT_TRUE(std::equal(mask.begin(), mask.end(), labels.begin() + 16 * i));
    }
  }
}

TEST_F(Masks, AreMovedWithTheirImages) {
  // Blocks of two classes, bright and dark.
  std::vector<std::uint8_t> image(400, 50);
  std::vector<std::uint8_t> mask(400, 1);
  for (std::size_t i = 0; i < 400; ++i) {
    if (i % 20 >= 9 || i / 20 < 6) continue;
    image[i] = 230;
    mask[i] = 4;
  }
  for (const char* name : {"1", "2"}) {
    picture(std::string("set/images/") + name + ".png", image, 20);
    picture(std::string("set/masks/") + name + "_mask.png", mask, 20);
  }
  const auto dataset = open(source("?test=0.5"), Split::train);
  const auto mean = static_cast<float>(dataset->mean()[0]);
  const auto deviation = static_cast<float>(dataset->stddev()[0]);
  for (const char* augment : {"flip=1", "crop=5", "rotate=40", "resized-crop", "shift=0.4",
                              "flip,crop,rotate,resized-crop"}) {
    SCOPED_TRACE(augment);
    int moved = 0;
    for (std::int64_t epoch = 0; epoch < 8; ++epoch) {
      Loader loader(dataset, {.epoch = epoch, .augment = augment});
      const Batch batch = *loader.begin();
      const auto* level = batch.images.data<float>();
      const auto* label = batch.labels.data<std::int64_t>();
      for (std::size_t i = 0; i < 400; ++i) {
        const float light = (level[i] * deviation + mean) * 255;
        // Between two cells, and at the border to black, both may be right.
        if (std::abs(light - 230) < 0.01F) {
          EXPECT_EQ(label[i], 1) << i;
        }
        if (std::abs(light) < 0.01F) {
          EXPECT_EQ(label[i], kIgnored) << i;
        }
        if (label[i] != (mask[i] == 4 ? 1 : 0)) ++moved;
      }
    }
    EXPECT_GT(moved, 0);
  }
  EXPECT_CONTAINS(error_of([&] { Loader(dataset, {.augment = "mixup"}); }), "mixup", "masks");
}

TEST_F(Masks, GetTheSizeOfTheirImagesWithoutNewLevels) {
  picture("set/images/1.png", std::vector<std::uint8_t>(60, 9), 10);
  std::vector<std::uint8_t> mask(60, 3);
  std::fill(mask.begin(), mask.begin() + 30, std::uint8_t{9});
  picture("set/masks/1.png", mask, 10);
  const auto dataset = open(source("?test=0&size=4&resize=pad"), Split::train);
  // 10x6 becomes 4x2, with a row on either side.
  EXPECT_EQ(mask_of(*dataset, 0), (Mask{-1, -1, -1, -1, 1, 1, 1, 1, 0, 0, 0, 0, -1, -1, -1, -1}));
  const auto cut = open(source("?test=0&size=4&resize=none"), Split::train);
  EXPECT_EQ(mask_of(*cut, 0), (Mask{1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0}));
}

TEST_F(Masks, PalettesGiveTheirPlaces) {
  using namespace testing::png;
  // Two bits per pixel: 0 1 2 0.
  const std::string palette = chunk("PLTE", std::string("\xff\0\0\0\xff\0\0\0\xff", 9));
  write_file(folder_ / "p.png", png_of({.width = 4, .height = 1, .depth = 2, .color = kPalette},
                                       std::string("\0\x18", 2), palette));
  EXPECT_EQ(read_png_mask(folder_ / "p.png").to_vector<std::uint8_t>(),
            (std::vector<std::uint8_t>{0, 1, 2, 0}));
  // One bit of grey.
  write_file(folder_ / "g.png", png_of({.width = 4, .height = 1, .depth = 1, .color = kGrey},
                                       std::string("\0\x50", 2)));
  EXPECT_EQ(read_png_mask(folder_ / "g.png").to_vector<std::uint8_t>(),
            (std::vector<std::uint8_t>{0, 1, 0, 1}));
  write_file(folder_ / "c.png", png_of({.color = kRgb}, std::string(4, '\0')));
  EXPECT_CONTAINS(error_of([&] { read_png_mask(folder_ / "c.png"); }), "colours", "c.png");
  write_file(folder_ / "w.png", png_of({.depth = 16}, std::string(3, '\0')));
  EXPECT_CONTAINS(error_of([&] { read_png_mask(folder_ / "w.png"); }), "16 bits");
}

TEST_F(Masks, WhatDoesNotFitIsNamed) {
  samples(5);
  picture("set/images/7.png", std::vector<std::uint8_t>(16, 1), 4);
  EXPECT_CONTAINS(error(), "7.png", "masks/7.png");
  picture("set/masks/7.png", std::vector<std::uint8_t>(12, 0), 4);
  EXPECT_CONTAINS(error("?test=0"), "7.png", "[4, 4]", "[3, 4]", "size=");
  picture("set/masks/7.png", std::vector<std::uint8_t>(16, 9), 4);
  EXPECT_CONTAINS(error("?test=0&values=0,77,200"), "7.png", "level 9", "ignored=9");
  const auto rest = open(source("?test=0&values=0,77,200&broken=skip"), Split::train);
  EXPECT_EQ(rest->size(), 5);
  EXPECT_EQ(rest->broken().size(), 1U);
  EXPECT_CONTAINS(error("?values=0,256"), "0 to 255");
  EXPECT_CONTAINS(error("?values=0,0"), "once");
  EXPECT_CONTAINS(error("?names=one"), "4 classes");
  std::vector<std::uint8_t> photo(256);
  for (std::size_t i = 0; i < 256; ++i) photo[i] = static_cast<std::uint8_t>(i);
  picture("set/masks/7.png", photo, 16);
  EXPECT_CONTAINS(error(), "256 different levels");
  picture("set/other/7.png", photo, 16);
  EXPECT_CONTAINS(error(), "set/images", "set/masks");
}

}  // namespace
}  // namespace fovea::data
