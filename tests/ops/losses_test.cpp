// Losses with weights, an ignored class and overlaps, against plain loops in double.
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "fovea/autograd.h"
#include "fovea/functions.h"
#include "support/errors.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

constexpr std::int64_t kIgnored = 255;

// [2, 3, 2, 2] with one ignored position.
struct Pixels {
  Tensor logits = random_tensor({2, 3, 2, 2}, 1);
  std::vector<std::int64_t> classes = {0, 2, 1, kIgnored, 2, 2, 0, 1};
  Tensor labels = Tensor::from(classes, {2, 2, 2});
  double at(const Tensor& tensor, std::size_t i, std::int64_t c) const {
    const auto n = static_cast<std::int64_t>(i);
    return tensor.at({n / 4, c, n / 2 % 2, n % 2});
  }
};

TEST(CrossEntropy, WeighsClassesAndPassesOverTheIgnored) {
  const Pixels pixels;
  const std::vector<double> weights = {0.5, 2, 1};
  const Tensor logarithms = log_softmax(pixels.logits, 1);
  for (const double smoothing : {0.0, 0.3}) {
    double loss = 0;
    double total = 0;
    for (std::size_t i = 0; i < pixels.classes.size(); ++i) {
      if (pixels.classes[i] == kIgnored) continue;
      const double own = weights[static_cast<std::size_t>(pixels.classes[i])];
      total += own;
      loss -= (1 - smoothing) * own * pixels.at(logarithms, i, pixels.classes[i]);
      for (std::int64_t c = 0; c < 3; ++c)
        loss -= smoothing / 3 * weights[static_cast<std::size_t>(c)] * pixels.at(logarithms, i, c);
    }
    const CrossEntropyOptions options = {
        .label_smoothing = smoothing, .class_weights = weights, .ignored = kIgnored};
    EXPECT_NEAR(cross_entropy(pixels.logits, pixels.labels, options).item<double>(), loss / total,
                1e-14);
  }
}

TEST(CrossEntropy, EqualWeightsAreNone) {
  const Tensor logits = random_tensor({4, 3}, 2);
  const Tensor labels = Tensor::from<std::int64_t>({2, 0, 1, 1}, {4});
  const double plain = cross_entropy(logits, labels, {.label_smoothing = 0.1}).item<double>();
  const CrossEntropyOptions equal = {.label_smoothing = 0.1, .class_weights = {3, 3, 3}};
  EXPECT_NEAR(cross_entropy(logits, labels, equal).item<double>(), plain, 1e-14);
  const Tensor certain = Tensor::from<double>({0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 1, 0}, {4, 3});
  EXPECT_NEAR(cross_entropy(logits, certain, equal).item<double>(), 3 * plain, 1e-14);
}

TEST(CrossEntropy, NothingToLearnFromIsNoLoss) {
  Tensor logits = random_tensor({2, 3}, 3).set_requires_grad();
  const Tensor labels = Tensor::from<std::int64_t>({-1, -1}, {2});
  const Tensor loss = cross_entropy(logits, labels, {.ignored = -1});
  EXPECT_EQ(loss.item<double>(), 0);
  loss.backward();
  expect_identical(logits.grad(), Tensor::zeros({2, 3}, DType::float64));
}

TEST(CrossEntropy, WrongWeightsAndLabelsAreNamed) {
  const Tensor logits = random_tensor({2, 3}, 3);
  const Tensor labels = Tensor::from<std::int64_t>({0, 3}, {2});
  const auto message = [&](const Tensor& target, const CrossEntropyOptions& options) {
    return error_of([&] { cross_entropy(logits, target, options); });
  };
  EXPECT_CONTAINS(message(labels, {.class_weights = {1, 2}}), "2 class weights for 3 classes");
  EXPECT_CONTAINS(message(labels, {.class_weights = {1, 2, -1}}), "a class weight is -1");
  EXPECT_CONTAINS(message(labels, {.ignored = 9}), "labels[1] is 3", "numbered 0 to 2");
  EXPECT_CONTAINS(message(softmax(logits, 1), {.ignored = 9}), "not among probabilities");
  EXPECT_CONTAINS(message(labels.reshape({1, 2}), {.ignored = 9}), "[N, spatial...]");
}

TEST(DiceLoss, IsOneMinusTheMeanOverlap) {
  const Pixels pixels;
  const Tensor p = softmax(pixels.logits, 1);
  double overlap = 0;
  for (std::int64_t c = 0; c < 3; ++c) {
    double both = 0;
    double all = 0;
    for (std::size_t i = 0; i < pixels.classes.size(); ++i) {
      if (pixels.classes[i] == kIgnored) continue;
      const double truth = pixels.classes[i] == c ? 1 : 0;
      both += pixels.at(p, i, c) * truth;
      all += pixels.at(p, i, c) + truth;
    }
    overlap += (2 * both + 0.5) / (all + 0.5) / 3;
  }
  const DiceOptions options = {.smooth = 0.5, .ignored = kIgnored};
  EXPECT_NEAR(dice_loss(pixels.logits, pixels.labels, options).item<double>(), 1 - overlap, 1e-14);
  const Tensor right = Tensor::from<double>({99, -99, -99, -99, 99, -99}, {2, 3});
  const Tensor labels = Tensor::from<std::int64_t>({0, 1}, {2});
  EXPECT_NEAR(dice_loss(right, labels).item<double>(), 0, 1e-15);
}

// Central differences of a smooth function: their error is of the order of the step squared.
TEST(Losses, GradientsAgreeWithDifferences) {
  const Pixels pixels;
  const auto losses = {
      std::function<Tensor(const Tensor&)>([&](const Tensor& x) {
        return cross_entropy(
            x, pixels.labels,
            {.label_smoothing = 0.1, .class_weights = {1, 2, 3}, .ignored = kIgnored});
      }),
      std::function<Tensor(const Tensor&)>(
          [&](const Tensor& x) { return dice_loss(x, pixels.labels, {.ignored = kIgnored}); })};
  for (const auto& loss : losses) {
    Tensor x = pixels.logits.clone().detach().set_requires_grad();
    loss(x).backward();
    const std::vector<double> values = pixels.logits.to_vector<double>();
    const std::vector<double> gradient = x.grad().to_vector<double>();
    constexpr double kStep = 1e-5;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto at = [&](double step) {
        std::vector<double> moved = values;
        moved[i] += step;
        return loss(Tensor::from(moved, pixels.logits.shape())).item<double>();
      };
      EXPECT_NEAR(gradient[i], (at(kStep) - at(-kStep)) / (2 * kStep), 1e-8);
    }
  }
}

}  // namespace
}  // namespace fovea::testing
