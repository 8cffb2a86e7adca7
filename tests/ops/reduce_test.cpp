// Sums against loops in long double, in any memory order, and broadcasting as their adjoint.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "fovea/autograd.h"
#include "fovea/error.h"
#include "fovea/executor.h"
#include "fovea/functions.h"
#include "fovea/random.h"
#include "fovea/version.h"
#include "ops/families.h"
#include "support/errors.h"

namespace fovea {
namespace {

bool contains(const Shape& axes, int axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

// Row-major sums, and sums of magnitudes to scale the tolerance by.
struct Expected {
  Shape shape;
  std::vector<long double> sums;
  std::vector<long double> magnitudes;
};

Expected plain_sum(const Tensor& x, const Shape& axes) {
  Expected expected;
  for (int i = 0; i < x.rank(); ++i) expected.shape.push_back(contains(axes, i) ? 1 : x.size(i));
  const auto count = static_cast<std::size_t>(expected.shape.numel());
  expected.sums.assign(count, 0);
  expected.magnitudes.assign(count, 0);
  const std::vector<double> values = x.to_vector<double>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    auto rest = static_cast<std::int64_t>(i);
    std::int64_t place = 0;
    std::int64_t step = 1;
    for (int axis = x.rank() - 1; axis >= 0; --axis) {
      if (!contains(axes, axis)) {
        place += rest % x.size(axis) * step;
        step *= x.size(axis);
      }
      rest /= x.size(axis);
    }
    expected.sums[static_cast<std::size_t>(place)] += values[i];
    expected.magnitudes[static_cast<std::size_t>(place)] += std::abs(values[i]);
  }
  return expected;
}

// float32 is rounded once: half an ulp of the sum, and next to nothing of the double additions
// before. For float64 each of the partial sums is at most 2^16 / 16 additions long.
void expect_sum(const Tensor& x, const Shape& axes) {
  const Expected expected = plain_sum(x, axes);
  const Tensor kept = sum(x, axes, true);
  ASSERT_EQ(kept.shape(), expected.shape);
  EXPECT_TRUE(kept.is_contiguous());
  const std::vector<double> sums = kept.to_vector<double>();
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const auto exact = static_cast<double>(expected.sums[i]);
    const auto scale = static_cast<double>(expected.magnitudes[i]);
    const double rounding = x.dtype() == DType::float32 ? 0x1p-24 * std::abs(exact) : 0;
    ASSERT_NEAR(sums[i], exact, rounding + 0x1p-53 * 4200 * scale)
        << x.describe() << " strides " << x.strides() << " over " << axes << " at " << i;
  }
  const Tensor dropped = sum(x, axes);
  EXPECT_EQ(dropped.to_vector<double>(), sums);
  EXPECT_EQ(dropped.rank(), x.rank() - axes.rank());
}

// Every non-empty set of axes.
void expect_all_sums(const Tensor& x) {
  for (unsigned mask = 1; mask < (1U << x.rank()); ++mask) {
    Shape axes;
    for (int i = 0; i < x.rank(); ++i) {
      if ((mask >> i & 1U) != 0) axes.push_back(i);
    }
    expect_sum(x, axes);
  }
}

TEST(Sum, AgreesWithALoopForAnyAxesAndMemoryOrder) {
  Generator random{.seed = 1};
  for (const std::string& target : simd_targets()) {
    SCOPED_TRACE(target);
    set_simd_target(target);
    for (const DType dtype : {DType::float32, DType::float64}) {
      for (const Shape& shape :
           {Shape{3, 6, 5, 7}, Shape{2, 1, 9, 4}, Shape{2, 70, 3, 3}, Shape{5, 3, 1, 1}}) {
        const Tensor x = uniform(shape, -1, 1, random, dtype);
        expect_all_sums(x);
        expect_all_sums(x.contiguous(Layout::channels_last));
        expect_all_sums(x.permute({3, 0, 2, 1}));
        expect_all_sums(x.slice(3, 0, shape[3], 2));
        expect_all_sums(x.contiguous(Layout::channels_last).slice(1, 0, shape[1], 2));
        expect_all_sums(broadcast_to(x.slice(1, 0, 1), shape));
      }
    }
  }
  set_simd_target("");
}

TEST(Sum, OfManyElementsIsCutIntoChunksAndStaysAccurate) {
  Generator random{.seed = 2};
  expect_sum(uniform({300001}, 0, 1, random), {0});
  expect_sum(uniform({300001}, 0, 1, random, DType::float64), {0});
  expect_sum(uniform({3, 50001, 5}, 0, 1, random), {1});
  expect_sum(uniform({2, 6, 190, 190}, 0, 1, random).contiguous(Layout::channels_last), {0, 2, 3});
  expect_sum(uniform({2, 6, 190, 190}, 0, 1, random), {0, 2, 3});
  expect_sum(uniform({70, 5000}, 0, 1, random), {0});
  expect_sum(uniform({70, 5000}, 0, 1, random), {1});
  expect_sum(uniform({4000, 64}, -1, 1, random), {0});
}

TEST(Sum, OfMillionsOfOnesInFloat32IsExact) {
  // Added up in float32 one by one, it would stop at 2^24.
  const std::int64_t count = (std::int64_t{1} << 24) + 3000000;
  EXPECT_EQ(sum(Tensor::ones({count})).item<double>(), static_cast<double>(count));
}

TEST(Sum, OfNothingIsZero) {
  EXPECT_EQ(sum(Tensor::zeros({3, 0}), {1}).to_vector<float>(), (std::vector<float>{0, 0, 0}));
  EXPECT_EQ(sum(Tensor::zeros({3, 0}), {0}).shape(), Shape({0}));
  EXPECT_EQ(sum(Tensor::scalar(5)).item<float>(), 5);
}

TEST(Sum, IsTheSameBitsForAnyNumberOfThreads) {
  Generator random{.seed = 3};
  const Tensor x = uniform({4, 6, 190, 190}, -1, 1, random).contiguous(Layout::channels_last);
  const int threads = num_threads();
  std::vector<std::vector<float>> channels;
  std::vector<float> totals;
  for (int count : {1, 2, 3}) {
    set_num_threads(count);
    channels.push_back(sum(x, {0, 2, 3}).to_vector<float>());
    totals.push_back(sum(x).item<float>());
  }
  set_num_threads(threads);
  EXPECT_EQ(channels[0], channels[1]);
  EXPECT_EQ(channels[0], channels[2]);
  EXPECT_EQ(totals[0], totals[1]);
  EXPECT_EQ(totals[0], totals[2]);
}

TEST(Sum, RefusesAnAxisBeyondWhatAnIntHolds) {
  EXPECT_CONTAINS(fovea::testing::error_of([] {
                    sum(Tensor::ones({2, 3}), {std::int64_t{1} << 32});
                  }),
                  "sum", "4294967296", "2 axes");
}

TEST(Sum, MeanDividesByTheNumberOfElements) {
  const Tensor x = Tensor::from<double>({1, 2, 3, 4, 5, 6}, {2, 3});
  EXPECT_EQ(mean(x).item<double>(), 3.5);
  EXPECT_EQ(mean(x, {-1}).to_vector<double>(), (std::vector<double>{2, 5}));
}

TEST(Broadcast, RepeatsWithoutCopying) {
  const Tensor x = Tensor::from<float>({1, 2}, {2, 1});
  const Tensor y = broadcast_to(x, {3, 2, 2});
  EXPECT_EQ(x.impl()->storage, y.impl()->storage);
  EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{1, 1, 2, 2, 1, 1, 2, 2, 1, 1, 2, 2}));
  EXPECT_THROW(broadcast_to(x, {2}), Error);
  EXPECT_THROW(broadcast_to(x, {3, 1}), Error);
}

TEST(Broadcast, AndSumAreAdjoint) {
  Generator random{.seed = 4};
  Tensor x = uniform({3, 1, 2}, -1, 1, random, DType::float64);
  const Tensor v = uniform({4, 3, 5, 2}, -1, 1, random, DType::float64);
  const double forward = sum(mul(broadcast_to(x, v.shape()), v)).item<double>();
  const double adjoint = sum(mul(x, ops::sum_to(v, x.shape()))).item<double>();
  EXPECT_NEAR(forward, adjoint, 1e-13);
  x.set_requires_grad();
  const Tensor dx = grad({broadcast_to(x, v.shape())}, {x}, {.grad_outputs = {v}})[0];
  EXPECT_EQ(dx.to_vector<double>(), ops::sum_to(v, x.shape()).to_vector<double>());
}

TEST(Sum, HasGradientsOfSecondOrder) {
  Generator random{.seed = 5};
  Tensor x = uniform({2, 3}, -1, 1, random, DType::float64);
  x.set_requires_grad();
  // L = sum over rows of (sum of a row)^3: dL/dx = 3 s^2, and the sum of that over a row of n has
  // derivative 6 n s.
  const Tensor rows = sum(x, {1});
  const Tensor loss = sum(mul(rows, mul(rows, rows)));
  const Tensor first = grad({loss}, {x}, {.create_graph = true, .grad_outputs = {}})[0];
  const Tensor second = grad({sum(first)}, {x})[0];
  for (std::int64_t i = 0; i < 2; ++i) {
    const double s = rows.at({i});
    EXPECT_NEAR(first.at({i, 1}), 3 * s * s, 1e-13);
    EXPECT_NEAR(second.at({i, 1}), 18 * s, 1e-13);
  }
}

}  // namespace
}  // namespace fovea
