// Normalisation against its definition, in every memory order, on every SIMD target.
#include <gtest/gtest.h>

#include <cmath>

#include "fovea/autograd.h"
#include "fovea/functions.h"
#include "support/errors.h"
#include "support/settings.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

// (x - mean) / sqrt(variance + eps) over `axes`, from operators.
Tensor normalized(const Tensor& x, const Shape& axes, double eps) {
  const Tensor centred = x - mean(x, axes, true);
  return centred / sqrt(mean(centred * centred, axes, true) + eps);
}

Tensor per_channel(const Tensor& values, int rank) {
  Shape shape = Shape::filled(rank - 1, 1);
  shape[0] = values.size(0);
  return values.reshape(shape);
}

Shape space_and(std::int64_t first, int rank) {
  Shape axes = {first};
  for (int axis = 2; axis < rank; ++axis) axes.push_back(axis);
  return axes;
}

// Small channel counts share vectors; large planes are cut into pieces.
const Shape kShapes[] = {{3, 4},          {5, 1, 7},       {2, 3, 4, 5},   {2, 67, 3, 3},
                         {1, 6, 150, 90}, {3, 70, 40, 31}, {2, 3, 4, 3, 2}};

// Sums of float32 terms are rounded a few times, then carried on in double; what remains is the
// rounding of the mean against a spread of order one.
double tolerance(DType dtype) {
  return 32 * roundoff(dtype);
}

TEST(BatchNorm, RefusesAMomentumThatIsNoShare) {
  const Tensor x = Tensor::ones({2, 3});
  const Tensor statistics = Tensor::ones({3});
  const std::string message =
      error_of([&] { batch_norm(x, statistics, statistics, {}, {}, {.momentum = 5}); });
  EXPECT_EQ(message,
            "batch_norm: momentum is 5, but running <- (1 - momentum) running + momentum batch "
            "needs one from 0 to 1");
}

TEST(BatchNorm, IsWhatItsFormulaSaysOnEverySimdTarget) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(shape.to_string());
    const Tensor w = random_tensor({shape[1]}, 2);
    const Tensor b = random_tensor({shape[1]}, 3);
    const Tensor x = random_tensor(shape, 1);
    const Tensor expected =
        normalized(x, space_and(0, shape.rank()), 1e-5) * per_channel(w, shape.rank()) +
        per_channel(b, shape.rank());
    for (const DType dtype : {DType::float32, DType::float64}) {
      for_simd_targets([&] {
        const Tensor mean = Tensor::zeros({shape[1]}, dtype);
        const Tensor variance = Tensor::ones({shape[1]}, dtype);
        const Tensor actual =
            batch_norm(x.to(dtype), mean, variance, w.to(dtype), b.to(dtype), {.training = true});
        expect_close(actual.to(DType::float64), expected, tolerance(dtype));
      });
    }
  }
}

TEST(BatchNorm, BackwardAgreesWithTheFormulaOnEverySimdTarget) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(shape.to_string());
    const int rank = shape.rank();
    Tensor x = random_tensor(shape, 1).set_requires_grad();
    Tensor w = random_tensor({shape[1]}, 2).set_requires_grad();
    Tensor b = random_tensor({shape[1]}, 3).set_requires_grad();
    const Tensor g = random_tensor(shape, 4);
    const Tensor formula =
        normalized(x, space_and(0, rank), 1e-5) * per_channel(w, rank) + per_channel(b, rank);
    const std::vector<Tensor> expected = grad({formula}, {x, w, b}, {.grad_outputs = {g}});
    for_simd_targets([&] {
      const Tensor y =
          batch_norm(x, Tensor::zeros({shape[1]}, DType::float64),
                     Tensor::ones({shape[1]}, DType::float64), w, b, {.training = true});
      const std::vector<Tensor> actual = grad({y}, {x, w, b}, {.grad_outputs = {g}});
      for (std::size_t i = 0; i < 3; ++i) {
        expect_close(actual[i], expected[i],
                     static_cast<double>(shape.numel()) * roundoff(DType::float64));
      }
    });
  }
}

TEST(BatchNorm, KeepsItsAccuracyFarFromZero) {
  // With the sums of squares taken around zero, 12 of 16 digits would cancel.
  const Tensor small = random_tensor({4, 3, 5, 5}, 1);
  const Tensor mean = Tensor::zeros({3}, DType::float64);
  const Tensor variance = Tensor::ones({3}, DType::float64);
  const Tensor near = batch_norm(small, mean, variance, {}, {}, {.training = true});
  const Tensor far = batch_norm(small + 1e6, mean, variance, {}, {}, {.training = true});
  expect_close(far, near, 1e6 * 64 * roundoff(DType::float64));
}

TEST(GroupNorm, IsWhatItsFormulaSaysInAnyLayout) {
  for (const Shape& shape : kShapes) {
    if (shape.rank() == 2) continue;
    for (const std::int64_t groups : {std::int64_t{1}, shape[1]}) {
      SCOPED_TRACE(shape.to_string());
      const Tensor x = random_tensor(shape, 1);
      Shape view = {shape[0], groups, shape.numel() / shape[0] / groups};
      const Tensor expected = normalized(x.reshape(view), {2}, 1e-5).reshape(shape);
      const double bound = 64 * roundoff(DType::float64);
      expect_close(group_norm(x, groups), expected, bound);
      expect_close(group_norm(x.contiguous(Layout::channels_last), groups), expected, bound);
    }
  }
}

TEST(LayerNorm, IsWhatItsFormulaSaysInAnyLayout) {
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(shape.to_string());
    for (const int axes : {1, shape.rank() - 1}) {
      const Tensor x = random_tensor(shape, 1);
      const Shape inner(std::span<const std::int64_t>(shape.end() - axes, shape.end()));
      Shape reduced;
      for (int axis = shape.rank() - axes; axis < shape.rank(); ++axis) reduced.push_back(axis);
      const Tensor w = random_tensor(inner, 2);
      const Tensor b = random_tensor(inner, 3);
      const Tensor expected = normalized(x, reduced, 1e-5) * w + b;
      const double bound = 64 * roundoff(DType::float64);
      expect_close(layer_norm(x, inner, w, b), expected, bound);
      expect_close(layer_norm(x.contiguous(Layout::channels_last), inner, w, b), expected, bound);
    }
  }
}

TEST(LocalResponseNorm, DividesByItsNeighbours) {
  const Tensor x = Tensor::from<double>({1, 2, 3}, {1, 3});
  const Tensor y = local_response_norm(x, 3, {.alpha = 3, .beta = 1, .k = 1});
  // 1 + the squares of the channel and of those beside it.
  expect_close(y, Tensor::from<double>({1.0 / 6, 2.0 / 15, 3.0 / 14}, {1, 3}),
               4 * roundoff(DType::float64));
  // Of an even window, the channel more lies before.
  const Tensor even = local_response_norm(x, 2, {.alpha = 2, .beta = 1, .k = 1});
  expect_close(even, Tensor::from<double>({1.0 / 2, 2.0 / 6, 3.0 / 14}, {1, 3}),
               4 * roundoff(DType::float64));
}

TEST(LocalResponseNorm, Float32AgreesWithFloat64ForAnyNumberOfChannels) {
  for (const std::int64_t channels : {1, 16, 31, 48, 64, 80, 1024, 1040}) {
    for (const double beta : {0.75, 0.5}) {
      const ResponseNormOptions options{.alpha = 0.7, .beta = beta, .k = 1.5};
      const Tensor exact = random_tensor({2, channels, 5, 7}, 3, DType::float64, -2, 2);
      const Tensor v = random_tensor(exact.shape(), 4);
      const auto both = [&](const Tensor& values) {
        const Tensor x = values.detach().set_requires_grad();
        const Tensor y = local_response_norm(x, 5, options);
        return std::vector<Tensor>{y, grad({y}, {x}, {.grad_outputs = {v.to(x.dtype())}}).front()};
      };
      const std::vector<Tensor> expected = both(exact.to(DType::float32).to(DType::float64));
      for_simd_targets([&] {
        const std::vector<Tensor> actual = both(exact.to(DType::float32));
        for (std::size_t i = 0; i < 2; ++i)
          expect_close(actual[i].to(DType::float64), expected[i], 32 * roundoff(DType::float32));
      });
    }
  }
}

TEST(LocalResponseNorm, KeepsNanForAnyExponent) {
  const Tensor x = Tensor::from<float>({1, NAN, 1, 1}, {1, 4, 1, 1});
  for (const double beta : {0.5, 0.75, 1.0, 1.3}) {
    const auto y = local_response_norm(x, 3, {.beta = beta}).to_vector<float>();
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(std::isnan(y[i]), i < 3) << beta << ' ' << i;
  }
}

TEST(Norm, SameBitsForAnyNumberOfThreads) {
  const Tensor values = random_tensor({3, 40, 60, 31}, 8, DType::float32);
  std::vector<Tensor> first;
  for_thread_counts([&] {
    Tensor x = values.detach().set_requires_grad();
    const Tensor mean = Tensor::zeros({40});
    const Tensor variance = Tensor::ones({40});
    std::vector<Tensor> results;
    for (const Tensor& y :
         {batch_norm(x, mean, variance, {}, {}, {.training = true}), batch_norm(x, mean, variance),
          group_norm(x, 4), layer_norm(x, {40, 60, 31}), layer_norm(x, {31}),
          local_response_norm(x, 5)}) {
      results.push_back(y);
      results.push_back(grad({sum(y * values)}, {x}).front());
    }
    results.push_back(mean);
    results.push_back(variance);
    if (first.empty()) first = results;
    for (std::size_t i = 0; i < results.size(); ++i) expect_identical(results[i], first[i]);
  });
}

TEST(Norm, ErrorsNameWhatIsWrong) {
  const Tensor x = Tensor::zeros({1, 3});
  const Tensor c = Tensor::zeros({3});
  EXPECT_EQ(error_of([&] { batch_norm(x, c, c, {}, {}, {.training = true}); }),
            "batch_norm: input [1, 3] has one value per channel, whose "
            "variance is zero. "
            "Use a batch of more than one, or evaluation.");
  EXPECT_CONTAINS(error_of([&] { batch_norm(x, c, Tensor::zeros({4})); }), "running variance");
  EXPECT_CONTAINS(error_of([&] { batch_norm(x, c, c, {}, {}, {.eps = 0}); }), "eps");
  EXPECT_CONTAINS(error_of([&] { instance_norm(x); }), "[N, C, spatial...]");
  EXPECT_CONTAINS(error_of([&] { layer_norm(x, {4}); }), "layer_norm", "[4]");
  EXPECT_CONTAINS(error_of([&] { group_norm(Tensor::zeros({2, 3, 0}), 1); }), "no elements");
  EXPECT_CONTAINS(error_of([&] { local_response_norm(x, 0); }), "size");
  EXPECT_CONTAINS(error_of([&] { local_response_norm(x, 3, {.k = 0}); }), "k is 0");
}

}  // namespace
}  // namespace fovea::testing
