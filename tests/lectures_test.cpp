// The worked examples of the lectures, by letter: D is "EMAT31530: Convolutional neural networks"
// (Aitchison), E is "Deep learning 4.4: Convolutions" (Fleuret).
#include <gtest/gtest.h>

#include <vector>

#include "fovea/data.h"
#include "fovea/functions.h"
#include "fovea/nn.h"

namespace fovea::testing {
namespace {

std::vector<float> convolve(const std::vector<float>& signal, const std::vector<float>& kernel) {
  const auto size = [](const std::vector<float>& values) {
    return static_cast<std::int64_t>(values.size());
  };
  return conv1d(Tensor::from(signal, {1, 1, size(signal)}),
                Tensor::from(kernel, {1, 1, size(kernel)}))
      .to_vector<float>();
}

Shape output_shape(const Shape& input, const Shape& weight, const ConvOptions& options) {
  return conv2d(Tensor::zeros(input), Tensor::zeros(weight), {}, options).shape();
}

TEST(LectureE, SlidesTheKernelOverTheSignal) {
  EXPECT_EQ(convolve({1, 2, 3, 4}, {3, 2}), (std::vector<float>{7, 12, 17}));
}

TEST(LectureE, DifferenceKernelFindsTheSlope) {
  EXPECT_EQ(convolve({0, 0, 0, 0, 1, 2, 3, 4, 4, 4, 4}, {-1, 1}),
            (std::vector<float>{0, 0, 0, 1, 1, 1, 1, 0, 0, 0}));
}

TEST(LectureE, Conv2dShapes) {
  EXPECT_EQ(output_shape({117, 4, 10, 3}, {5, 4, 2, 3}, {}), (Shape{117, 5, 9, 1}));
  EXPECT_EQ(output_shape({1, 2, 3, 5}, {1, 2, 3, 3}, {.stride = 2, .padding = {2, 1}}),
            (Shape{1, 1, 3, 3}));
  EXPECT_EQ(output_shape({1, 1, 20, 30}, {1, 1, 3, 3}, {.dilation = 4}), (Shape{1, 1, 12, 22}));
}

TEST(LectureE, ConvLayerNamesItsParameters) {
  Generator generator{1};
  nn::Conv2d layer(4, 5, {2, 3}, {}, generator);
  const auto parameters = layer.named_parameters();
  ASSERT_EQ(parameters.size(), 2U);
  EXPECT_EQ(parameters[0].name, "weight");
  EXPECT_EQ(parameters[0].tensor.shape(), (Shape{5, 4, 2, 3}));
  EXPECT_EQ(parameters[1].name, "bias");
  EXPECT_EQ(parameters[1].tensor.shape(), (Shape{5}));
  EXPECT_EQ(layer(Tensor::zeros({117, 4, 10, 3})).shape(), (Shape{117, 5, 9, 1}));
}

// A stride greater than one may leave input values unread: changing those changes nothing.
TEST(LectureE, StrideIgnoresSomeInputs) {
  Tensor input = Tensor::zeros({1, 1, 6, 6});
  const Tensor weight = Tensor::ones({1, 1, 2, 2});
  const std::vector<float> before = conv2d(input, weight, {}, {.stride = 3}).to_vector<float>();
  for (int i = 0; i < 6; ++i) {
    for (int j = 0; j < 6; ++j) {
      if (i % 3 == 2 || j % 3 == 2) input.mutable_data<float>()[i * 6 + j] = 9;
    }
  }
  EXPECT_EQ(conv2d(input, weight, {}, {.stride = 3}).to_vector<float>(), before);
}

// A kernel of size k and dilation d is one of size 1 + (k-1)d with only k coefficients that are not
// zero.
TEST(LectureE, DilationSpreadsTheKernel) {
  Generator generator{1};
  const Tensor x = normal({1, 1, 30}, 0, 1, generator, DType::float64);
  const Tensor dilated = conv1d(x, Tensor::from({2.0, -1.0, 3.0}, {1, 1, 3}), {}, {.dilation = 4});
  const Tensor spread = conv1d(x, Tensor::from<double>({2, 0, 0, 0, -1, 0, 0, 0, 3}, {1, 1, 9}));
  EXPECT_EQ(dilated.shape(), (Shape{1, 1, 22}));
  const auto a = dilated.to_vector<double>();
  const auto b = spread.to_vector<double>();
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-14);
}

// The five kernels on a 28x28 picture: identity, box, Sobel-like in x and y, Laplacian.
TEST(LectureE, FiveKernelsOnADigit) {
  // A seven: a bar, and a stroke down from its right end.
  Tensor digit = Tensor::zeros({1, 1, 28, 28});
  float* pixel = digit.mutable_data<float>();
  for (int x = 6; x < 22; ++x) pixel[6 * 28 + x] = 255;
  for (int y = 7; y < 24; ++y) pixel[y * 28 + 21 - (y - 7) / 2] = 255;
  const Tensor weight = Tensor::from<float>(
      {0, 0,  0, 0, 1,  0,  0,  0, 0, 1, 1, 1, 1, 1, 1,  1, 1,  1, -1, 0, 1,  -1, 0,
       1, -1, 0, 1, -1, -1, -1, 0, 0, 0, 1, 1, 1, 0, -1, 0, -1, 4, -1, 0, -1, 0},
      {5, 1, 3, 3});
  const Tensor maps = conv2d(digit, weight);
  ASSERT_EQ(maps.shape(), (Shape{1, 5, 26, 26}));
  const auto value = [&](std::int64_t y, std::int64_t x) { return digit.at({0, 0, y, x}); };
  for (std::int64_t y = 0; y < 26; ++y) {
    for (std::int64_t x = 0; x < 26; ++x) {
      double box = 0;
      double right = 0;
      double down = 0;
      for (std::int64_t i = 0; i < 3; ++i) {
        for (std::int64_t j = 0; j < 3; ++j) {
          box += value(y + i, x + j);
          right += static_cast<double>(j - 1) * value(y + i, x + j);
          down += static_cast<double>(i - 1) * value(y + i, x + j);
        }
      }
      const double laplacian = 4 * value(y + 1, x + 1) - value(y, x + 1) - value(y + 2, x + 1) -
                               value(y + 1, x) - value(y + 1, x + 2);
      EXPECT_EQ(maps.at({0, 0, y, x}), value(y + 1, x + 1));
      EXPECT_EQ(maps.at({0, 1, y, x}), box);
      EXPECT_EQ(maps.at({0, 2, y, x}), right);
      EXPECT_EQ(maps.at({0, 3, y, x}), down);
      EXPECT_EQ(maps.at({0, 4, y, x}), laplacian);
    }
  }
}

TEST(LectureD, Figure1) {
  const Tensor input = Tensor::from<float>(
      {3, 3, 2, 1, 0, 0, 0, 1, 3, 1, 3, 1, 2, 2, 3, 2, 0, 0, 2, 2, 2, 0, 0, 0, 1}, {1, 1, 5, 5});
  const Tensor kernel = Tensor::from<float>({0, 1, 2, 2, 2, 0, 0, 1, 2}, {1, 1, 3, 3});
  EXPECT_EQ(conv2d(input, kernel).to_vector<float>(),
            (std::vector<float>{12, 12, 17, 10, 17, 19, 9, 6, 14}));
}

TEST(LectureD, ShapesOfFigures2To8) {
  const auto side = [](std::int64_t input, std::int64_t kernel, std::int64_t stride,
                       std::int64_t padding) {
    return output_shape({1, 1, input, input}, {1, 1, kernel, kernel},
                        {.stride = stride, .padding = padding});
  };
  EXPECT_EQ(side(4, 3, 1, 0), (Shape{1, 1, 2, 2}));
  EXPECT_EQ(side(5, 4, 1, 2), (Shape{1, 1, 6, 6}));
  EXPECT_EQ(side(5, 3, 1, 1), (Shape{1, 1, 5, 5}));
  EXPECT_EQ(side(5, 3, 1, 2), (Shape{1, 1, 7, 7}));
  EXPECT_EQ(side(5, 3, 2, 0), (Shape{1, 1, 2, 2}));
  EXPECT_EQ(side(5, 3, 2, 1), (Shape{1, 1, 3, 3}));
  EXPECT_EQ(max_pool(Tensor::zeros({1, 1, 5, 5}), 3, {.stride = 1}).shape(), (Shape{1, 1, 3, 3}));
}

// Equation 8: in one dimension, convolution is multiplication by a matrix with the kernel along its
// diagonals.
TEST(LectureD, ConvolutionIsAStructuredMatrixProduct) {
  const Tensor h = Tensor::from<double>({1, -2, 3, 5, -1}, {1, 5});
  const Tensor matrix =
      Tensor::from<double>({2, 0, 0, 7, 2, 0, -3, 7, 2, 0, -3, 7, 0, 0, -3}, {5, 3});
  const Tensor a = conv1d(h.reshape({1, 1, 5}), Tensor::from<double>({2, 7, -3}, {1, 1, 3}));
  EXPECT_EQ(a.to_vector<double>(), matmul(h, matrix).to_vector<double>());
}

// Equation 14.
TEST(LectureD, GlobalAveragePoolingIsTheMeanOverSpace) {
  Generator generator{2};
  const Tensor maps = normal({2, 3, 4, 5}, 0, 1, generator, DType::float64);
  const auto pooled = global_avg_pool(maps).to_vector<double>();
  const auto means = mean(maps, {2, 3}).to_vector<double>();
  ASSERT_EQ(pooled.size(), 6U);
  for (std::size_t i = 0; i < pooled.size(); ++i) EXPECT_NEAR(pooled[i], means[i], 1e-15);
}

}  // namespace
}  // namespace fovea::testing
