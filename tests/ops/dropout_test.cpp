// Dropout: how many elements it zeroes, and that the choice is tied to elements, not to memory.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "fovea/autograd.h"
#include "fovea/error.h"
#include "fovea/executor.h"
#include "fovea/functions.h"
#include "fovea/random.h"
#include "kernels/random_drop.h"
#include "support/settings.h"

namespace fovea {
namespace {

TEST(Dropout, ZeroesAFractionPAndScalesTheRest) {
  Generator random{.seed = 1};
  const std::int64_t count = 100003;
  const std::vector<float> y = dropout(Tensor::ones({count}), 0.25, random).to_vector<float>();
  double zeros = 0;
  for (const float value : y) {
    ASSERT_TRUE(value == 0 || value == 1 / 0.75F) << value;
    zeros += value == 0 ? 1 : 0;
  }
  // Six standard deviations of a binomial distribution.
  const auto n = static_cast<double>(count);
  EXPECT_NEAR(zeros, 0.25 * n, 6 * std::sqrt(n * 0.25 * 0.75));
}

TEST(Dropout, EachCallTakesAnotherStream) {
  Generator random{.seed = 1};
  const Tensor x = Tensor::ones({1000});
  const std::vector<float> first = dropout(x, 0.5, random).to_vector<float>();
  const std::vector<float> second = dropout(x, 0.5, random).to_vector<float>();
  EXPECT_NE(first, second);
  Generator again{.seed = 1};
  EXPECT_EQ(dropout(x, 0.5, again).to_vector<float>(), first);
}

TEST(Dropout, DrawsTheNumbersOfPhiloxOnEverySimdTarget) {
  constexpr std::uint64_t kSeed = 0x0123456789abcdef;
  constexpr std::uint64_t kStream = 0xfedcba9876543210;
  const std::int64_t count = 40001;  // more than a task, and no whole number of blocks
  testing::for_simd_targets([&] {
    for (const DType dtype : {DType::float32, DType::float64}) {
      Generator random{.seed = kSeed, .next_stream = kStream};
      const Tensor y = dropout(Tensor::ones({count}, dtype), 0.75, random);
      const std::vector<double> values = y.to_vector<double>();
      for (std::int64_t i = 0; i < count; ++i) {
        const auto numbers = philox(kSeed, kStream, static_cast<std::uint64_t>(i / 4));
        const bool kept = numbers[static_cast<std::size_t>(i % 4)] >= 0xC0000000;
        ASSERT_EQ(values[static_cast<std::size_t>(i)], kept ? 4 : 0) << i;
      }
    }
  });
}

// So many elements that the counter takes more than 32 bits.
TEST(Dropout, DrawsTheNumbersOfPhiloxForLargeCounters) {
  constexpr std::uint64_t kSeed = 0xFEDCBA9876543210;
  constexpr std::uint64_t kStream = 0x8000000180000007;
  constexpr std::uint64_t kBlock = (std::uint64_t{3} << 32) - 8192;
  constexpr std::uint64_t kThreshold = std::uint64_t{1} << 31;
  const std::vector<float> ones(4 * 8192, 1.0F);
  std::vector<float> kept(ones.size());
  testing::for_simd_targets([&] {
    kernels::drop<float>({.seed = kSeed, .stream = kStream, .threshold = kThreshold}, kBlock,
                         std::ssize(ones), 1.0F, ones.data(), kept.data());
    for (std::size_t i = 0; i < ones.size(); ++i)
      ASSERT_EQ(kept[i] != 0, philox(kSeed, kStream, kBlock + i / 4)[i % 4] >= kThreshold) << i;
  });
}

TEST(Dropout, IsTheSamePastTheCaches) {
  constexpr std::int64_t kCount = 5003;
  const kernels::DropRule rule = {.seed = 1, .stream = 2, .threshold = std::uint64_t{1} << 31};
  const Tensor x = Tensor::full({kCount}, 3);
  Tensor stored = Tensor::empty({kCount});  // in whole lines, as what is streamed must be
  Tensor streamed = Tensor::empty({kCount});
  testing::for_simd_targets([&] {
    kernels::drop<float>(rule, 0, kCount, 2, x.data<float>(), stored.mutable_data<float>());
    kernels::drop<float>(rule, 0, kCount, 2, x.data<float>(), streamed.mutable_data<float>(), true);
    EXPECT_EQ(streamed.to_vector<float>(), stored.to_vector<float>());
  });
}

TEST(Dropout, WithProbabilityZeroKeepsAll) {
  Generator random{.seed = 1};
  const Tensor x = Tensor::full({1000}, 3);
  EXPECT_EQ(dropout(x, 0, random).to_vector<float>(), x.to_vector<float>());
}

TEST(Dropout, RefusesWhatIsNoProbabilityBelowOne) {
  Generator random{.seed = 1};
  const Tensor x = Tensor::ones({3});
  for (const double p : {-0.1, 1.0, 1.5, std::nan("")}) {
    EXPECT_THROW(dropout(x, p, random), Error) << p;
  }
}

TEST(Dropout, ChoosesTheSameElementsInAnyMemoryOrder) {
  Generator values{.seed = 2};
  const Tensor x = uniform({3, 5, 4, 7}, 1, 2, values);
  const auto masked = [](const Tensor& tensor) {
    Generator random{.seed = 9};
    return dropout(tensor, 0.5, random).to_vector<float>();
  };
  const std::vector<float> expected = masked(x);
  EXPECT_EQ(masked(x.contiguous(Layout::channels_last)), expected);
  const Tensor permuted = x.permute({2, 3, 0, 1}).contiguous().permute({2, 3, 0, 1});
  ASSERT_FALSE(permuted.is_contiguous());
  EXPECT_EQ(masked(permuted), expected);
}

TEST(Dropout, GradientFlowsThroughTheElementsThatWereKept) {
  Generator random{.seed = 3};
  Tensor x = Tensor::ones({2, 3, 4, 5}, DType::float64).permute({0, 2, 3, 1});
  x = x.detach();
  x.set_requires_grad();
  const Tensor y = dropout(x, 0.5, random);
  // The gradient arrives in an order of its own.
  Generator values{.seed = 4};
  const Tensor g = uniform({5, 2, 3, 4}, 1, 2, values, DType::float64).permute({1, 3, 0, 2});
  ASSERT_EQ(g.shape(), y.shape());
  const Tensor dx = grad({y}, {x}, {.grad_outputs = {g}})[0];
  // x is one everywhere: y is the mask with its scale.
  EXPECT_EQ(dx.to_vector<double>(), mul(g, y).to_vector<double>());
}

TEST(Dropout, IsTheSameForAnyNumberOfThreads) {
  const Tensor x = Tensor::ones({300, 301});
  const int threads = num_threads();
  std::vector<std::vector<float>> results;
  for (int count : {1, 3}) {
    set_num_threads(count);
    Generator random{.seed = 5};
    results.push_back(dropout(x, 0.5, random).to_vector<float>());
  }
  set_num_threads(threads);
  EXPECT_EQ(results[0], results[1]);
}

}  // namespace
}  // namespace fovea
