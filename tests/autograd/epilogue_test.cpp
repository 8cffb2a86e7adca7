// Epilogues of conv1d() to conv3d() and linear(): the same values and gradients as the operators
// one after the other.
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "fovea/autograd.h"
#include "fovea/functions.h"
#include "support/errors.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

constexpr double kSlope = 0.2;
// Sums of up to 18 products of numbers below one, in another order, and functions of them.
constexpr double kTolerance = 100 * 0x1p-53;

struct Layer {
  std::string_view name;
  Shape input, weight, output;
  std::function<Tensor(const Tensor& x, const Tensor& w, const Tensor& b, const Epilogue&)> call;
};

std::vector<Layer> layers() {
  return {
      {"conv1d",
       {2, 2, 7},
       {3, 2, 3},
       {2, 3, 4},
       [](auto& x, auto& w, auto& b, auto& epilogue) {
         return conv1d(x, w, b, {.stride = 2, .padding = 1}, epilogue);
       }},
      {"conv2d",
       {2, 2, 4, 5},
       {3, 2, 3, 3},
       {2, 3, 4, 5},
       [](auto& x, auto& w, auto& b, auto& epilogue) {
         return conv2d(x, w, b, {.padding = 1, .padding_mode = PaddingMode::circular}, epilogue);
       }},
      {"conv3d",
       {1, 2, 3, 3, 2},
       {2, 1, 2, 2, 2},
       {1, 2, 2, 2, 1},
       [](auto& x, auto& w, auto& b, auto& epilogue) {
         return conv3d(x, w, b, {.groups = 2}, epilogue);
       }},
      {"linear",
       {3, 4},
       {5, 4},
       {3, 5},
       [](auto& x, auto& w, auto& b, auto& epilogue) { return linear(x, w, b, epilogue); }},
      {"linear of rows",
       {2, 3, 4},
       {5, 4},
       {2, 3, 5},
       [](auto& x, auto& w, auto& b, auto& epilogue) { return linear(x, w, b, epilogue); }},
  };
}

// Values, and the gradients of their sum with random weights in x, w, b and the residual; second
// derivatives of the sum of the gradients' squares as well.
std::vector<Tensor> derivatives(const std::vector<Tensor>& leaves, const Tensor& y) {
  const Tensor probe = random_tensor(y.shape(), 99);
  std::vector<Tensor> result = grad({sum(y * probe)}, leaves, {.create_graph = true});
  Tensor squares = Tensor::scalar(0, DType::float64);
  for (const Tensor& gradient : result) squares = squares + sum(gradient * gradient);
  for (const Tensor& second : grad({squares}, leaves)) result.push_back(second);
  result.push_back(y.detach());
  return result;
}

TEST(Epilogue, HasTheValuesAndGradientsOfTheOperatorsApart) {
  for (const Layer& layer : layers()) {
    std::vector<Tensor> leaves = {random_tensor(layer.input, 1), random_tensor(layer.weight, 2),
                                  random_tensor({layer.weight[0]}, 3),
                                  random_tensor(layer.output, 4, DType::float64, -4, 7)};
    for (Tensor& leaf : leaves) leaf.set_requires_grad();
    const Tensor& x = leaves[0];
    const Tensor& w = leaves[1];
    const Tensor& b = leaves[2];
    const Tensor& residual = leaves[3];
    for (const Activation activation : kActivations) {
      SCOPED_TRACE(std::string(layer.name) + ' ' + std::string(name(activation)));
      const Epilogue epilogue{.residual = residual, .activation = activation, .slope = kSlope};
      const auto apart = [&] {
        return activate(layer.call(x, w, b, {}) + residual, activation, kSlope);
      };
      const std::vector<Tensor> expected = derivatives(leaves, apart());
      const std::vector<Tensor> actual = derivatives(leaves, layer.call(x, w, b, epilogue));
      for (std::size_t i = 0; i < expected.size(); ++i)
        expect_close(actual[i], expected[i], kTolerance);
      const NoGrad no_grad;
      expect_close(layer.call(x, w, b, epilogue), apart(), kTolerance);
      expect_close(layer.call(x, w, {}, {.activation = activation, .slope = kSlope}),
                   activate(layer.call(x, w, {}, {}), activation, kSlope), kTolerance);
    }
  }
}

TEST(Epilogue, ANegativeSlopeIsComputedApartForItsGradient) {
  const Tensor x = Tensor::from<double>({-1, 2}, {1, 1, 2}).set_requires_grad();
  const Tensor w = Tensor::ones({1, 1, 1}, DType::float64);
  const Tensor y = conv1d(x, w, {}, {}, {.activation = Activation::leaky_relu, .slope = -3});
  EXPECT_EQ(y.to_vector<double>(), (std::vector<double>{3, 2}));
  EXPECT_EQ(grad({sum(y)}, {x})[0].to_vector<double>(), (std::vector<double>{-3, 1}));
}

TEST(Epilogue, HasTheSlopeOfTheOperatorApartAtEveryKink) {
  const std::vector<double> kinks = {0, 6, 3, -1, 7};
  for (const Activation activation : kActivations) {
    const Tensor fused = Tensor::from(kinks, {1, 1, 5}).set_requires_grad();
    const Tensor apart = Tensor::from(kinks, {1, 1, 5}).set_requires_grad();
    const Tensor one = Tensor::ones({1, 1, 1}, DType::float64);
    sum(conv1d(fused, one, {}, {}, {.activation = activation})).backward();
    sum(activate(apart, activation)).backward();
    for (std::int64_t i = 0; i < 5; ++i) {
      EXPECT_NEAR(fused.grad().at({0, 0, i}), apart.grad().at({0, 0, i}), 1e-15)
          << name(activation) << ' ' << i;
    }
  }
}

TEST(Epilogue, FollowsAnUntiedBias) {
  const Tensor x = random_tensor({2, 2, 5}, 1);
  const Tensor w = random_tensor({3, 2, 3}, 2);
  const Tensor bias = random_tensor({3, 3}, 3);
  const Tensor residual = random_tensor({2, 3, 3}, 4);
  for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu}) {
    expect_close(conv1d(x, w, bias, {}, {.residual = residual, .activation = activation}),
                 activate(conv1d(x, w, bias) + residual, activation), kTolerance);
  }
}

TEST(Epilogue, TakesAResidualInAnyMemoryOrder) {
  const Tensor x = random_tensor({2, 3, 6, 5}, 1);
  const Tensor w = random_tensor({4, 3, 3, 3}, 2);
  const Tensor residual = random_tensor({2, 4, 4, 3}, 3);
  expect_identical(conv2d(x, w, {}, {}, {.residual = scattered(residual)}),
                   conv2d(x, w, {}, {}, {.residual = residual}));
}

TEST(Epilogue, SaysWhatIsWrongWithItsResidual) {
  const Tensor x = Tensor::zeros({2, 3, 6, 6});
  const Tensor w = Tensor::zeros({4, 3, 3, 3});
  EXPECT_EQ(error_of([&] {
              conv2d(x, w, {}, {}, {.residual = Tensor::zeros({2, 4, 6, 6})});
            }),
            "conv2d: the residual is [2, 4, 6, 6], but it is added to the output of input [2, 3, "
            "6, 6] and weight [4, 3, 3, 3], which is [2, 4, 4, 4]; both must have one shape");
  EXPECT_CONTAINS(error_of([&] {
                    conv2d(x, w, {}, {}, {.residual = Tensor::zeros({2, 4, 4, 4}, DType::float64)});
                  }),
                  "float64");
  EXPECT_CONTAINS(error_of([&] {
                    conv2d(x, w, {}, {},
                           {.activation = Activation::leaky_relu,
                            .slope = std::numeric_limits<double>::quiet_NaN()});
                  }),
                  "not a number");
  EXPECT_CONTAINS(error_of([&] {
                    linear(Tensor::zeros({2, 3, 4}), Tensor::zeros({5, 4}), {},
                           {.residual = Tensor::zeros({6, 5})});
                  }),
                  "the residual is [6, 5], but the output of input [2, 3, 4]");
}

}  // namespace
}  // namespace fovea::testing
