// The Fourier transform against its definition, for every kind of length, on every SIMD target.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>
#include <span>

#include "core/storage.h"
#include "kernels/fft.h"
#include "kernels/group_product.h"
#include "support/errors.h"
#include "support/settings.h"
#include "support/tensors.h"

namespace fovea::kernels {
namespace {

template <class T>
struct Signal {
  std::vector<T> re, im;
  Planes<T> planes() { return {re.data(), im.data()}; }
};

template <class T>
Signal<T> random_signal(std::int64_t values, std::uint64_t seed) {
  return {testing::random_tensor({values}, seed, dtype_of<T>).template to_vector<T>(),
          testing::random_tensor({values}, seed + 1, dtype_of<T>).template to_vector<T>()};
}

template <class T>
void transform(Signal<T>& signal, std::int64_t length, std::int64_t count, bool inverse = false) {
  const Fft<T> plan(length);
  std::vector<T> work(static_cast<std::size_t>(plan.workspace(count)));
  if (inverse) {
    plan.inverse(signal.planes(), count, work.data());
  } else {
    plan.forward(signal.planes(), count, work.data());
  }
}

using Exact = std::complex<long double>;

// By the definition.
template <class T>
std::vector<Exact> exact_transform(const Signal<T>& signal, std::int64_t length,
                                   std::int64_t count) {
  std::vector<Exact> roots;
  for (std::int64_t k = 0; k < length; ++k) {
    const long double angle = -2 * std::numbers::pi_v<long double> * static_cast<long double>(k) /
                              static_cast<long double>(length);
    roots.emplace_back(std::cos(angle), std::sin(angle));
  }
  std::vector<Exact> result(signal.re.size());
  for (std::int64_t i = 0; i < length * count; ++i) {
    const std::int64_t k = i / count;
    for (std::int64_t j = 0; j < length; ++j) {
      const auto at = static_cast<std::size_t>(j * count + i % count);
      result[static_cast<std::size_t>(i)] +=
          Exact(signal.re[at], signal.im[at]) * roots[static_cast<std::size_t>(j * k % length)];
    }
  }
  return result;
}

// |computed - exact| / |exact| in the 2-norm.
template <class T>
double error_of(const Signal<T>& computed, const std::vector<Exact>& exact) {
  long double error = 0;
  long double norm = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    error += std::norm(Exact(computed.re[i], computed.im[i]) - exact[i]);
    norm += std::norm(exact[i]);
  }
  return static_cast<double>(std::sqrt(error / norm));
}

// Powers, products, primes with a radix of their own, primes without, products with those.
constexpr std::int64_t kLengths[] = {1,  2,  3,  4,   5,   6,   7,   8,   9,   11,
                                     12, 13, 16, 20,  25,  27,  31,  32,  37,  60,
                                     64, 74, 97, 100, 120, 128, 210, 243, 251, 256};

// Each stage rounds twice (Higham, "Accuracy and stability of numerical algorithms", 24.1); a chirp
// transform takes three transforms of twice the length.
template <class T>
double bound(std::int64_t length) {
  const double unit = std::numeric_limits<T>::epsilon() / 2;
  return unit * 6 * (2 + std::log2(static_cast<double>(length)));
}

template <class T>
void expect_accurate() {
  for (const std::int64_t length : kLengths) {
    for (const std::int64_t count : {1, 3, 8}) {
      const Signal<T> signal = random_signal<T>(length * count, static_cast<std::uint64_t>(length));
      const std::vector<Exact> exact = exact_transform(signal, length, count);
      testing::for_simd_targets([&] {
        Signal<T> computed = signal;
        transform(computed, length, count);
        EXPECT_LE(error_of(computed, exact), bound<T>(length)) << length << " x " << count;
      });
    }
  }
}

TEST(Fft, IsAccurateToRoundingInFloat32) {
  expect_accurate<float>();
}

TEST(Fft, IsAccurateToRoundingInFloat64) {
  expect_accurate<double>();
}

TEST(Fft, InverseUndoesForwardUpToTheLength) {
  for (const std::int64_t length : {1, 8, 30, 101, 1024, 1536}) {
    const Signal<double> signal = random_signal<double>(length, 3);
    Signal<double> there_and_back = signal;
    transform(there_and_back, length, 1);
    transform(there_and_back, length, 1, true);
    for (std::size_t i = 0; i < signal.re.size(); ++i) {
      const auto n = static_cast<double>(length);
      EXPECT_NEAR(there_and_back.re[i] / n, signal.re[i], 2 * bound<double>(length)) << length;
      EXPECT_NEAR(there_and_back.im[i] / n, signal.im[i], 2 * bound<double>(length)) << length;
    }
  }
}

// Neighbouring columns of vectors are what `forward` calls many sequences.
TEST(Fft, LinesOfVectorsAreTransformedAsSequencesAre) {
  constexpr std::int64_t kLines = 3;
  for (const std::int64_t length : {2, 3, 4, 5, 6, 8, 16, 24, 60, 64, 72, 90, 128, 250}) {
    testing::for_simd_targets([&] {
      const std::int64_t lanes = vector_lanes<float>();
      const std::int64_t values = length * kLines * lanes;
      Signal<float> expected = random_signal<float>(values, 9);
      const Workspace memory(static_cast<std::size_t>(2 * values + 4 * length * lanes) *
                             sizeof(float));
      const Planes<float> planes{memory.as<float>(), memory.as<float>() + values};
      std::ranges::copy(expected.re, planes.re);
      std::ranges::copy(expected.im, planes.im);
      transform(expected, length, kLines * lanes);
      Fft<float>(length).lines({.data = planes,
                                .step = kLines * lanes,
                                .lines = kLines,
                                .line_step = lanes,
                                .work = planes.im + values});
      EXPECT_TRUE(std::ranges::equal(expected.re, std::span(planes.re, expected.re.size())))
          << length;
      EXPECT_TRUE(std::ranges::equal(expected.im, std::span(planes.im, expected.im.size())))
          << length;
    });
  }
}

TEST(Fft, OfAnImpulseIsFlatToTheLastBit) {
  Signal<float> impulse{std::vector<float>(60, 0), std::vector<float>(60, 0)};
  impulse.re[0] = 1;
  transform(impulse, 60, 1);
  EXPECT_EQ(impulse.re, std::vector<float>(60, 1));
  EXPECT_EQ(impulse.im, std::vector<float>(60, 0));
}

TEST(Fft, FastLengthsHaveSmallFactorsOnly) {
  EXPECT_EQ(fast_fft_length(1), 1);
  EXPECT_EQ(fast_fft_length(7), 8);
  EXPECT_EQ(fast_fft_length(101), 108);
  EXPECT_EQ(fast_fft_length(1025), 1080);
  for (std::int64_t length = 1; length < 300; ++length) {
    const std::int64_t fast = fast_fft_length(length);
    EXPECT_GE(fast, length);
    EXPECT_LE(fast, 2 * length);
    std::int64_t rest = fast;
    for (const std::int64_t factor : {2, 3, 5}) {
      while (rest % factor == 0) rest /= factor;
    }
    EXPECT_EQ(rest, 1) << fast;
  }
}

TEST(Fft, KeepsPlans) {
  EXPECT_EQ(fft_plan<double>(77).get(), fft_plan<double>(77).get());
  EXPECT_EQ(fft_plan<float>(12)->length(), 12);
}

TEST(Fft, RefusesLengthsThatCannotBe) {
  EXPECT_CONTAINS(testing::error_of([] { fft_plan<float>(0); }), "length is 0");
  EXPECT_CONTAINS(testing::error_of([] { fft_plan<float>(std::int64_t{1} << 50); }), "2^40");
}

}  // namespace
}  // namespace fovea::kernels
