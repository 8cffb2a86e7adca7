// Up-sampling and concatenation by example, and the functions that are made of other operators.
#include <gtest/gtest.h>

#include <cmath>

#include "fovea/autograd.h"
#include "fovea/functions.h"
#include "support/errors.h"
#include "support/settings.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

Tensor row(const std::vector<double>& values) {
  return Tensor::from(values, {1, 1, static_cast<std::int64_t>(values.size())});
}

TEST(Upsample, NearestRepeatsCells) {
  EXPECT_EQ(upsample(row({1, 2})).to_vector<double>(), (std::vector<double>{1, 1, 2, 2}));
  EXPECT_EQ(upsample(row({1, 2, 3}), {.size = 4}).to_vector<double>(),
            (std::vector<double>{1, 1, 2, 3}));
}

TEST(Upsample, LinearStandsOnCentresOrOnCorners) {
  const UpsampleOptions centres = {.scale = 2, .mode = Interpolation::linear};
  EXPECT_EQ(upsample(row({0, 4}), centres).to_vector<double>(), (std::vector<double>{0, 1, 3, 4}));
  const UpsampleOptions corners = {.size = 5, .mode = Interpolation::linear, .align_corners = true};
  EXPECT_EQ(upsample(row({0, 4}), corners).to_vector<double>(),
            (std::vector<double>{0, 1, 2, 3, 4}));
}

TEST(Upsample, BackwardIsTheAdjointOnEverySimdTarget) {
  for (const Shape& shape : {Shape{2, 1, 5}, Shape{1, 35, 4, 3}, Shape{1, 3, 2, 3, 4}}) {
    for (const Interpolation mode : {Interpolation::nearest, Interpolation::linear}) {
      for_simd_targets([&] {
        Tensor x = random_tensor(shape, 1).set_requires_grad();
        const Tensor y = upsample(x, {.scale = 3, .mode = mode});
        const Tensor v = random_tensor(y.shape(), 2);
        const Tensor adjoint = grad({y}, {x}, {.grad_outputs = {v}}).front();
        EXPECT_NEAR(sum(y * v).item<double>(), sum(x * adjoint).item<double>(),
                    static_cast<double>(y.numel()) * roundoff(DType::float64));
      });
    }
  }
}

TEST(Upsample, RefusesSizesThatMakeNoSense) {
  const Tensor x = Tensor::zeros({1, 1, 4});
  EXPECT_CONTAINS(error_of([&] { upsample(x, {.scale = 0}); }), "upsample", "scale 0");
  EXPECT_CONTAINS(error_of([&] { upsample(x, {.size = -3}); }), "upsample", "-3");
  EXPECT_CONTAINS(error_of([&] { upsample(x, {.scale = std::int64_t{1} << 62}); }), "upsample");
}

TEST(Concat, PutsTensorsOneBehindAnotherInAnyLayout) {
  const Tensor a = random_tensor({2, 3, 4, 5}, 1).contiguous(Layout::channels_last);
  const Tensor b = random_tensor({2, 2, 4, 5}, 2);
  const Tensor y = concat({a, b});
  EXPECT_TRUE(y.is_contiguous(Layout::channels_last));
  expect_identical(y.slice(1, 0, 3), a);
  expect_identical(y.slice(1, 3, 5), b);
  expect_identical(concat({a, a}, -1).slice(3, 5, 10), a);
  EXPECT_CONTAINS(error_of([&] { concat({a, b}, 0); }), "concat", "axis 1");
  EXPECT_CONTAINS(error_of([&] { concat({}); }), "concat");
}

TEST(CrossEntropy, TakesLabelsPerPosition) {
  const Tensor logits = random_tensor({2, 3, 4, 5}, 3);
  std::vector<std::int64_t> classes;
  for (std::int64_t i = 0; i < 40; ++i) classes.push_back(i * 7 % 3);
  const Tensor labels = Tensor::from(classes, {2, 4, 5});
  double expected = 0;
  const Tensor logarithms = log_softmax(logits, 1);
  for (std::int64_t i = 0; i < 40; ++i) {
    expected -=
        logarithms.at({i / 20, classes[static_cast<std::size_t>(i)], i / 5 % 4, i % 5}) / 40;
  }
  EXPECT_NEAR(cross_entropy(logits, labels).item<double>(), expected, 1e-14);
  EXPECT_CONTAINS(error_of([&] {
                    cross_entropy(logits, labels.reshape({2, 5, 4}));
                  }),
                  "labels [N, spatial...]");
}

TEST(CrossEntropy, LabelsAreProbabilitiesOfOneAndZero) {
  const Tensor logits = random_tensor({2, 3}, 4);
  const Tensor labels = Tensor::from<std::int64_t>({2, 0}, {2});
  const Tensor certain = Tensor::from<double>({0, 0, 1, 1, 0, 0}, {2, 3});
  for (const double smoothing : {0.0, 0.1, 1.0}) {
    EXPECT_NEAR(cross_entropy(logits, labels, {.label_smoothing = smoothing}).item<double>(),
                cross_entropy(logits, certain, {.label_smoothing = smoothing}).item<double>(),
                1e-15);
  }
  EXPECT_CONTAINS(error_of([&] { cross_entropy(logits, labels, {.label_smoothing = 2}); }),
                  "label_smoothing is 2");
  EXPECT_CONTAINS(error_of([&] {
                    cross_entropy(logits, certain.reshape({3, 2}));
                  }),
                  "cross_entropy: logits is [2, 3] but probabilities is [3, 2]");
}

TEST(BceWithLogits, StaysFiniteWhereTheSigmoidIsOneOrZero) {
  const Tensor x = Tensor::from<double>({-800, 800}, {2});
  EXPECT_EQ(bce_with_logits(x, Tensor::from<double>({0, 1}, {2})).item<double>(), 0);
  EXPECT_EQ(bce_with_logits(x, Tensor::from<double>({1, 0}, {2})).item<double>(), 800);
  EXPECT_EQ(error_of([&] { bce_with_logits(x, Tensor::zeros({1}, DType::float64)); }),
            "bce_with_logits: logits is [2] but target is [1]; they must have one shape");
}

TEST(BceWithLogits, KeepsItsDigitsWhereTheLossIsSmall) {
  for (const float x : {14.0F, 17.0F, 30.0F}) {
    const float expected = std::log1p(std::exp(-x));
    const auto loss = [](float logit, float target) {
      return bce_with_logits(Tensor::from({logit}, {1}), Tensor::from({target}, {1})).item<float>();
    };
    EXPECT_NEAR(loss(x, 1) / expected, 1, 1e-6) << x;
    EXPECT_NEAR(loss(-x, 0) / expected, 1, 1e-6) << x;
  }
  const Tensor zero = Tensor::zeros({1}).set_requires_grad();
  bce_with_logits(zero, Tensor::ones({1})).backward();
  EXPECT_FLOAT_EQ(zero.grad().item<float>(), -0.5F);
}

TEST(Dropout2d, DropsWholeChannels) {
  Generator generator{.seed = 3};
  const Tensor y = dropout2d(Tensor::ones({4, 16, 3, 3}), 0.5, generator);
  int dropped = 0;
  for (std::int64_t n = 0; n < 4; ++n) {
    for (std::int64_t c = 0; c < 16; ++c) {
      const double total = sum(y.slice(0, n, n + 1).slice(1, c, c + 1)).item<double>();
      EXPECT_TRUE(total == 0 || total == 18) << total;
      dropped += total == 0 ? 1 : 0;
    }
  }
  EXPECT_GT(dropped, 16);  // of 64, at a half each
  EXPECT_LT(dropped, 48);
}

}  // namespace
}  // namespace fovea::testing
