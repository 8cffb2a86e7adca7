// What convolutions are, as properties of random shapes: the identities that the lectures prove
// (A: Hare, B: Kolter, C: Scardapane).
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "fovea/conv.h"
#include "fovea/explain.h"
#include "fovea/functions.h"
#include "fovea/signal.h"
#include "support/conv_problems.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

using explain::average_over_shifts;
using explain::circulant;
using explain::shift_matrix;
using signal::Complex;
using signal::Mode;

// A signal's shape: one to three dimensions, at most 60 places.
Shape any_signal() {
  const int rank = *rc::gen::inRange(1, 4);
  Shape shape;
  for (int axis = 0; axis < rank; ++axis) {
    shape.push_back(*rc::gen::inRange<std::int64_t>(1, rank == 1 ? 60 : rank == 2 ? 8 : 4));
  }
  return shape;
}

Tensor any_tensor(const Shape& shape) {
  return random_tensor(shape, *rc::gen::inRange<std::uint64_t>(1, 1 << 20));
}

Shape any_shift(const Shape& signal) {
  Shape shift;
  for (int axis = 0; axis < signal.rank(); ++axis) {
    shift.push_back(*rc::gen::inRange<std::int64_t>(-10, 10));
  }
  return shift;
}

// A problem small enough for its matrix to be written out; several samples need no further matrix.
ConvProblem any_problem() {
  ConvProblem problem;
  problem.padding_mode = *rc::gen::element(PaddingMode::zeros, PaddingMode::circular,
                                           PaddingMode::reflect, PaddingMode::replicate);
  problem.dtype = DType::float64;
  problem.dims = *rc::gen::inRange(1, 4);
  problem.groups = *rc::gen::inRange<std::int64_t>(1, 3);
  problem.in_channels = problem.groups * *rc::gen::inRange<std::int64_t>(1, 4);
  problem.out_channels = problem.groups * *rc::gen::inRange<std::int64_t>(1, 4);
  for (int i = 0; i < problem.dims; ++i) {
    ConvAxis& axis = problem.axes[static_cast<std::size_t>(i)];
    axis.kernel = *rc::gen::inRange<std::int64_t>(1, 4);
    axis.stride = *rc::gen::inRange<std::int64_t>(1, 4);
    axis.dilation = *rc::gen::inRange<std::int64_t>(1, 3);
    axis.padding = {*rc::gen::inRange<std::int64_t>(0, 3), *rc::gen::inRange<std::int64_t>(0, 3)};
    const std::int64_t shortest = axis.span() - axis.padding.before - axis.padding.after;
    // A border of up to three cells can be mirrored in four.
    const std::int64_t least = problem.padding_mode == PaddingMode::reflect ? 4 : 1;
    axis.input = std::max(least, shortest) + *rc::gen::inRange<std::int64_t>(0, 5);
  }
  return problem;
}

Tensor run(const ConvProblem& problem, Pass pass, const Tensor& first, const Tensor& second) {
  const bool to_data = pass == Pass::backward_data;
  const bool to_weights = pass == Pass::backward_weights;
  Tensor result = to_weights
                      ? Tensor::empty(problem.weight_shape(), DType::float64)
                      : Tensor::empty(to_data ? problem.input_shape() : problem.output_shape(),
                                      DType::float64, Layout::channels_last);
  run_conv(make_plan(problem, pass), first.contiguous(Layout::channels_last),
           to_weights ? second.contiguous(Layout::channels_last) : second.contiguous(), result);
  return result;
}

Tensor column(const Tensor& tensor) {
  return tensor.reshape({tensor.numel(), 1});
}
Tensor transposed(const Tensor& matrix) {
  return matrix.permute({1, 0}).contiguous();
}

// Sums of at most a few hundred products of values below one.
void require_close(const Tensor& actual, const Tensor& expected) {
  RC_ASSERT(actual.shape() == expected.shape());
  const double scale = 1 + max_abs(expected);
  RC_ASSERT(max_abs(actual - expected) <= 1e-12 * scale);
}

Tensor circular(const Tensor& x, const Tensor& w) {
  return signal::convolve(x, w, {.mode = Mode::circular, .method = "direct"});
}

RC_GTEST_PROP(Identity, ConvolutionIsMultiplicationByItsMatrix, ()) {
  const ConvProblem problem = any_problem();
  const Tensor x = any_tensor(problem.input_shape());
  const Tensor w = any_tensor(problem.weight_shape());
  const Tensor matrix = explain::matrix(problem).numbers(w);
  require_close(column(run(problem, Pass::forward, x, w)), matmul(matrix, column(x)));
}

RC_GTEST_PROP(Identity, TheTransposedMatrixIsBackwardData, ()) {
  const ConvProblem problem = any_problem();
  const Tensor g = any_tensor(problem.output_shape());
  const Tensor w = any_tensor(problem.weight_shape());
  const Tensor matrix = explain::matrix(problem).numbers(w);
  require_close(column(run(problem, Pass::backward_data, g, w)),
                matmul(transposed(matrix), column(g)));
}

// One group, where all outputs read the same patches [B].
RC_GTEST_PROP(Identity, PatchesTimesWeightsAreTheConvolutionAndTheirTransposeItsGradient, ()) {
  ConvProblem problem = any_problem();
  problem.in_channels /= problem.groups;
  problem.out_channels /= problem.groups;
  problem.groups = 1;
  const Tensor x = any_tensor(problem.input_shape());
  const Tensor w = any_tensor(problem.weight_shape());
  const Tensor g = any_tensor(problem.output_shape());
  const std::int64_t out = problem.out_channels;
  const Tensor patches = explain::patches(problem).numbers(x);
  const Tensor columns = transposed(w.reshape({out, -1}));
  require_close(run(problem, Pass::forward, x, w).reshape({out, -1}),
                transposed(matmul(patches, columns)));
  require_close(run(problem, Pass::backward_weights, x, g).reshape({out, -1}),
                matmul(g.reshape({out, -1}), patches));
}

RC_GTEST_PROP(Identity, LinearConvolutionIsAToeplitzMatrix, ()) {
  const Shape shape = any_signal();
  Shape kernel;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    kernel.push_back(*rc::gen::inRange<std::int64_t>(1, shape.rank() == 1 ? 30 : 5));
  }
  const Tensor x = any_tensor(shape);
  const Tensor w = any_tensor(kernel);
  require_close(column(signal::convolve(x, w)), matmul(explain::toeplitz(w, shape), column(x)));
}

RC_GTEST_PROP(Identity, CircularConvolutionIsItsCirculantMatrixAndTheProductOfSpectra, ()) {
  const Shape shape = any_signal();
  const Tensor x = any_tensor(shape);
  const Tensor w = any_tensor(shape);
  const Tensor y = circular(x, w);
  require_close(column(y), matmul(circulant(w), column(x)));
  const Complex back = signal::ifft(signal::fft(x) * signal::fft(w));
  require_close(back.re, y);
  require_close(back.im, Tensor::zeros(shape, DType::float64));
}

// Which one: the second, correlate's kernel. A real one is transposed instead.
RC_GTEST_PROP(Identity, CrossCorrelationConjugatesOneFactor, ()) {
  const Shape shape = any_signal();
  const Complex x{any_tensor(shape), any_tensor(shape)};
  const Complex w{any_tensor(shape), any_tensor(shape)};
  const Complex y = signal::correlate(x, w, {.mode = Mode::circular, .method = "direct"});
  const Complex back = signal::ifft(signal::fft(x) * signal::conj(signal::fft(w)));
  require_close(back.re, y.re);
  require_close(back.im, y.im);
  const Tensor real = signal::correlate(x.re, w.re, {.mode = Mode::circular});
  require_close(column(real), matmul(transposed(circulant(w.re)), column(x.re)));
}

RC_GTEST_PROP(Identity, CirculantMatricesCommute, ()) {
  const Shape shape = any_signal();
  const Tensor a = circulant(any_tensor(shape));
  const Tensor b = circulant(any_tensor(shape));
  require_close(matmul(a, b), matmul(b, a));
}

RC_GTEST_PROP(Identity, ShiftingCommutesWithCircularConvolution, ()) {
  const Shape shape = any_signal();
  const Tensor x = any_tensor(shape);
  const Tensor w = any_tensor(shape);
  const Tensor shift = shift_matrix(shape, any_shift(shape));
  const auto shifted = [&](const Tensor& tensor) {
    return matmul(shift, column(tensor)).reshape(shape);
  };
  require_close(circular(shifted(x), w), shifted(circular(x, w)));
}

// The converse: what commutes with shifts is a convolution, for averaging leaves it as it is.
RC_GTEST_PROP(Identity, TheAverageOfAnyMatrixOverAllShiftsIsCirculant, ()) {
  const Shape shape = any_signal();
  const std::int64_t n = shape.numel();
  const Tensor average = average_over_shifts(any_tensor({n, n}), shape);
  const Tensor shift = shift_matrix(shape, any_shift(shape));
  require_close(matmul(average, shift), matmul(shift, average));
  // Its first column says it all.
  const Tensor kernel = average.slice(1, 0, 1).reshape(shape);
  require_close(average, circulant(kernel));
}

RC_GTEST_PROP(Identity, AveragingOverShiftsIsAProjection, ()) {
  const Shape shape = any_signal();
  const std::int64_t n = shape.numel();
  const Tensor once = average_over_shifts(any_tensor({n, n}), shape);
  require_close(average_over_shifts(once, shape), once);
  const Tensor circular_matrix = circulant(any_tensor(shape));
  require_close(average_over_shifts(circular_matrix, shape), circular_matrix);
}

RC_GTEST_PROP(Identity, LinearConvolutionCommutes, ()) {
  const Tensor x = any_tensor({*rc::gen::inRange<std::int64_t>(1, 40)});
  const Tensor w = any_tensor({*rc::gen::inRange<std::int64_t>(1, 40)});
  require_close(signal::convolve(x, w), signal::convolve(w, x));
}

}  // namespace
}  // namespace fovea::testing
