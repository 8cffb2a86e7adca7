// linear and matmul against plain loops.
#include <gtest/gtest.h>

#include "core/tensor_impl.h"
#include "fovea/autograd.h"
#include "fovea/functions.h"
#include "support/errors.h"
#include "support/settings.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

Tensor plain_matmul(const Tensor& a, const Tensor& b) {
  const std::int64_t m = a.size(0);
  const std::int64_t k = a.size(1);
  const std::int64_t n = b.size(1);
  const std::vector<double> x = a.to_vector<double>();
  const std::vector<double> y = b.to_vector<double>();
  std::vector<double> result;
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (std::int64_t l = 0; l < k; ++l)
        sum += x[static_cast<std::size_t>(i * k + l)] * y[static_cast<std::size_t>(l * n + j)];
      result.push_back(sum);
    }
  }
  return Tensor::from(result, {m, n});
}

// Both sums may be off by the roundoff of each of their terms.
double tolerance(std::int64_t terms, DType dtype) {
  return static_cast<double>(terms + 1) * roundoff(dtype);
}

TEST(Matmul, AgreesWithPlainLoopsInEveryMemoryOrder) {
  struct Sizes {
    std::int64_t m, k, n;
  };
  for (const auto [m, k, n] : {Sizes{1, 1, 1}, Sizes{5, 3, 4}, Sizes{17, 33, 19},
                               Sizes{64, 400, 120}, Sizes{1, 50, 40}, Sizes{40, 50, 1}}) {
    SCOPED_TRACE(Shape({m, k, n}).to_string());
    for (const DType dtype : {DType::float32, DType::float64}) {
      const Tensor a = random_tensor({m, k}, 1, dtype);
      const Tensor b = random_tensor({k, n}, 2, dtype);
      const Tensor expected = plain_matmul(a, b);
      const auto flipped = [](const Tensor& x) {
        return x.permute({1, 0}).contiguous().permute({1, 0});
      };
      for (const Tensor& left : {a, flipped(a), scattered(a)}) {
        for (const Tensor& right : {b, flipped(b), scattered(b)}) {
          const Tensor actual = matmul(left, right);
          EXPECT_TRUE(actual.is_contiguous());
          expect_close(actual, expected, tolerance(k, dtype));
        }
      }
    }
  }
}

TEST(Linear, MultipliesByTheTransposedWeightAndAddsTheBias) {
  const Tensor x = Tensor::from<float>({1, 2, 3, 4}, {2, 2});
  const Tensor w = Tensor::from<float>({1, 0, 0, 1, 1, 1}, {3, 2});
  const Tensor b = Tensor::from<float>({10, 20, 30}, {3});
  EXPECT_EQ(linear(x, w, b).to_vector<float>(), (std::vector<float>{11, 22, 33, 13, 24, 37}));
  EXPECT_EQ(linear(x, w).to_vector<float>(), (std::vector<float>{1, 2, 3, 3, 4, 7}));
}

TEST(Linear, AgreesWithMatmulForLayersOfLenet) {
  const Tensor x = random_tensor({64, 400}, 3, DType::float32);
  const Tensor w = random_tensor({120, 400}, 4, DType::float32);
  const Tensor b = random_tensor({120}, 5, DType::float32);
  expect_close(linear(x, w, b), plain_matmul(x, w.permute({1, 0})) + b.to(DType::float64),
               tolerance(401, DType::float32));
}

TEST(Linear, SameBitsForAnyNumberOfThreads) {
  const Tensor values = random_tensor({300, 130}, 6, DType::float32);
  const Tensor weights = random_tensor({70, 130}, 7, DType::float32);
  std::vector<Tensor> first;
  for_thread_counts([&] {
    Tensor x = values.detach().set_requires_grad();
    Tensor w = weights.detach().set_requires_grad();
    const Tensor y = linear(x, w);
    std::vector<Tensor> results = grad({sum(y * y)}, {x, w});
    results.push_back(y);
    if (first.empty()) first = results;
    for (std::size_t i = 0; i < results.size(); ++i) expect_identical(results[i], first[i]);
  });
}

TEST(Linear, ErrorsGiveTheFix) {
  const Tensor w = Tensor::zeros({120, 400});
  EXPECT_CONTAINS(error_of([&] {
                    linear(Tensor::zeros({64, 16, 5, 5}), w);
                  }),
                  "linear", "[64, 16, 5, 5]", "flatten(input)");
  EXPECT_CONTAINS(error_of([&] {
                    linear(Tensor::zeros({2, 5, 3}), w);
                  }),
                  "3 features", "needs 400");
  EXPECT_CONTAINS(error_of([&] {
                    linear(Tensor::zeros({64, 256}), w);
                  }),
                  "256 features", "[120, 400]", "needs 400");
  EXPECT_CONTAINS(error_of([&] { linear(Tensor::zeros({64, 120}), w); }), "transposed");
  EXPECT_CONTAINS(error_of([&] {
                    linear(Tensor::zeros({64, 400}), w, Tensor::zeros({12}));
                  }),
                  "bias", "[120]");
  EXPECT_CONTAINS(error_of([&] {
                    linear(Tensor::zeros({64, 400}, DType::float64), w);
                  }),
                  "float64", "float32");
  EXPECT_CONTAINS(error_of([&] {
                    linear(Tensor::zeros({64, 0}), Tensor::zeros({120, 0}));
                  }),
                  "at least one feature");
  EXPECT_CONTAINS(error_of([&] {
                    linear(Tensor::zeros({64, 400}), Tensor::zeros({400}));
                  }),
                  "weight");
}

TEST(Matmul, ErrorsGiveTheFix) {
  EXPECT_CONTAINS(error_of([] {
                    matmul(Tensor::zeros({2, 3}), Tensor::zeros({4, 3}));
                  }),
                  "matmul", "3 columns", "4 rows", "transposed");
  EXPECT_CONTAINS(error_of([] { matmul(Tensor::zeros({2, 3}), Tensor::zeros({3})); }), "[M, K]");
  EXPECT_CONTAINS(error_of([] {
                    matmul(Tensor::zeros({2, 3, 4}), Tensor::zeros({2, 5, 4}));
                  }),
                  "b.permute({0, 2, 1})");
}

TEST(Matmul, AddsUpNoProductsToZero) {
  expect_identical(matmul(Tensor::zeros({2, 0}), Tensor::zeros({0, 3})), Tensor::zeros({2, 3}));
}

TEST(Linear, TakesAnyNumberOfAxesInFront) {
  const Tensor x = random_tensor({2, 3, 4}, 41);
  const Tensor w = random_tensor({5, 4}, 42);
  const Tensor y = linear(x, w);
  EXPECT_EQ(y.shape(), (Shape{2, 3, 5}));
  expect_close(y.reshape({6, 5}), linear(x.reshape({6, 4}), w), 0);
}

TEST(Linear, TakesASingleSample) {
  const Tensor w = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  const Tensor y = linear(Tensor::ones({3}), w, Tensor::from<float>({1, -1}, {2}));
  EXPECT_EQ(y.shape(), Shape({2}));
  EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{7, 14}));
}

TEST(Matmul, BatchesBroadcast) {
  const Tensor a = random_tensor({2, 1, 3, 4}, 43);
  const Tensor b = random_tensor({5, 4, 2}, 44);
  const Tensor y = matmul(a, b);
  EXPECT_EQ(y.shape(), (Shape{2, 5, 3, 2}));
  for (std::int64_t i = 0; i < 2; ++i) {
    for (std::int64_t j = 0; j < 5; ++j) {
      const Tensor expected =
          matmul(a.slice(0, i, i + 1).reshape({3, 4}), b.slice(0, j, j + 1).reshape({4, 2}));
      expect_close(y.slice(0, i, i + 1).slice(1, j, j + 1).reshape({3, 2}), expected,
                   8 * roundoff(DType::float64));
    }
  }
  EXPECT_CONTAINS(error_of([&] {
                    matmul(a, random_tensor({3, 3, 4, 2}, 45));
                  }),
                  "matmul", "do not broadcast: 2 against 3");
}

}  // namespace
}  // namespace fovea::testing
