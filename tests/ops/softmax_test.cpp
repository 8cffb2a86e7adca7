// Softmax, its logarithm and the negative log-likelihood.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/tensor_impl.h"
#include "fovea/autograd.h"
#include "fovea/functions.h"
#include "support/errors.h"
#include "support/settings.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Textbook softmax in long double over `axis` of a row-major tensor.
Tensor plain_softmax(const Tensor& x, int axis, bool logarithm) {
  const std::vector<double> values = x.to_vector<double>();
  std::vector<double> result(values.size());
  std::int64_t inner = 1;
  for (int i = axis + 1; i < x.rank(); ++i) inner *= x.size(i);
  const std::int64_t size = x.size(axis);
  for (std::int64_t column = 0; column < x.numel() / size; ++column) {
    const std::int64_t start = column / inner * inner * size + column % inner;
    const auto at = [&](std::int64_t k) { return static_cast<std::size_t>(start + k * inner); };
    long double sum = 0;
    for (std::int64_t k = 0; k < size; ++k)
      sum += std::exp(static_cast<long double>(values[at(k)]));
    for (std::int64_t k = 0; k < size; ++k) {
      const long double value = values[at(k)];
      result[at(k)] =
          static_cast<double>(logarithm ? value - std::log(sum) : std::exp(value) / sum);
    }
  }
  return Tensor::from(result, x.shape());
}

TEST(Softmax, AgreesWithTheTextbookOverEveryAxisOnEverySimdTarget) {
  for (const Shape& shape :
       {Shape{3, 10}, Shape{2, 5, 3}, Shape{2, 1, 37}, Shape{2, 7, 3, 9}, Shape{41, 2}}) {
    for (const DType dtype : {DType::float32, DType::float64}) {
      const Tensor x = random_tensor(shape, 1, dtype, -6, 6);
      // Exponents of up to 12 carry their rounding into e^x; the rest is a few operations and the
      // sum.
      const double tolerance = (24 + static_cast<double>(shape.numel())) * roundoff(dtype);
      for (int axis = 0; axis < shape.rank(); ++axis) {
        SCOPED_TRACE(shape.to_string() + " axis " + std::to_string(axis));
        const Tensor expected = plain_softmax(x, axis, false);
        const Tensor expected_log = plain_softmax(x, axis, true);
        for_simd_targets([&] {
          expect_close(softmax(x, axis), expected, tolerance);
          expect_close(log_softmax(x, axis), expected_log, tolerance);
        });
      }
    }
  }
}

TEST(Softmax, KeepsTheMemoryOrderOfItsInput) {
  const Tensor x = random_tensor({2, 5, 3, 4}, 2).contiguous(Layout::channels_last);
  const Tensor y = softmax(x, 1);
  EXPECT_EQ(y.strides(), x.strides());
  expect_close(y, softmax(x.contiguous(), 1), 16 * roundoff(DType::float64));
}

TEST(Softmax, CountsNegativeAxesFromTheEnd) {
  const Tensor x = random_tensor({2, 3, 4}, 3);
  expect_identical(softmax(x, -1), softmax(x, 2));
}

TEST(Softmax, SurvivesExtremes) {
  for (const DType dtype : {DType::float32, DType::float64}) {
    const Tensor x = Tensor::from<double>({1000, 0, -1000, -kInfinity}, {1, 4}).to(dtype);
    EXPECT_EQ(softmax(x).to_vector<double>(), (std::vector<double>{1, 0, 0, 0}));
    EXPECT_EQ(log_softmax(x).to_vector<double>(),
              (std::vector<double>{0, -1000, -2000, -kInfinity}));
    // The same along an axis that is not contiguous.
    EXPECT_EQ(softmax(x.reshape({4, 1}), 0).to_vector<double>(), (std::vector<double>{1, 0, 0, 0}));
    const Tensor columns = x.reshape({4, 1}) + Tensor::zeros({4, 3}, dtype);
    EXPECT_EQ(log_softmax(columns, 0).slice(1, 1, 2).to_vector<double>(),
              (std::vector<double>{0, -1000, -2000, -kInfinity}));
  }
}

TEST(Softmax, NanReachesItsWholeColumnAndNoOther) {
  for (const double poison : {kNan, kInfinity}) {
    for (const Layout layout : {Layout::row_major, Layout::channels_last}) {
      Tensor x = dense(random_tensor({2, 5, 3}, 4, DType::float32), layout);
      Tensor cell = x.slice(0, 1, 2).slice(1, 2, 3).slice(2, 0, 1);
      cell.fill(poison);
      for (const Tensor& y : {softmax(x, 1), log_softmax(x, 1)}) {
        for (std::int64_t n = 0; n < 2; ++n) {
          for (std::int64_t k = 0; k < 5; ++k) {
            for (std::int64_t i = 0; i < 3; ++i) {
              EXPECT_EQ(std::isnan(y.at({n, k, i})), n == 1 && i == 0) << n << " " << k << " " << i;
            }
          }
        }
      }
    }
  }
}

TEST(Softmax, EveryBitPatternOfNanIsNan) {
  for (const std::uint32_t bits : {0xFFFFFFFFU, 0x7FFFFFFFU, 0xFF8001FFU, 0x7FC00000U}) {
    for (const std::int64_t size : {16, 32, 64, 21}) {
      std::vector<float> row(static_cast<std::size_t>(size), 0.5F);
      row[3] = std::bit_cast<float>(bits);
      const Tensor x = Tensor::from(row, {1, size});
      for (const Tensor& y : {softmax(x), log_softmax(x)}) {
        for (const float value : y.to_vector<float>()) EXPECT_TRUE(std::isnan(value)) << bits;
      }
    }
  }
}

TEST(Softmax, TheBitsOfARowDoNotDependOnItsPlace) {
  const Tensor x = random_tensor({13, 64}, 7, DType::float32, -90, 9);
  const Tensor y = softmax(x);
  const Tensor logarithm = log_softmax(x);
  for (std::int64_t i = 0; i < x.size(0); ++i) {
    expect_identical(softmax(x.slice(0, i, i + 1)), y.slice(0, i, i + 1));
    expect_identical(log_softmax(x.slice(0, i, i + 1)), logarithm.slice(0, i, i + 1));
  }
}

TEST(Softmax, SameBitsForAnyNumberOfThreads) {
  const Tensor x = random_tensor({64, 1000}, 5, DType::float32, -9, 9);
  const Tensor image = random_tensor({2, 21, 50, 50}, 6, DType::float32, -9, 9);
  std::vector<Tensor> first;
  for_thread_counts([&] {
    const std::vector<Tensor> results = {softmax(x), log_softmax(image),
                                         softmax(image.contiguous(Layout::channels_last))};
    if (first.empty()) first = results;
    for (std::size_t i = 0; i < results.size(); ++i) expect_identical(results[i], first[i]);
  });
}

TEST(Softmax, ErrorsNameTheAxis) {
  const Tensor x = Tensor::zeros({2, 3});
  EXPECT_CONTAINS(error_of([&] { softmax(x, 2); }), "softmax", "axis 2");
  EXPECT_CONTAINS(error_of([&] { log_softmax(x, -3); }), "log_softmax", "axis -3");
  EXPECT_CONTAINS(error_of([&] { softmax(x.to(DType::int64)); }), "softmax", "int64");
}

TEST(NllLoss, IsTheMeanOverTheBatch) {
  const Tensor x = Tensor::from<float>({-1, -2, -3, -4, -5, -6}, {2, 3});
  const Tensor labels = Tensor::from<std::int64_t>({2, 0}, {2});
  const Tensor loss = nll_loss(x, labels);
  EXPECT_EQ(loss.shape(), Shape{});
  EXPECT_EQ(loss.item<double>(), 3.5);
}

TEST(NllLoss, GradientOfCrossEntropyIsProbabilityMinusTarget) {
  Tensor x = random_tensor({3, 4}, 7).set_requires_grad();
  const Tensor labels = Tensor::from<std::int64_t>({1, 3, 0}, {3});
  cross_entropy(x, labels).backward();
  std::vector<double> expected = softmax(x).to_vector<double>();
  for (const std::size_t hit : {1, 4 + 3, 8 + 0}) expected[hit] -= 1;
  for (double& value : expected) value /= 3;
  expect_close(x.grad(), Tensor::from(expected, {3, 4}), 16 * roundoff(DType::float64));
}

TEST(NllLoss, ErrorsNameIndexAndValue) {
  const Tensor x = Tensor::zeros({3, 4});
  const auto labels = [](std::initializer_list<std::int64_t> values) {
    return Tensor::from<std::int64_t>(values, {static_cast<std::int64_t>(values.size())});
  };
  EXPECT_CONTAINS(error_of([&] {
                    nll_loss(x, labels({0, 4, 1}));
                  }),
                  "nll_loss", "labels[1] is 4", "4 classes", "0 to 3");
  EXPECT_CONTAINS(error_of([&] { cross_entropy(x, labels({0, 1, -1})); }), "labels[2] is -1");
  EXPECT_CONTAINS(error_of([&] { nll_loss(x, labels({0, 1})); }), "3 samples", "2 labels");
  EXPECT_CONTAINS(error_of([&] { nll_loss(x, Tensor::zeros({3})); }), "int64", "float32");
  EXPECT_CONTAINS(error_of([&] {
                    nll_loss(Tensor::zeros({3, 4, 1, 1}), labels({0, 1, 2}));
                  }),
                  "[N, classes]", "flatten");
  EXPECT_CONTAINS(error_of([&] { nll_loss(Tensor::zeros({0, 4}), labels({})); }), "empty");
}

}  // namespace
}  // namespace fovea::testing
