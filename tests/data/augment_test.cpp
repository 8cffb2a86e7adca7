// Augmentations: what each may do to a sample, and that it depends on seed, epoch and sample alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "data/warp.h"
#include "fovea/data.h"
#include "fovea/functions.h"
#include "support/errors.h"
#include "support/files.h"
#include "support/tensors.h"

namespace fovea::data {
namespace {

using testing::error_of;
using testing::expect_identical;

// Samples of any shape: random values, or those of a function of the sample and the cell, which is
// counted in channels-last order. Sample i has the class i mod 3.
class Samples : public Dataset {
 public:
  using Value = std::function<float(std::int64_t sample, std::int64_t cell)>;
  explicit Samples(Shape shape, Value value = {}, std::int64_t size = 12)
      : shape_(shape), value_(std::move(value)), size_(size) {}
  std::int64_t size() const override { return size_; }
  Shape sample_shape() const override { return shape_; }
  const std::vector<std::string>& classes() const override { return classes_; }
  // Black is -2.
  std::vector<double> mean() const override {
    return std::vector<double>(static_cast<std::size_t>(shape_[0]), 0.5);
  }
  std::vector<double> stddev() const override {
    return std::vector<double>(static_cast<std::size_t>(shape_[0]), 0.25);
  }
  void read(std::int64_t index, std::span<float> sample) const override {
    const Tensor random =
        testing::random_tensor({static_cast<std::int64_t>(sample.size())},
                               static_cast<std::uint64_t>(index) + 1, DType::float32);
    for (std::size_t i = 0; i < sample.size(); ++i) {
      const auto cell = static_cast<std::int64_t>(i);
      sample[i] = value_ ? value_(index, cell) : random.data<float>()[cell];
    }
  }
  std::int64_t label(std::int64_t index) const override { return index % 3; }

 private:
  Shape shape_;
  Value value_;
  std::int64_t size_;
  std::vector<std::string> classes_ = {"a", "b", "c"};
};

constexpr float kBlack = -2;

// Silence is -13.5 before the normalisation, and -56 behind it.
class Spectrograms : public Samples {
 public:
  using Samples::Samples;
  double background() const override { return -13.5; }
};

std::vector<Batch> batches(const std::shared_ptr<const Dataset>& dataset,
                           const LoaderOptions& options) {
  std::vector<Batch> result;
  for (const Batch& batch : Loader(dataset, options)) result.push_back(batch);
  return result;
}

// All samples of an epoch, in the order of the data set: [N, C, spatial...].
Tensor augmented(const std::shared_ptr<const Dataset>& dataset, const std::string& text,
                 std::int64_t epoch = 0) {
  return batches(dataset, {.batch = dataset->size(), .epoch = epoch, .augment = text})[0].images;
}

const std::vector<Shape> kShapes = {{2, 40}, {3, 12, 10}, {1, 6, 7, 8}};

TEST(Augment, EachIsDrawnFromSeedEpochAndSampleAlone) {
  for (const AugmentationDef& def : augmentations()) {
    for (int dims = def.least_dims; dims <= def.most_dims; ++dims) {
      SCOPED_TRACE(std::string(def.name) + " of samples " +
                   kShapes[static_cast<std::size_t>(dims - 1)].to_string());
      const auto dataset = std::make_shared<Samples>(kShapes[static_cast<std::size_t>(dims - 1)]);
      const LoaderOptions options = {
          .batch = 5, .shuffle = true, .seed = 3, .epoch = 2, .augment = std::string(def.name)};
      const std::vector<Batch> expected = batches(dataset, options);
      for (const auto& [prefetch, threads] : {std::pair{0, 1}, {1, 1}, {4, 3}}) {
        LoaderOptions other = options;
        other.prefetch = prefetch;
        other.threads = threads;
        const std::vector<Batch> again = batches(dataset, other);
        for (std::size_t i = 0; i < expected.size(); ++i) {
          expect_identical(again[i].images, expected[i].images);
          expect_identical(again[i].labels, expected[i].labels);
        }
      }
      Loader resumed(dataset, options);
      resumed.seek({.epoch = 2, .batch = 1});
      expect_identical((*resumed.begin()).images, expected[1].images);
      const Tensor first = augmented(dataset, options.augment, 0);
      const std::vector<float> values = first.to_vector<float>();
      EXPECT_NE(values, augmented(dataset, options.augment, 1).to_vector<float>());
      EXPECT_NE(values, augmented(dataset, "").to_vector<float>());
      EXPECT_TRUE(
          std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }));
    }
  }
}

TEST(Augment, FlipMirrorsTheLastAxisOfImagesAndAllAxesOfVolumes) {
  const auto images = std::make_shared<Samples>(kShapes[1]);
  expect_identical(augmented(images, "flip=1"),
                   flip(augmented(images, ""), {3}).contiguous(Layout::channels_last));
  expect_identical(augmented(images, "flip=0"), augmented(images, ""));
  const auto volumes = std::make_shared<Samples>(kShapes[2]);
  expect_identical(augmented(volumes, "flip=1"), flip(augmented(volumes, ""), {2, 3, 4}));
}

// Cell values that tell where a cell came from.
TEST(Augment, CropMovesTheSampleAndBlackComesIn) {
  const Shape shape = {2, 7, 9};
  const auto value = [](std::int64_t, std::int64_t cell) { return static_cast<float>(cell + 1); };
  const auto dataset = std::make_shared<Samples>(shape, value, 200);
  const Tensor moved = augmented(dataset, "crop=3");
  std::vector<int> seen(49, 0);
  for (std::int64_t n = 0; n < 200; ++n) {
    // The centre is never moved out: it tells by how much the sample was moved.
    const double cell = (moved.at({n, 0, 3, 4}) - 1) / 2;
    const auto dy = 3 - static_cast<std::int64_t>(cell) / 9;
    const auto dx = 4 - static_cast<std::int64_t>(cell) % 9;
    ASSERT_LE(std::max(std::abs(dy), std::abs(dx)), 3);
    ++seen[static_cast<std::size_t>(7 * (dy + 3) + dx + 3)];
    for (std::int64_t y = 0; y < 7; ++y) {
      for (std::int64_t x = 0; x < 9; ++x) {
        const bool inside = y - dy >= 0 && y - dy < 7 && x - dx >= 0 && x - dx < 9;
        for (std::int64_t c = 0; c < 2; ++c) {
          const double expected =
              inside ? static_cast<double>(2 * (9 * (y - dy) + x - dx) + c + 1) : kBlack;
          ASSERT_EQ(moved.at({n, c, y, x}), expected);
        }
      }
    }
  }
  // 200 draws of 49 places: that 30 or fewer are met has a chance far below one in a million.
  EXPECT_GT(49 - std::count(seen.begin(), seen.end(), 0), 30);
}

TEST(Augment, ASampleMayBeMovedAwayAltogether) {
  const auto dataset = std::make_shared<Samples>(
      Shape{1, 3}, [](std::int64_t, std::int64_t) { return 1.0F; }, 50);
  for (const double value : augmented(dataset, "crop=4096").to_vector<double>())
    EXPECT_TRUE(value == 1 || value == kBlack);
}

TEST(Augment, ShiftMovesAlongTheLastAxisOnly) {
  const auto value = [](std::int64_t, std::int64_t cell) { return static_cast<float>(cell / 20); };
  const auto dataset = std::make_shared<Samples>(Shape{1, 4, 20}, value);
  const Tensor moved = augmented(dataset, "shift=0.25");
  bool any = false;
  for (std::int64_t n = 0; n < 12; ++n) {
    for (std::int64_t y = 0; y < 4; ++y) {
      for (std::int64_t x = 5; x < 15; ++x) EXPECT_EQ(moved.at({n, 0, y, x}), y);
      any = any || moved.at({n, 0, y, 0}) == kBlack;
    }
  }
  EXPECT_TRUE(any);
}

TEST(Warp, AQuarterTurnMovesWholeCells) {
  std::vector<float> values = testing::random_tensor({50}, 1, DType::float32).to_vector<float>();
  const std::vector<float> before = values;
  const std::vector<float> black = {0, 0};
  SampleView view{.size = {5, 5}, .channels = 2, .values = values, .background = black};
  warp(view, 0, 1, {.yy = 0, .yx = 1, .y0 = 0, .xy = -1, .xx = 0, .x0 = 4}, Outside::background);
  for (std::size_t y = 0; y < 5; ++y) {
    for (std::size_t x = 0; x < 5; ++x) {
      for (std::size_t c = 0; c < 2; ++c)
        EXPECT_EQ(values[2 * (5 * y + x) + c], before[2 * (5 * x + 4 - y) + c]);
    }
  }
}

TEST(Augment, RotateKeepsTheCentreAndWhatIsRound) {
  // A disc on black: turned, it stays what it is, but for its edge.
  const auto value = [](std::int64_t, std::int64_t cell) {
    const auto y = static_cast<float>(cell / 15 - 7);
    const auto x = static_cast<float>(cell % 15 - 7);
    return y * y + x * x < 25 ? 1.0F : kBlack;
  };
  const auto dataset = std::make_shared<Samples>(Shape{1, 15, 15}, value);
  const Tensor turned = augmented(dataset, "rotate=180");
  for (std::int64_t n = 0; n < 12; ++n) {
    for (std::int64_t y = 0; y < 15; ++y) {
      for (std::int64_t x = 0; x < 15; ++x) {
        const auto radius = std::hypot(static_cast<double>(y - 7), static_cast<double>(x - 7));
        const double value_there = turned.at({n, 0, y, x});
        if (radius < 3.5) {
          EXPECT_NEAR(value_there, 1, 1e-5);
        }
        if (radius > 6.5) {
          EXPECT_NEAR(value_there, kBlack, 1e-5);
        }
      }
    }
  }
}

TEST(Augment, WhatComesInIsTheBackground) {
  const auto value = [](std::int64_t, std::int64_t) { return 1.0F; };
  const auto dataset = std::make_shared<Spectrograms>(Shape{1, 12, 20}, value);
  for (const std::string name : {"crop=3", "shift=0.3"}) {
    std::int64_t came_in = 0;
    for (const float one : augmented(dataset, name).to_vector<float>()) {
      EXPECT_TRUE(one == 1 || one == -56) << name << " " << one;
      if (one == -56) ++came_in;
    }
    EXPECT_GT(came_in, 0) << name;
  }
}

TEST(Augment, ResizedCropOfARampIsAPartOfIt) {
  const auto value = [](std::int64_t, std::int64_t cell) { return static_cast<float>(cell % 16); };
  const auto dataset = std::make_shared<Samples>(Shape{1, 16, 16}, value);
  const Tensor part = augmented(dataset, "resized-crop=0.25");
  for (std::int64_t n = 0; n < 12; ++n) {
    // Away from the ends, where the edge is repeated, it rises by the part's width over the whole.
    const double slope = part.at({n, 0, 8, 9}) - part.at({n, 0, 8, 8});
    EXPECT_GE(slope, std::sqrt(0.25 * 0.75) - 1e-5);
    EXPECT_LE(slope, 1 + 1e-5);
    EXPECT_NEAR(part.at({n, 0, 8, 10}) - part.at({n, 0, 8, 9}), slope, 1e-5);
    EXPECT_GE(part.at({n, 0, 3, 0}), -1e-5);
    EXPECT_LE(part.at({n, 0, 3, 15}), 15 + 1e-5);
  }
}

TEST(Augment, EraseSetsOneBlockToTheMean) {
  const auto value = [](std::int64_t, std::int64_t) { return 1.0F; };
  for (const Shape& shape : {Shape{2, 100}, Shape{2, 20, 20}, Shape{1, 10, 10, 10}}) {
    const auto dataset = std::make_shared<Samples>(shape, value, 200);
    const Tensor erased = augmented(dataset, "erase=1");
    const std::int64_t cells = shape.numel();
    for (std::int64_t n = 0; n < 200; ++n) {
      const std::vector<double> sample = erased.slice(0, n, n + 1).to_vector<double>();
      const auto zeros = std::count(sample.begin(), sample.end(), 0.0);
      EXPECT_EQ(std::count(sample.begin(), sample.end(), 1.0), cells - zeros);
      EXPECT_GE(zeros, 1);
      EXPECT_LE(zeros, cells * 45 / 100);  // a third, and the rounding of sides
    }
    const Tensor some = augmented(dataset, "erase=0.25");
    int touched = 0;
    for (std::int64_t n = 0; n < 200; ++n) {
      const std::vector<double> sample = some.slice(0, n, n + 1).to_vector<double>();
      touched += std::count(sample.begin(), sample.end(), 0.0) > 0 ? 1 : 0;
    }
    EXPECT_NEAR(touched, 50, 37);  // six standard deviations
  }
}

TEST(Augment, JitterStaysWithinTheLevelsOfImages) {
  const auto value = [](std::int64_t sample, std::int64_t cell) {
    return kBlack + static_cast<float>((sample + cell) % 9) / 2;  // -2 ... 2: levels 0 ... 1
  };
  const auto dataset = std::make_shared<Samples>(Shape{3, 4, 4}, value);
  testing::expect_close(augmented(dataset, "jitter=0"), augmented(dataset, ""), 1e-6);
  for (const double one : augmented(dataset, "jitter=1").to_vector<double>()) {
    EXPECT_GE(one, -2);
    EXPECT_LE(one, 2);
  }
}

TEST(Augment, GainScalesAndNoiseAdds) {
  const auto value = [](std::int64_t, std::int64_t) { return 1.0F; };
  const auto dataset = std::make_shared<Samples>(Shape{1, 5000}, value);
  const Tensor louder = augmented(dataset, "gain=0.5");
  for (std::int64_t n = 0; n < 12; ++n) {
    const double factor = louder.at({n, 0, 0});
    EXPECT_GE(factor, 0.5);
    EXPECT_LE(factor, 1.5);
    EXPECT_EQ(louder.at({n, 0, 4999}), factor);
  }
  double sum = 0;
  double squares = 0;
  const std::vector<double> noisy = augmented(dataset, "noise=0.5").to_vector<double>();
  for (const double one : noisy) {
    sum += one - 1;
    squares += (one - 1) * (one - 1);
  }
  const auto count = static_cast<double>(noisy.size());  // 60,000
  EXPECT_NEAR(sum / count, 0, 6 * 0.5 / std::sqrt(count));
  EXPECT_NEAR(std::sqrt(squares / count), 0.5, 6 * 0.5 / std::sqrt(2 * count));
}

TEST(Augment, MixupMixesLabelsAsItMixesSamples) {
  // A sample's value is its class, so the mixed value is the mean class by the mixed labels.
  const auto value = [](std::int64_t sample, std::int64_t) {
    return static_cast<float>(sample % 3);
  };
  const auto dataset = std::make_shared<Samples>(Shape{1, 2, 2}, value, 99);
  bool mixed = false;
  for (const Batch& batch : batches(dataset, {.batch = 33, .augment = "mixup=1"})) {
    ASSERT_EQ(batch.labels.dtype(), DType::float32);
    ASSERT_EQ(batch.labels.shape(), (Shape{33, 3}));
    for (std::int64_t n = 0; n < 33; ++n) {
      const double p[] = {batch.labels.at({n, 0}), batch.labels.at({n, 1}),
                          batch.labels.at({n, 2})};
      EXPECT_NEAR(p[0] + p[1] + p[2], 1, 1e-6);
      EXPECT_NEAR(batch.images.at({n, 0, 1, 1}), p[1] + 2 * p[2], 1e-6);
      mixed = mixed || *std::max_element(p, p + 3) < 0.95;
    }
  }
  EXPECT_TRUE(mixed);
}

TEST(Augment, SeveralWorkInTheOrderGiven) {
  const auto value = [](std::int64_t, std::int64_t) { return 1.0F; };
  const auto dataset = std::make_shared<Samples>(Shape{1, 2000}, value, 1);
  const auto values = [&](const std::string& text) {
    return augmented(dataset, text).to_vector<double>();
  };
  // Noise on what was moved in, or none.
  const std::vector<double> clean = values("noise=0.1,shift=1");
  EXPECT_GT(std::count(clean.begin(), clean.end(), kBlack), 1);
  const std::vector<double> noisy = values("shift=1,noise=0.1");
  EXPECT_LE(std::count(noisy.begin(), noisy.end(), kBlack), 1);
}

TEST(Augment, WrongTextsAreRefusedWithWhatIsKnown) {
  const auto refusal = [](const std::string& text) {
    return error_of([&] { parse_augmentations(text); });
  };
  const std::string unknown = refusal("flip,magic=1");
  EXPECT_CONTAINS(unknown, "no augmentation 'magic'");
  for (const AugmentationDef& def : augmentations()) {
    EXPECT_CONTAINS(unknown, def.name);
    EXPECT_CONTAINS(refusal(std::string(def.name) + "=x"), "=x, but", "must be a number from");
    EXPECT_CONTAINS(refusal(std::string(def.name) + "=-1"), "must be a number from");
    EXPECT_CONTAINS(refusal(std::string(def.name) + "=nan"), "must be a number from");
  }
  EXPECT_CONTAINS(refusal("flip,flip=1"), "flip is named twice");
  EXPECT_CONTAINS(refusal("flip,"), "no augmentation ''");
  EXPECT_EQ(parse_augmentations("").size(), 0U);
  const std::vector<Augmentation> two = parse_augmentations(" flip , crop = 2");
  ASSERT_EQ(two.size(), 2U);
  EXPECT_EQ(two[0].value, 0.5);
  EXPECT_EQ(two[1].def->name, "crop");
  EXPECT_EQ(two[1].value, 2);
  EXPECT_CONTAINS(
      error_of([] { Loader(std::make_shared<Samples>(kShapes[0]), {.augment = "flip"}); }),
      "flip is for images to volumes", "[2, 40]");
}

TEST(Augment, TheDocumentationListsEachWithItsNumber) {
  const std::string page = testing::read_file(FOVEA_SOURCE_DIR "/docs/training.md");
  for (const AugmentationDef& def : augmentations()) {
    std::ostringstream row;
    row << "| `" << def.name << "` | " << def.argument << ", " << def.usual << " | ";
    EXPECT_CONTAINS(page, row.str());
    EXPECT_CONTAINS(page, std::string("| ") + std::string(def.summary) + " |");
  }
}

}  // namespace
}  // namespace fovea::data
