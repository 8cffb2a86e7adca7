// Views: which ones share memory, what they show, and their gradients.
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "fovea/autograd.h"
#include "fovea/error.h"
#include "fovea/functions.h"
#include "fovea/random.h"
#include "ops/families.h"
#include "support/errors.h"

namespace fovea {
namespace {

using testing::error_of;

constexpr std::int64_t kEnd = std::numeric_limits<std::int64_t>::max();

Tensor counting(const Shape& shape) {
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  return Tensor::from(values, shape);
}

std::vector<float> values(const Tensor& tensor) {
  return tensor.to_vector<float>();
}

bool share_memory(const Tensor& a, const Tensor& b) {
  return a.impl()->storage == b.impl()->storage;
}

// What run() of a view operator writes, beside what its view shows.
void expect_run_equals_view(const OpDef& op, const Tensor& input, const Attributes& attributes) {
  const TensorSpec spec = spec_of(input);
  const TensorSpec expected = op.infer({&spec, 1}, attributes)[0];
  Tensor output = allocate_tensor(expected);
  op.run({&input, 1}, attributes, {&output, 1});
  const Tensor shown = apply1(op, {input}, attributes);
  EXPECT_EQ(output.shape(), shown.shape()) << op.name;
  EXPECT_EQ(values(output), values(shown)) << op.name;
}

TEST(View, ReshapeSharesMemoryAndResolvesOneOpenSize) {
  const Tensor x = counting({2, 3, 4});
  const Tensor y = x.reshape({2, -1});
  EXPECT_EQ(y.shape(), Shape({2, 12}));
  EXPECT_TRUE(share_memory(x, y));
  EXPECT_EQ(values(y), values(x));
  EXPECT_EQ(x.reshape({-1}).shape(), Shape({24}));
  EXPECT_EQ(Tensor::zeros({0, 3}).reshape({3, -1}).shape(), Shape({3, 0}));
}

TEST(View, ReshapeCopiesWhereStridesDemandItInRowMajorOrder) {
  const Tensor x = counting({2, 3, 2, 2});
  const Tensor last = x.contiguous(Layout::channels_last);
  const Tensor flat = last.reshape({2, 12});
  EXPECT_FALSE(share_memory(last, flat));
  EXPECT_EQ(values(flat), values(x));
}

TEST(View, ReshapeRefusesWhatDoesNotFit) {
  const Tensor x = counting({2, 3, 4});
  EXPECT_CONTAINS(error_of([&] { x.reshape({5, 5}); }), "[2, 3, 4] has 24 elements");
  EXPECT_CONTAINS(error_of([&] { x.reshape({7, -1}); }), "divide by 7");
  EXPECT_CONTAINS(error_of([&] { x.reshape({-1, -1}); }), "more than one -1");
  EXPECT_CONTAINS(error_of([&] { x.reshape({-2, 12}); }), "size -2");
  EXPECT_CONTAINS(error_of([&] { x.reshape({1LL << 40, 1LL << 40}); }), "too large");
}

TEST(View, PermuteMovesAxesWithoutCopying) {
  const Tensor x = counting({2, 3, 4});
  const Tensor y = x.permute({2, 0, -2});
  EXPECT_EQ(y.shape(), Shape({4, 2, 3}));
  EXPECT_TRUE(share_memory(x, y));
  EXPECT_EQ(y.at({3, 1, 2}), x.at({1, 2, 3}));
  EXPECT_CONTAINS(error_of([&] { x.permute({0, 1, 1}); }), "axis 1 twice");
  EXPECT_CONTAINS(error_of([&] { x.permute({0, 1}); }), "names 2 axes");
  EXPECT_CONTAINS(error_of([&] { x.permute({0, 1, 3}); }), "axis 3");
}

TEST(View, SliceCountsAsPythonDoes) {
  const Tensor x = counting({10});
  EXPECT_EQ(values(x.slice(0, 2, 5)), (std::vector<float>{2, 3, 4}));
  EXPECT_EQ(values(x.slice(0, -3, kEnd)), (std::vector<float>{7, 8, 9}));
  EXPECT_EQ(values(x.slice(-1, 0, 10, 4)), (std::vector<float>{0, 4, 8}));
  EXPECT_EQ(values(x.slice(0, 1, -1, 3)), (std::vector<float>{1, 4, 7}));
  EXPECT_EQ(values(x.slice(0, -100, 100, kEnd)), (std::vector<float>{0}));
  EXPECT_EQ(x.slice(0, 5, 2).shape(), Shape({0}));
  EXPECT_TRUE(share_memory(x, x.slice(0, 2, 5)));
  EXPECT_CONTAINS(error_of([&] { x.slice(1, 0, 1); }), "axis 1");
  EXPECT_CONTAINS(error_of([&] { x.slice(0, 0, 1, 0); }), "step is 0");
}

TEST(View, ContiguousIsItselfWhereItAlreadyIs) {
  const Tensor x = counting({2, 3, 2, 2});
  EXPECT_TRUE(share_memory(x, x.contiguous()));
  const Tensor last = x.contiguous(Layout::channels_last);
  EXPECT_FALSE(share_memory(x, last));
  EXPECT_TRUE(last.is_contiguous(Layout::channels_last));
  EXPECT_EQ(values(last), values(x));
}

TEST(View, RunWritesWhatTheViewShows) {
  const Tensor x = counting({2, 3, 4, 2}).contiguous(Layout::channels_last);
  expect_run_equals_view(ops::reshape, x, {{"shape", Shape{4, -1}}});
  expect_run_equals_view(ops::permute, x, {{"axes", Shape{3, 0, 2, 1}}});
  const Attributes range = {{"axis", std::int64_t{2}},
                            {"begin", std::int64_t{1}},
                            {"end", std::int64_t{-1}},
                            {"step", std::int64_t{2}}};
  expect_run_equals_view(ops::slice, x, range);
  expect_run_equals_view(ops::broadcast, x.slice(2, 0, 1), {{"shape", Shape{2, 3, 4, 2}}});
  expect_run_equals_view(ops::contiguous, x, {{"layout", std::int64_t{1}}});
}

TEST(View, GradientsComeBackInPlace) {
  Generator random{.seed = 7};
  Tensor x = uniform({2, 3, 4}, -1, 1, random, DType::float64);
  x.set_requires_grad();
  const Tensor weight = uniform({4, 1, 3}, -1, 1, random, DType::float64);
  // Cubed, so that the gradient depends on x and can be differentiated again.
  const Tensor y = x.permute({2, 0, 1}).slice(1, 1, 2).contiguous().reshape({12});
  const Tensor loss = sum(mul(mul(y, mul(y, y)), weight.reshape({12})));
  const Tensor first = grad({loss}, {x}, {.create_graph = true, .grad_outputs = {}})[0];
  const Tensor second = grad({sum(first)}, {x})[0];
  for (std::int64_t j = 0; j < 3; ++j) {
    for (std::int64_t k = 0; k < 4; ++k) {
      const double at = x.at({1, j, k});
      const double w = weight.at({k, 0, j});
      EXPECT_EQ(first.at({0, j, k}), 0);
      EXPECT_NEAR(first.at({1, j, k}), 3 * w * at * at, 1e-14);
      EXPECT_EQ(second.at({0, j, k}), 0);
      EXPECT_NEAR(second.at({1, j, k}), 6 * w * at, 1e-14);
    }
  }
}

TEST(View, SliceBackwardFillsTheRestWithZeros) {
  Tensor x = counting({7});
  x.set_requires_grad();
  const Tensor g = Tensor::from<float>({1, 2, 3}, {3});
  const Tensor dx = grad({x.slice(0, 1, 6, 2)}, {x}, {.grad_outputs = {g}})[0];
  EXPECT_EQ(values(dx), (std::vector<float>{0, 1, 0, 2, 0, 3, 0}));
}

}  // namespace
}  // namespace fovea
