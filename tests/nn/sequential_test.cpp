// What Sequential and BatchNorm::after compute as one is what the layers compute one by one.
#include <gtest/gtest.h>

#include "fovea/fovea.h"
#include "support/errors.h"
#include "support/tensors.h"

namespace fovea::nn {
namespace {

using testing::error_of;
using testing::expect_close;
using testing::random_tensor;

// The sums of a layer have at most 27 products of numbers of the order of one.
constexpr double kTolerance = 64 * 0x1p-53;

// As training leaves it: neither ones nor zeros.
void randomise(BatchNorm& norm, Generator& generator) {
  init::uniform(norm.weight, 0.5, 1.5, generator);
  init::uniform(norm.bias, -1, 1, generator);
  init::uniform(norm.running_mean, -1, 1, generator);
  init::uniform(norm.running_var, 0.5, 2, generator);
}

Tensor one_by_one(Sequential& net, const Tensor& input) {
  Tensor value = input;
  for (const auto& [name, layer] : net.children()) value = (*layer)(value);
  return value;
}

std::unique_ptr<Sequential> network() {
  Generator generator{.seed = 3};
  auto net = std::make_unique<Sequential>();
  net->add<Conv2d>("", 3, 8, 3, ConvLayerOptions{.padding = 1, .bias = false}, generator);
  randomise(net->add<BatchNorm2d>("", 8), generator);
  net->add<Relu>("");
  net->add<Conv2d>("", 8, 8, 3, ConvLayerOptions{.groups = 8}, generator);
  net->add<LeakyRelu>("", 0.2);
  net->add<Silu>("");  // behind an activation: by itself
  net->add<Conv2d>("", 8, 5, 1, ConvLayerOptions{}, generator);
  randomise(net->add<BatchNorm2d>("", 5), generator);
  randomise(net->add<BatchNorm2d>("", 5), generator);  // the second one is no part
  net->add<Relu>("");
  net->add<Conv2d>("", 5, 4, 2, ConvLayerOptions{.stride = 2}, generator);
  net->add<Elu>("");  // no epilogue
  net->add<Flatten>("");
  net->add<Linear>("", 16, 6, generator);
  net->add<Tanh>("");
  net->add<Linear>("", 6, 4, generator);
  net->add<Softmax>("");
  net->to(DType::float64);
  return net;
}

TEST(Sequential, ComputesAsOneWhatItsLayersComputeOneByOne) {
  const auto net = network();
  const Tensor x = random_tensor({2, 3, 6, 6}, 1);
  net->eval();
  const NoGrad no_grad;
  const Tensor expected = one_by_one(*net, x);
  expect_close((*net)(x), expected, kTolerance);
  expect_close((*net)(x), expected, kTolerance);  // with weights that are kept
}

TEST(Sequential, GradientsAreThoseOfItsLayers) {
  const auto net = network();
  const Tensor x = random_tensor({2, 3, 6, 6}, 1);
  const Tensor probe = random_tensor({2, 4}, 2);
  for (const bool training : {false, true}) {
    net->train(training);
    const auto expected = grad({sum(one_by_one(*net, x) * probe)}, net->parameters());
    const auto actual = grad({sum((*net)(x)*probe)}, net->parameters());
    for (std::size_t i = 0; i < expected.size(); ++i)
      expect_close(actual[i], expected[i], 16 * kTolerance);
  }
}

TEST(Sequential, TrainingUpdatesTheStatisticsOfItsNorms) {
  const auto net = network();
  const Tensor before = net->named_buffers()[0].tensor.clone();
  const NoGrad no_grad;
  (*net)(random_tensor({2, 3, 6, 6}, 1));
  EXPECT_NE(net->named_buffers()[0].tensor.to_vector<double>(), before.to_vector<double>());
}

TEST(Sequential, IsTracedLayerByLayer) {
  const auto net = network();
  const auto report = explain::inspect(*net, {1, 3, 6, 6});
  std::size_t norms = 0;
  for (const auto& layer : report.layers) {
    norms += layer.operation == "batch_norm" ? 1 : 0;
    EXPECT_NE(layer.operation, "conv_fused");
  }
  EXPECT_EQ(norms, 3U);
}

TEST(BatchNorm, FoldedWeightsFollowWhatTheyWereMadeFrom) {
  Generator generator{.seed = 5};
  Conv1d conv(3, 4, 3, {}, generator);
  BatchNorm1d norm(4);
  randomise(norm, generator);
  conv.to(DType::float64);
  norm.to(DType::float64);
  norm.eval();
  const NoGrad no_grad;
  const Tensor x = random_tensor({2, 3, 8}, 1);
  const Tensor residual = random_tensor({2, 4, 6}, 2);
  const auto check = [&] {
    const Tensor y = norm.after(conv, x, {.residual = residual, .activation = Activation::relu});
    expect_close(y, relu(norm(conv(x)) + residual), kTolerance);
    return y.to_vector<double>();
  };
  auto last = check();
  for (Tensor* source : {&conv.weight, &conv.bias, &norm.weight, &norm.bias, &norm.running_mean,
                         &norm.running_var}) {
    source->copy_from(*source + 0.5);
    const auto now = check();
    EXPECT_NE(now, last);
    last = now;
  }
  double* kept = norm.bias.mutable_data<double>();
  check();
  kept[0] += 1;  // which nobody is told of
  EXPECT_NE(check(), last);
  norm.to(DType::float32);
  conv.to(DType::float32);
  const Tensor single = x.to(DType::float32);
  expect_close(norm.after(conv, single), norm(conv(single)), 64 * 0x1p-24);
}

TEST(BatchNorm, TrainingDoesNotHoldFoldedWeights) {
  Generator generator{.seed = 5};
  Conv2d conv(64, 64, 3, {.bias = false}, generator);
  BatchNorm2d norm(64);
  const Tensor x = random_tensor({2, 64, 6, 6}, 1, DType::float32);
  const std::size_t bytes = static_cast<std::size_t>(conv.weight.numel()) * sizeof(float);
  const NoGrad no_grad;
  norm.after(conv, x);
  norm.after(conv, x);
  const std::size_t before = memory_stats().in_use;
  norm.eval();
  norm.after(conv, x);
  EXPECT_GE(memory_stats().in_use, before + bytes);
  norm.train();
  norm.after(conv, x);
  EXPECT_LT(memory_stats().in_use, before + bytes);
}

// The layer, the residual and the activation, as one operator and one after the other: values,
// gradients of everything, running statistics, second derivatives.
TEST(BatchNorm, InTrainingAfterAConvolutionIsTheLayersOneByOne) {
  const Tensor residual = random_tensor({3, 4, 5, 4}, 2).set_requires_grad();
  const Tensor x = random_tensor({3, 3, 7, 6}, 1).set_requires_grad();
  const auto outcome = [&](bool together, const Epilogue& epilogue) {
    Generator generator{.seed = 5};
    Conv2d conv(3, 4, 3, {.bias = false}, generator);
    BatchNorm2d norm(4);
    randomise(norm, generator);
    conv.to(DType::float64);
    norm.to(DType::float64);
    Tensor y;
    if (together) {
      y = norm.after(conv, x, epilogue);
    } else {
      y = norm(conv(x));
      if (epilogue.residual.defined()) y = y + epilogue.residual;
      y = activate(y, epilogue.activation, epilogue.slope);
    }
    std::vector<Tensor> leaves = {x, conv.weight, norm.weight, norm.bias};
    if (epilogue.residual.defined()) leaves.push_back(residual);
    const Tensor loss = sum(y * random_tensor(y.shape(), 9));
    std::vector<Tensor> all = grad({loss}, leaves, {.retain_graph = true});
    const std::vector<Tensor> again = grad({loss}, leaves, {.create_graph = true});
    Tensor squares = Tensor::scalar(0, DType::float64);
    for (const Tensor& gradient : again) squares = squares + sum(gradient * gradient);
    for (const Tensor& second : grad({squares}, {x, norm.weight})) all.push_back(second);
    for (const Tensor& value : {y, norm.running_mean, norm.running_var, norm.num_batches_tracked})
      all.push_back(value.detach());
    return all;
  };
  for (const Activation activation : {Activation::none, Activation::relu, Activation::relu6,
                                      Activation::tanh, Activation::gelu}) {
    for (const Tensor& added : {Tensor(), residual}) {
      SCOPED_TRACE(name(activation));
      const Epilogue epilogue{.residual = added, .activation = activation};
      const std::vector<Tensor> one = outcome(true, epilogue);
      const std::vector<Tensor> apart = outcome(false, epilogue);
      ASSERT_EQ(one.size(), apart.size());
      for (std::size_t i = 0; i < one.size(); ++i) expect_close(one[i], apart[i], 1e-11);
    }
  }
}

TEST(BatchNorm, SaysWhatDoesNotFitAfterAConvolution) {
  Generator generator{.seed = 5};
  Conv2d conv(3, 4, 3, {}, generator);
  BatchNorm2d norm(4);
  BatchNorm2d wider(5);
  const Tensor x = Tensor::zeros({1, 3, 5, 5});
  const Epilogue epilogue{.residual = Tensor::zeros({1, 4, 1, 1})};
  for (const bool training : {true, false}) {
    norm.train(training);
    wider.train(training);
    const NoGrad no_grad;
    EXPECT_CONTAINS(error_of([&] { norm.after(conv, x, epilogue); }),
                    "the residual is [1, 4, 1, 1]");
    EXPECT_CONTAINS(error_of([&] { wider.after(conv, x); }), "[5]");
  }
}

}  // namespace
}  // namespace fovea::nn
