// Networks with the weights that others trained.
#include <gtest/gtest.h>

#include <filesystem>

#include "fovea/autograd.h"
#include "fovea/functions.h"
#include "fovea/models.h"
#include "fovea/readers.h"
#include "fovea/save.h"
#include "support/files.h"
#include "support/tensors.h"

namespace fovea::models {
namespace {

// Against the outputs that ONNX Runtime has for the same network.
TEST(PublishedWeights, Resnet20AnswersAsElsewhere) {
  const std::string folder = testing::shared_folder() + "/models/";
  const std::string weights = folder + "resnet20-12fca82f.safetensors";
  if (!std::filesystem::exists(weights)) GTEST_SKIP() << "no file " << weights;
  const nn::Model model = resnet20();
  const LoadReport report = load_weights(model.module(), weights);
  EXPECT_EQ(report.missing, std::vector<std::string>{});
  EXPECT_EQ(report.unexpected, std::vector<std::string>{});
  model.eval();
  const NoGrad no_grad;
  const Tensor input = data::read_npy(folder + "refs/resnet20-12fca82f/input_0.npy");
  const Tensor expected = data::read_npy(folder + "refs/resnet20-12fca82f/output_0.npy");
  ASSERT_EQ(input.shape(), Shape({4, 3, 32, 32}));
  EXPECT_LT(testing::max_abs(model(input) - expected), 1e-4);
}

}  // namespace
}  // namespace fovea::models
