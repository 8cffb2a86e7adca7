// Image filters on images whose result is known, and against plain loops.
#include <gtest/gtest.h>

#include <cmath>

#include "fovea/autograd.h"
#include "fovea/filters.h"
#include "fovea/functions.h"
#include "support/errors.h"
#include "support/gradients.h"
#include "support/settings.h"
#include "support/tensors.h"

namespace fovea::filters {
namespace {

using testing::error_of;
using testing::expect_close;
using testing::numeric_gradient;
using testing::random_tensor;

constexpr PaddingMode kBorders[] = {PaddingMode::reflect, PaddingMode::replicate,
                                    PaddingMode::circular, PaddingMode::zeros};

Tensor constant(double value) {
  return Tensor::full({7, 9}, value, DType::float64);
}

// Value 3 x + 5 y at column x of row y.
Tensor ramp() {
  std::vector<double> values;
  for (int y = 0; y < 8; ++y) {
    for (int x = 0; x < 10; ++x) values.push_back(3 * x + 5 * y);
  }
  return Tensor::from(values, {8, 10});
}

double pixel(const Tensor& image, std::int64_t y, std::int64_t x, PaddingMode border) {
  const auto place = [border](std::int64_t i, std::int64_t n) {
    switch (border) {
      case PaddingMode::reflect:
        while (i < 0 || i >= n) i = i < 0 ? -i : 2 * (n - 1) - i;
        return i;
      case PaddingMode::replicate:
        return std::clamp<std::int64_t>(i, 0, n - 1);
      case PaddingMode::circular:
        return (i + 10 * n) % n;
      default:  // zeros
        break;
    }
    return i >= 0 && i < n ? i : std::int64_t{-1};
  };
  const std::int64_t row = place(y, image.size(0));
  const std::int64_t column = place(x, image.size(1));
  return row < 0 || column < 0 ? 0 : image.at({row, column});
}

Tensor by_hand(const Tensor& image, const std::vector<double>& weights, std::int64_t size,
               PaddingMode border) {
  std::vector<double> values;
  for (std::int64_t y = 0; y < image.size(0); ++y) {
    for (std::int64_t x = 0; x < image.size(1); ++x) {
      double sum = 0;
      for (std::int64_t i = 0; i < size; ++i) {
        for (std::int64_t j = 0; j < size; ++j) {
          sum += weights[static_cast<std::size_t>(i * size + j)] *
                 pixel(image, y + i - (size - 1) / 2, x + j - (size - 1) / 2, border);
        }
      }
      values.push_back(sum);
    }
  }
  return Tensor::from(values, image.shape());
}

TEST(Filters, AreTheirKernelsAtEveryBorder) {
  const Tensor image = random_tensor({6, 7}, 1);
  for (const PaddingMode border : kBorders) {
    expect_close(sobel_x(image, border), by_hand(image, {-1, 0, 1, -2, 0, 2, -1, 0, 1}, 3, border),
                 1e-14);
    expect_close(sobel_y(image, border), by_hand(image, {-1, -2, -1, 0, 0, 0, 1, 2, 1}, 3, border),
                 1e-14);
    expect_close(laplacian(image, border), by_hand(image, {0, 1, 0, 1, -4, 1, 0, 1, 0}, 3, border),
                 1e-14);
    for (const std::int64_t size : {1, 2, 5}) {
      const std::vector<double> weights(static_cast<std::size_t>(size * size),
                                        1 / static_cast<double>(size * size));
      expect_close(box(image, {.size = size, .border = border}),
                   by_hand(image, weights, size, border), 1e-14);
    }
    std::vector<double> bell;
    double total = 0;
    for (int y = -2; y <= 2; ++y) {
      for (int x = -2; x <= 2; ++x) bell.push_back(std::exp(-(x * x + y * y) / (2 * 0.8 * 0.8)));
    }
    for (const double weight : bell) total += weight;
    for (double& weight : bell) weight /= total;
    expect_close(gaussian(image, {.sigma = 0.8, .size = 5, .border = border}),
                 by_hand(image, bell, 5, border), 1e-14);
  }
}

TEST(Filters, KeepAConstantImageOrSeeNothingInIt) {
  const Tensor image = constant(3);
  expect_close(gaussian(image, {.sigma = 1.5}), image, 1e-15);
  expect_close(box(image), image, 1e-15);
  for (const Tensor& nothing : {sobel_x(image), sobel_y(image), laplacian(image)}) {
    expect_close(nothing, constant(0), 1e-14);
  }
}

TEST(Filters, SobelMeasuresTheSlope) {
  const Tensor image = ramp();
  const auto inside = [](const Tensor& tensor) { return tensor.slice(0, 1, 7).slice(1, 1, 9); };
  expect_close(inside(sobel_x(image)), Tensor::full({6, 8}, 8 * 3, DType::float64), 1e-14);
  expect_close(inside(sobel_y(image)), Tensor::full({6, 8}, 8 * 5, DType::float64), 1e-14);
  expect_close(inside(gradient_magnitude(image)),
               Tensor::full({6, 8}, 8 * std::hypot(3.0, 5.0), DType::float64), 1e-14);
  expect_close(inside(laplacian(image)), Tensor::zeros({6, 8}, DType::float64), 1e-14);
}

TEST(Filters, GaussiansBlurOneAfterTheOtherLikeOneOfBothVariances) {
  const Tensor image = random_tensor({40, 40}, 2);
  const GaussianOptions three{.sigma = 3, .size = 41, .border = PaddingMode::circular};
  const GaussianOptions four{.sigma = 4, .size = 51, .border = PaddingMode::circular};
  const GaussianOptions five{.sigma = 5, .size = 63, .border = PaddingMode::circular};
  // What lies beyond six sigma is below 1e-8 of the whole.
  expect_close(gaussian(gaussian(image, three), four), gaussian(image, five), 1e-7);
}

TEST(Filters, TakeBatchesOfChannelsOneByOne) {
  const Tensor images = random_tensor({2, 3, 8, 9}, 3, DType::float32);
  const Tensor result = sobel_x(images);
  ASSERT_EQ(result.shape(), images.shape());
  for (std::int64_t n = 0; n < 2; ++n) {
    for (std::int64_t c = 0; c < 3; ++c) {
      const auto plane = [&](const Tensor& tensor) {
        return tensor.slice(0, n, n + 1).slice(1, c, c + 1).reshape({8, 9});
      };
      expect_close(plane(result), sobel_x(plane(images)), 1e-6);
    }
  }
}

TEST(Filters, AreDifferentiable) {
  for (const PaddingMode border : kBorders) {
    Tensor image = random_tensor({1, 2, 6, 7}, 8);
    image.set_requires_grad();
    const Tensor blurred = gaussian(image, {.sigma = 0.7, .border = border});
    const Tensor v = random_tensor(blurred.shape(), 9);
    // Linear: <blurred, v> = <image, gradient>.
    const Tensor gradient = grad({blurred}, {image}, {.grad_outputs = {v}}).front();
    EXPECT_NEAR(sum(image * gradient).item<double>(), sum(blurred * v).item<double>(), 1e-13);
  }
}

TEST(MatchTemplate, FindsWhatWasCutOut) {
  const Tensor image = random_tensor({30, 40}, 4);
  const Tensor pattern = image.slice(0, 11, 18).slice(1, 23, 31).contiguous();
  // Brightness and contrast do not matter.
  const Tensor scores = match_template(image, pattern * 5.0 + 100.0);
  ASSERT_EQ(scores.shape(), (Shape{24, 33}));
  EXPECT_NEAR(scores.at({11, 23}), 1, 1e-12);
  for (std::int64_t y = 0; y < 24; ++y) {
    for (std::int64_t x = 0; x < 33; ++x) {
      if (y != 11 || x != 23) {
        EXPECT_LT(scores.at({y, x}), 0.8);
      }
    }
  }
  EXPECT_NEAR(match_template(image, pattern * -1.0).at({11, 23}), -1, 1e-12);
}

TEST(MatchTemplate, IsTheCorrelationCoefficient) {
  const Tensor image = random_tensor({2, 3, 9, 8}, 5) + 10.0;
  const Tensor pattern = random_tensor({3, 4, 3}, 6);
  const Tensor scores = match_template(image, pattern);
  ASSERT_EQ(scores.shape(), (Shape{2, 1, 6, 6}));
  const Tensor t = pattern - mean(pattern);
  for (std::int64_t n = 0; n < 2; ++n) {
    for (std::int64_t y = 0; y < 6; ++y) {
      for (std::int64_t x = 0; x < 6; ++x) {
        const Tensor window =
            image.slice(0, n, n + 1).slice(2, y, y + 4).slice(3, x, x + 3).reshape({3, 4, 3});
        const Tensor centred = window - mean(window);
        const double expected =
            sum(centred * t).item<double>() /
            std::sqrt(sum(centred * centred).item<double>() * sum(t * t).item<double>());
        EXPECT_NEAR(scores.at({n, 0, y, x}), expected, 1e-11);
      }
    }
  }
}

TEST(MatchTemplate, HasTheGradientOfItsFormula) {
  // A flat corner, where the coefficient is 0 whatever happens around it, is among the windows.
  Tensor image = random_tensor({1, 2, 7, 6}, 7);
  for (std::int64_t c = 0; c < 2; ++c) {
    for (std::int64_t y = 0; y < 3; ++y) {
      for (std::int64_t x = 0; x < 3; ++x) {
        image.mutable_data<double>()[(c * 7 + y) * 6 + x] = 0.5;
      }
    }
  }
  const Tensor pattern = random_tensor({2, 3, 3}, 8);
  const Tensor weights = random_tensor({1, 1, 5, 4}, 9);
  const auto weighted = [&](const std::vector<Tensor>& inputs) {
    const NoGrad no_grad;
    return sum(match_template(inputs[0], inputs[1]) * weights).item<double>();
  };
  Tensor x = image.clone().set_requires_grad();
  Tensor t = pattern.clone().set_requires_grad();
  const Tensor scores = match_template(x, t);
  EXPECT_NEAR(sum(scores * weights).item<double>(), weighted({image, pattern}), 1e-11);
  const std::vector<Tensor> gradients = grad({sum(scores * weights)}, {x, t});
  const std::vector<double> by_image = gradients[0].to_vector<double>();
  const std::vector<double> by_pattern = gradients[1].to_vector<double>();
  const std::vector<double> expected =
      numeric_gradient(weighted, {image, pattern}, 1).to_vector<double>();
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(by_pattern[i], expected[i], 1e-7);
  // Not within the flat corner, where the coefficient jumps.
  const std::vector<double> moved =
      numeric_gradient(weighted, {image, pattern}, 0).to_vector<double>();
  for (std::size_t i = 0; i < moved.size(); ++i) {
    const bool corner = i % 6 < 3 && i / 6 % 7 < 3;
    if (!corner) {
      EXPECT_NEAR(by_image[i], moved[i], 1e-7) << i;
    }
  }
}

TEST(Filters, ErrorsNameTheFilter) {
  EXPECT_EQ(error_of([] {
              sobel_x(Tensor::ones({1, 4}));
            }),
            "sobel_x: conv2d: reflect padding along H is 1 before and 1 after, but 1 cells can be "
            "mirrored at most 0 far (input - 1); use less padding, or replicate or circular");
}

TEST(MatchTemplate, SeesNothingWhereTheImageIsFlat) {
  Tensor image = Tensor::zeros({20, 20});
  for (int i = 0; i < 5; ++i) image.mutable_data<float>()[i * 21] = 0.7F;
  const Tensor pattern = Tensor::from<float>({1, 0, 0, 1}, {2, 2});
  const Tensor scores = match_template(image, pattern);
  EXPECT_NEAR(scores.at({1, 1}), 1, 1e-6);
  EXPECT_EQ(scores.at({10, 10}), 0);
}

TEST(Filters, GiveTheSameBitsForAnyNumberOfThreads) {
  const Tensor image = random_tensor({2, 3, 90, 110}, 7, DType::float32);
  std::vector<std::vector<float>> results;
  testing::for_thread_counts([&] {
    results.push_back(gaussian(image, {.sigma = 3}).to_vector<float>());
    const auto scores =
        match_template(image,
                       image.slice(0, 0, 1).slice(2, 0, 20).slice(3, 5, 25).reshape({3, 20, 20}))
            .to_vector<float>();
    results.back().insert(results.back().end(), scores.begin(), scores.end());
  });
  for (const auto& result : results) EXPECT_EQ(result, results.front());
}

TEST(Filters, ErrorsSayWhatIsWrong) {
  EXPECT_CONTAINS(error_of([] {
                    sobel_x(Tensor::zeros({3, 4, 4}));
                  }),
                  "sobel_x", "[3, 4, 4]", "[H, W] or [N, C, H, W]");
  EXPECT_CONTAINS(error_of([] { box(Tensor::zeros({4, 4}, DType::uint8)); }), "uint8", "to(");
  EXPECT_CONTAINS(error_of([] { box(Tensor()); }), "undefined");
  EXPECT_CONTAINS(error_of([] { gaussian(constant(1), {.sigma = 0}); }), "sigma is 0");
  EXPECT_CONTAINS(error_of([] { gaussian(constant(1), {.sigma = NAN}); }), "sigma is nan");
  EXPECT_CONTAINS(error_of([] { gaussian(constant(1), {.size = 4}); }), "size of the kernel is 4");
  EXPECT_CONTAINS(error_of([] { gaussian(constant(1), {.sigma = 3}); }), "reflect");
  EXPECT_CONTAINS(error_of([] {
                    match_template(constant(1), Tensor::ones({2, 2}, DType::float64));
                  }),
                  "nothing to find");
  EXPECT_CONTAINS(error_of([] {
                    match_template(constant(1), random_tensor({8, 2}, 1));
                  }),
                  "must fit", "8 x 2", "7 x 9");
}

}  // namespace
}  // namespace fovea::filters
