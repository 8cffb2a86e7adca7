// A batch of no samples: every operator that computes sample by sample takes one. Its outputs are
// empty, and what it adds up over the batch, such as gradients of weights, is zero.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "fovea/autograd.h"
#include "fovea/functions.h"
#include "ops/examples.h"
#include "support/errors.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

// The inputs that all samples share, where their shapes do not tell.
const std::map<std::string_view, std::set<std::size_t>> kShared = {
    {"conv", {1, 2}},
    {"conv_fused", {1, 2}},
    {"conv_backward_data", {1}},
    {"conv_transpose", {1, 2}},
    {"mirror", {0}},
    {"local_product", {1}},
    {"local_product_columns", {1}},
    {"linear", {1, 2}},
    {"linear_fused", {1, 2}},
    {"batch_norm", {1, 2, 3, 4}},
    {"batch_norm_backward", {2, 3, 4}},
    {"batch_norm_training", {1, 2}},
    {"batch_norm_training_backward", {2, 3, 4}},
    {"batch_norm_fused", {1, 2}},
    {"batch_norm_fused_backward", {2, 3, 4}},
    {"group_norm", {1, 2}},
    {"group_norm_backward", {2}},
    {"layer_norm", {1, 2}},
    {"layer_norm_backward", {2}},
    {"concat", {}},
    {"nll_loss", {}},
    {"nll_loss_backward", {}},
};

bool is_shared(const Example& example, std::size_t input) {
  const std::string_view op = example.op->name;
  const Tensor& tensor = example.inputs[input];
  if (!tensor.defined() || tensor.rank() == 0) return true;
  if (op == "matmul") return input == 1 && tensor.rank() == 2;
  if (const auto found = kShared.find(op); found != kShared.end())
    return found->second.contains(input);
  // Of broadcasting operators.
  int rank = 0;
  for (const Tensor& other : example.inputs) rank = std::max(rank, other.rank());
  const bool broadcast = op == "broadcast" && example.attributes.integers("shape").rank() > rank;
  return broadcast || tensor.rank() < rank || tensor.shape()[0] == 1;
}

Example without_samples(const Example& example) {
  Example empty = example;
  for (std::size_t i = 0; i < empty.inputs.size(); ++i) {
    if (is_shared(example, i)) continue;
    Shape shape = example.inputs[i].shape();
    shape[0] = 0;
    empty.inputs[i] = Tensor::empty(shape, example.inputs[i].dtype());
  }
  if (example.attributes.has("shape")) {
    Shape shape = example.attributes.integers("shape");
    shape[0] = 0;
    empty.attributes = example.attributes.with("shape", shape);
  }
  return empty;
}

// Operators on signals without a batch; means over the batch, and what else needs a sample.
bool needs_a_sample(const Example& example) {
  static const std::set<std::string_view> kRefusing = {
      "correlate",        "convolve", "batch_norm_training",
      "batch_norm_fused", "nll_loss", "nll_loss_backward"};
  const std::string_view op = example.op->name;
  if (kRefusing.contains(op)) return true;
  // The largest of no values, and transforms along the batch.
  return (op == "max" || op == "fft") && example.attributes.integers("axes")[0] == 0;
}

// Memory like that of the outputs, with something in it, for the next to ask for.
void spoil_memory(const Example& example) {
  std::vector<TensorSpec> specs;
  for (const Tensor& input : example.inputs) specs.push_back(spec_of(input));
  for (const TensorSpec& spec : example.op->infer(specs, example.attributes))
    Tensor::full(spec.shape, 77, spec.dtype);
}

void expect_nothing(const Tensor& tensor) {
  for (const double value : tensor.to_vector<double>()) EXPECT_EQ(value, 0);
}

std::vector<Tensor> differentiable_leaves(std::vector<Tensor>& inputs) {
  std::vector<Tensor> found;
  for (Tensor& input : inputs) {
    if (!input.defined() || !is_floating(input.dtype())) continue;
    input = input.detach().set_requires_grad();
    found.push_back(input);
  }
  return found;
}

void expect_no_gradients(Example example, bool create_graph) {
  const std::vector<Tensor> leaves = differentiable_leaves(example.inputs);
  std::vector<Tensor> outputs;
  std::vector<Tensor> weights;
  for (const Tensor& output : apply(*example.op, example.inputs, example.attributes)) {
    if (!is_floating(output.dtype())) continue;
    outputs.push_back(output);
    weights.push_back(Tensor::ones(output.shape(), output.dtype()));
  }
  const std::vector<Tensor> gradients =
      grad(outputs, leaves, {.create_graph = create_graph, .grad_outputs = weights});
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    SCOPED_TRACE("gradient of floating input " + std::to_string(i));
    ASSERT_EQ(gradients[i].shape(), leaves[i].shape());
    expect_nothing(gradients[i]);
  }
}

TEST(EmptyBatch, GivesEmptyOutputsAndZeroGradientsOfWeights) {
  for (const Example& example : operator_examples()) {
    SCOPED_TRACE(std::string(example.op->name) + ": " + example.label);
    bool batched = false;
    for (std::size_t i = 0; i < example.inputs.size(); ++i)
      batched = batched || !is_shared(example, i);
    if (needs_a_sample(example)) {
      const Example empty = without_samples(example);
      EXPECT_NE(error_of([&] { apply(*empty.op, empty.inputs, empty.attributes); }), "");
    } else if (batched) {
      const Example empty = without_samples(example);
      spoil_memory(empty);
      for (const Tensor& output : apply(*empty.op, empty.inputs, empty.attributes))
        expect_nothing(output);
      if (empty.op->backward == nullptr) continue;
      expect_no_gradients(empty, false);
      expect_no_gradients(empty, true);
    }
  }
}

TEST(EmptyBatch, GoesThroughANetworkAndBack) {
  const Tensor x = Tensor::zeros({0, 3, 8, 8});
  const Tensor w = random_tensor({4, 3, 3, 3}, 1, DType::float32).set_requires_grad();
  const Tensor b = random_tensor({4}, 2, DType::float32).set_requires_grad();
  const Tensor v = random_tensor({5, 64}, 3, DType::float32).set_requires_grad();
  const Tensor y = linear(flatten(max_pool(relu(conv2d(x, w, b, {.padding = 1})), 2)), v);
  EXPECT_EQ(y.shape(), (Shape{0, 5}));
  EXPECT_EQ(softmax(y, 1).shape(), (Shape{0, 5}));
  for (const Tensor& gradient : grad({sum(y)}, {w, b, v})) expect_nothing(gradient);
}

TEST(EmptyBatch, HasNoMean) {
  const Tensor none = Tensor::zeros({0, 3});
  EXPECT_EQ(error_of([&] { mean(none); }), "mean: float32 [0, 3] has no elements");
  EXPECT_EQ(error_of([&] { mse_loss(none, none); }), "mean: float32 [0, 3] has no elements");
  EXPECT_EQ(error_of([&] { cross_entropy(none, Tensor::zeros({0}, DType::int64)); }),
            "cross_entropy: nll_loss: the batch is empty; the mean over no sample is undefined");
}

TEST(EmptyBatch, StillNeedsSpace) {
  EXPECT_CONTAINS(error_of([] {
                    conv2d(Tensor::zeros({0, 3, 0, 8}), Tensor::zeros({4, 3, 1, 1}));
                  }),
                  "conv2d: input size along H is 0");
  EXPECT_CONTAINS(error_of([] {
                    global_avg_pool(Tensor::zeros({0, 3, 0, 8}));
                  }),
                  "global_avg_pool: ");
}

}  // namespace
}  // namespace fovea::testing
