// Correlation and convolution of signals against their definitions, and the identities that hold
// for all of them.
#include <gtest/gtest.h>

#include <complex>
#include <limits>

#include "fovea/autograd.h"
#include "fovea/functions.h"
#include "fovea/signal.h"
#include "support/errors.h"
#include "support/settings.h"
#include "support/tensors.h"

namespace fovea::signal {
namespace {

using testing::error_of;
using testing::expect_close;
using testing::random_tensor;

constexpr Mode kModes[] = {Mode::full, Mode::same, Mode::valid, Mode::circular};
constexpr std::string_view kMethods[] = {"direct", "fft", "auto"};

std::vector<double> numbers(const Tensor& tensor) {
  return tensor.to_vector<double>();
}

Tensor row(std::initializer_list<double> values) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())});
}

// The definition, for complex sequences: place p of the full or circular result.
using Value = std::complex<double>;
using Values = std::vector<Value>;
Value place(const Values& x, const Values& w, std::int64_t p, bool correlating, bool circular) {
  const auto n = static_cast<std::int64_t>(x.size());
  Value sum = 0;
  for (std::size_t j = 0; j < w.size(); ++j) {
    const auto step = static_cast<std::int64_t>(j);
    std::int64_t i = correlating ? p + step : p - step;
    if (circular) i = (i % n + n) % n;
    if (i < 0 || i >= n) continue;
    sum += x[static_cast<std::size_t>(i)] * (correlating ? std::conj(w[j]) : w[j]);
  }
  return sum;
}

Values expected(const Values& x, const Values& w, Mode mode, bool correlating) {
  const auto n = static_cast<std::int64_t>(x.size());
  const auto k = static_cast<std::int64_t>(w.size());
  const std::int64_t begin = correlating ? 1 - k : 0;
  std::int64_t first = begin;
  std::int64_t count = n + k - 1;
  if (mode == Mode::same) {
    first = begin + (k - 1) / 2;
    count = n;
  } else if (mode == Mode::valid) {
    first = begin + k - 1;
    count = n - k + 1;
  } else if (mode == Mode::circular) {
    first = 0;
    count = n;
  }
  Values values;
  for (std::int64_t p = first; p < first + count; ++p) {
    values.push_back(place(x, w, p, correlating, mode == Mode::circular));
  }
  return values;
}

Complex random_complex(const Shape& shape, std::uint64_t seed) {
  return {random_tensor(shape, seed), random_tensor(shape, seed + 100)};
}

TEST(Signal, KnowsTheTextbookExamples) {
  const Tensor x = row({1, 2, 3});
  const Tensor w = row({0, 1, 0.5});
  // As numpy.convolve and numpy.correlate print them.
  EXPECT_EQ(numbers(convolve(x, w)), (std::vector<double>{0, 1, 2.5, 4, 1.5}));
  EXPECT_EQ(numbers(convolve(x, w, {.mode = Mode::same})), (std::vector<double>{1, 2.5, 4}));
  EXPECT_EQ(numbers(convolve(x, w, {.mode = Mode::valid})), (std::vector<double>{2.5}));
  EXPECT_EQ(numbers(correlate(x, w)), (std::vector<double>{0.5, 2, 3.5, 3, 0}));
  EXPECT_EQ(numbers(correlate(x, w, {.mode = Mode::same})), (std::vector<double>{2, 3.5, 3}));
  EXPECT_EQ(numbers(correlate(x, w, {.mode = Mode::valid})), (std::vector<double>{3.5}));
}

TEST(Signal, ComplexSequencesFollowTheDefinitionInEveryModeAndMethod) {
  for (const auto& [length, taps] : {std::pair{1, 1}, {9, 4}, {10, 10}, {5, 8}, {31, 6}}) {
    const Complex x = random_complex({length}, 1);
    const Complex w = random_complex({taps}, 2);
    for (const Mode mode : kModes) {
      if (mode == Mode::valid && taps > length) continue;
      for (const std::string_view method : kMethods) {
        for (const bool correlating : {false, true}) {
          const Options options{.mode = mode, .method = method};
          const Values actual = (correlating ? correlate(x, w, options) : convolve(x, w, options))
                                    .to_vector<double>();
          const Values exact =
              expected(x.to_vector<double>(), w.to_vector<double>(), mode, correlating);
          ASSERT_EQ(actual.size(), exact.size());
          for (std::size_t i = 0; i < exact.size(); ++i) {
            EXPECT_NEAR(std::abs(actual[i] - exact[i]), 0, 1e-14)
                << method << " mode " << static_cast<int>(mode) << " place " << i;
          }
        }
      }
    }
  }
}

// Correlation is cross-correlation as the networks have it; convolution reads the kernel backwards.
TEST(Signal, AgreesWithConvolutionLayersInEveryDimension) {
  for (const auto& [shape, kernel] :
       {std::pair<Shape, Shape>{{12}, {5}}, {{7, 9}, {3, 4}}, {{4, 5, 6}, {2, 3, 1}}}) {
    const Tensor x = random_tensor(shape, 3);
    const Tensor w = random_tensor(kernel, 4);
    const auto layered = [](const Tensor& tensor) {
      Shape with_channels{1, 1};
      for (const std::int64_t size : tensor.shape()) with_channels.push_back(size);
      return tensor.reshape(with_channels);
    };
    const auto layer = shape.rank() == 1 ? conv1d : shape.rank() == 2 ? conv2d : conv3d;
    const Tensor valid = layer(layered(x), layered(w), {}, {}, {});
    for (const std::string_view method : kMethods) {
      const Tensor actual = correlate(x, w, {.mode = Mode::valid, .method = method});
      expect_close(layered(actual), valid, 1e-14);
      std::vector<double> reversed = numbers(w);
      std::reverse(reversed.begin(), reversed.end());
      expect_close(convolve(x, Tensor::from(reversed, kernel), {.mode = Mode::valid}), actual,
                   1e-14);
    }
  }
}

TEST(Signal, MethodsAgreeOnImagesAndVolumes) {
  for (const DType dtype : {DType::float32, DType::float64}) {
    for (const auto& [shape, kernel] : {std::pair<Shape, Shape>{{30, 17}, {7, 5}},
                                        {{64, 64}, {64, 64}},
                                        {{9, 8, 11}, {4, 2, 3}}}) {
      const Tensor x = random_tensor(shape, 5, dtype);
      const Tensor w = random_tensor(kernel, 6, dtype);
      for (const Mode mode : kModes) {
        const Tensor direct = correlate(x, w, {.mode = mode, .method = "direct"});
        const Tensor by_fft = correlate(x, w, {.mode = mode, .method = "fft"});
        // Both are within a few roundings of |x| |w| (2-norms), which are below sqrt(n).
        const double norms = std::sqrt(static_cast<double>(x.numel() * w.numel()));
        EXPECT_LE(testing::max_abs(direct - by_fft), 8 * testing::roundoff(dtype) * norms);
      }
    }
  }
}

// One transform carries both signals: neither may drown the other.
TEST(Signal, FftStaysAccurateForSignalsOfVeryDifferentSize) {
  const Tensor x = random_tensor({200}, 7) * 1e9;
  const Tensor w = random_tensor({50}, 8) * 1e-9;
  const Tensor direct = convolve(x, w, {.method = "direct"});
  const Tensor by_fft = convolve(x, w, {.method = "fft"});
  expect_close(by_fft, direct, 1e-13);
}

TEST(Signal, NothingTimesNothingIsNothing) {
  const Tensor zeros = Tensor::zeros({8}, DType::float64);
  EXPECT_EQ(numbers(convolve(zeros, zeros, {.mode = Mode::same, .method = "fft"})),
            std::vector<double>(8, 0));
}

TEST(Signal, GivesTheSameBitsForAnyNumberOfThreads) {
  const Tensor x = random_tensor({300, 200}, 9, DType::float32);
  const Tensor w = random_tensor({21, 19}, 10, DType::float32);
  for (const std::string_view method : {"direct", "fft"}) {
    std::vector<std::vector<float>> results;
    testing::for_thread_counts([&] {
      results.push_back(convolve(x, w, {.mode = Mode::same, .method = method}).to_vector<float>());
    });
    for (const auto& result : results) EXPECT_EQ(result, results.front()) << method;
  }
}

TEST(Signal, TransformsBackAndForthAlongAnyAxes) {
  const Complex x = random_complex({5, 6, 7}, 11);
  for (const Shape& axes : {Shape{}, Shape{0}, Shape{-1, 1}}) {
    const Complex back = ifft(fft(x, axes), axes);
    expect_close(back.re, x.re, 1e-14);
    expect_close(back.im, x.im, 1e-14);
  }
  // Along one axis, each row is transformed alone.
  const Complex rows = fft(x, {2});
  const Complex one = fft(Complex{x.re.slice(0, 1, 2).slice(1, 3, 4).reshape({7}),
                                  x.im.slice(0, 1, 2).slice(1, 3, 4).reshape({7})});
  expect_close(rows.re.slice(0, 1, 2).slice(1, 3, 4).reshape({7}), one.re, 1e-14);
}

TEST(Signal, IsDifferentiableThroughEveryMode) {
  for (const Mode mode : kModes) {
    Tensor x = random_tensor({9}, 12);
    Tensor w = random_tensor({4}, 13);
    x.set_requires_grad();
    w.set_requires_grad();
    const Tensor y = convolve(x, w, {.mode = mode});
    const Tensor v = random_tensor(y.shape(), 14);
    const auto grads = grad({y}, {x, w}, {.grad_outputs = {v}});
    // Linear in each argument: <y, v> = <x, dx> = <w, dw>.
    const double value = sum(y * v).item<double>();
    EXPECT_NEAR(sum(x * grads[0]).item<double>(), value, 1e-13);
    EXPECT_NEAR(sum(w * grads[1]).item<double>(), value, 1e-13);
  }
}

TEST(Signal, ErrorsSayWhatIsWrong) {
  const Tensor x = row({1, 2, 3});
  EXPECT_EQ(error_of([&] {
              correlate(x, row({1, 2, 3, 4}), {.mode = Mode::valid});
            }),
            "correlate: the kernel is longer than the signal along axis 0, so no place is valid: 3 "
            "- 4 + 1 = 0. Swap the two, or use another mode.");
  EXPECT_CONTAINS(error_of([&] { convolve(x, x, {.method = "magic"}); }), "convolve", "magic",
                  "auto, direct, fft");
  EXPECT_CONTAINS(error_of([&] {
                    convolve(x, Tensor::ones({2, 2}, DType::float64));
                  }),
                  "[3]", "[2, 2]");
  EXPECT_CONTAINS(error_of([&] { convolve(x, Tensor::ones({2})); }), "float32", "float64");
  EXPECT_CONTAINS(error_of([&] { convolve(x, Tensor()); }), "the kernel is undefined");
  EXPECT_CONTAINS(error_of([&] {
                    convolve(Tensor::ones({1, 1, 4, 4}), Tensor::ones({1, 1, 2, 2}));
                  }),
                  "conv2d");
  EXPECT_CONTAINS(error_of([&] { convolve(x, Tensor::zeros({0}, DType::float64)); }), "empty");
  EXPECT_CONTAINS(error_of([&] { fft(x, {3}); }), "axis");
  EXPECT_CONTAINS(error_of([&] { fft(Complex{x, row({1})}); }), "alike");
}

}  // namespace
}  // namespace fovea::signal
