// Pooling against plain loops.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "fovea/autograd.h"
#include "fovea/functions.h"
#include "fovea/memory.h"
#include "ops/families.h"
#include "support/errors.h"
#include "support/settings.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

struct Case {
  Shape input;
  Shape window, stride, padding, dilation;
};

const Case kCases[] = {
    {{2, 1, 11}, {3}, {2}, {1}, {2}},
    {{1, 5, 8}, {4}, {1}, {2}, {1}},
    {{3, 6, 8, 8}, {2, 2}, {2, 2}, {0, 0}, {1, 1}},
    {{2, 16, 7, 9}, {3, 2}, {2, 1}, {1, 1}, {1, 2}},
    {{1, 17, 6, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {{2, 33, 5, 5}, {5, 5}, {1, 1}, {0, 0}, {1, 1}},
    {{1, 71, 4, 4}, {2, 3}, {3, 2}, {1, 0}, {1, 1}},
    {{2, 3, 4, 5, 6}, {2, 3, 2}, {1, 2, 2}, {1, 0, 1}, {2, 1, 1}},
};

// Calls f(index of an input cell, its flat place in the plane) for each cell that window `output`
// of sample and channel (n, c) reads, in row-major order.
template <class F>
void for_window(const Case& pool, const Shape& output, const F& f) {
  const int dims = pool.window.rank();
  for (std::int64_t tap = 0; tap < pool.window.numel(); ++tap) {
    Shape index = output;
    std::int64_t flat = 0;
    std::int64_t rest = tap;
    std::int64_t below = pool.window.numel();
    bool inside = true;
    for (int d = 0; d < dims; ++d) {
      below /= pool.window[d];
      const std::int64_t k = rest / below;
      rest %= below;
      const std::int64_t cell =
          output[d + 2] * pool.stride[d] - pool.padding[d] + k * pool.dilation[d];
      inside = inside && cell >= 0 && cell < pool.input[d + 2];
      index[d + 2] = cell;
      flat = flat * pool.input[d + 2] + cell;
    }
    if (inside) f(index, flat);
  }
}

Shape output_shape(const Case& pool) {
  Shape shape = {pool.input[0], pool.input[1]};
  for (int d = 0; d < pool.window.rank(); ++d) {
    const std::int64_t span = pool.dilation[d] * (pool.window[d] - 1) + 1;
    shape.push_back((pool.input[d + 2] + 2 * pool.padding[d] - span) / pool.stride[d] + 1);
  }
  return shape;
}

// Calls f with every index of `shape` in row-major order.
template <class F>
void for_each_index(const Shape& shape, const F& f) {
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    Shape index = shape;
    std::int64_t rest = i;
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      index[axis] = rest % shape[axis];
      rest /= shape[axis];
    }
    f(index);
  }
}

MaxPoolResult plain_max_pool(const Case& pool, const Tensor& x) {
  std::vector<double> values;
  std::vector<std::int64_t> positions;
  for_each_index(output_shape(pool), [&](const Shape& output) {
    double best = -std::numeric_limits<double>::infinity();
    std::int64_t where = -1;
    for_window(pool, output, [&](const Shape& index, std::int64_t flat) {
      const double value = x.at(index);
      if (where < 0 || value > best || std::isnan(value)) {
        best = value;
        where = flat;
      }
    });
    values.push_back(best);
    positions.push_back(where);
  });
  return {Tensor::from(values, output_shape(pool)), Tensor::from(positions, output_shape(pool))};
}

Tensor plain_avg_pool(const Case& pool, const Tensor& x, bool count_padding) {
  std::vector<double> values;
  for_each_index(output_shape(pool), [&](const Shape& output) {
    double sum = 0;
    std::int64_t count = 0;
    for_window(pool, output, [&](const Shape& index, std::int64_t) {
      sum += x.at(index);
      ++count;
    });
    values.push_back(sum / static_cast<double>(count_padding ? pool.window.numel() : count));
  });
  return Tensor::from(values, output_shape(pool));
}

Padding padding_of(const Case& pool) {
  std::vector<Sides> sides;
  for (const std::int64_t amount : pool.padding) sides.push_back({amount, amount});
  return Padding(sides);
}

PoolOptions options_of(const Case& pool) {
  return {.stride = Spatial(pool.stride),
          .padding = padding_of(pool),
          .dilation = Spatial(pool.dilation)};
}

// Along the windows, and along the positions alone.
TEST(MaxPool, GradientIsTheSameForWindowsAndForPositions) {
  for (const Case& pool : kCases) {
    for (const DType dtype : {DType::float32, DType::float64}) {
      const Tensor x = random_tensor(pool.input, 1, dtype).set_requires_grad();
      std::vector<Sides> padding;
      for (const std::int64_t amount : pool.padding) padding.push_back({amount, amount});
      const PoolOptions options{.stride = Spatial(pool.stride),
                                .padding = Padding(padding),
                                .dilation = Spatial(pool.dilation)};
      const auto [y, positions] = max_pool_with_positions(x, Spatial(pool.window), options);
      const Tensor g = random_tensor(y.shape(), 2, dtype);
      const Shape space(std::span<const std::int64_t>(pool.input.begin() + 2, pool.input.end()));
      const Tensor expected = apply1(ops::pool_scatter, {g, positions}, {{"input", space}});
      const GradOptions keep{.retain_graph = true, .grad_outputs = {g}};
      for_simd_targets(
          [&, &result = y] { expect_identical(grad({result}, {x}, keep).front(), expected); });
    }
  }
}

TEST(MaxPool, TakesTheMaximumOfEachWindowAndItsPosition) {
  const Tensor x = Tensor::from<float>({1, 5, 2, 0,  //
                                        3, 4, 1, 6,  //
                                        0, 0, 9, 8,  //
                                        7, 0, 8, 9},
                                       {1, 1, 4, 4});
  const auto [values, positions] = max_pool_with_positions(x, 2);
  EXPECT_EQ(values.to_vector<float>(), (std::vector<float>{5, 6, 7, 9}));
  EXPECT_EQ(positions.to_vector<std::int64_t>(), (std::vector<std::int64_t>{1, 7, 12, 10}));
}

TEST(MaxPool, AgreesWithPlainLoopsOnEverySimdTarget) {
  for (const Case& pool : kCases) {
    SCOPED_TRACE(pool.input.to_string());
    for (const DType dtype : {DType::float32, DType::float64}) {
      const Tensor x = random_tensor(pool.input, 1, dtype);
      const MaxPoolResult expected = plain_max_pool(pool, x);
      for_simd_targets([&] {
        const MaxPoolResult actual =
            max_pool_with_positions(x, Spatial(pool.window), options_of(pool));
        EXPECT_EQ(actual.values.dtype(), dtype);
        expect_close(actual.values, expected.values, 0);
        expect_identical(actual.positions, expected.positions);
      });
    }
  }
}

TEST(MaxPool, WritesPositionsOnlyWhereSomebodyNeedsThem) {
  for (const std::int64_t channels : {1, 16, 21}) {
    const Tensor x = random_tensor({2, channels, 40, 40}, 5).contiguous(Layout::channels_last);
    for_simd_targets([&] {
      const Tensor with = max_pool_with_positions(x, 3, {.stride = 2, .padding = 1}).values;
      reset_high_water();
      const std::size_t before = memory_stats().in_use;
      const Tensor alone = max_pool(x, 3, {.stride = 2, .padding = 1});
      expect_identical(alone, with);
      // A position is twice as large as a value.
      const std::size_t values = static_cast<std::size_t>(alone.numel()) * sizeof(float);
      if (channels == 16) {
        EXPECT_LT(memory_stats().high_water - before, 3 * values);
      }
    });
  }
}

TEST(MaxPool, FirstOfEqualMaximaWins) {
  const Tensor x = Tensor::ones({1, 3, 4, 4});
  const MaxPoolResult result = max_pool_with_positions(x, 2);
  EXPECT_EQ(result.positions.slice(1, 2, 3).to_vector<std::int64_t>(),
            (std::vector<std::int64_t>{0, 2, 8, 10}));
}

TEST(MaxPool, PaddingNeverWins) {
  const Tensor x = Tensor::full({1, 2, 3, 3}, -5);
  const MaxPoolResult result = max_pool_with_positions(x, 3, {.stride = 1, .padding = 1});
  expect_identical(result.values, x);
}

TEST(MaxPool, NanWins) {
  for (const DType dtype : {DType::float32, DType::float64}) {
    Tensor x = random_tensor({1, 19, 4}, 3, dtype).contiguous();
    Tensor nan = x.slice(2, 1, 2);
    nan.fill(std::numeric_limits<double>::quiet_NaN());
    const MaxPoolResult result = max_pool_with_positions(x, 2);
    for (std::int64_t c = 0; c < 19; ++c) {
      EXPECT_TRUE(std::isnan(result.values.at({0, c, 0})));
      EXPECT_EQ(result.positions.at({0, c, 0}), 1);
      EXPECT_FALSE(std::isnan(result.values.at({0, c, 1})));
    }
  }
}

TEST(MaxPool, MinusInfinityIsAValueLikeAnother) {
  const Tensor x = Tensor::full({1, 1, 4}, -std::numeric_limits<double>::infinity());
  const MaxPoolResult result = max_pool_with_positions(x, 2);
  expect_identical(result.values, x.slice(2, 0, 2));
  EXPECT_EQ(result.positions.to_vector<std::int64_t>(), (std::vector<std::int64_t>{0, 2}));
}

TEST(MaxPool, OverlappingWindowsAddTheirGradients) {
  Tensor x = Tensor::from<double>({0, 9, 1, 2, 3}, {1, 1, 5}).set_requires_grad();
  sum(max_pool(x, 3, {.stride = 1})).backward();
  EXPECT_EQ(x.grad().to_vector<double>(), (std::vector<double>{0, 2, 0, 0, 1}));
}

TEST(MaxPool, TakesAnEmptyBatch) {
  EXPECT_EQ(max_pool(Tensor::zeros({0, 3, 4, 4}), 2).shape(), (Shape{0, 3, 2, 2}));
}

TEST(AvgPool, AgreesWithPlainLoopsOnEverySimdTarget) {
  for (Case pool : kCases) {
    SCOPED_TRACE(pool.input.to_string());
    pool.dilation = Shape::filled(pool.window.rank(), 1);
    for (const DType dtype : {DType::float32, DType::float64}) {
      const Tensor x = random_tensor(pool.input, 2, dtype);
      const double tolerance = static_cast<double>(pool.window.numel() + 1) * roundoff(dtype);
      for (const bool count : {true, false}) {
        const Tensor expected = plain_avg_pool(pool, x, count);
        for_simd_targets([&] {
          const Tensor actual = avg_pool(x, Spatial(pool.window),
                                         {.stride = Spatial(pool.stride),
                                          .padding = padding_of(pool),
                                          .count_include_pad = count});
          expect_close(actual, expected, tolerance);
        });
      }
    }
  }
}

TEST(AvgPool, BackwardIsTheAdjointOnEverySimdTarget) {
  for (const Case& pool : kCases) {
    SCOPED_TRACE(pool.input.to_string());
    for_simd_targets([&] {
      Tensor x = random_tensor(pool.input, 4).set_requires_grad();
      const Tensor y = avg_pool(x, Spatial(pool.window),
                                {.stride = Spatial(pool.stride), .padding = padding_of(pool)});
      const Tensor v = random_tensor(y.shape(), 5);
      const Tensor adjoint = grad({y}, {x}, {.grad_outputs = {v}}).front();
      const double left = sum(y * v).item<double>();
      const double right = sum(x * adjoint).item<double>();
      EXPECT_NEAR(left, right,
                  static_cast<double>(x.numel() + y.numel()) * roundoff(DType::float64));
    });
  }
}

TEST(AvgPool, LargeWindowsKeepFloat32Accuracy) {
  // One running sum of so many values near one would be off by some 1e-4.
  const Tensor x = random_tensor({1, 3, 300, 300}, 6, DType::float32, 0.9, 1.1);
  expect_close(global_avg_pool(x), global_avg_pool(x.to(DType::float64)), 1e-5);
}

TEST(AvgPool, GlobalPoolingIsTheMean) {
  const Tensor x = random_tensor({2, 5, 3, 4}, 7);
  expect_close(global_avg_pool(x), mean(x, {2, 3}, true), 12 * roundoff(DType::float64));
}

Tensor row(const std::vector<double>& values) {
  return Tensor::from(values, {1, 1, static_cast<std::int64_t>(values.size())});
}

TEST(Pool, CeilModeKeepsAWindowThatHangsOverButNotOneThatStartsInPadding) {
  const Tensor x = row({1, 2, 3, 4, 5, 6});
  EXPECT_EQ(max_pool(x, 3, {.stride = 2}).shape(), (Shape{1, 1, 2}));
  EXPECT_EQ(max_pool(x, 3, {.stride = 2, .ceil_mode = true}).to_vector<double>(),
            (std::vector<double>{3, 5, 6}));
  // ceil((6 + 2 - 2) / 3) + 1 = 3 windows of 2, at -1, 2 and 5: all start before 6.
  EXPECT_EQ(max_pool(x, 2, {.stride = 3, .padding = 1, .ceil_mode = true}).to_vector<double>(),
            (std::vector<double>{1, 4, 6}));
  // ceil((5 + 2 - 2) / 3) + 1 = 3, but the third would start at 5 = I.
  EXPECT_EQ(max_pool(x.slice(2, 0, 5), 2, {.stride = 3, .padding = 1, .ceil_mode = true})
                .to_vector<double>(),
            (std::vector<double>{1, 4}));
}

TEST(AvgPool, NeverCountsWhatHangsOverThePadding) {
  const Tensor x = row({2, 4, 6, 8});
  // Windows of 3 at -1 and 2; the second one's last cell is padding, counted or not.
  EXPECT_EQ(avg_pool(x, 3, {.stride = 3, .padding = 1, .ceil_mode = true}).to_vector<double>(),
            (std::vector<double>{2, 14.0 / 3}));
  EXPECT_EQ(
      avg_pool(x, 3, {.stride = 3, .padding = 1, .count_include_pad = false}).to_vector<double>(),
      (std::vector<double>{3, 7}));
  // Without padding, the second window of 3 has one cell; what hangs over is not counted.
  EXPECT_EQ(avg_pool(x, 3, {.ceil_mode = true}).to_vector<double>(), (std::vector<double>{4, 8}));
  EXPECT_EQ(avg_pool(x, 2, {.divisor_override = 4}).to_vector<double>(),
            (std::vector<double>{1.5, 3.5}));
}

TEST(Pool, PaddingMayDifferBeforeAndAfter) {
  const Tensor x = row({1, 2, 3});
  EXPECT_EQ(max_pool(x, 2, {.stride = 2, .padding = {{0, 1}}}).to_vector<double>(),
            (std::vector<double>{2, 3}));
  EXPECT_EQ(max_pool(x, 2, {.stride = 2, .padding = {{1, 0}}}).to_vector<double>(),
            (std::vector<double>{1, 3}));
}

TEST(AdaptivePool, WindowsCoverTheInputAndMayOverlap) {
  const Tensor x = row({1, 2, 3, 4, 5});
  // [0, 2), [1, 4), [3, 5)
  EXPECT_EQ(adaptive_avg_pool(x, 3).to_vector<double>(), (std::vector<double>{1.5, 3, 4.5}));
  EXPECT_EQ(adaptive_max_pool(x, 3).to_vector<double>(), (std::vector<double>{2, 4, 5}));
  EXPECT_EQ(adaptive_avg_pool(x.slice(2, 0, 2), 4).to_vector<double>(),
            (std::vector<double>{1, 1, 2, 2}));
  EXPECT_EQ(global_max_pool(x).to_vector<double>(), (std::vector<double>{5}));
}

TEST(LpPool, IsANormWhateverTheSigns) {
  const Tensor x = row({3, -4, 0, 0});
  EXPECT_EQ(lp_pool(x, 2, 2).to_vector<double>(), (std::vector<double>{5, 0}));
  EXPECT_EQ(lp_pool(x, 1, 2).to_vector<double>(), (std::vector<double>{7, 0}));
  EXPECT_NEAR(lp_pool(x, 3, 2).at({0, 0, 0}), std::cbrt(27 + 64), 1e-14);
  Tensor leaf = x.clone().set_requires_grad();
  sum(lp_pool(leaf, 2, 2)).backward();  // no NaN from the window of zeros
  expect_close(leaf.grad(), row({0.6, -0.8, 0, 0}), 4 * roundoff(DType::float64));
  EXPECT_CONTAINS(error_of([&] { lp_pool(x, 0.5, 2); }), "p is 0.5");
}

TEST(LpPool, TakesAnyPowerOfAnyNumber) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto norm = [](std::initializer_list<float> values, double p) {
    const Tensor x = Tensor::from(values, {1, 1, static_cast<std::int64_t>(values.size())});
    return lp_pool(x, p, static_cast<std::int64_t>(values.size())).item<float>();
  };
  for (const double p : {1.0, 2.0, 3.0}) {
    EXPECT_TRUE(std::isnan(norm({kNan, 1}, p))) << p;
    EXPECT_EQ(norm({-kInfinity, 1}, p), kInfinity) << p;
    EXPECT_EQ(norm({0, 0}, p), 0) << p;
  }
  EXPECT_FLOAT_EQ(norm({10}, 50), 10);
  EXPECT_FLOAT_EQ(norm({-2, 0}, 200), 2);
  EXPECT_FLOAT_EQ(norm({1e13F, 1e13F}, 3), 1e13F * std::cbrt(2.0F));

  const Tensor x = Tensor::from({-1e-20F, 0.0F, 2e-20F}, {1, 1, 3}).set_requires_grad();
  sum(lp_pool(x, 3, 3)).backward();
  const double y = std::cbrt(9.0);
  EXPECT_NEAR(x.grad().at({0, 0, 0}), -1 / (y * y), 1e-6);
  EXPECT_EQ(x.grad().at({0, 0, 1}), 0);
  EXPECT_NEAR(x.grad().at({0, 0, 2}), 4 / (y * y), 1e-6);
}

TEST(MaxUnpool, PutsMaximaBackAmongZeros) {
  const Tensor x = random_tensor({2, 3, 4, 6}, 11, DType::float64, 0.5, 1);
  const auto [values, positions] = max_pool_with_positions(x, 2);
  const Tensor back = max_unpool(values, positions, {4, 6});
  EXPECT_EQ(back.shape(), x.shape());
  const auto again = max_pool_with_positions(back, 2);
  expect_identical(again.values, values);
  expect_identical(again.positions, positions);
  EXPECT_NEAR(sum(back).item<double>(), sum(values).item<double>(), 1e-12);
  EXPECT_CONTAINS(error_of([&] { max_unpool(values, positions, 1); }), "position",
                  "outside the input plane of 1 cells");
}

TEST(MaxUnpool, OfAPlaceWrittenTwiceTheLastValueHasTheGradient) {
  const Tensor x = Tensor::from<double>({1, 2}, {1, 1, 2}).set_requires_grad();
  const Tensor y = max_unpool(x, Tensor::zeros({1, 1, 2}, DType::int64), 3);
  EXPECT_EQ(y.to_vector<double>(), (std::vector<double>{2, 0, 0}));
  sum(y).backward();
  EXPECT_EQ(x.grad().to_vector<double>(), (std::vector<double>{0, 1}));
}

TEST(Pool, SameBitsForAnyNumberOfThreads) {
  const Tensor values = random_tensor({3, 70, 60, 31}, 8, DType::float32);
  std::vector<Tensor> first;
  for_thread_counts([&] {
    Tensor x = values.detach().set_requires_grad();
    const Tensor max = max_pool(x, 3, {.stride = 2, .padding = 1});
    const Tensor avg = avg_pool(x, 3, {.stride = 2, .padding = 1});
    const std::vector<Tensor> results = {max, avg, grad({sum(max * max)}, {x}).front(),
                                         grad({sum(avg * avg)}, {x}).front()};
    if (first.empty()) first = results;
    for (std::size_t i = 0; i < results.size(); ++i) expect_identical(results[i], first[i]);
  });
}

TEST(Pool, OutputsAreChannelsLast) {
  const Tensor x = random_tensor({2, 3, 4, 4}, 9);
  EXPECT_TRUE(max_pool(x, 2).is_contiguous(Layout::channels_last));
  EXPECT_TRUE(avg_pool(x, 2).is_contiguous(Layout::channels_last));
}

TEST(Pool, ErrorsShowTheArithmetic) {
  const Tensor x = Tensor::zeros({1, 2, 4, 4});
  EXPECT_CONTAINS(error_of([&] { max_pool(x, 7, {.padding = 1}); }), "max_pool",
                  "1 * (7 - 1) + 1 = 7", "4 + 1 + 1 = 6");
  EXPECT_CONTAINS(error_of([&] {
                    avg_pool(x, {2, 5});
                  }),
                  "avg_pool", "spatial dimension 1", "1 * (5 - 1) + 1 = 5");
  EXPECT_CONTAINS(error_of([&] { max_pool(x, 2, {.padding = 2}); }), "padding 2", "2 / 2 = 1");
  EXPECT_CONTAINS(error_of([&] { max_pool(x, 2, {.padding = -1}); }), "padding -1");
  EXPECT_CONTAINS(error_of([&] { max_pool(x, 0); }), "window 0");
  EXPECT_CONTAINS(error_of([&] { max_pool(x, 2, {.stride = -1}); }), "stride -1");
  EXPECT_CONTAINS(error_of([&] { max_pool(x, 2, {.dilation = 0}); }), "dilation 0");
  EXPECT_CONTAINS(error_of([&] { max_pool(x, {2, 2, 2}); }), "max_pool", "3");
  EXPECT_CONTAINS(error_of([&] { max_pool(x.to(DType::uint8), 2); }), "max_pool", "uint8",
                  "float32");
  EXPECT_CONTAINS(error_of([&] { max_pool(Tensor::zeros({4, 4}), 2); }), "max_pool");
  EXPECT_CONTAINS(error_of([&] { max_pool(Tensor(), 2); }), "max_pool");
}

TEST(Pool, RefusesWindowsThatReadPaddingOnly) {
  const Tensor x = Tensor::zeros({1, 1, 2});
  EXPECT_CONTAINS(error_of([&] { max_pool(x, 2, {.stride = 1, .padding = 1, .dilation = 3}); }),
                  "padding only", "dilation 3");
}

TEST(Pool, RefusesHostileSizesBeforeReservingMemory) {
  const Tensor x = Tensor::zeros({1, 1, 4});
  const std::int64_t huge = std::int64_t{1} << 40;
  EXPECT_CONTAINS(error_of([&] { max_pool(x, huge, {.padding = huge / 2}); }), "max_pool");
  EXPECT_CONTAINS(error_of([&] { avg_pool(x, (1 << 30), {.stride = 1, .padding = 1 << 29}); }),
                  "avg_pool");
  EXPECT_CONTAINS(error_of([&] { max_pool(x, 2, {.stride = huge}); }), "stride");
}

}  // namespace
}  // namespace fovea::testing
