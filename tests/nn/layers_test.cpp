// Everything that holds for every layer, checked over the layer registry, and what is particular to
// some.
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "fovea/fovea.h"
#include "support/errors.h"
#include "support/gradients.h"
#include "support/tensors.h"

namespace fovea::nn {
namespace {

using testing::error_of;

class Layers : public ::testing::TestWithParam<LayerDef> {
 protected:
  std::unique_ptr<Module> example(DType dtype) const {
    Generator generator{.seed = 11};
    auto layer = GetParam().example(generator);
    layer->to(dtype);
    return layer;
  }
  Tensor input(DType dtype) const {
    return fovea::testing::spread_tensor(GetParam().example_input, 12, dtype);
  }
};

INSTANTIATE_TEST_SUITE_P(Registry, Layers, ::testing::ValuesIn(layers()),
                         [](const auto& layer) { return std::string(layer.param.name); });

TEST(LayerRegistry, NamesAreUnique) {
  std::set<std::string_view> names;
  for (const LayerDef& layer : layers()) EXPECT_TRUE(names.insert(layer.name).second) << layer.name;
}

TEST_P(Layers, ParameterNamesAreUniqueAndEachRequiresAGradient) {
  const auto layer = example(DType::float32);
  std::set<std::string> names;
  for (const NamedTensor& parameter : layer->named_parameters()) {
    EXPECT_TRUE(names.insert(parameter.name).second) << parameter.name;
    EXPECT_TRUE(parameter.tensor.requires_grad()) << parameter.name;
  }
}

TEST_P(Layers, DescribesItselfByItsName) {
  const std::string name(GetParam().name);
  EXPECT_EQ(example(DType::float32)->describe().substr(0, name.size() + 1), name + "(");
}

TEST_P(Layers, BackwardAgreesWithNumericalGradients) {
  const auto layer = example(DType::float64);
  layer->eval();
  const Tensor x = input(DType::float64);
  std::vector<Tensor> leaves = layer->parameters();
  leaves.push_back(x.clone().set_requires_grad());
  Tensor probe;  // <layer(x), probe> is the function that is differentiated
  {
    const NoGrad no_grad;
    probe = fovea::testing::random_tensor((*layer)(x).shape(), 13);
  }
  const std::vector<Tensor> gradients = grad({sum((*layer)(leaves.back()) * probe)}, leaves);
  const auto value = [&](const std::vector<Tensor>& at) {
    const NoGrad no_grad;
    for (std::size_t i = 0; i + 1 < at.size(); ++i) leaves[i].copy_from(at[i]);
    return sum((*layer)(at.back()) * probe).item<double>();
  };
  std::vector<Tensor> start;
  start.reserve(leaves.size());
  for (const Tensor& leaf : leaves) start.push_back(leaf.detach().clone());
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    fovea::testing::expect_close(gradients[i], fovea::testing::numeric_gradient(value, start, i),
                                 fovea::testing::numeric_tolerance(10));
  }
}

TEST_P(Layers, Float32AgreesWithFloat64) {
  const NoGrad no_grad;
  const auto single = example(DType::float32);
  const auto exact = example(DType::float64);
  single->eval();
  exact->eval();
  const Tensor x = input(DType::float32);
  // No example sums more than 64 products of numbers below one.
  fovea::testing::expect_close((*single)(x).to(DType::float64), (*exact)(x.to(DType::float64)),
                               64 * fovea::testing::roundoff(DType::float32));
}

TEST_P(Layers, EvaluationIsRepeatableAndOnlySomeTellTrainingFromIt) {
  const NoGrad no_grad;
  const auto layer = example(DType::float32);
  const Tensor x = input(DType::float32);
  layer->eval();
  const Tensor once = (*layer)(x);
  fovea::testing::expect_identical((*layer)(x), once);
  layer->train();
  const bool same = (*layer)(x).to_vector<float>() == once.to_vector<float>();
  const std::string_view name = GetParam().name;
  EXPECT_EQ(same, !name.starts_with("Dropout") && !name.starts_with("BatchNorm"));
}

TEST_P(Layers, GivesTheSameShapeWhenOnlyShapesAreAsked) {
  const auto layer = example(DType::float32);
  layer->eval();
  const auto report = explain::inspect(*layer, GetParam().example_input);
  const Tensor out = (*layer)(input(DType::float32));
  EXPECT_EQ(report.layers.empty() ? report.input : report.layers.back().output, out.shape());
}

TEST(Conv, DescribesOnlyWhatIsUnusual) {
  Generator generator;
  EXPECT_EQ(Conv2d(1, 6, 5, {.padding = 2}, generator).describe(),
            "Conv2d(1, 6, kernel=5, padding=2)");
  EXPECT_EQ(
      Conv2d(4, 8, {3, 5},
             {.stride = {2, 1}, .padding = {{0, 1}, {2, 2}}, .groups = 4, .bias = false}, generator)
          .describe(),
      "Conv2d(4, 8, kernel=3x5, stride=2x1, padding=0:1x2, groups=4, bias=false)");
  EXPECT_EQ(MaxPool(3, {.stride = 2}).describe(), "MaxPool(3, stride=2)");
  EXPECT_EQ(AvgPool({2, 3}).describe(), "AvgPool(2x3)");
  EXPECT_EQ(MaxPool(3, {.stride = 2, .padding = {{0, 1}}, .ceil_mode = true}).describe(),
            "MaxPool(3, stride=2, padding=0:1, ceil_mode=true)");
  EXPECT_EQ(Unfold({2, 3}, {.padding = 1}).describe(), "Unfold(2x3, padding=1)");
  EXPECT_EQ(Fold({6, 6}, {2, 3}, {.stride = 2}).describe(), "Fold(6x6, 2x3, stride=2)");
  EXPECT_EQ(LpPool(2, 3).describe(), "LpPool(2, 3)");
  EXPECT_EQ(Upsample({.size = {7, 5}}).describe(), "Upsample(size=7x5)");
  EXPECT_EQ(BatchNorm2d(64).describe(), "BatchNorm2d(64)");
  EXPECT_EQ(GroupNorm(4, 64, {.eps = 0.001}).describe(), "GroupNorm(4, 64, eps=0.001)");
  EXPECT_EQ(LayerNorm({8, 4}, {.affine = false}).describe(), "LayerNorm([8, 4], affine=false)");
  EXPECT_EQ(Linear(400, 120, generator).describe(), "Linear(400, 120)");
}

TEST(Conv, RefusesAtCreationWhatCannotWork) {
  Generator generator;
  EXPECT_CONTAINS(error_of([&] { Conv2d(3, 8, 3, {.groups = 2}, generator); }), "Conv2d");
  EXPECT_CONTAINS(error_of([&] { Conv2d(3, 8, 3, {.groups = 2}, generator); }), "groups");
  EXPECT_CONTAINS(error_of([&] { Conv2d(3, 8, 3, {.stride = 0}, generator); }), "stride");
  EXPECT_CONTAINS(error_of([&] { Conv1d(0, 8, 3, {}, generator); }), "channels");
  EXPECT_CONTAINS(error_of([&] { Conv2d(3, 8, {3, -1}, {}, generator); }), "kernel");
  EXPECT_CONTAINS(error_of([&] { Conv2d(3, 8, {3, 3, 3}, {}, generator); }), "kernel");
  EXPECT_CONTAINS(error_of([&] { Linear(0, 8, generator); }), "Linear");
}

TEST(MaxUnpool, PutsValuesWhereTheLayerInFrontFoundItsMaxima) {
  MaxPool pool(2);
  MaxUnpool unpool(pool);
  const Tensor x = Tensor::from<float>({1, 4, 2, 3, 5, 0}, {1, 1, 6});
  EXPECT_EQ(unpool(pool(x) * 10).to_vector<double>(), (std::vector<double>{0, 40, 0, 30, 50, 0}));
  EXPECT_CONTAINS(error_of([&] { unpool(pool(x).slice(2, 0, 2)); }),
                  "MaxUnpool(MaxPool(2)): max_unpool: ", "[1, 1, 2]", "[1, 1, 3]");
  EXPECT_EQ(error_of([&] { unpool(x); }),
            "MaxUnpool(MaxPool(2)): there are no positions: the pooling layer has not been called "
            "since they were last taken. Call it before, in the same thread.");
  EXPECT_EQ(error_of([&] { MaxUnpool another(pool); }),
            "MaxUnpool: MaxPool(2) belongs to another MaxUnpool already");
}

TEST(MaxUnpool, TakesThePlacesOfItsOwnThread) {
  MaxPool pool(2);
  MaxUnpool unpool(pool);
  const Tensor here = pool(Tensor::from<float>({1, 2, 3, 4}, {1, 1, 4}));
  std::vector<double> there;
  std::thread([&] {
    there = unpool(pool(Tensor::from<float>({2, 1}, {1, 1, 2}))).to_vector<double>();
  }).join();
  EXPECT_EQ(there, (std::vector<double>{2, 0}));
  EXPECT_EQ(unpool(here).to_vector<double>(), (std::vector<double>{0, 2, 0, 4}));
}

std::vector<std::string> names_of(const std::vector<NamedTensor>& tensors) {
  std::vector<std::string> names;
  for (const NamedTensor& each : tensors) names.push_back(each.name);
  return names;
}

TEST(BatchNorm, NamesWhatItHoldsAsTorchvisionDoes) {
  const BatchNorm2d norm(3);
  EXPECT_EQ(names_of(norm.named_parameters()), (std::vector<std::string>{"weight", "bias"}));
  EXPECT_EQ(names_of(norm.named_buffers()),
            (std::vector<std::string>{"running_mean", "running_var", "num_batches_tracked"}));
}

TEST(BatchNorm, MovesItsRunningStatisticsInTrainingOnly) {
  BatchNorm1d norm(2, {.momentum = 0.25});
  const Tensor x = Tensor::from<float>({1, 10, 3, 30, 5, 50}, {3, 2});
  norm.eval();
  norm(x);
  EXPECT_EQ(norm.running_mean.to_vector<double>(), (std::vector<double>{0, 0}));
  norm.train();
  norm(x);
  // Means 3 and 30; unbiased variances 4 and 400.
  EXPECT_EQ(norm.running_mean.to_vector<double>(), (std::vector<double>{0.75, 7.5}));
  EXPECT_EQ(norm.running_var.to_vector<double>(), (std::vector<double>{1.75, 100.75}));
  EXPECT_EQ(norm.num_batches_tracked.item<std::int64_t>(), 1);
  EXPECT_FALSE(norm.running_mean.requires_grad());
}

TEST(BatchNorm, SaysHowManyAxesItNeeds) {
  BatchNorm2d norm(3);
  EXPECT_EQ(error_of([&] {
              norm(Tensor::zeros({2, 3, 4}));
            }),
            "BatchNorm2d(3): input is float32 [2, 3, 4], but needs 4 axes: [N, 3, H, W]");
}

TEST(Module, ErrorsSayInWhichLayer) {
  Sequential net;
  net.add<BatchNorm2d>("", 5);
  EXPECT_EQ(error_of([&] {
              net(Tensor::zeros({2, 3, 4, 4}));
            }),
            "BatchNorm2d(5): batch_norm: weight is [5], but input "
            "[2, 3, 4, 4] needs [3]");
}

TEST(Sequential, ErrorsSayInWhichLayerAlsoWhereLayersAreComputedAsOne) {
  Generator generator{.seed = 1};
  Sequential net;
  net.add<Conv2d>("", 5, 6, 3, ConvLayerOptions{}, generator);
  net.add<BatchNorm2d>("", 6);
  net.add<Relu>("");
  EXPECT_CONTAINS(error_of([&] { net(Tensor::zeros({2, 3, 4, 4})); }), "Conv2d(5, 6, kernel=3): ");
  Sequential head;
  head.add<Linear>("", 4, 2, generator);
  head.add<Tanh>("");
  EXPECT_CONTAINS(error_of([&] { head(Tensor::zeros({2, 3})); }), "Linear(4, 2): ");
}

TEST(Sequential, RunsItsLayersInOrder) {
  Sequential net;
  net.add<Relu>("");
  net.add<Sigmoid>("squash");
  EXPECT_EQ(net.children()[0].first, "0");
  EXPECT_EQ(net.children()[1].first, "squash");
  EXPECT_EQ(net(Tensor::full({1, 1}, -5)).item<double>(), 0.5);  // relu first, then sigmoid(0)
  EXPECT_CONTAINS(error_of([&] { net.append("x", nullptr); }), "null");
}

TEST(Dropout, DrawsAnotherMaskEachTimeAndTheSameOnesForASeed) {
  Dropout one(0.5, 9);
  Dropout two(0.5, 9);
  const Tensor x = Tensor::ones({1, 64});
  const auto first = one(x).to_vector<float>();
  EXPECT_EQ(first, two(x).to_vector<float>());
  EXPECT_NE(first, one(x).to_vector<float>());
}

}  // namespace
}  // namespace fovea::nn
