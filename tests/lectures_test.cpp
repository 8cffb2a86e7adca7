// The worked examples of the lectures, by letter: A is "Convolution in Neural Networks" (Hare), B
// is "Convolutional Networks" (notes on Kolter's lectures), C is "Lecture 6: Convolutional neural
// networks" (Scardapane), D is "EMAT31530: Convolutional neural networks" (Aitchison), E is "Deep
// learning 4.4: Convolutions" (Fleuret). docs/lectures.md says which statement is tested where.
#include <gtest/gtest.h>

#include <algorithm>
#include <complex>
#include <vector>

#include "fovea/data.h"
#include "fovea/explain.h"
#include "fovea/filters.h"
#include "fovea/functions.h"
#include "fovea/nn.h"
#include "fovea/signal.h"
#include "support/tensors.h"

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

TEST(LectureA, MultipliesComplexNumbers) {
  using Value = std::complex<double>;
  const auto x = signal::Complex::from<double>({Value{2, 3}}, {1});
  const auto u = signal::Complex::from<double>({Value{5, -7}}, {1});
  // (xu - yv) + (xv + yu)i
  EXPECT_EQ((x * u).to_vector<double>().front(), Value(2 * 5 - 3 * -7, 2 * -7 + 3 * 5));
}

TEST(LectureA, ASymmetricKernelNeedsNoFlip) {
  const Tensor x = random_tensor({20}, 1);
  const Tensor symmetric = Tensor::from<double>({1, 2, 1}, {3});
  const Tensor other = Tensor::from<double>({1, 2, 3}, {3});
  EXPECT_EQ(signal::convolve(x, symmetric).to_vector<double>(),
            signal::correlate(x, symmetric).to_vector<double>());
  EXPECT_NE(signal::convolve(x, other).to_vector<double>(),
            signal::correlate(x, other).to_vector<double>());
}

// Its cross-correlation conjugates the first factor: place tau sums conj(f(t)) g(t + tau).
TEST(LectureA, CrossCorrelationIsTheInverseTransformOfConjugatedTimesPlain) {
  const signal::Complex f{random_tensor({12}, 2), random_tensor({12}, 3)};
  const signal::Complex g{random_tensor({12}, 4), random_tensor({12}, 5)};
  const signal::Complex product = signal::ifft(signal::conj(signal::fft(f)) * signal::fft(g));
  const signal::Complex correlated = signal::correlate(g, f, {.mode = signal::Mode::circular});
  expect_close(product.re, correlated.re, 1e-14);
  expect_close(product.im, correlated.im, 1e-14);
}

// Z[i,j,k] = sum over l, m, n of V[l, j+m-1, k+n-1] K[i,l,m,n], from 1.
TEST(LectureA, SumsOverChannelsAndTaps) {
  const Tensor v = random_tensor({1, 3, 5, 6}, 6);
  const Tensor kernels = random_tensor({2, 3, 2, 3}, 7);
  const Tensor z = conv2d(v, kernels);
  ASSERT_EQ(z.shape(), (Shape{1, 2, 4, 4}));
  for (std::int64_t i = 1; i <= 2; ++i) {
    for (std::int64_t j = 1; j <= 4; ++j) {
      for (std::int64_t k = 1; k <= 4; ++k) {
        double sum = 0;
        for (std::int64_t l = 1; l <= 3; ++l) {
          for (std::int64_t m = 1; m <= 2; ++m) {
            for (std::int64_t n = 1; n <= 3; ++n) {
              sum += v.at({0, l - 1, j + m - 1 - 1, k + n - 1 - 1}) *
                     kernels.at({i - 1, l - 1, m - 1, n - 1});
            }
          }
        }
        EXPECT_NEAR(z.at({0, i - 1, j - 1, k - 1}), sum, 1e-14);
      }
    }
  }
}

TEST(LectureA, AOneByOneKernelMixesChannelsOnly) {
  const Tensor x = random_tensor({1, 4, 3, 5}, 8);
  const Tensor w = random_tensor({2, 4, 1, 1}, 9);
  const Tensor y = conv2d(x, w);
  ASSERT_EQ(y.shape(), (Shape{1, 2, 3, 5}));
  const Tensor pixels = x.permute({0, 2, 3, 1}).reshape({15, 4});
  expect_close(y.permute({0, 2, 3, 1}).reshape({15, 2}),
               matmul(pixels, w.reshape({2, 4}).permute({1, 0})), 1e-14);
}

TEST(LectureA, TheFourierTransformWrapsAroundWhereTheSpatialResultShrinks) {
  const Tensor x = random_tensor({16}, 10);
  const Tensor w = random_tensor({5}, 11);
  EXPECT_EQ(signal::convolve(x, w, {.mode = signal::Mode::circular}).shape(), Shape{16});
  EXPECT_EQ(signal::convolve(x, w, {.mode = signal::Mode::valid}).shape(), Shape{12});
  EXPECT_EQ(signal::convolve(x, w, {.mode = signal::Mode::same}).shape(), Shape{16});
}

TEST(LectureA, ConvolvesSignalsImagesAndVolumesOfOneOrManyChannels) {
  for (const std::int64_t channels : {1, 6}) {
    EXPECT_EQ(conv1d(Tensor::zeros({2, channels, 100}), Tensor::zeros({4, channels, 9})).shape(),
              (Shape{2, 4, 92}));
    EXPECT_EQ(output_shape({2, channels, 30, 40}, {4, channels, 3, 3}, {}), (Shape{2, 4, 28, 38}));
    EXPECT_EQ(conv3d(Tensor::zeros({1, channels, 8, 9, 10}), Tensor::zeros({4, channels, 3, 3, 3}))
                  .shape(),
              (Shape{1, 4, 6, 7, 8}));
  }
}

TEST(LectureA, TheGradientOfMaxPoolingIsOneWhereTheMaximumWasSelected) {
  Tensor x = Tensor::from<float>({1, 5, 2, 3, 4, 0, 8, 7, 6, 9, 1, 2, 3, 4, 5, 6}, {1, 1, 4, 4});
  x.set_requires_grad();
  sum(max_pool(x, 2)).backward();
  EXPECT_EQ(x.grad().to_vector<float>(),
            (std::vector<float>{0, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1}));
}

TEST(LectureB, TheFirstOutputIsTheSumOverTheFirstWindow) {
  const Tensor z = random_tensor({1, 1, 5, 5}, 12);
  const Tensor w = random_tensor({1, 1, 3, 3}, 13);
  double sum = 0;
  for (std::int64_t i = 0; i < 3; ++i) {
    for (std::int64_t j = 0; j < 3; ++j) sum += z.at({0, 0, i, j}) * w.at({0, 0, i, j});
  }
  EXPECT_NEAR(conv2d(z, w).at({0, 0, 0, 0}), sum, 1e-14);
}

// z[:, :, s] = sum over r of x[:, :, r] * W[r, s, :, :]
TEST(LectureB, AnOutputChannelSumsConvolutionsOfAllInputChannels) {
  const Tensor x = random_tensor({1, 3, 6, 5}, 14);
  const Tensor w = random_tensor({2, 3, 3, 3}, 15);
  const Tensor z = conv2d(x, w);
  for (std::int64_t s = 0; s < 2; ++s) {
    Tensor sum = Tensor::zeros({4, 3}, DType::float64);
    for (std::int64_t r = 0; r < 3; ++r) {
      sum = sum + signal::correlate(x.slice(1, r, r + 1).reshape({6, 5}),
                                    w.slice(0, s, s + 1).slice(1, r, r + 1).reshape({3, 3}),
                                    {.mode = signal::Mode::valid});
    }
    expect_close(z.slice(1, s, s + 1).reshape({4, 3}), sum, 1e-14);
  }
}

TEST(LectureB, HalfAKernelOfZerosKeepsTheSize) {
  for (const std::int64_t k : {1, 3, 5, 7}) {
    EXPECT_EQ(output_shape({1, 1, 9, 11}, {1, 1, k, k}, {.padding = (k - 1) / 2}),
              (Shape{1, 1, 9, 11}));
  }
}

TEST(LectureB, ADilatedKernelNeedsMorePaddingToKeepTheSize) {
  EXPECT_EQ(output_shape({1, 1, 9, 9}, {1, 1, 3, 3}, {.padding = 1, .dilation = 2}),
            (Shape{1, 1, 7, 7}));
  EXPECT_EQ(output_shape({1, 1, 9, 9}, {1, 1, 3, 3}, {.padding = 2, .dilation = 2}),
            (Shape{1, 1, 9, 9}));
}

// The loops over lhs[N,IH,IW,IC] and rhs[KH,KW,IC/G,OC], with += and with output channel oc in
// group oc / (OC/G), which reads the input channels of its group alone.
TEST(LectureB, LoopsOverNhwcDataAreStridedAndGroupedConvolution) {
  const Tensor lhs = random_tensor({2, 7, 6, 4}, 16);
  for (const std::int64_t groups : {1, 2, 4}) {
    const std::int64_t in = 4 / groups;
    const Tensor rhs = random_tensor({3, 2, in, 8}, 17);
    const Tensor out = conv2d(lhs.permute({0, 3, 1, 2}), rhs.permute({3, 2, 0, 1}), {},
                              {.stride = {2, 1}, .groups = groups});
    ASSERT_EQ(out.shape(), (Shape{2, 8, 3, 5}));
    for (std::int64_t n = 0; n < 2; ++n)
      for (std::int64_t oh = 0; oh < 3; ++oh)
        for (std::int64_t ow = 0; ow < 5; ++ow)
          for (std::int64_t oc = 0; oc < 8; ++oc) {
            double sum = 0;
            const std::int64_t g = oc / (8 / groups);
            for (std::int64_t kh = 0; kh < 3; ++kh)
              for (std::int64_t kw = 0; kw < 2; ++kw)
                for (std::int64_t ic = 0; ic < in; ++ic)
                  sum += lhs.at({n, oh * 2 + kh, ow + kw, g * in + ic}) * rhs.at({kh, kw, ic, oc});
            EXPECT_NEAR(out.at({n, oc, oh, ow}), sum, 1e-14);
          }
  }
}

// One input and one output channel, stride 1, zeros that keep the size.
TEST(LectureB, TheAdjointIsConvolutionWithTheFlippedFilter) {
  Tensor x = random_tensor({1, 1, 5}, 18);
  x.set_requires_grad();
  const Tensor v = random_tensor({1, 1, 5}, 19);
  sum(conv1d(x, Tensor::from<double>({1, 2, 3}, {1, 1, 3}), {}, {.padding = 1}) * v).backward();
  const Tensor flipped = Tensor::from<double>({3, 2, 1}, {1, 1, 3});
  expect_close(x.grad(), conv1d(v, flipped, {}, {.padding = 1}), 1e-14);
}

TEST(LectureC, CountsTheParametersOfAFullyConnectedLayer) {
  EXPECT_EQ((Shape{32, 32, 3}).numel(), 3072);
  EXPECT_EQ((Shape{1024, 1024, 3}).numel(), 3145728);  // one weight each: about 3 M
}

// A layer with a kernel of its own at each of h*w places has h*w times the weights.
TEST(LectureC, SharedWeightsAreFewerByTheNumberOfPlaces) {
  const auto cost = explain::arithmetic(ConvProblem::parse("ic3ih20iw30oc8kh5ph2"));
  EXPECT_EQ(cost.weights, 8 * 5 * 5 * 3);
  EXPECT_EQ(cost.locally_connected, 8.0 * 5 * 5 * 3 * 20 * 30);
}

TEST(LectureC, Equation5) {
  const auto pattern = explain::matrix(ConvProblem::parse("ic1iw4oc1kw2+f64"));
  EXPECT_EQ(pattern.numbers(Tensor::from<double>({1, 2}, {1, 1, 2})).to_vector<double>(),
            (std::vector<double>{1, 2, 0, 0, 0, 1, 2, 0, 0, 0, 1, 2}));
}

// Two layers of patches of distance k see patches of distance 2k.
TEST(LectureC, ReceptiveFieldsGrowLinearly) {
  Generator generator{1};
  nn::Sequential net;
  for (std::int64_t layers = 1; layers <= 4; ++layers) {
    net.add<nn::Conv2d>("", 1, 1, 5, nn::ConvLayerOptions{.padding = 2}, generator);
    const auto report = explain::inspect(net, {1, 1, 40, 40});
    EXPECT_EQ(report.layers.back().field.size, (Shape{1 + 4 * layers, 1 + 4 * layers}));
  }
}

// tf.nn.conv2d(X, W, 1, 'SAME') with X [1, 64, 64, 3] and W [5, 5, 3, 100].
TEST(LectureC, TensorFlowDataEntersByPermute) {
  const Tensor x = Tensor::zeros({1, 64, 64, 3}).permute({0, 3, 1, 2});
  const Tensor w = Tensor::zeros({5, 5, 3, 100}).permute({3, 2, 0, 1});
  const Tensor h = conv2d(x, w, {}, {.padding = 2}).permute({0, 2, 3, 1});
  EXPECT_EQ(h.shape(), (Shape{1, 64, 64, 100}));
}

TEST(LectureC, AStrideKeepsOneOfEverySOutputs) {
  const Tensor x = random_tensor({1, 2, 8, 8}, 20);
  const Tensor w = random_tensor({3, 2, 3, 3}, 21);
  const Tensor all = conv2d(x, w, {}, {.padding = 1});
  const Tensor some = conv2d(x, w, {}, {.stride = 2, .padding = 1});
  ASSERT_EQ(some.shape(), (Shape{1, 3, 4, 4}));
  expect_close(some, all.slice(2, 0, 8, 2).slice(3, 0, 8, 2), 1e-14);
}

TEST(LectureC, DepthwiseConvolutionTreatsEachChannelAlone) {
  const Tensor x = random_tensor({1, 3, 5, 5}, 22);
  const Tensor w = random_tensor({3, 1, 3, 3}, 23);
  const Tensor y = conv2d(x, w, {}, {.groups = 3});
  for (std::int64_t d = 0; d < 3; ++d) {
    expect_close(y.slice(1, d, d + 1), conv2d(x.slice(1, d, d + 1), w.slice(0, d, d + 1)), 1e-14);
  }
}

// The 5x5 example has w[j - i] where the definition says w[i - j]: it is the transpose, the matrix
// of cross-correlation, and what a layer with circular padding would compute.
TEST(LectureC, TheExampleIsTheTransposeOfTheDefinition) {
  const std::vector<double> example = {1, 2, 3, 0, 0, 0, 1, 2, 3, 0, 0, 0, 1,
                                       2, 3, 3, 0, 0, 1, 2, 2, 3, 0, 0, 1};
  const Tensor w = Tensor::from<double>({1, 2, 3, 0, 0}, {5});
  const Tensor defined = explain::circulant(w);
  EXPECT_EQ(defined.permute({1, 0}).to_vector<double>(), example);
  const Tensor x = random_tensor({5}, 24);
  const Tensor matrix = Tensor::from(example, {5, 5});
  expect_close(matmul(matrix, x.reshape({5, 1})).reshape({5}),
               signal::correlate(x, w, {.mode = signal::Mode::circular}), 1e-14);
}

// A signal that is 1 in place k makes the matrix that moves a signal by k places, forwards.
TEST(LectureC, AnImpulseMakesAShiftMatrix) {
  const Tensor impulse = Tensor::from<double>({0, 0, 1, 0, 0}, {5});
  const Tensor shift = explain::circulant(impulse);
  expect_identical(shift, explain::shift_matrix({5}, {2}));
  EXPECT_EQ(matmul(shift, Tensor::from<double>({1, 2, 3, 4, 5}, {5, 1})).to_vector<double>(),
            (std::vector<double>{4, 5, 1, 2, 3}));
  EXPECT_EQ(explain::shift_matrix({2}, {0}).to_vector<double>(), (std::vector<double>{1, 0, 0, 1}));
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

// The fifth of them is the Laplacian with its sign turned.
TEST(LectureE, ItsFifthKernelIsTheNegativeLaplacian) {
  const Tensor x = random_tensor({9, 9}, 25);
  const Tensor kernel = Tensor::from<double>({0, -1, 0, -1, 4, -1, 0, -1, 0}, {3, 3});
  expect_close(signal::correlate(x, kernel, {.mode = signal::Mode::same}),
               filters::laplacian(x, PaddingMode::zeros) * -1.0, 1e-14);
}

// A pattern responds most where it is found, a crude template matcher.
TEST(LectureE, CorrelationFindsAPattern) {
  const Tensor x = Tensor::from<float>({0, 0, 1, -1, 1, 0, 0, 1, 1, 0, 0, -1}, {12});
  const Tensor pattern = Tensor::from<float>({1, -1, 1}, {3});
  const auto response =
      signal::correlate(x, pattern, {.mode = signal::Mode::valid}).to_vector<float>();
  EXPECT_EQ(std::max_element(response.begin(), response.end()) - response.begin(), 2);
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
