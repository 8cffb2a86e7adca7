// The tape: what it records, how often it may be used, and what it refuses. Each operator's own
// gradient is tested in tests/ops/gradient_test.cpp.
#include <gtest/gtest.h>

#include "fovea/autograd.h"
#include "fovea/functions.h"
#include "fovea/memory.h"
#include "support/errors.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

Tensor variable(std::initializer_list<double> values) {
  Tensor tensor = Tensor::from(values, {static_cast<std::int64_t>(values.size())});
  return tensor.set_requires_grad();
}

TEST(Tape, AddsUpEveryUseOfATensor) {
  const Tensor x = variable({2, 3});
  sum(x * x + x).backward();
  EXPECT_EQ(x.grad().to_vector<double>(), (std::vector<double>{5, 7}));
  sum(x).backward();  // adds to what is there
  EXPECT_EQ(x.grad().to_vector<double>(), (std::vector<double>{6, 8}));
}

TEST(Tape, GradLeavesTheLeavesAlone) {
  const Tensor x = variable({2});
  const Tensor y = variable({5});
  const auto grads = grad({x * y}, {y, x});
  EXPECT_EQ(grads[0].item<double>(), 2);
  EXPECT_EQ(grads[1].item<double>(), 5);
  EXPECT_FALSE(x.grad().defined());
}

TEST(Tape, GradOfAnIntermediateTensor) {
  const Tensor x = variable({3});
  const Tensor y = x * x;
  const auto grads = grad({y * y}, {y, x});
  EXPECT_EQ(grads[0].item<double>(), 18);
  EXPECT_EQ(grads[1].item<double>(), 108);
}

TEST(Tape, UnconnectedInputsGetZeros) {
  const Tensor x = variable({3});
  const Tensor y = variable({1, 2});
  EXPECT_EQ(grad({x * x}, {y})[0].to_vector<double>(), (std::vector<double>{0, 0}));
}

TEST(Tape, HigherDerivativesOfAPower) {
  const Tensor x = variable({2});
  Tensor y = x * x * x * x;
  for (const double expected : {32.0, 48.0, 48.0, 24.0}) {
    y = grad({y}, {x}, {.create_graph = true})[0];
    EXPECT_EQ(y.item<double>(), expected);
  }
}

TEST(Tape, VectorsNeedGradOutputs) {
  const Tensor x = variable({1, 2, 3});
  EXPECT_CONTAINS(error_of([&] { (x * x).backward(); }), "only a single number has a gradient");
  const auto grads = grad({x * x}, {x}, {.grad_outputs = {Tensor::from({1.0, 0.0, 10.0}, {3})}});
  EXPECT_EQ(grads[0].to_vector<double>(), (std::vector<double>{2, 0, 60}));
  EXPECT_CONTAINS(
      error_of([&] { grad({x * x}, {x}, {.grad_outputs = {Tensor::zeros({2}, DType::float64)}}); }),
      "grad_outputs[0]");
}

TEST(Tape, FreesWhatWasSavedUnlessAskedToKeepIt) {
  const Tensor x = variable({3});
  const Tensor y = sum(x * x);
  backward({y}, {.retain_graph = true});
  backward({y});
  EXPECT_EQ(x.grad().item<double>(), 12);
  EXPECT_CONTAINS(error_of([&] { backward({y}); }), "freed by an earlier backward pass");
}

TEST(Tape, ActivationsGoAsBackwardPasses) {
  Tensor x = Tensor::ones({1 << 18});
  x.set_requires_grad();
  Tensor y = x;
  for (int i = 0; i < 10; ++i) y = sigmoid(y);
  const Tensor loss = sum(y);
  y = Tensor();
  const std::size_t before = memory_stats().in_use;
  loss.backward();
  // Ten activations are gone; the gradient of x has come.
  EXPECT_LT(memory_stats().in_use, before - 8 * (1U << 20));
}

TEST(Tape, NoGradRecordsNothing) {
  const Tensor x = variable({3});
  Tensor y;
  {
    const NoGrad guard;
    EXPECT_FALSE(grad_enabled());
    y = x * x;
  }
  EXPECT_TRUE(grad_enabled());
  EXPECT_FALSE(y.requires_grad());
  EXPECT_CONTAINS(error_of([&] { y.backward(); }),
                  "does not depend on any tensor that requires a gradient");
}

TEST(Tape, DetachCutsTheHistory) {
  const Tensor x = variable({3});
  const Tensor y = (x * x).detach() * x;
  y.backward();
  EXPECT_EQ(x.grad().item<double>(), 9);
}

TEST(Tape, DetectsThatASavedTensorWasChanged) {
  Tensor x = variable({3});
  const Tensor y = x * x;
  x.fill(4);
  EXPECT_CONTAINS(error_of([&] { y.backward(); }),
                  "'mul' saved for its gradient (float64 [1]) was changed in place");
  // sum() needs nothing of its input, so changing that is fine.
  Tensor z = variable({3});
  const Tensor total = sum(z);
  z.fill(4);
  total.backward();
  EXPECT_EQ(z.grad().item<double>(), 1);
}

TEST(Tape, GradientsOfLeavesAreTheirOwnAndDense) {
  const Tensor a = variable({1, 2});
  const Tensor b = variable({3, 4});
  sum(a + b).backward();
  ASSERT_TRUE(a.grad().is_contiguous());
  ASSERT_TRUE(b.grad().is_contiguous());
  Tensor scaled = a.grad();
  scaled.fill(7);
  EXPECT_EQ(b.grad().to_vector<double>(), (std::vector<double>{1, 1}));
  const Tensor c = variable({1});
  Tensor weight = Tensor::from({5.0}, {1});
  backward({c}, {.grad_outputs = {weight}});
  weight.fill(0);
  EXPECT_EQ(c.grad().item<double>(), 5);
}

TEST(Tape, GradComputesOnlyWhatLeadsToItsInputs) {
  const Tensor x = variable({3});
  const Tensor y = variable({4});
  // The derivative by y would need what was saved of x, which has changed: it is not asked for.
  Tensor saved = Tensor::from({2.0}, {1});
  const Tensor z = saved * y + x;
  saved.fill(9);
  EXPECT_EQ(grad({z}, {x})[0].item<double>(), 1);
}

TEST(Tape, CreateGraphRecordsEvenUnderNoGrad) {
  const Tensor x = variable({3});
  const Tensor y = x * x * x;
  const NoGrad guard;
  const Tensor slope = grad({y}, {x}, {.create_graph = true})[0];
  EXPECT_EQ(grad({slope}, {x})[0].item<double>(), 18);
}

TEST(Tape, OnlyFloatingLeavesRequireGradients) {
  EXPECT_CONTAINS(error_of([] { Tensor::zeros({2}, DType::int64).set_requires_grad(); }),
                  "only float32 and float64");
  const Tensor x = variable({3});
  EXPECT_CONTAINS(error_of([&] { (x * x).set_requires_grad(false); }), "only a leaf");
}

TEST(Tape, ViewsPassGradientsToTheirBase) {
  Tensor x = Tensor::from<double>({1, 2, 3, 4, 5, 6}, {2, 3});
  x.set_requires_grad();
  const Tensor part = x.permute({1, 0}).slice(0, 1, 3).reshape({4});
  sum(part * part).backward();
  EXPECT_EQ(x.grad().to_vector<double>(), (std::vector<double>{0, 4, 6, 0, 10, 12}));
}

TEST(Tape, AnOperatorMayHaveManyInputs) {
  std::vector<Tensor> parts;
  for (int i = 0; i < 100; ++i) parts.push_back(variable({1.0 * i, 2}));
  const Tensor all = concat(parts, 0);
  sum(all * all).backward();
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(parts[static_cast<std::size_t>(i)].grad().to_vector<double>(),
              (std::vector<double>{2.0 * i, 4}));
  }
}

TEST(Tape, ALongChainNeitherRecursesNorLeaks) {
  const std::size_t before = memory_stats().in_use;
  {
    const Tensor x = variable({1});
    Tensor y = x;
    for (int i = 0; i < 200000; ++i) y = y + 1e-6;
    y.backward();
    EXPECT_EQ(x.grad().item<double>(), 1);
    Tensor unused = x;
    for (int i = 0; i < 200000; ++i) unused = unused + 1e-6;
  }
  EXPECT_EQ(memory_stats().in_use, before);
}

}  // namespace
}  // namespace fovea::testing
