// Element-wise operators against loops over single elements and against the standard library.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "fovea/autograd.h"
#include "fovea/error.h"
#include "fovea/executor.h"
#include "fovea/functions.h"
#include "fovea/random.h"
#include "fovea/version.h"
#include "support/errors.h"

namespace fovea {
namespace {

using testing::error_of;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Runs a body on every SIMD target of this machine, and leaves the best one.
void on_every_target(const std::function<void()>& body) {
  for (const std::string& target : simd_targets()) {
    SCOPED_TRACE(target);
    set_simd_target(target);
    body();
  }
  set_simd_target("");
}

// The element of `tensor` that meets `index` of a larger shape under broadcasting.
double broadcast_at(const Tensor& tensor, const Shape& index) {
  Shape own;
  const int extra = index.rank() - tensor.rank();
  for (int i = 0; i < tensor.rank(); ++i) {
    own.push_back(tensor.shape()[i] == 1 ? 0 : index[i + extra]);
  }
  return tensor.at(own);
}

// Calls body(index) for every index of a shape.
void for_each_index(const Shape& shape, const std::function<void(const Shape&)>& body) {
  const std::int64_t count = shape.numel();
  for (std::int64_t i = 0; i < count; ++i) {
    Shape index = shape;
    std::int64_t rest = i;
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      index[axis] = rest % shape[axis];
      rest /= shape[axis];
    }
    body(index);
  }
}

void expect_broadcast(const Tensor& a, const Tensor& b, const Shape& shape) {
  const Tensor sum = add(a, b);
  const Tensor difference = sub(a, b);
  const Tensor product = mul(a, b);
  const Tensor quotient = div(a, b);
  ASSERT_EQ(sum.shape(), shape);
  for_each_index(shape, [&](const Shape& index) {
    const double x = broadcast_at(a, index);
    const double y = broadcast_at(b, index);
    ASSERT_EQ(sum.at(index), x + y) << index;
    ASSERT_EQ(difference.at(index), x - y) << index;
    ASSERT_EQ(product.at(index), x * y) << index;
    ASSERT_EQ(quotient.at(index), x / y) << index;
  });
}

// Units in the last place between two values of one type.
template <class T>
double ulps(T value, T expected) {
  if (std::isnan(value) && std::isnan(expected)) return 0;
  if (value == expected) return 0;
  if (!std::isfinite(value) || !std::isfinite(expected)) return HUGE_VAL;
  const T next = std::nextafter(std::abs(expected), std::numeric_limits<T>::infinity());
  const T unit = next - std::abs(expected);
  return std::abs(static_cast<double>(value) - static_cast<double>(expected)) /
         static_cast<double>(unit);
}

template <class T>
void expect_close_to(const std::vector<T>& inputs, Tensor (*function)(const Tensor&),
                     long double (*exact)(long double), double allowed) {
  const auto count = static_cast<std::int64_t>(inputs.size());
  const std::vector<T> results = function(Tensor::from(inputs, {count})).template to_vector<T>();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const T expected = static_cast<T>(exact(static_cast<long double>(inputs[i])));
    ASSERT_LE(ulps(results[i], expected), allowed)
        << "of " << inputs[i] << ": " << results[i] << " instead of " << expected;
  }
}

// Values of both signs from tiny to `largest`, and the special ones.
template <class T>
std::vector<T> sample_inputs(double largest) {
  std::vector<T> inputs = {T{0}, T{-0.0}, std::numeric_limits<T>::infinity(),
                           -std::numeric_limits<T>::infinity(),
                           std::numeric_limits<T>::quiet_NaN()};
  for (double magnitude = 1e-6; magnitude < largest; magnitude *= 1.003) {
    inputs.push_back(static_cast<T>(magnitude));
    inputs.push_back(static_cast<T>(-magnitude));
  }
  return inputs;
}

long double exact_sigmoid(long double x) {
  return 1 / (1 + std::exp(-x));
}

template <class T>
void expect_functions_accurate() {
  const std::vector<T> inputs = sample_inputs<T>(1000);
  expect_close_to<T>(
      inputs, exp, [](long double x) { return std::exp(x); }, 2);
  expect_close_to<T>(
      inputs, log, [](long double x) { return std::log(x); }, 4);
  expect_close_to<T>(
      inputs, sqrt, [](long double x) { return std::sqrt(x); }, 0.5);
  expect_close_to<T>(inputs, sigmoid, exact_sigmoid, 4);
  expect_close_to<T>(
      inputs, tanh, [](long double x) { return std::tanh(x); }, 4);
}

TEST(Elementwise, BroadcastsAsNumPyDoes) {
  Generator random{.seed = 1};
  const auto draw = [&](const Shape& shape) {
    return uniform(shape, 0.5, 2, random, DType::float64);
  };
  on_every_target([&] {
    expect_broadcast(draw({3, 37}), draw({3, 37}), {3, 37});
    expect_broadcast(draw({2, 3, 4, 5}), draw({3, 1, 1}), {2, 3, 4, 5});
    expect_broadcast(draw({1, 5}), draw({4, 1}), {4, 5});
    expect_broadcast(draw({}), draw({2, 7}), {2, 7});
    expect_broadcast(draw({2, 7}), draw({}), {2, 7});
    expect_broadcast(draw({2, 1, 3, 1}), draw({5, 1, 9}), {2, 5, 3, 9});
    expect_broadcast(draw({}), draw({}), {});
    expect_broadcast(draw({4, 0}), draw({1, 1}), {4, 0});
  });
}

TEST(Elementwise, ReadsOperandsOfAnyMemoryOrder) {
  Generator random{.seed = 2};
  const Tensor a = uniform({2, 3, 4, 5}, 0.5, 2, random, DType::float64);
  const Tensor b = uniform({2, 3, 4, 5}, 0.5, 2, random, DType::float64);
  const Tensor last = b.contiguous(Layout::channels_last);
  expect_broadcast(a, last, {2, 3, 4, 5});
  expect_broadcast(last, a, {2, 3, 4, 5});
  expect_broadcast(a.permute({3, 1, 0, 2}), last.permute({3, 1, 0, 2}), {5, 3, 2, 4});
  expect_broadcast(a.slice(3, 0, 5, 2), last.slice(3, 0, 5, 2), {2, 3, 4, 3});
  expect_broadcast(last, broadcast_to(a.slice(0, 0, 1), {2, 3, 4, 5}), {2, 3, 4, 5});
  expect_broadcast(broadcast_to(a.slice(1, 0, 1), {2, 3, 4, 5}), last, {2, 3, 4, 5});
  expect_broadcast(last, a.slice(0, 0, 1).slice(3, 1, 2), {2, 3, 4, 5});
  const Tensor repeated = broadcast_to(a.slice(2, 0, 1), {2, 3, 4, 5});
  const Tensor negative = neg(repeated);
  for_each_index({2, 3, 4, 5},
                 [&](const Shape& index) { EXPECT_EQ(negative.at(index), -repeated.at(index)); });
}

TEST(Elementwise, KeepsTheMemoryOrderOfTheFirstDenseOperandOfFullShape) {
  const Tensor last = Tensor::ones({2, 3, 4, 5}).contiguous(Layout::channels_last);
  const Tensor row = Tensor::ones({2, 3, 4, 5});
  const Tensor bias = Tensor::ones({3, 1, 1});
  EXPECT_TRUE(add(last, bias).is_contiguous(Layout::channels_last));
  EXPECT_TRUE(add(bias, last).is_contiguous(Layout::channels_last));
  EXPECT_TRUE(add(last, row).is_contiguous(Layout::channels_last));
  EXPECT_TRUE(add(row, last).is_contiguous());
  EXPECT_TRUE(add(row.slice(3, 0, 5), last).is_contiguous());
  EXPECT_TRUE(add(broadcast_to(bias, {2, 3, 4, 5}), last).is_contiguous(Layout::channels_last));
  EXPECT_TRUE(relu(last).is_contiguous(Layout::channels_last));
  EXPECT_TRUE(exp(last.slice(3, 0, 5, 2)).is_contiguous(Layout::channels_last));
}

TEST(Elementwise, FunctionsAreAccurateToAFewUlpOnEveryTarget) {
  on_every_target([] {
    expect_functions_accurate<float>();
    expect_functions_accurate<double>();
  });
}

TEST(Elementwise, FunctionsAreRightAtTheExtremes) {
  on_every_target([] {
    const Tensor x = Tensor::from<float>({-1000, 1000, -kInf, kInf, kNan, 0}, {6});
    const auto values = [](const Tensor& tensor) { return tensor.to_vector<float>(); };
    EXPECT_EQ(values(sigmoid(x.slice(0, 0, 4))), (std::vector<float>{0, 1, 0, 1}));
    EXPECT_EQ(values(exp(x.slice(0, 0, 4))), (std::vector<float>{0, kInf, 0, kInf}));
    EXPECT_EQ(values(tanh(x.slice(0, 0, 4))), (std::vector<float>{-1, 1, -1, 1}));
    EXPECT_EQ(values(relu(x.slice(0, 0, 4))), (std::vector<float>{0, 1000, 0, kInf}));
    for (Tensor (*function)(const Tensor&) : {sigmoid, exp, tanh, relu, log, fovea::sqrt}) {
      EXPECT_TRUE(std::isnan(function(x).at({4})));
    }
    EXPECT_EQ(log(x).at({5}), -HUGE_VAL);
    EXPECT_TRUE(std::isnan(log(x).at({0})));
    EXPECT_EQ(log(x).at({3}), HUGE_VAL);
    const double tiny = 1e-310;
    EXPECT_NEAR(log(Tensor::scalar(tiny, DType::float64)).item<double>(), std::log(tiny), 1e-12);
    const double high = 709.7;  // e^709.78 is the largest double
    EXPECT_NEAR(exp(Tensor::scalar(high, DType::float64)).item<double>() / std::exp(high), 1,
                1e-15);
  });
}

TEST(Elementwise, ElementsAtTheEndOfARowAreComputedAsAllOthers) {
  on_every_target([] {
    Generator random{.seed = 3};
    const Tensor x = uniform({77}, -3, 3, random);
    const std::vector<float> whole = tanh(x).to_vector<float>();
    for (std::int64_t length : {1, 3, 8, 31, 76}) {
      const std::vector<float> part = tanh(x.slice(0, 77 - length, 77)).to_vector<float>();
      EXPECT_EQ(part, std::vector<float>(whole.end() - length, whole.end()));
    }
  });
}

TEST(Elementwise, ScalarsTakePart) {
  const Tensor x = Tensor::from<double>({1, 2, 4}, {3});
  EXPECT_EQ((x + 1.5).to_vector<double>(), (std::vector<double>{2.5, 3.5, 5.5}));
  EXPECT_EQ((3.0 - x).to_vector<double>(), (std::vector<double>{2, 1, -1}));
  EXPECT_EQ((x * -2).to_vector<double>(), (std::vector<double>{-2, -4, -8}));
  EXPECT_EQ((1.0 / x).to_vector<double>(), (std::vector<double>{1, 0.5, 0.25}));
}

TEST(Elementwise, ResultsAreTheSameBitsForAnyNumberOfThreads) {
  Generator random{.seed = 4};
  const Tensor x = uniform({5, 7, 61, 67}, -3, 3, random).contiguous(Layout::channels_last);
  const Tensor bias = uniform({7, 1, 1}, -1, 1, random);
  const int threads = num_threads();
  std::vector<std::vector<float>> results;
  for (int count : {1, 2, 3}) {
    set_num_threads(count);
    results.push_back(sigmoid(mul(add(x, bias), x)).to_vector<float>());
  }
  set_num_threads(threads);
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

TEST(Elementwise, CastConvertsAndItsGradientConvertsBack) {
  Tensor x = Tensor::from<double>({1.5, -2.5}, {2});
  EXPECT_EQ(x.to(DType::int64).to_vector<std::int64_t>(), (std::vector<std::int64_t>{1, -2}));
  x.set_requires_grad();
  const Tensor loss = sum(mul(x.to(DType::float32), Tensor::from<float>({3, 4}, {2})));
  loss.backward();
  EXPECT_EQ(x.grad().dtype(), DType::float64);
  EXPECT_EQ(x.grad().to_vector<double>(), (std::vector<double>{3, 4}));
}

TEST(Elementwise, GradientsOfBroadcastInputsAreSummedToTheirShape) {
  Generator random{.seed = 5};
  Tensor a = uniform({2, 3, 4}, 0.5, 2, random, DType::float64);
  Tensor b = uniform({3, 1}, 0.5, 2, random, DType::float64);
  a.set_requires_grad();
  b.set_requires_grad();
  const std::vector<Tensor> grads = grad({sum(div(a, b))}, {a, b});
  ASSERT_EQ(grads[0].shape(), a.shape());
  ASSERT_EQ(grads[1].shape(), b.shape());
  for (std::int64_t j = 0; j < 3; ++j) {
    double expected = 0;
    for (std::int64_t i = 0; i < 2; ++i) {
      for (std::int64_t k = 0; k < 4; ++k) expected -= a.at({i, j, k});
    }
    expected /= b.at({j, 0}) * b.at({j, 0});
    EXPECT_NEAR(grads[1].at({j, 0}), expected, 1e-13);
    EXPECT_DOUBLE_EQ(grads[0].at({1, j, 2}), 1 / b.at({j, 0}));
  }
}

// Errors of central differences: h^2 f''' / 6 + eps / h = 1e-10 for the first, 1e-8 + 4 eps / h^2 =
// 1e-7 for the second.
void expect_derivatives(Tensor (*function)(const Tensor&), double low, double high) {
  Generator random{.seed = 6};
  Tensor x = uniform({9}, low, high, random, DType::float64);
  x.set_requires_grad();
  const Tensor first = grad({sum(function(x))}, {x}, {.create_graph = true, .grad_outputs = {}})[0];
  const Tensor second = grad({sum(first)}, {x})[0];
  const NoGrad off;
  const auto around = [&](double step) {
    return std::pair(function(x + step), function(x - step));
  };
  const auto [above, below] = around(1e-5);
  const Tensor slope = (above - below) * 5e4;
  const auto [far_above, far_below] = around(1e-4);
  const Tensor curvature = (far_above + far_below - function(x) * 2.0) * 1e8;
  for (std::int64_t i = 0; i < 9; ++i) {
    EXPECT_NEAR(first.at({i}), slope.at({i}), 1e-8);
    EXPECT_NEAR(second.at({i}), curvature.at({i}), 1e-6);
  }
}

TEST(Elementwise, FirstAndSecondDerivativesAgreeWithDifferences) {
  expect_derivatives(exp, -1, 1);
  expect_derivatives(log, 1, 2);
  expect_derivatives(fovea::sqrt, 1, 2);
  expect_derivatives(sigmoid, -2, 2);
  expect_derivatives(tanh, -2, 2);
  expect_derivatives([](const Tensor& x) { return mul(x, mul(x, x)); }, -1, 1);
  expect_derivatives([](const Tensor& x) { return div(x, 1.0 + mul(x, x)); }, -1, 1);
}

TEST(Elementwise, ReluPassesTheGradientWhereItsOutputIsPositive) {
  Tensor x = Tensor::from<float>({-1, 0, 2, 3}, {4});
  x.set_requires_grad();
  const Tensor g = Tensor::from<float>({5, 6, 7, 8}, {4});
  const Tensor dx = grad({relu(x)}, {x}, {.grad_outputs = {g}})[0];
  EXPECT_EQ(dx.to_vector<float>(), (std::vector<float>{0, 0, 7, 8}));
}

// The text of the Error that `body` throws.
TEST(Elementwise, ErrorsNameTheOperatorAndWhatDoesNotFit) {
  const Tensor images = Tensor::zeros({8, 6, 24, 24});
  const std::string shapes = error_of([&] { add(images, Tensor::zeros({6})); });
  EXPECT_NE(shapes.find("add"), std::string::npos) << shapes;
  EXPECT_NE(shapes.find("[8, 6, 24, 24]"), std::string::npos) << shapes;
  EXPECT_NE(shapes.find("reshape([6, 1, 1])"), std::string::npos) << shapes;
  const std::string types = error_of([&] { mul(images, Tensor::zeros({}, DType::float64)); });
  EXPECT_NE(types.find("mul: "), std::string::npos) << types;
  EXPECT_NE(types.find("float64"), std::string::npos) << types;
  const std::string integers = error_of([] { relu(Tensor::zeros({3}, DType::int64)); });
  EXPECT_NE(integers.find("relu: input is int64"), std::string::npos) << integers;
}

}  // namespace
}  // namespace fovea
