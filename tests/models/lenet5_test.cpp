#include <gtest/gtest.h>

#include "fovea/fovea.h"
#include "support/errors.h"
#include "support/tensors.h"

namespace fovea::models {
namespace {

constexpr std::string_view kForms[] = {"lenet5", "lenet5_1998"};

TEST(LeNet5, HasTheParametersOfTheLecture) {
  for (const std::string_view form : kForms) {
    const nn::Model model = build(form);
    // 6*25+6 + 16*6*25+16 + 400*120+120 + 120*84+84 + 84*10+10
    EXPECT_EQ(model.module().parameter_count(), 61706) << form;
    EXPECT_EQ(model.info.architecture, form);
    EXPECT_EQ(model.info.input, (Shape{1, 28, 28}));
    EXPECT_EQ(model.info.options.at("classes"), "10");
    EXPECT_EQ(model.info.options.at("seed"), "1");
    EXPECT_EQ(model(Tensor::zeros({3, 1, 28, 28})).shape(), (Shape{3, 10}));
  }
}

TEST(LeNet5, ClassesSetTheLastLayer) {
  const nn::Model model = lenet5({.classes = 26});
  EXPECT_EQ(model(Tensor::zeros({1, 1, 28, 28})).shape(), (Shape{1, 26}));
  EXPECT_CONTAINS(testing::error_of([] { lenet5({.classes = -1}); }), "classes");
}

TEST(LeNet5, SeedsDecideTheWeights) {
  const auto first_weights = [](std::uint64_t seed) {
    return lenet5_1998({.seed = seed}).parameters().front().to_vector<float>();
  };
  EXPECT_EQ(first_weights(1), first_weights(1));
  EXPECT_NE(first_weights(1), first_weights(2));
}

TEST(Models, AnUnknownNameListsTheKnownOnes) {
  EXPECT_CONTAINS(testing::error_of([] { build("lenet6"); }), "lenet5_1998");
}

// Two classes that differ in which half is bright. From a start that does not train, the loss stays
// at log 2 = 0.69.
TEST(LeNet5, BothFormsLearn) {
  for (const std::string_view form : kForms) {
    const nn::Model model = build(form, {.classes = 2, .seed = 1});
    optim::Adam adam(model.parameters(), {.lr = 3e-3});
    Tensor images = testing::random_tensor({32, 1, 28, 28}, 1, DType::float32);
    std::vector<std::int64_t> labels;
    for (std::int64_t i = 0; i < 32; ++i) {
      labels.push_back(i % 2);
      Tensor half = images.slice(0, i, i + 1).slice(2, 14 * (i % 2), 14 * (i % 2) + 14);
      half.copy_from(half + 1.0);
    }
    double loss_value = 0;
    for (int step = 0; step < 60; ++step) {
      const Tensor loss = cross_entropy(model(images), Tensor::from(labels, {32}));
      adam.zero_grad();
      loss.backward();
      adam.step();
      loss_value = loss.item<double>();
    }
    EXPECT_LT(loss_value, 0.3) << form;
  }
}

}  // namespace
}  // namespace fovea::models
