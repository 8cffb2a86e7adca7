// Convolutions as matrices: the lectures' examples, and what the structure promises.
#include <gtest/gtest.h>

#include "fovea/explain.h"
#include "fovea/functions.h"
#include "fovea/signal.h"
#include "support/errors.h"
#include "support/tensors.h"

namespace fovea::explain {
namespace {

using testing::error_of;
using testing::expect_close;
using testing::expect_identical;
using testing::random_tensor;

Tensor square(std::initializer_list<double> values) {
  std::int64_t side = 1;
  while (side * side < static_cast<std::int64_t>(values.size())) ++side;
  return Tensor::from(values, {side, side});
}

Tensor transposed(const Tensor& matrix) {
  return matrix.permute({1, 0}).contiguous();
}

TEST(Matrix, OfAZeroPaddedConvolutionIsToeplitz) {
  const MatrixPattern pattern = matrix(ConvProblem::parse("mb1ic1iw5oc1kw3pw1+f64"));
  expect_identical(
      pattern.numbers(Tensor::from<double>({1, 2, 3}, {1, 1, 3})),
      square({2, 3, 0, 0, 0, 1, 2, 3, 0, 0, 0, 1, 2, 3, 0, 0, 0, 1, 2, 3, 0, 0, 0, 1, 2}));
}

TEST(Matrix, OfAnImageIsDoublyBlocked) {
  const ConvProblem problem = ConvProblem::parse("ic1ih3oc1kh2+f64");
  const MatrixPattern pattern = matrix(problem);
  EXPECT_EQ(pattern.rows, 4);
  EXPECT_EQ(pattern.columns, 9);
  const Tensor numbers = pattern.numbers(Tensor::from<double>({1, 2, 3, 4}, {1, 1, 2, 2}));
  expect_identical(numbers,
                   Tensor::from<double>({1, 2, 0, 3, 4, 0, 0, 0, 0, 0, 1, 2, 0, 3, 4, 0, 0, 0,
                                         0, 0, 0, 1, 2, 0, 3, 4, 0, 0, 0, 0, 0, 1, 2, 0, 3, 4},
                                        {4, 9}));
}

TEST(Matrix, OfACircularConvolutionIsTheTransposeOfTheCirculantMatrix) {
  const MatrixPattern pattern = matrix(ConvProblem::parse("ic1iw5oc1kw3+pw0:2+circular+f64"));
  const Tensor w = Tensor::from<double>({1, 2, 3, 0, 0}, {5});
  expect_identical(pattern.numbers(Tensor::from<double>({1, 2, 3}, {1, 1, 3})),
                   transposed(circulant(w)));
}

TEST(Matrix, OfARepeatedBorderAddsWeightsUp) {
  const MatrixPattern pattern = matrix(ConvProblem::parse("ic1iw3oc1kw3pw1+replicate+f64"));
  expect_identical(pattern.numbers(Tensor::from<double>({1, 2, 4}, {1, 1, 3})),
                   square({3, 4, 0, 1, 2, 4, 0, 1, 6}));
}

TEST(Matrix, OfPatchesShowsWhatEachTapReads) {
  const MatrixPattern pattern = patches(ConvProblem::parse("ic1iw5oc1kw3pw1+f64"));
  EXPECT_EQ(pattern.source, (Shape{1, 1, 5}));
  expect_identical(pattern.numbers(Tensor::from<double>({1, 2, 3, 4, 5}, {1, 1, 5})),
                   Tensor::from<double>({0, 1, 2, 1, 2, 3, 2, 3, 4, 3, 4, 5, 4, 5, 0}, {5, 3}));
}

TEST(Matrix, ToeplitzIsFullConvolution) {
  expect_identical(toeplitz(Tensor::from<double>({1, 2, 3}, {3}), {2}),
                   Tensor::from<double>({1, 0, 2, 1, 3, 2, 0, 3}, {4, 2}));
  const Tensor w = random_tensor({2, 3}, 1);
  const Tensor x = random_tensor({4, 3}, 2);
  const Tensor y = signal::convolve(x, w, {.method = "direct"});
  expect_close(matmul(toeplitz(w, x.shape()), x.reshape({12, 1})).reshape(y.shape()), y, 1e-14);
}

TEST(Matrix, CirculantFollowsTheDifferenceOfItsIndices) {
  expect_identical(circulant(Tensor::from<double>({1, 2, 3}, {3})),
                   square({1, 3, 2, 2, 1, 3, 3, 2, 1}));
  expect_identical(circulant(Tensor::from<float>({1, 2, 3, 4}, {2, 2})),
                   Tensor::from<float>({1, 2, 3, 4, 2, 1, 4, 3, 3, 4, 1, 2, 4, 3, 2, 1}, {4, 4}));
}

TEST(Matrix, ShiftMovesASignal) {
  const Tensor x = Tensor::from<double>({1, 2, 3, 4}, {4, 1});
  expect_identical(matmul(shift_matrix({4}, {1}), x), Tensor::from<double>({4, 1, 2, 3}, {4, 1}));
  expect_identical(matmul(shift_matrix({4}, {-2}), x), Tensor::from<double>({3, 4, 1, 2}, {4, 1}));
  expect_identical(shift_matrix({4}, {0}), shift_matrix({4}, {8}));
  expect_identical(matmul(shift_matrix({2, 2}, {0, 1}), x),
                   Tensor::from<double>({2, 1, 4, 3}, {4, 1}));
}

TEST(AverageOverShifts, TakesTheMeanOfEachDiagonal) {
  expect_close(average_over_shifts(square({1, 2, 3, 4, 5, 6, 7, 8, 9}), {3}),
               square({5, 5, 5, 5, 5, 5, 5, 5, 5}), 1e-15);
  expect_close(average_over_shifts(square({1, 0, 0, 6, 2, 0, 0, 3, 3}), {3}),
               square({2, 0, 3, 3, 2, 0, 0, 3, 2}), 1e-15);
}

TEST(AverageOverShifts, IsTheMeanOfAllShiftedMatrices) {
  const Shape signal{2, 3};
  const Tensor m = random_tensor({6, 6}, 3);
  Tensor sum = Tensor::zeros({6, 6}, DType::float64);
  for (std::int64_t i = 0; i < 2; ++i) {
    for (std::int64_t j = 0; j < 3; ++j) {
      const Tensor shift = shift_matrix(signal, {i, j});
      sum = sum + matmul(matmul(transposed(shift), m), shift);
    }
  }
  expect_close(average_over_shifts(m, signal), sum * (1.0 / 6), 1e-15);
}

TEST(Matrix, ErrorsSayWhatIsWrong) {
  EXPECT_CONTAINS(error_of([] { matrix(ConvProblem::parse("ic64ih56oc64kh3")); }), "products",
                  "smaller");
  EXPECT_CONTAINS(error_of([] { matrix(ConvProblem::parse("ic1ih100oc1kh1")); }), "10000 x 10000");
  EXPECT_CONTAINS(error_of([] { matrix(ConvProblem::parse("ic1iw5oc1kw3pw1+mean")); }), "means");
  EXPECT_CONTAINS(error_of([] { patches(ConvProblem::parse("ic1iw5oc1kw3pw1+constant:2")); }),
                  "no part of the input");
  EXPECT_CONTAINS(error_of([] { circulant(Tensor::zeros({5000})); }), "5000 x 5000");
  EXPECT_CONTAINS(error_of([] { toeplitz(Tensor::zeros({3}), {4, 4}); }), "[4, 4]");
  EXPECT_CONTAINS(error_of([] { shift_matrix({4}, {1, 1}); }), "[1, 1]", "[4]");
  EXPECT_CONTAINS(error_of([] {
                    average_over_shifts(Tensor::zeros({4, 3}), {4});
                  }),
                  "[4, 3]", "[4, 4]");
  EXPECT_CONTAINS(
      error_of([] { matrix(ConvProblem::parse("ic1iw5oc1kw3")).numbers(Tensor::zeros({3})); }),
      "[1, 1, 3]", "[3]");
}

}  // namespace
}  // namespace fovea::explain
