#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "fovea/fovea.h"
#include "support/errors.h"

namespace fovea::explain {
namespace {

std::map<std::string, LayerReport> by_path(const NetworkReport& report) {
  std::map<std::string, LayerReport> out;
  for (const LayerReport& layer : report.layers) out.emplace(layer.path, layer);
  return out;
}

TEST(Inspect, LeNet5AgreesWithHandComputedValues) {
  const nn::Model model = models::lenet5();
  const NetworkReport report = inspect(model.module(), {2, 1, 28, 28});
  const auto layers = by_path(report);
  const auto expect = [&](const std::string& path, const Shape& output, std::int64_t parameters,
                          std::int64_t multiply_adds) {
    const LayerReport& layer = layers.at(path);
    EXPECT_EQ(layer.output, output) << path;
    EXPECT_EQ(layer.parameters, parameters) << path;
    EXPECT_EQ(layer.multiply_adds, multiply_adds) << path;
  };
  expect("conv1", {2, 6, 28, 28}, 156, 2 * 784 * 6 * 25);
  expect("conv2", {2, 16, 10, 10}, 2416, 2 * 100 * 16 * 150);
  expect("fc1", {2, 120}, 48120, 2 * 400 * 120);
  expect("fc2", {2, 84}, 10164, 2 * 120 * 84);
  expect("fc3", {2, 10}, 850, 2 * 84 * 10);
  EXPECT_EQ(layers.at("pool1").output, (Shape{2, 6, 14, 14}));
  EXPECT_EQ(layers.at("pool2").output, (Shape{2, 16, 5, 5}));
  EXPECT_EQ(layers.at("conv1").operation, "conv");
  EXPECT_EQ(layers.at("conv1").layer, "Conv2d(1, 6, kernel=5, padding=2)");
  EXPECT_EQ(layers.at("conv1").output_bytes, 2 * 6 * 784 * 4);
  EXPECT_EQ(report.parameters, 61706);
  EXPECT_EQ(report.parameter_bytes, 4 * 61706);
}

TEST(Inspect, TotalsAreTheSumsOfTheLayers) {
  const nn::Model model = models::lenet5();
  const NetworkReport report = inspect(model.module(), {1, 1, 28, 28});
  std::int64_t parameters = 0;
  std::int64_t multiply_adds = 0;
  std::int64_t bytes = 0;
  for (const LayerReport& layer : report.layers) {
    parameters += layer.parameters;
    multiply_adds += layer.multiply_adds;
    bytes += layer.output_bytes;
  }
  EXPECT_EQ(parameters, report.parameters);
  EXPECT_EQ(multiply_adds, report.multiply_adds);
  EXPECT_EQ(bytes, report.activation_bytes);
}

TEST(Inspect, ReceptiveFieldsOfLeNet5) {
  const nn::Model model = models::lenet5();
  const auto layers = by_path(inspect(model.module(), {1, 1, 28, 28}));
  const auto expect = [&](const std::string& path, std::int64_t size, std::int64_t stride,
                          double centre) {
    const ReceptiveField& field = layers.at(path).field;
    EXPECT_EQ(field.size, (Shape{size, size})) << path;
    EXPECT_EQ(field.stride, (Shape{stride, stride})) << path;
    EXPECT_EQ(field.centre, (std::vector<double>{centre, centre})) << path;
    EXPECT_FALSE(field.global) << path;
  };
  expect("conv1", 5, 1, 0);  // cells -2 ... 2
  expect("act1", 5, 1, 0);
  expect("pool1", 6, 2, 0.5);   // -2 ... 3
  expect("conv2", 14, 2, 4.5);  // -2 ... 11
  expect("pool2", 16, 4, 5.5);  // -2 ... 13
  for (const char* path : {"flatten", "fc1", "act3", "fc3"}) {
    EXPECT_TRUE(layers.at(path).field.global) << path;
    EXPECT_EQ(layers.at(path).field.size, (Shape{28, 28})) << path;
  }
}

// y = conv3x3(x) + conv5x5(x, stride apart), both "same": the hull is that of the wider one.
class Branches : public nn::Module {
 public:
  explicit Branches(Generator& generator)
      : narrow_(1, 2, 3, {.padding = 1}, generator),
        wide_(1, 2, {5, 1}, {.padding = {2, 0}}, generator) {
    add_module("narrow", narrow_);
    add_module("wide", wide_);
  }
  std::string describe() const override { return "Branches()"; }

 protected:
  Tensor forward(const Tensor& input) override { return narrow_(input) + wide_(input); }

 private:
  nn::Conv2d narrow_;
  nn::Conv2d wide_;
};

TEST(Inspect, BranchesMeetInTheHullOfTheirFields) {
  Generator generator;
  Branches net(generator);
  const NetworkReport report = inspect(net, {1, 1, 9, 9});
  ASSERT_EQ(report.layers.size(), 3U);
  const LayerReport& sum = report.layers.back();
  EXPECT_EQ(sum.operation, "add");
  EXPECT_EQ(sum.path, "");
  EXPECT_EQ(sum.field.size, (Shape{5, 3}));
  EXPECT_EQ(sum.field.centre, (std::vector<double>{0, 0}));
  EXPECT_EQ(sum.parameters, 0);
}

// The same layer twice in a row.
class Twice : public nn::Module {
 public:
  explicit Twice(Generator& generator) : conv_(2, 2, 3, {.dilation = 2}, generator) {
    add_module("conv", conv_);
  }
  std::string describe() const override { return "Twice()"; }

 protected:
  Tensor forward(const Tensor& input) override { return conv_(conv_(input)); }

 private:
  nn::Conv1d conv_;
};

TEST(Inspect, SharedParametersCountOnce) {
  Generator generator;
  Twice net(generator);
  const NetworkReport report = inspect(net, {1, 2, 20});
  ASSERT_EQ(report.layers.size(), 2U);
  EXPECT_EQ(report.layers[0].parameters, 14);
  EXPECT_EQ(report.layers[1].parameters, 0);
  EXPECT_EQ(report.layers[1].field.size, (Shape{9}));  // 1 + 2 * (2 * 2)
}

// A network that is one function of its input.
class Function : public nn::Module {
 public:
  explicit Function(std::function<Tensor(const Tensor&)> f) : f_(std::move(f)) {}
  std::string describe() const override { return "Function()"; }

 protected:
  Tensor forward(const Tensor& input) override { return f_(input); }

 private:
  std::function<Tensor(const Tensor&)> f_;
};

ReceptiveField last_field(const std::function<Tensor(const Tensor&)>& f, const Shape& input) {
  Function net(f);
  return inspect(net, input).layers.back().field;
}

TEST(Inspect, UpSamplingBringsNeighboursNearer) {
  const ReceptiveField field =
      last_field([](const Tensor& x) { return upsample(avg_pool(x, 2)); }, {1, 2, 8, 8});
  EXPECT_EQ(field.size, (Shape{3, 3}));  // the hull: an output shares its cell with a neighbour
  EXPECT_EQ(field.stride, (Shape{1, 1}));
  EXPECT_FALSE(field.global);
  const ReceptiveField shrunk = last_field(
      [](const Tensor& x) {
        return upsample(x, {.size = Spatial({4, 2})});
      },
      {1, 2, 8, 8});
  EXPECT_EQ(shrunk.size, (Shape{1, 1}));
  EXPECT_EQ(shrunk.stride, (Shape{2, 4}));
}

TEST(Inspect, SeesThroughColumns) {
  const auto locally = [](const Tensor& x) {
    return locally_connected2d(x, Tensor::zeros({12, 5, 18}), 3, {}, {.stride = Spatial({2, 1})});
  };
  const ReceptiveField field = last_field(locally, {1, 2, 8, 6});
  EXPECT_EQ(field.size, (Shape{3, 3}));
  EXPECT_EQ(field.stride, (Shape{2, 1}));
  EXPECT_FALSE(field.global);
  EXPECT_TRUE(last_field([](const Tensor& x) { return flatten(x); }, {1, 2, 8, 6}).global);
  EXPECT_TRUE(last_field(
                  [](const Tensor& x) {
                    return x.permute({0, 1, 3, 2});
                  },
                  {1, 2, 8, 6})
                  .global);
}

TEST(Inspect, FollowsSlicesAndTensorsBehindOneAnother) {
  const ReceptiveField slice =
      last_field([](const Tensor& x) { return x.slice(2, 1, 9, 3); }, {1, 2, 9});
  EXPECT_EQ(slice.stride, (Shape{3}));
  EXPECT_EQ(slice.centre, (std::vector<double>{1}));
  const ReceptiveField twice = last_field(
      [](const Tensor& x) {
        return concat({x, x}, 2);
      },
      {1, 2, 9});
  EXPECT_EQ(twice.size, (Shape{10}));  // cell 9 of the output is cell 0
  EXPECT_TRUE(last_field([](const Tensor& x) { return flip(x, {2}); }, {1, 2, 9}).global);
}

TEST(Inspect, LeavesTheNetworkAsItWas) {
  nn::Sequential net;
  auto& first = net.add<nn::Dropout>("", 0.5, 4U);
  auto& second = net.add<nn::Dropout>("", 0.5, 4U);
  second.eval();
  EXPECT_TRUE(inspect(net, {1, 8}).layers.empty());
  EXPECT_TRUE(net.is_training());
  EXPECT_TRUE(first.is_training());
  EXPECT_FALSE(second.is_training());
  nn::Dropout fresh(0.5, 4);
  const Tensor x = Tensor::ones({1, 64});
  EXPECT_EQ(first(x).to_vector<float>(), fresh(x).to_vector<float>());  // no mask was drawn
}

TEST(Inspect, ShapesThatDoNotFitAreErrors) {
  const nn::Model model = models::lenet5();
  EXPECT_CONTAINS(testing::error_of([&] { inspect(model.module(), {1, 3, 28, 28}); }), "channels");
  EXPECT_CONTAINS(testing::error_of([&] { inspect(model.module(), {1, 1, 0, 28}); }), "positive");
  EXPECT_CONTAINS(testing::error_of([&] { inspect(model.module(), {28}); }), "[N, C, spatial...]");
}

TEST(Arithmetic, FullyConnectedLayersOfTheLectures) {
  // 256x256 grey, one 3x3 filter, same size out: 9 weights against 4e9 [B, E].
  const ConvArithmetic grey = arithmetic(ConvProblem::parse("ic1ih256oc1kh3ph1"));
  EXPECT_EQ(grey.weights, 9);
  EXPECT_EQ(grey.fully_connected, std::pow(65536.0, 2));
  EXPECT_EQ(grey.locally_connected, 9.0 * 65536);
  EXPECT_EQ(grey.multiply_adds, 9.0 * 65536);
  // (256 * 256 * 3)^2 = 3.87e10.
  EXPECT_EQ(arithmetic(ConvProblem::parse("ic3ih256oc3kh3ph1")).fully_connected,
            std::pow(196608.0, 2));
  // 256x256 RGB to 1000 units: one window over everything, about 200 million weights.
  EXPECT_EQ(arithmetic(ConvProblem::parse("ic3ih256oc1000kh256")).fully_connected, 196608000.0);
}

TEST(Arithmetic, BatchMultipliesWorkButNotWeights) {
  const ConvArithmetic one = arithmetic(ConvProblem::parse("ic4ih9oc6kh3"));
  const ConvArithmetic eight = arithmetic(ConvProblem::parse("mb8ic4ih9oc6kh3"));
  EXPECT_EQ(eight.weights, one.weights);
  EXPECT_EQ(eight.locally_connected, one.locally_connected);
  EXPECT_EQ(eight.multiply_adds, 8 * one.multiply_adds);
  EXPECT_EQ(eight.fully_connected_multiply_adds, 8 * one.fully_connected_multiply_adds);
}

// Marks every cell that the definition reads.
std::int64_t unread_by_definition(const ConvAxis& axis) {
  std::vector<bool> read(static_cast<std::size_t>(axis.input), false);
  for (std::int64_t p = 0; p < axis.output(); ++p) {
    for (std::int64_t k = 0; k < axis.kernel; ++k) {
      const std::int64_t cell = p * axis.stride - axis.padding.before + k * axis.dilation;
      if (cell >= 0 && cell < axis.input) read[static_cast<std::size_t>(cell)] = true;
    }
  }
  return std::count(read.begin(), read.end(), false);
}

TEST(Arithmetic, UnreadCellsAgreeWithTheDefinition) {
  int problems = 0;
  for (std::int64_t input = 1; input <= 12; ++input) {
    for (std::int64_t kernel = 1; kernel <= 4; ++kernel) {
      for (std::int64_t stride = 1; stride <= 5; ++stride) {
        for (std::int64_t dilation = 1; dilation <= 4; ++dilation) {
          for (std::int64_t before = 0; before <= 3; ++before) {
            for (std::int64_t after = 0; after <= 3; after += 3) {
              ConvProblem problem;
              problem.dims = 1;
              ConvAxis& axis = problem.axes[0];
              axis = {input, kernel, stride, dilation, {before, after}};
              if (input + before + after < axis.span()) continue;
              ASSERT_EQ(arithmetic(problem).unread, unread_by_definition(axis))
                  << problem.to_string();
              ++problems;
            }
          }
        }
      }
    }
  }
  EXPECT_GT(problems, 1000);
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++found;
  return found;
}

TEST(Inspect, KnowsWhatEachOperatorReads) {
  const nn::Model model = models::sketch("resnet20");
  const NetworkReport report = inspect(model.module(), {1, 3, 32, 32});
  EXPECT_EQ(report.layers.front().inputs, std::vector<int>{-1});
  int sums = 0;
  for (std::size_t i = 0; i < report.layers.size(); ++i) {
    const LayerReport& layer = report.layers[i];
    for (const int input : layer.inputs) EXPECT_LT(input, static_cast<int>(i));
    if (layer.operation == "add") ++sums;
    EXPECT_EQ(layer.inputs.size(), layer.operation == "add" ? 2U : 1U) << layer.path;
  }
  EXPECT_EQ(sums, 9);
}

TEST(Inspect, DrawsABoxForEachOperatorAndAnArrowForEachValue) {
  const nn::Model model = models::sketch("googlenet");
  const NetworkReport report = inspect(model.module(), {1, 3, 224, 224});
  const std::string svg = graph_svg(report);
  std::size_t arrows = 0;
  for (const LayerReport& layer : report.layers) arrows += layer.inputs.size();
  EXPECT_EQ(count(svg, "<g>"), report.layers.size() + 1);
  EXPECT_EQ(count(svg, "marker-end"), arrows);
  EXPECT_EQ(count(svg, "<title>conv1.conv: Conv2d(3, 64, kernel=7"), 1U);
  EXPECT_TRUE(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
}

TEST(Inspect, ArrowsThatPassTheSameRowsHaveLanesOfTheirOwn) {
  const nn::Model model = models::sketch("unet");
  const std::string svg = graph_svg(inspect(model.module(), {1, 1, 256, 256}));
  std::set<std::string> lanes;  // where a straight line leads down
  for (std::size_t at = svg.find(" L", svg.find("</defs>")); at != std::string::npos;
       at = svg.find(" L", at + 1))
    lanes.insert(svg.substr(at, svg.find(' ', at + 2) - at));
  EXPECT_EQ(lanes.size(), 4U);
  EXPECT_EQ(count(svg, "..."), 0U) << "a box is too narrow for what it says";
}

}  // namespace
}  // namespace fovea::explain
