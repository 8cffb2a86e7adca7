// Tensors for tests.
#include "support/tensors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/tensor_impl.h"
#include "fovea/random.h"

namespace fovea::testing {

Tensor random_tensor(const Shape& shape, std::uint64_t seed, DType dtype, double low, double high) {
  Generator generator{.seed = seed};
  return uniform(shape, low, high, generator, dtype);
}

Tensor spread_tensor(const Shape& shape, std::uint64_t seed, DType dtype) {
  Generator generator{.seed = seed};
  const std::vector<std::int64_t> places = permutation(shape.numel(), generator);
  std::vector<double> values;
  values.reserve(places.size());
  for (const std::int64_t place : places) {
    // Multiples of 2 / numel, moved by a quarter of a step so that none is zero.
    values.push_back((static_cast<double>(place) + 0.25) * 2 / static_cast<double>(places.size()) -
                     1);
  }
  Tensor result = Tensor::empty(shape, dtype);
  result.copy_from(Tensor::from(values, shape));
  return result;
}

Tensor scattered(const Tensor& tensor) {
  const int rank = tensor.rank();
  Shape reversed;
  Shape axes;
  for (int axis = rank - 1; axis >= 0; --axis) {
    reversed.push_back(tensor.shape()[axis] * 2);
    axes.push_back(axis);
  }
  const Tensor block = Tensor::full(reversed, 77, tensor.dtype());
  Strides strides = Shape::filled(rank, 0);
  for (int axis = 0; axis < rank; ++axis) strides[axis] = 2 * block.strides()[rank - 1 - axis];
  Tensor result = view::strided(block, 0, tensor.shape(), strides);
  copy_elements(tensor, result);
  return result;
}

double max_abs(const Tensor& tensor) {
  double largest = 0;
  for (const double value : tensor.to_vector<double>())
    largest = std::max(largest, std::abs(value));
  return largest;
}

void expect_close(const Tensor& actual, const Tensor& expected, double tolerance) {
  ASSERT_EQ(actual.shape(), expected.shape());
  const std::vector<double> a = actual.to_vector<double>();
  const std::vector<double> e = expected.to_vector<double>();
  const double allowed = tolerance * std::max(1.0, max_abs(expected));
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const bool equal = a[i] == e[i] || (std::isnan(a[i]) && std::isnan(e[i]));
    if (equal || std::abs(a[i] - e[i]) <= allowed) continue;
    if (++wrong == 1) {
      ADD_FAILURE() << "element " << i << " of " << actual.describe() << " is " << a[i]
                    << ", expected " << e[i] << ", difference " << a[i] - e[i] << ", allowed "
                    << allowed;
    }
  }
  EXPECT_EQ(wrong, 0U) << "elements differ out of " << a.size();
}

void expect_identical(const Tensor& actual, const Tensor& expected) {
  ASSERT_EQ(actual.shape(), expected.shape());
  ASSERT_EQ(actual.dtype(), expected.dtype());
  expect_close(actual, expected, 0);
}

double roundoff(DType dtype) {
  return std::ldexp(1.0, dtype == DType::float32 ? -24 : -53);
}

}  // namespace fovea::testing
