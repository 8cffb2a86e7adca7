// Counter-based random numbers: the published values, reproducibility, distributions.
#include "fovea/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "fovea/executor.h"
#include "support/settings.h"

namespace fovea::testing {
namespace {

// The known-answer vectors of the reference implementation (Random123, kat_vectors, philox4x32 with
// 10 rounds).
TEST(Philox, GivesThePublishedValues) {
  using Four = std::array<std::uint32_t, 4>;
  EXPECT_EQ(philox(0, 0, 0), (Four{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(~0ULL, ~0ULL, ~0ULL), (Four{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox(0x299f31d0a4093822ULL, 0x0370734413198a2eULL, 0x85a308d3243f6a88ULL),
            (Four{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, DependsOnSeedAndStreamOnly) {
  const auto draw = [](int threads) {
    const ThreadGuard guard(threads);
    Generator generator{42};
    normal({1000, 100}, 0, 1, generator);
    return normal({1000, 101}, 0, 1, generator).to_vector<float>();
  };
  const auto expected = draw(1);
  EXPECT_EQ(draw(3), expected);
  Generator other{43};
  EXPECT_NE(normal({1000, 101}, 0, 1, other).to_vector<float>(), expected);
}

TEST(Random, UniformFillsItsIntervalEvenly) {
  Generator generator{1};
  constexpr std::int64_t kCount = 100000;
  const auto values = uniform({kCount}, -2, 3, generator, DType::float64).to_vector<double>();
  std::vector<int> bins(10);
  for (const double value : values) {
    ASSERT_GE(value, -2);
    ASSERT_LT(value, 3);
    ++bins[static_cast<std::size_t>((value + 2) * 2)];
  }
  // Each bin is binomial: mean 10000, deviation 95; five deviations.
  for (const int count : bins) EXPECT_NEAR(count, 10000, 475);
}

TEST(Random, NormalHasItsMoments) {
  Generator generator{2};
  constexpr double kCount = 200001;  // odd: the last pair is cut
  const auto values = normal({200001}, 1, 2, generator, DType::float64).to_vector<double>();
  double sum = 0;
  double squares = 0;
  double fourth = 0;
  for (const double value : values) {
    const double z = (value - 1) / 2;
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
  }
  // Five deviations of each mean: 1, sqrt(2) and sqrt(96) over sqrt(count).
  EXPECT_NEAR(sum / kCount, 0, 5 / std::sqrt(kCount));
  EXPECT_NEAR(squares / kCount, 1, 5 * std::sqrt(2 / kCount));
  EXPECT_NEAR(fourth / kCount, 3, 5 * std::sqrt(96 / kCount));
}

TEST(Random, PermutationHoldsEveryNumberOnceAndMovesThem) {
  Generator generator{3};
  auto order = permutation(1000, generator);
  const auto next = permutation(1000, generator);
  EXPECT_NE(order, next);
  std::int64_t fixed = 0;
  for (std::size_t i = 0; i < order.size(); ++i)
    fixed += order[i] == static_cast<std::int64_t>(i) ? 1 : 0;
  EXPECT_LT(fixed, 10);  // one is expected
  std::sort(order.begin(), order.end());
  for (std::size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i], static_cast<std::int64_t>(i));
}

}  // namespace
}  // namespace fovea::testing
