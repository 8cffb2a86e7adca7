// The epilogue of every algorithm: activation(sum + bias + residual), against the same algorithm
// without it and the activation's definition.
#include "conv/epilogue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/dispatch.h"
#include "fovea/functions.h"
#include "fovea/version.h"
#include "support/conv_problems.h"
#include "support/settings.h"

namespace fovea::testing {
namespace {

constexpr std::uint64_t kProblems = 40;
constexpr double kSlope = 0.25;

// Shapes that the random ones miss: many tiles; channels that fill no vector, in one or several
// blocks; groups of a few channels; weights beyond the first-level cache; bands of rows.
constexpr const char* kDescriptors[] = {
    "mb1ic20ih19oc75kh3ph1",        "mb2ic5iw17oc20kw3pw1",     "mb1ic7id5ih6iw7oc17kd3kh3kw3ph1",
    "g16mb2ic64ih9oc64kh3ph1",      "g40mb1ic40ih12oc40kh5ph2", "g20mb1ic20ih9oc40kh3ph1",
    "g272mb1ic272ih9oc272kh7ph3",   "g40mb2ic40ih7oc40kh7ph3",  "g80mb1ic80ih15oc80kh3sh2ph1",
    "g5mb2ic5ih8oc5kh3ph1",         "mb3ic70ih1oc33kh1",        "mb1ic1iw30011oc6kw31pw15",
    "mb1ic3ih90iw190oc11kh3ph1",    "mb1ic300ih12oc160kh1",     "g2mb1ic64ih15oc150kh3sh2",
    "mb2ic16ih14oc6kh3ph1+circular"};

// What one forward pass is given besides its problem.
template <class T>
struct Call {
  std::string_view algorithm;
  const T* bias = nullptr;
  const T* residual = nullptr;
  Activation activation = Activation::none;
};

template <class T>
struct Operands {
  ConvBuffers<T> buffers;
  std::vector<T> bias;
  std::vector<T> residual;

  Operands(const ConvProblem& problem, std::uint64_t seed)
      : buffers(random_buffers<T>(problem, seed)), residual(buffers.y) {
    bias.assign(buffers.y.begin(), buffers.y.begin() + problem.out_channels);
    // As far as the bends of all activations.
    for (T& value : residual) value *= T(8);
  }
};

template <class T>
std::vector<T> forward(const ConvProblem& problem, const Operands<T>& operands,
                       const Call<T>& call) {
  std::vector<T> result(operands.residual.size(), T(-77));  // a value that must not survive
  conv::run(problem, Pass::forward, {.algorithm = call.algorithm},
            {.first = operands.buffers.x.data(),
             .second = operands.buffers.w.data(),
             .bias = call.bias,
             .result = result.data(),
             .residual = call.residual,
             .activation = call.activation,
             .activation_slope = kSlope});
  return result;
}

std::optional<Candidate> candidate(const ConvProblem& problem, std::string_view algorithm) {
  for (const Candidate& asked : make_plan(problem, Pass::forward).candidates) {
    if (asked.algorithm == algorithm && !asked.refusal) return asked;
  }
  return std::nullopt;
}

// A sum that begins with its channel's bias and one that the bias is added to differ by their
// errors: the products and the bias, added in any order, and where terms cancel those of the
// transforms, as in algorithms_test.cpp.
template <class T>
void expect_bias(const ConvProblem& problem, const Operands<T>& operands,
                 const std::vector<T>& sums, const std::vector<T>& biased, const std::string& what,
                 double error_growth) {
  const auto terms = static_cast<double>(reduction_length(problem, Pass::forward));
  const double greatest = terms * std::max(1.0, std::abs(problem.padding_value));
  const double unit = std::numeric_limits<T>::epsilon() / 2;
  const double bound = 2 * unit * (terms + 3 + 3 * 13) * error_growth * (1 + greatest);
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const double bias = static_cast<double>(operands.bias[i % operands.bias.size()]);
    ASSERT_NEAR(static_cast<double>(biased[i]), static_cast<double>(sums[i]) + bias, bound)
        << what << ", element " << i;
  }
}

// The sums have the same bits with an epilogue as without, so what differs is the rounding of one
// addition, of the sum itself in `reference`, which rounds at the end only, and of the activation,
// whose slopes are below 1.5: a few roundings of numbers below 1 + |sum| + |residual|.
template <class T>
void expect_epilogue(const Call<T>& call, const std::vector<T>& sums, const std::vector<T>& actual,
                     const std::string& what) {
  constexpr double kRoundings = 12;
  const double unit = std::numeric_limits<T>::epsilon() / 2;
  const bool exact = call.algorithm != "reference" &&
                     (call.activation == Activation::none || call.activation == Activation::relu);
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const T added = call.residual == nullptr ? T(0) : call.residual[i];
    const double value = static_cast<double>(sums[i]) + static_cast<double>(added);
    const double expected = conv::activate(call.activation, kSlope, value);
    const double size = 1 + std::abs(static_cast<double>(sums[i])) + std::abs(value);
    if (exact) {
      const T sum = sums[i] + added;
      ASSERT_EQ(actual[i], call.activation == Activation::relu ? std::max(sum, T(0)) : sum)
          << what << ", element " << i;
    } else {
      ASSERT_NEAR(static_cast<double>(actual[i]), expected, kRoundings * unit * size)
          << what << ", element " << i << ", sum " << sums[i];
    }
  }
}

template <class T>
void check_algorithm(const ConvProblem& problem, const Operands<T>& operands,
                     const Candidate& algorithm) {
  const std::string what = problem.to_string() + ' ' + std::string(algorithm.algorithm);
  std::vector<T> unbiased;
  for (const bool biased : {false, true}) {
    Call<T> call{.algorithm = algorithm.algorithm, .bias = biased ? operands.bias.data() : nullptr};
    const std::vector<T> sums = forward(problem, operands, call);
    if (biased) {
      expect_bias(problem, operands, unbiased, sums, what, algorithm.error_growth);
    } else {
      unbiased = sums;
    }
    for (const Activation activation : kActivations) {
      call.activation = activation;
      for (const T* residual : {static_cast<const T*>(nullptr), operands.residual.data()}) {
        call.residual = residual;
        expect_epilogue(call, sums, forward(problem, operands, call),
                        what + ' ' + std::string(name(activation)) + (biased ? " bias" : "") +
                            (residual == nullptr ? "" : " residual"));
      }
    }
  }
}

void check(const ConvProblem& problem, std::uint64_t seed) {
  dispatch_floating(problem.dtype, [&](auto tag) {
    const Operands<typename decltype(tag)::type> operands(problem, seed);
    for_simd_targets([&] {
      for (const ConvAlgorithmInfo& algorithm : algorithms()) {
        // Their sums have no SIMD, and the rest is the same for all problems.
        const bool slow = algorithm.name == "reference" || algorithm.name == "matrix" ||
                          algorithm.name == "im2col";
        if (slow && (simd_target() != simd_targets().front() || seed % 4 != 0)) continue;
        if (const auto asked = candidate(problem, algorithm.name))
          check_algorithm(problem, operands, *asked);
      }
    });
  });
}

TEST(ConvEpilogue, IsTheActivationOfSumBiasAndResidualInEveryAlgorithm) {
  for (std::uint64_t number = 0; number < kProblems; ++number)
    check(random_problem(2000 + number, number % 2 == 0 ? DType::float32 : DType::float64), number);
}

TEST(ConvEpilogue, ReachesEveryResultOfLargerShapes) {
  for (const char* descriptor : kDescriptors) check(ConvProblem::parse(descriptor), 1);
  for (const char* descriptor : kDescriptors) {
    ConvProblem problem = ConvProblem::parse(descriptor);
    problem.dtype = DType::float64;
    if (problem.multiply_adds() < 1'000'000) check(problem, 1);
  }
}

// Results that are written around the caches.
TEST(ConvEpilogue, HoldsForResultsLargerThanTheCaches) {
  for (const char* descriptor : {"mb1ic2ih520oc16kh1", "g16mb1ic16ih520oc16kh1",
                                 "mb1ic32ih220oc48kh1", "mb1ic2ih240oc48kh4ph0"}) {
    const ConvProblem problem = ConvProblem::parse(descriptor);
    const Tensor x = Tensor::ones(problem.input_shape()).contiguous(Layout::channels_last);
    const std::int64_t terms = problem.in_channels / problem.groups * problem.taps();
    const Tensor w = Tensor::full(problem.weight_shape(), 1.0 / static_cast<double>(terms));
    const Tensor residual =
        Tensor::full(problem.output_shape(), -1.5, DType::float32, Layout::channels_last);
    for (const Activation activation :
         {Activation::none, Activation::relu, Activation::leaky_relu}) {
      const Tensor y = conv2d(x, w, {}, {.groups = problem.groups},
                              {.residual = residual, .activation = activation, .slope = kSlope});
      const auto expected = static_cast<float>(conv::activate(activation, kSlope, -0.5));
      EXPECT_EQ(max(y).item<float>(), expected) << descriptor << ' ' << name(activation);
      EXPECT_EQ(-max(-1.0 * y).item<float>(), expected) << descriptor << ' ' << name(activation);
    }
  }
}

TEST(ConvEpilogue, KeepsNaNAndBoundsInfinityInEveryAlgorithm) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const char* descriptor :
       {"mb1ic3ih6oc37kh3ph1", "g40mb1ic40ih6oc40kh3ph1", "mb1ic4iw1oc9kw1"}) {
    const ConvProblem problem = ConvProblem::parse(descriptor);
    Operands<float> operands(problem, 1);
    operands.residual[0] = std::numeric_limits<float>::quiet_NaN();
    operands.residual[2] = kInfinity;
    operands.residual[5] = -kInfinity;
    for_simd_targets([&] {
      for (const ConvAlgorithmInfo& algorithm : algorithms()) {
        if (!candidate(problem, algorithm.name)) continue;
        for (const Activation activation : {Activation::relu, Activation::relu6}) {
          const std::vector<float> y = forward(problem, operands,
                                               {.algorithm = algorithm.name,
                                                .residual = operands.residual.data(),
                                                .activation = activation});
          EXPECT_TRUE(std::isnan(y[0])) << algorithm.name;
          EXPECT_EQ(y[2], activation == Activation::relu ? kInfinity : 6) << algorithm.name;
          EXPECT_EQ(y[5], 0) << algorithm.name;
          for (const std::size_t i : {1U, 3U, 4U, 6U})
            EXPECT_TRUE(std::isfinite(y[i])) << algorithm.name;
        }
      }
    });
  }
}

TEST(ConvEpilogue, GivesTheSameBitsForAnyNumberOfThreads) {
  for (const char* descriptor :
       {"mb3ic33ih30oc40kh3ph1", "mb8ic1ih28oc6kh5ph2", "mb2ic64ih20oc64kh1",
        "mb2ic2000iw1oc600kw1", "g40mb4ic40ih30oc40kh5ph2", "mb2ic33ih30oc40kh3ph1+circular"}) {
    const ConvProblem problem = ConvProblem::parse(descriptor);
    const Operands<float> operands(problem, 5);
    for (const ConvAlgorithmInfo& algorithm : algorithms()) {
      if (!candidate(problem, algorithm.name) || algorithm.name == "reference") continue;
      for (const Activation activation : {Activation::relu, Activation::silu}) {
        const Call<float> call{.algorithm = algorithm.name,
                               .bias = operands.bias.data(),
                               .residual = operands.residual.data(),
                               .activation = activation};
        const ThreadGuard one(1);
        const std::vector<float> expected = forward(problem, operands, call);
        for (const int threads : {2, 3, 5}) {
          const ThreadGuard guard(threads);
          EXPECT_EQ(forward(problem, operands, call), expected)
              << descriptor << ' ' << algorithm.name << ' ' << name(activation);
        }
      }
    }
  }
}

TEST(ConvEpilogue, ActivationsHaveNamesOfTheirOwn) {
  std::set<std::string_view> names;
  for (const Activation activation : kActivations)
    EXPECT_TRUE(names.insert(name(activation)).second) << name(activation);
}

}  // namespace
}  // namespace fovea::testing
