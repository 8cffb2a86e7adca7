// Optimisers against plain loops in double.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <vector>

#include "fovea/functions.h"
#include "fovea/optim.h"
#include "support/errors.h"
#include "support/settings.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

constexpr int kSteps = 5;
constexpr std::int64_t kCount = 37;  // fills no vector

Tensor gradient_at(int step, DType dtype) {
  return random_tensor({kCount}, 100 + static_cast<std::uint64_t>(step), dtype);
}

// The weights after kSteps steps of `optimizer`.
Tensor optimised(
    DType dtype,
    const std::function<std::unique_ptr<optim::Optimizer>(std::vector<Tensor>)>& make) {
  Tensor w = random_tensor({kCount}, 1, dtype).set_requires_grad();
  const auto optimizer = make({w});
  for (int step = 0; step < kSteps; ++step) {
    w.set_grad(gradient_at(step, dtype));
    optimizer->step();
  }
  return w.detach();
}

void expect_sgd(const optim::SgdOptions& options) {
  for (const DType dtype : {DType::float32, DType::float64}) {
    std::vector<double> w = random_tensor({kCount}, 1, dtype).to_vector<double>();
    std::vector<double> v(w.size(), 0);
    for (int step = 0; step < kSteps; ++step) {
      const std::vector<double> g = gradient_at(step, dtype).to_vector<double>();
      for (std::size_t i = 0; i < w.size(); ++i) {
        const double change = g[i] + options.weight_decay * w[i];
        v[i] = step == 0 ? change : options.momentum * v[i] + change;
        w[i] -= options.lr * (options.momentum == 0 ? change
                              : options.nesterov    ? change + options.momentum * v[i]
                                                    : v[i]);
      }
    }
    for_simd_targets([&] {
      const Tensor actual = optimised(dtype, [&](std::vector<Tensor> parameters) {
        return std::make_unique<optim::Sgd>(std::move(parameters), options);
      });
      // A handful of operations per step, on numbers of order one.
      expect_close(actual, Tensor::from(w, {kCount}), 8 * kSteps * roundoff(dtype));
    });
  }
}

TEST(Sgd, Plain) {
  expect_sgd({.lr = 0.1});
}
TEST(Sgd, WeightDecay) {
  expect_sgd({.lr = 0.1, .weight_decay = 0.3});
}
TEST(Sgd, Momentum) {
  expect_sgd({.lr = 0.1, .momentum = 0.9});
}
TEST(Sgd, MomentumAndWeightDecay) {
  expect_sgd({.lr = 0.1, .momentum = 0.5, .weight_decay = 0.2});
}
TEST(Sgd, Nesterov) {
  expect_sgd({.lr = 0.1, .momentum = 0.9, .nesterov = true, .weight_decay = 0.1});
}

void expect_adam(const optim::AdamOptions& options) {
  for (const DType dtype : {DType::float32, DType::float64}) {
    std::vector<double> w = random_tensor({kCount}, 1, dtype).to_vector<double>();
    std::vector<double> m(w.size(), 0);
    std::vector<double> v(w.size(), 0);
    for (int step = 0; step < kSteps; ++step) {
      const std::vector<double> g = gradient_at(step, dtype).to_vector<double>();
      const double correction1 = 1 - std::pow(options.beta1, step + 1);
      const double correction2 = 1 - std::pow(options.beta2, step + 1);
      for (std::size_t i = 0; i < w.size(); ++i) {
        const double change = g[i] + options.weight_decay * w[i];
        m[i] = options.beta1 * m[i] + (1 - options.beta1) * change;
        v[i] = options.beta2 * v[i] + (1 - options.beta2) * change * change;
        w[i] -= options.lr * (m[i] / correction1) / (std::sqrt(v[i] / correction2) + options.eps);
      }
    }
    for_simd_targets([&] {
      const Tensor actual = optimised(dtype, [&](std::vector<Tensor> parameters) {
        return std::make_unique<optim::Adam>(std::move(parameters), options);
      });
      expect_close(actual, Tensor::from(w, {kCount}), 32 * kSteps * roundoff(dtype));
    });
  }
}

TEST(Adam, Plain) {
  expect_adam({.lr = 0.1});
}
TEST(Adam, OtherRates) {
  expect_adam({.lr = 0.05, .beta1 = 0.5, .beta2 = 0.9, .eps = 1e-3});
}
TEST(Adam, WeightDecay) {
  expect_adam({.lr = 0.1, .weight_decay = 0.3});
}

TEST(Optimizer, GradientsMayLieInAnotherMemoryOrder) {
  Tensor w = Tensor::zeros({2, 3, 2, 2}).set_requires_grad();
  const Tensor g = random_tensor(w.shape(), 2, DType::float32);
  w.set_grad(g.contiguous(Layout::channels_last));
  optim::Sgd({w}, {.lr = 1}).step();
  expect_identical(w.detach(), neg(g));
}

TEST(Optimizer, LeavesGradientsAsTheyAre) {
  Tensor w = random_tensor({9}, 3).set_requires_grad();
  const Tensor g = random_tensor({9}, 4);
  w.set_grad(g.clone());
  optim::Adam({w}, {.weight_decay = 0.1}).step();
  expect_identical(w.grad(), g);
}

TEST(Optimizer, PassesOverParametersWithoutGradient) {
  Tensor with = Tensor::ones({2}).set_requires_grad();
  Tensor without = Tensor::ones({2}).set_requires_grad();
  optim::Adam adam({with, without});
  with.set_grad(Tensor::ones({2}));
  adam.step();
  EXPECT_NE(with.at({0}), 1);
  expect_identical(without.detach(), Tensor::ones({2}));
  adam.zero_grad();
  EXPECT_FALSE(with.grad().defined());
}

TEST(Optimizer, UsesTheRateThatWasSet) {
  Tensor w = Tensor::zeros({1}).set_requires_grad();
  optim::Sgd sgd({w}, {.lr = 1});
  sgd.set_lr(0.25);
  EXPECT_EQ(sgd.lr(), 0.25);
  w.set_grad(Tensor::ones({1}));
  sgd.step();
  EXPECT_EQ(w.at({0}), -0.25);
}

TEST(Optimizer, ChangesAreSeenByTheTape) {
  Tensor w = Tensor::ones({3}).set_requires_grad();
  const Tensor loss = sum(w * w);
  w.set_grad(Tensor::ones({3}));
  optim::Sgd({w}, {.lr = 1}).step();
  EXPECT_CONTAINS(error_of([&] { loss.backward(); }), "changed in place");
}

TEST(Optimizer, ReachesTheMinimumOfAParabola) {
  for (const bool use_adam : {false, true}) {
    Tensor w = random_tensor({8}, 5).set_requires_grad();
    const Tensor goal = random_tensor({8}, 6);
    std::unique_ptr<optim::Optimizer> optimizer;
    if (use_adam) {
      optimizer = std::make_unique<optim::Adam>(std::vector{w}, optim::AdamOptions{.lr = 0.05});
    } else {
      optimizer = std::make_unique<optim::Sgd>(std::vector{w},
                                               optim::SgdOptions{.lr = 0.05, .momentum = 0.8});
    }
    for (int step = 0; step < 600; ++step) {
      optimizer->zero_grad();
      const Tensor difference = w - goal;
      sum(difference * difference).backward();
      optimizer->step();
    }
    expect_close(w.detach(), goal, 1e-6);
  }
}

std::vector<std::function<std::unique_ptr<optim::Optimizer>(Tensor)>> methods() {
  return {[](const Tensor& w) { return std::make_unique<optim::Adam>(std::vector{w}); },
          [](const Tensor& w) {
            return std::make_unique<optim::Sgd>(std::vector{w}, optim::SgdOptions{.momentum = 0.9});
          },
          [](const Tensor& w) {
            return std::make_unique<optim::Sgd>(std::vector{w}, optim::SgdOptions{});
          }};
}

TEST(Optimizer, GoesOnFromItsState) {
  for (const auto& make : methods()) {
    Tensor w = random_tensor({kCount}, 1, DType::float32).set_requires_grad();
    const auto run = [](optim::Optimizer& optimizer, Tensor& parameter, int first, int last) {
      for (int step = first; step < last; ++step) {
        parameter.set_grad(gradient_at(step, DType::float32));
        optimizer.set_lr(0.1 / (step + 1));
        optimizer.step();
      }
    };
    const auto optimizer = make(w);
    run(*optimizer, w, 0, 3);
    const optim::OptimizerState state = optimizer->state();
    EXPECT_EQ(state.method, optimizer->method());
    EXPECT_EQ(state.steps, 3);
    EXPECT_EQ(state.lr, 0.1 / 3);
    Tensor copy = w.detach().clone().set_requires_grad();
    const auto other = make(copy);
    other->set_state(state);
    EXPECT_EQ(other->lr(), 0.1 / 3);
    run(*optimizer, w, 3, 6);
    run(*other, copy, 3, 6);
    expect_identical(copy.detach(), w.detach());
  }
}

TEST(Optimizer, AStateThatDoesNotFitChangesNothing) {
  Tensor w = random_tensor({kCount}, 1).set_requires_grad();
  optim::Adam adam({w});
  optim::Sgd sgd({w}, {.lr = 0.5, .momentum = 0.9});
  EXPECT_CONTAINS(error_of([&] { adam.set_state(sgd.state()); }), "this is adam", "'sgd'");
  EXPECT_CONTAINS(error_of([&] { optim::Sgd({w}, {}).set_state(sgd.state()); }), "velocity.0");
  EXPECT_CONTAINS(error_of([&] { sgd.set_state(optim::Sgd({w}, {}).state()); }),
                  "has no 'velocity.0'");
  optim::OptimizerState state = sgd.state();
  state.tensors["velocity.0"] = Tensor::zeros({2}, DType::float64);
  EXPECT_CONTAINS(error_of([&] { sgd.set_state(state); }), "velocity.0", "[2]", "[37]");
  state = sgd.state();
  state.lr = -1;
  EXPECT_CONTAINS(error_of([&] { sgd.set_state(state); }), "lr is -1");
  state = sgd.state();
  state.steps = -1;
  EXPECT_CONTAINS(error_of([&] { sgd.set_state(state); }), "-1 steps");
  EXPECT_EQ(sgd.lr(), 0.5);
}

TEST(Optimizer, SameBitsForAnyNumberOfThreads) {
  const Tensor values = random_tensor({100000}, 7, DType::float32);
  Tensor first;
  for_thread_counts([&] {
    Tensor w = values.clone().set_requires_grad();
    w.set_grad(random_tensor({100000}, 8, DType::float32));
    optim::Adam({w}, {.lr = 0.1}).step();
    if (!first.defined()) first = w.detach();
    expect_identical(w.detach(), first);
  });
}

TEST(Optimizer, ErrorsNameOptionAndRange) {
  const Tensor w = Tensor::zeros({2}).set_requires_grad();
  EXPECT_CONTAINS(error_of([&] { optim::Sgd({w}, {.lr = -1}); }), "lr is -1", "at least 0");
  EXPECT_CONTAINS(error_of([&] { optim::Sgd({w}, {.lr = std::nan("")}); }), "lr is nan");
  EXPECT_CONTAINS(error_of([&] { optim::Sgd({w}, {.momentum = -0.1}); }), "sgd", "momentum");
  EXPECT_CONTAINS(error_of([&] { optim::Sgd({w}, {.nesterov = true}); }), "nesterov", "momentum");
  EXPECT_CONTAINS(error_of([&] { optim::Sgd({w}, {.weight_decay = -1}); }), "weight_decay");
  EXPECT_CONTAINS(error_of([&] { optim::Adam({w}, {.beta1 = 1}); }), "adam", "beta1",
                  "less than 1");
  EXPECT_CONTAINS(error_of([&] { optim::Adam({w}, {.beta2 = -0.5}); }), "beta2");
  EXPECT_CONTAINS(error_of([&] { optim::Adam({w}, {.eps = -1}); }), "eps");
  EXPECT_CONTAINS(error_of([&] { optim::Adam({}); }), "no parameters");
  EXPECT_CONTAINS(error_of([&] { optim::Adam({w, w}); }), "parameter 1", "twice");
  EXPECT_CONTAINS(error_of([&] { optim::Adam({Tensor::zeros({2})}); }), "parameter 0",
                  "requires_grad");
}

}  // namespace
}  // namespace fovea::testing
