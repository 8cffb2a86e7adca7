// All networks: shapes, parameters, names, what they adapt, and that their gradients are right.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "fovea/fovea.h"
#include "support/errors.h"
#include "support/files.h"
#include "support/tensors.h"

namespace fovea::models {
namespace {

using testing::error_of;

// What the tests know of each network; a network without a line here fails them.
struct Facts {
  std::int64_t parameters;  // of the published network
  Shape output;             // for a batch of two of its own input
  Shape small;              // an input for quick tests
};
const std::map<std::string_view, Facts> kFacts = {
    {"lenet5", {61'706, {2, 10}, {1, 28, 28}}},
    {"lenet5_1998", {61'706, {2, 10}, {1, 28, 28}}},
    {"alexnet", {61'100'840, {2, 1000}, {3, 63, 63}}},
    {"alexnet_2012", {60'965'224, {2, 1000}, {3, 63, 63}}},
    {"vgg11", {132'863'336, {2, 1000}, {3, 32, 32}}},
    {"vgg11_bn", {132'868'840, {2, 1000}, {3, 32, 32}}},
    {"vgg13", {133'047'848, {2, 1000}, {3, 32, 32}}},
    {"vgg13_bn", {133'053'736, {2, 1000}, {3, 32, 32}}},
    {"vgg16", {138'357'544, {2, 1000}, {3, 32, 32}}},
    {"vgg16_bn", {138'365'992, {2, 1000}, {3, 32, 32}}},
    {"vgg19", {143'667'240, {2, 1000}, {3, 32, 32}}},
    {"vgg19_bn", {143'678'248, {2, 1000}, {3, 32, 32}}},
    {"googlenet", {6'624'904, {2, 1000}, {3, 32, 32}}},
    {"resnet18", {11'689'512, {2, 1000}, {3, 16, 16}}},
    {"resnet34", {21'797'672, {2, 1000}, {3, 16, 16}}},
    {"resnet50", {25'557'032, {2, 1000}, {3, 16, 16}}},
    {"resnet20", {269'722, {2, 10}, {3, 16, 16}}},
    {"resnet32", {464'154, {2, 10}, {3, 16, 16}}},
    {"resnet56", {853'018, {2, 10}, {3, 16, 16}}},
    {"mobilenet_v1", {4'231'976, {2, 1000}, {3, 32, 32}}},
    {"mobilenet_v2", {3'504'872, {2, 1000}, {3, 32, 32}}},
    {"unet", {31'036'546, {2, 2, 256, 256}, {1, 16, 16}}},
    {"audio1d", {0, {2, 10}, {1, 2000}}},
    {"audio2d", {0, {2, 10}, {1, 16, 16}}},
    {"sensors1d", {0, {2, 4}, {2, 20}}},
    {"volume3d", {0, {2, 2}, {1, 8, 8, 8}}},
};

class EachNetwork : public ::testing::TestWithParam<ModelDef> {
 protected:
  const Facts& facts() const { return kFacts.at(GetParam().name); }

  // A narrow one for three classes.
  nn::Model tiny() const {
    return GetParam().build({.classes = 3, .seed = 2, .input = facts().small, .width = 1.0 / 16});
  }
  Tensor tiny_batch(DType dtype) const {
    Shape shape = {4};
    for (const std::int64_t size : facts().small) shape.push_back(size);
    return testing::random_tensor(shape, 3, dtype);
  }
};

// The mean of the logarithms at the labels; per pixel where the network answers per pixel.
Tensor loss_of(const nn::Model& model, const Tensor& batch) {
  Tensor logits = model(batch);
  if (logits.rank() == 4) logits = logits.permute({0, 2, 3, 1}).reshape({-1, logits.size(1)});
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < logits.size(0); ++i) labels.push_back(i % 3);
  return cross_entropy(logits, Tensor::from(labels, {logits.size(0)}));
}

// Training, but without the randomness of dropout.
void train_without_dropout(const nn::Model& model) {
  model.train();
  model.module().visit([](const std::string&, nn::Module& module) {
    if (dynamic_cast<nn::Dropout*>(&module) != nullptr) module.eval();
  });
}

TEST_P(EachNetwork, HasItsPublishedParametersAndShape) {
  const nn::Model model = sketch(GetParam().name);
  EXPECT_EQ(model.info.architecture, GetParam().name);
  EXPECT_EQ(model.info.adapted, std::vector<std::string>{});
  if (facts().parameters > 0) {
    EXPECT_EQ(model.module().parameter_count(), facts().parameters);
  }
  Shape input = {2};
  for (const std::int64_t size : model.info.input) input.push_back(size);
  EXPECT_EQ(explain::inspect(model.module(), input).layers.back().output, facts().output);
}

TEST_P(EachNetwork, LearnsInOneStep) {
  const nn::Model model = tiny();
  train_without_dropout(model);
  const Tensor batch = tiny_batch(DType::float32);
  const Tensor before = loss_of(model, batch);
  before.backward();
  optim::Sgd(model.parameters(), {.lr = 1e-2}).step();
  EXPECT_LT(loss_of(model, batch).item<double>(), before.item<double>());
}

// Along a random direction d of all parameters: <gradient, d> against a central difference.
TEST_P(EachNetwork, HasTheGradientOfItsLoss) {
  const nn::Model model = tiny();
  model.module().to(DType::float64);
  train_without_dropout(model);
  const Tensor batch = tiny_batch(DType::float64);
  loss_of(model, batch).backward();
  double slope = 0;
  std::vector<Tensor> parameters = model.parameters();
  std::vector<Tensor> directions;
  const NoGrad no_grad;
  for (const Tensor& parameter : parameters) {
    directions.push_back(testing::random_tensor(parameter.shape(), directions.size() + 1));
    ASSERT_TRUE(parameter.grad().defined());
    slope += sum(parameter.grad() * directions.back()).item<double>();
  }
  const auto loss_at = [&](double step) {
    for (std::size_t i = 0; i < parameters.size(); ++i)
      parameters[i].copy_from(parameters[i] + directions[i] * step);
    const double loss = loss_of(model, batch).item<double>();
    for (std::size_t i = 0; i < parameters.size(); ++i)
      parameters[i].copy_from(parameters[i] - directions[i] * step);
    return loss;
  };
  // Short, for within a step some of many thousand activations cross their kink; cancellation costs
  // roundoff / step, 1e-7.
  constexpr double kStep = 1e-9;
  const double difference = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
  EXPECT_NEAR(difference, slope, 1e-3 * std::max(1.0, std::abs(slope)));
}

INSTANTIATE_TEST_SUITE_P(Zoo, EachNetwork, ::testing::ValuesIn(list().begin(), list().end()),
                         [](const auto& one) { return std::string(one.param.name); });

// Names and shapes of torchvision's networks, a line for each.
TEST(Zoo, HasTorchvisionsNames) {
  for (const char* const name :
       {"alexnet", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19",
        "vgg19_bn", "googlenet", "resnet18", "resnet34", "resnet50", "mobilenet_v2"}) {
    std::vector<std::string> expected;
    std::ifstream file(std::string(FOVEA_SOURCE_DIR "/tests/models/torchvision/") + name + ".txt");
    for (std::string line; std::getline(file, line);) expected.push_back(line);
    const nn::Model model = sketch(name);
    std::vector<nn::NamedTensor> tensors = model.module().named_parameters();
    for (const nn::NamedTensor& buffer : model.module().named_buffers()) tensors.push_back(buffer);
    std::vector<std::string> lines;
    for (const auto& [path, tensor] : tensors) {
      std::ostringstream line;
      line << path;
      for (const std::int64_t size : tensor.shape()) line << ' ' << size;
      lines.push_back(line.str());
    }
    std::sort(lines.begin(), lines.end());
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(lines, expected) << name;
  }
}

TEST(Zoo, SaysWhatItAdapts) {
  const nn::Model model = resnet18({.classes = 10, .input = {1, 28, 28}, .width = 0.25});
  EXPECT_EQ(model.info.adapted,
            (std::vector<std::string>{
                "it has 0.25 times the channels", "its first layer takes 1 channel instead of 3",
                "its last layer gives 10 classes instead of 1000",
                "its stem is 3x3 with stride 1 and no pooling, for small pictures"}));
  EXPECT_EQ(model(Tensor::zeros({2, 1, 28, 28})).shape(), (Shape{2, 10}));
  EXPECT_EQ(lenet5({.input = {3, 32, 32}}).info.adapted.back(),
            "its first linear layer takes 576 features instead of 400");
}

TEST(Zoo, RefusesWhatCannotBe) {
  EXPECT_CONTAINS(error_of([] {
                    sketch("alexnet", {.input = {3, 32, 32}});
                  }),
                  "alexnet cannot take samples of 3x32x32", "max_pool");
  EXPECT_CONTAINS(error_of([] {
                    sketch("unet", {.input = {1, 100, 96}});
                  }),
                  "multiples of 16, but are 100 and 96");
  EXPECT_CONTAINS(error_of([] { sketch("lenet5", {.input = {1, 8, 28}}); }), "at least 12x12");
  EXPECT_CONTAINS(error_of([] { sketch("resnet20", {.input = {3, 32}}); }), "3 axes", "3x32x32");
  EXPECT_CONTAINS(error_of([] { sketch("resnet20", {.input = {0, 32, 32}}); }), "positive");
  EXPECT_CONTAINS(error_of([] { sketch("resnet20", {.input = {3, 1 << 30, 1 << 30}}); }), "2^40");
  EXPECT_CONTAINS(error_of([] { sketch("resnet20", {.width = 0}); }), "width");
  EXPECT_CONTAINS(error_of([] { sketch("resnet20", {.classes = -1}); }), "classes=-1");
}

TEST(Zoo, AnAdaptedNetworkIsSavedWithWhatItAdapts) {
  const testing::TempFolder folder;
  const nn::Model model =
      mobilenet_v2({.classes = 5, .seed = 7, .input = {1, 40, 48}, .width = 0.25});
  save(model, folder / "net.fovea");
  const nn::Model back = load(folder / "net.fovea");
  EXPECT_EQ(back.info.input, (Shape{1, 40, 48}));
  EXPECT_EQ(back.info.options, model.info.options);
  EXPECT_EQ(back.info.adapted, model.info.adapted);
  model.eval();
  back.eval();
  const Tensor x = testing::random_tensor({2, 1, 40, 48}, 1, DType::float32);
  testing::expect_identical(back(x), model(x));
}

}  // namespace
}  // namespace fovea::models
