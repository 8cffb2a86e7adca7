// The multiply-adds that operators report, against their shapes and against a count of what they
// add up.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "fovea/conv.h"
#include "ops/examples.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

using Specs = const std::vector<TensorSpec>&;
using Count = std::function<std::int64_t(Specs inputs, Specs outputs)>;

// How many products make one element of weights' rows: all but the first axis.
std::int64_t row(const TensorSpec& weights) {
  return weights.numel() / weights.shape[0];
}

// Cells of padding count as others do. Operators that are not here have no products.
const std::map<std::string_view, Count> kCounts = {
    {"conv", [](Specs in, Specs out) { return out[0].numel() * row(in[1]); }},
    {"conv_fused", [](Specs in, Specs out) { return out[0].numel() * row(in[1]); }},
    {"conv_backward_data", [](Specs in, Specs) { return in[0].numel() * row(in[1]); }},
    {"conv_backward_weights", [](Specs in, Specs out) { return in[1].numel() * row(out[0]); }},
    {"conv_transpose", [](Specs in, Specs) { return in[0].numel() * row(in[1]); }},
    {"local_product", [](Specs in, Specs out) { return out[0].numel() * in[1].shape[2]; }},
    {"local_product_columns", [](Specs in, Specs) { return in[0].numel() * in[1].shape[2]; }},
    {"local_product_weights", [](Specs in, Specs out) { return in[1].numel() * out[0].shape[2]; }},
    {"linear", [](Specs in, Specs out) { return out[0].numel() * row(in[1]); }},
    {"linear_fused", [](Specs in, Specs out) { return out[0].numel() * row(in[1]); }},
    {"matmul", [](Specs in, Specs out) { return out[0].numel() * in[0].shape.back(); }},
    {"correlate", [](Specs in, Specs out) { return out[0].numel() * in[1].numel(); }},
    {"convolve", [](Specs in, Specs out) { return out[0].numel() * in[1].numel(); }},
};

// Sums of products of ones: as many as there are products of two values.
double products_of(const Example& example) {
  std::vector<Tensor> ones;
  for (std::size_t i = 0; i < example.inputs.size(); ++i) {
    const bool operand = i < 2 && example.inputs[i].defined();
    ones.push_back(operand ? Tensor::ones(example.inputs[i].shape(), DType::float64) : Tensor());
  }
  double sum = 0;
  for (const double value :
       apply(*example.op, ones, example.attributes).front().to_vector<double>())
    sum += value;
  return sum;
}

TEST(OperatorCosts, AreTheProductsThatAreAddedUp) {
  std::set<std::string_view> bilinear;
  std::set<std::string_view> all_counted;
  for (const Example& example : operator_examples()) {
    SCOPED_TRACE(std::string(example.op->name) + ": " + example.label);
    std::vector<TensorSpec> inputs;
    for (const Tensor& input : example.inputs) inputs.push_back(spec_of(input));
    const std::vector<TensorSpec> outputs = example.op->infer(inputs, example.attributes);
    const std::int64_t reported =
        cost_of(*example.op, inputs, outputs, example.attributes).multiply_adds;
    const auto count = kCounts.find(example.op->name);
    EXPECT_EQ(reported, count == kCounts.end() ? 0 : count->second(inputs, outputs));
    const bool fused = example.attributes.has("activation");
    if (count == kCounts.end() || fused) continue;
    bilinear.insert(example.op->name);
    const double products = products_of(example);
    const auto expected = static_cast<double>(reported);
    // Zeros of padding are counted but add nothing; everything else adds one each.
    EXPECT_LE(products, expected + 1e-6);
    if (products > expected - 1e-6) all_counted.insert(example.op->name);
  }
  EXPECT_EQ(all_counted, bilinear) << "an example without padding";
}

}  // namespace
}  // namespace fovea::testing
