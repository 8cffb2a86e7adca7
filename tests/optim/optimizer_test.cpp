// Optimisers against plain loops in double.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <optional>
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

// Decay shrinks the weight and does not meet the moments.
TEST(AdamW, WeightDecay) {
  const optim::AdamOptions options = {.lr = 0.1, .weight_decay = 0.3};
  for (const DType dtype : {DType::float32, DType::float64}) {
    std::vector<double> w = random_tensor({kCount}, 1, dtype).to_vector<double>();
    std::vector<double> m(w.size(), 0);
    std::vector<double> v(w.size(), 0);
    for (int step = 0; step < kSteps; ++step) {
      const std::vector<double> g = gradient_at(step, dtype).to_vector<double>();
      for (std::size_t i = 0; i < w.size(); ++i) {
        m[i] = options.beta1 * m[i] + (1 - options.beta1) * g[i];
        v[i] = options.beta2 * v[i] + (1 - options.beta2) * g[i] * g[i];
        const double first = m[i] / (1 - std::pow(options.beta1, step + 1));
        const double second = v[i] / (1 - std::pow(options.beta2, step + 1));
        w[i] = (1 - options.lr * options.weight_decay) * w[i] -
               options.lr * first / (std::sqrt(second) + options.eps);
      }
    }
    for_simd_targets([&] {
      const Tensor actual = optimised(dtype, [&](std::vector<Tensor> parameters) {
        return std::make_unique<optim::AdamW>(std::move(parameters), options);
      });
      expect_close(actual, Tensor::from(w, {kCount}), 32 * kSteps * roundoff(dtype));
    });
  }
}

void expect_rmsprop(const optim::RmsPropOptions& options) {
  for (const DType dtype : {DType::float32, DType::float64}) {
    std::vector<double> w = random_tensor({kCount}, 1, dtype).to_vector<double>();
    std::vector<double> s(w.size(), 0);
    std::vector<double> v(w.size(), 0);
    for (int step = 0; step < kSteps; ++step) {
      const std::vector<double> g = gradient_at(step, dtype).to_vector<double>();
      for (std::size_t i = 0; i < w.size(); ++i) {
        const double change = g[i] + options.weight_decay * w[i];
        s[i] = options.alpha * s[i] + (1 - options.alpha) * change * change;
        v[i] = options.momentum * v[i] + change / (std::sqrt(s[i]) + options.eps);
        w[i] -= options.lr * v[i];
      }
    }
    for_simd_targets([&] {
      const Tensor actual = optimised(dtype, [&](std::vector<Tensor> parameters) {
        return std::make_unique<optim::RmsProp>(std::move(parameters), options);
      });
      expect_close(actual, Tensor::from(w, {kCount}), 32 * kSteps * roundoff(dtype));
    });
  }
}

TEST(RmsProp, Plain) {
  expect_rmsprop({.lr = 0.01});
}
TEST(RmsProp, MomentumAndWeightDecay) {
  expect_rmsprop({.lr = 0.01, .alpha = 0.9, .momentum = 0.9, .weight_decay = 0.1});
}

TEST(ParameterGroups, HaveRatesAndDecaysOfTheirOwn) {
  const auto run =
      [](const std::function<std::unique_ptr<optim::Optimizer>(std::vector<optim::ParameterGroup>)>&
             make,
         const optim::ParameterGroup& options) {
        Tensor other = Tensor::ones({3}).set_requires_grad();
        Tensor w = random_tensor({kCount}, 1).set_requires_grad();
        optim::ParameterGroup group = options;
        group.parameters = {w};
        const auto optimizer = make({{.parameters = {other}, .weight_decay = 0.0}, group});
        for (int step = 0; step < kSteps; ++step) {
          w.set_grad(gradient_at(step, DType::float64));
          optimizer->step();
        }
        return w.detach();
      };
  using Groups = std::vector<optim::ParameterGroup>;
  const std::vector<std::function<std::unique_ptr<optim::Optimizer>(Groups, double, double)>>
      makes = {[](Groups groups, double lr, double decay) {
                 return std::make_unique<optim::Sgd>(
                     std::move(groups),
                     optim::SgdOptions{.lr = lr, .momentum = 0.9, .weight_decay = decay});
               },
               [](Groups groups, double lr, double decay) {
                 return std::make_unique<optim::Adam>(
                     std::move(groups), optim::AdamOptions{.lr = lr, .weight_decay = decay});
               },
               [](Groups groups, double lr, double decay) {
                 return std::make_unique<optim::AdamW>(
                     std::move(groups), optim::AdamOptions{.lr = lr, .weight_decay = decay});
               },
               [](Groups groups, double lr, double decay) {
                 return std::make_unique<optim::RmsProp>(
                     std::move(groups), optim::RmsPropOptions{.lr = lr, .weight_decay = decay});
               }};
  for (const auto& make : makes) {
    const Tensor expected = run([&](Groups groups) { return make(std::move(groups), 0.05, 0.25); },
                                {.weight_decay = std::nullopt});
    const Tensor grouped = run([&](Groups groups) { return make(std::move(groups), 0.1, 0.75); },
                               {.lr_scale = 0.5, .weight_decay = 0.25});
    expect_identical(grouped, expected);
  }
}

TEST(ParameterGroups, ErrorsNameWhatIsWrong) {
  const Tensor w = Tensor::zeros({2}).set_requires_grad();
  const auto make = [&](double scale, double decay) {
    return error_of([&] {
      optim::Adam(std::vector<optim::ParameterGroup>{
          {.parameters = {w}, .lr_scale = scale, .weight_decay = decay}});
    });
  };
  EXPECT_CONTAINS(make(-1, 0), "lr_scale is -1");
  EXPECT_CONTAINS(make(1, -2), "weight_decay is -2");
  EXPECT_CONTAINS(
      error_of([&] {
        optim::Adam(std::vector<optim::ParameterGroup>{{.parameters = {w}}, {.parameters = {w}}});
      }),
      "parameter 1", "twice");
}

TEST(Clip, ANormAboveTheLimitIsScaledToIt) {
  Tensor a = Tensor::zeros({2}).set_requires_grad();
  Tensor b = Tensor::zeros({1}, DType::float64).set_requires_grad();
  Tensor none = Tensor::zeros({1}).set_requires_grad();
  const Tensor shared = Tensor::from({2.0F, 1.0F}, {2});
  a.set_grad(shared);
  b.set_grad(Tensor::from({2.0}, {1}));
  EXPECT_EQ(optim::clip_norm({a, b, none}, 3), 3);  // sqrt(4 + 1 + 4)
  expect_identical(a.grad(), shared);
  EXPECT_EQ(optim::clip_norm({a, b, none}, 1.5), 3);
  expect_identical(a.grad(), Tensor::from({1.0F, 0.5F}, {2}));
  expect_identical(b.grad(), Tensor::from({1.0}, {1}));
  expect_identical(shared, Tensor::from({2.0F, 1.0F}, {2}));  // may be another's gradient too
  a.set_grad(Tensor::from({INFINITY, 1.0F}, {2}));
  EXPECT_EQ(optim::clip_norm({a, b}, 1), INFINITY);
  EXPECT_EQ(a.grad().at({1}), 1);
  EXPECT_CONTAINS(error_of([&] { optim::clip_norm({a}, 0); }), "most is 0", "above 0");
}

TEST(Clip, TheNormHasTheSameBitsForAnyNumberOfThreads) {
  Tensor w = Tensor::zeros({100000}).set_requires_grad();
  w.set_grad(random_tensor({100000}, 8, DType::float32));
  const double norm = optim::clip_norm({w}, 1e9);
  EXPECT_NEAR(norm, std::sqrt(100000.0 / 3), 1);  // the mean square of uniform values is 1/3
  for_thread_counts([&] { EXPECT_EQ(optim::clip_norm({w}, 1e9), norm); });
}

TEST(Clip, ValuesAreMovedIntoTheRange) {
  Tensor w = Tensor::zeros({3}).set_requires_grad();
  w.set_grad(Tensor::from({-2.0F, 0.25F, 9.0F}, {3}));
  optim::clip_value({w}, 0.5);
  expect_identical(w.grad(), Tensor::from({-0.5F, 0.25F, 0.5F}, {3}));
}

TEST(MovingAverage, FollowsTheFormula) {
  for (const DType dtype : {DType::float32, DType::float64}) {
    Tensor w = random_tensor({kCount}, 1, dtype);
    Tensor steps = Tensor::zeros({1}, DType::int64);
    Tensor mean = Tensor::zeros({kCount}, dtype);
    Tensor mean_steps = Tensor::zeros({1}, DType::int64);
    optim::MovingAverage average({w, steps}, {mean, mean_steps}, {.decay = 0.3});
    std::vector<double> expected = w.to_vector<double>();
    expect_identical(mean, w);
    for (int step = 1; step <= kSteps; ++step) {
      w.copy_from(gradient_at(step, dtype));
      steps.fill(step);
      average.update();
      const double kept = std::min(0.3, (1.0 + step) / (10 + step));  // 2/11, 1/4, 4/13, ...
      const std::vector<double> now = w.to_vector<double>();
      for (std::size_t i = 0; i < now.size(); ++i)
        expected[i] = kept * expected[i] + (1 - kept) * now[i];
    }
    EXPECT_EQ(average.steps(), kSteps);
    EXPECT_EQ(mean_steps.item<std::int64_t>(), kSteps);
    expect_close(mean, Tensor::from(expected, {kCount}), 8 * roundoff(dtype));
  }
}

TEST(MovingAverage, WhatDoesNotFitIsRefused) {
  const Tensor w = Tensor::zeros({2});
  const Tensor other = Tensor::zeros({3});
  EXPECT_CONTAINS(error_of([&] { optim::MovingAverage({w}, {other}); }), "tensor 0", "[2]", "[3]");
  EXPECT_CONTAINS(error_of([&] { optim::MovingAverage({w}, {}); }), "of 1 tensors, but 0");
  EXPECT_CONTAINS(error_of([&] { optim::MovingAverage({w}, {w.clone()}, {.decay = 1}); }), "decay");
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
          },
          [](const Tensor& w) { return std::make_unique<optim::AdamW>(std::vector{w}); },
          [](const Tensor& w) {
            return std::make_unique<optim::RmsProp>(std::vector{w},
                                                    optim::RmsPropOptions{.momentum = 0.9});
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
  EXPECT_CONTAINS(error_of([&] { optim::Adam(std::vector<Tensor>()); }), "no parameters");
  EXPECT_CONTAINS(error_of([&] { optim::RmsProp({w}, {.alpha = 1}); }), "rmsprop", "alpha");
  EXPECT_CONTAINS(error_of([&] { optim::Adam({w, w}); }), "parameter 1", "twice");
  EXPECT_CONTAINS(error_of([&] { optim::Adam({Tensor::zeros({2})}); }), "parameter 0",
                  "requires_grad");
}

}  // namespace
}  // namespace fovea::testing
