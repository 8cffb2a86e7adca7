#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "fovea/fovea.h"
#include "support/errors.h"

namespace fovea::nn {
namespace {

using testing::error_of;

// Registers whatever a test asks for.
class Free : public Module {
 public:
  using Module::add_buffer;
  using Module::add_module;
  using Module::add_parameter;
  std::string describe() const override { return "Free()"; }

 protected:
  Tensor forward(const Tensor& input) override { return input; }
};

TEST(Module, ListsParametersInOrderOfRegistrationWithDottedNames) {
  Free root;
  Free child;
  Tensor first = Tensor::zeros({2});
  Tensor second = Tensor::zeros({3});
  Tensor inner = Tensor::zeros({4});
  Tensor counter = Tensor::zeros({1});
  root.add_module("block", child);
  root.add_parameter("b", first);
  root.add_parameter("a", second);
  child.add_parameter("weight", inner);
  child.add_buffer("counter", counter);
  std::vector<std::string> names;
  for (const NamedTensor& parameter : root.named_parameters()) names.push_back(parameter.name);
  EXPECT_EQ(names, (std::vector<std::string>{"b", "a", "block.weight"}));
  ASSERT_EQ(root.named_buffers().size(), 1U);
  EXPECT_EQ(root.named_buffers()[0].name, "block.counter");
  EXPECT_EQ(root.parameter_count(), 9);
  EXPECT_TRUE(inner.requires_grad());
  EXPECT_FALSE(counter.requires_grad());
}

TEST(Module, RefusesNamesThatAreTakenEmptyOrDotted) {
  Free root;
  Free child;
  Tensor value = Tensor::zeros({2});
  root.add_parameter("x", value);
  EXPECT_CONTAINS(error_of([&] { root.add_parameter("x", value); }), "'x' is taken");
  EXPECT_CONTAINS(error_of([&] { root.add_buffer("x", value); }), "'x' is taken");
  EXPECT_CONTAINS(error_of([&] { root.add_module("x", child); }), "'x' is taken");
  EXPECT_CONTAINS(error_of([&] { root.add_parameter("a.b", value); }), "dot");
  EXPECT_CONTAINS(error_of([&] { root.add_module("", child); }), "empty");
  root.add_module("child", child);
  EXPECT_CONTAINS(error_of([&] { root.add_module("again", child); }), "once");
  Tensor indices = Tensor::zeros({2}, DType::int64);
  EXPECT_CONTAINS(error_of([&] { root.add_parameter("i", indices); }), "int64");
}

TEST(Module, VisitsParentsBeforeChildren) {
  Generator generator;
  Sequential net;
  auto inner = std::make_unique<Sequential>();
  inner->add<Relu>("");
  net.append("inner", std::move(inner));
  net.add<Tanh>("");
  std::vector<std::string> paths;
  net.visit([&](const std::string& path, Module&) { paths.push_back(path); });
  EXPECT_EQ(paths, (std::vector<std::string>{"", "inner", "inner.0", "1"}));
}

TEST(Module, TrainAndEvalReachEveryChild) {
  Sequential net;
  auto& dropout = net.add<Dropout>("drop", 0.5, 1U);
  net.eval();
  EXPECT_FALSE(dropout.is_training());
  net.train();
  EXPECT_TRUE(dropout.is_training());
}

TEST(Module, ConversionReachesHandlesThatWereTakenBefore) {
  Generator generator{.seed = 3};
  Linear layer(3, 2, generator);
  const Tensor handle = layer.parameters().front();
  const float before = handle.data<float>()[4];
  layer.to(DType::float64);
  EXPECT_EQ(handle.dtype(), DType::float64);
  EXPECT_EQ(handle.data<double>()[4], static_cast<double>(before));
  EXPECT_TRUE(handle.requires_grad());
  EXPECT_CONTAINS(error_of([&] { layer.to(DType::uint8); }), "uint8");
}

TEST(Module, ZeroGradForgetsGradients) {
  Generator generator{.seed = 3};
  Linear layer(3, 2, generator);
  sum(layer(Tensor::ones({1, 3}))).backward();
  ASSERT_TRUE(layer.weight.grad().defined());
  layer.zero_grad();
  EXPECT_FALSE(layer.weight.grad().defined());
}

TEST(Freeze, PatternsMeanNamesAndWhatIsBelow) {
  EXPECT_TRUE(matches("conv1", "conv1.weight"));
  EXPECT_TRUE(matches("conv1.weight", "conv1.weight"));
  EXPECT_TRUE(matches("layer*", "layer1.0.conv1.weight"));
  EXPECT_TRUE(matches("*.bias", "layer1.0.bias"));
  EXPECT_TRUE(matches("l*.0", "layer1.0.bias"));
  EXPECT_TRUE(matches("*", "fc.weight"));
  EXPECT_FALSE(matches("conv", "conv1.weight"));
  EXPECT_FALSE(matches("weight", "conv1.weight"));
  EXPECT_FALSE(matches("conv1.weight.x", "conv1.weight"));
  EXPECT_FALSE(matches("", "fc.weight"));
}

TEST(Freeze, WhatIsFrozenGetsNoGradientAndStaysInEvaluation) {
  Generator generator{.seed = 1};
  Sequential net;
  auto& body = net.add<Sequential>("body");
  body.add<Conv2d>("conv", 1, 2, 1, ConvLayerOptions{}, generator);
  auto& norm = body.add<BatchNorm2d>("norm", 2);
  auto& drop = body.add<Dropout>("drop", 0.5, 1);
  auto& head = net.add<Conv2d>("head", 2, 2, 1, ConvLayerOptions{}, generator);
  EXPECT_EQ(net.freeze("body"), (std::vector<std::string>{"body.conv.weight", "body.conv.bias",
                                                          "body.norm.weight", "body.norm.bias"}));
  EXPECT_TRUE(net.freeze("none").empty());
  net.train();
  EXPECT_FALSE(norm.is_training());
  EXPECT_FALSE(drop.is_training());
  EXPECT_TRUE(head.is_training());
  sum(net(Tensor::ones({2, 1, 3, 3}))).backward();
  EXPECT_FALSE(norm.weight.grad().defined());
  EXPECT_TRUE(head.weight.grad().defined());
  EXPECT_EQ(norm.running_mean.at({0}), 0);
  net.freeze("head.bias");
  net.train();
  EXPECT_TRUE(head.is_training());  // its weight still learns
}

TEST(Module, StateIsParametersThenBuffers) {
  Sequential net;
  net.add<BatchNorm2d>("norm", 2);
  const std::vector<Tensor> state = net.state();
  ASSERT_EQ(state.size(), 5U);
  EXPECT_TRUE(state[0].requires_grad());
  EXPECT_EQ(state[4].dtype(), DType::int64);
}

TEST(Init, SpreadFollowsTheFans) {
  Generator generator{.seed = 5};
  Tensor weight = Tensor::empty({64, 32, 5, 5});  // fan in 800, fan out 1600
  const auto stddev = [&] {
    double squares = 0;
    for (const double value : weight.to_vector<double>()) squares += value * value;
    return std::sqrt(squares / static_cast<double>(weight.numel()));
  };
  // 51,200 draws: the estimate of a standard deviation is off by about 1 / sqrt(2 n) = 0.3 %; 2 %
  // is six sigma.
  const auto expect_stddev = [&](double expected) {
    EXPECT_NEAR(stddev(), expected, 0.02 * expected);
  };
  init::lecun_uniform(weight, generator);
  expect_stddev(std::sqrt(1.0 / 800));
  init::lecun_normal(weight, generator);
  expect_stddev(std::sqrt(1.0 / 800));
  init::xavier_uniform(weight, generator);
  expect_stddev(std::sqrt(2.0 / 2400));
  init::xavier_normal(weight, generator);
  expect_stddev(std::sqrt(2.0 / 2400));
  init::kaiming_uniform(weight, generator);
  expect_stddev(std::sqrt(2.0 / 800));
  init::kaiming_normal(weight, generator);
  expect_stddev(std::sqrt(2.0 / 800));
  Tensor vector = Tensor::empty({4});
  EXPECT_CONTAINS(error_of([&] { init::kaiming_normal(vector, generator); }), "kaiming");
}

TEST(Init, LayersStartWithinOneOverRootFanIn) {
  Generator generator{.seed = 2};
  const Conv2d conv(4, 8, 5, {.groups = 2}, generator);  // fan in 50
  const double bound = 1 / std::sqrt(50.0);
  for (const Tensor& parameter : conv.parameters()) {
    double largest = 0;
    for (const double value : parameter.to_vector<double>())
      largest = std::max(largest, std::abs(value));
    EXPECT_LE(largest, bound);
    EXPECT_GT(largest, 0.5 * bound);
  }
}

TEST(Init, TheSameSeedGivesTheSameWeights) {
  Generator one{.seed = 7};
  Generator two{.seed = 7};
  Generator other{.seed = 8};
  const auto weights = [](Generator& generator) {
    return Linear(6, 5, generator).weight.to_vector<float>();
  };
  const auto first = weights(one);
  EXPECT_EQ(first, weights(two));
  EXPECT_NE(first, weights(other));
}

}  // namespace
}  // namespace fovea::nn
