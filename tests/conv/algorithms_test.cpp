// Every algorithm of the list, every pass, every SIMD target, over random problems: against the
// reference, and against the identities that any convolution obeys.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "fovea/functions.h"
#include "fovea/version.h"
#include "support/conv_problems.h"
#include "support/settings.h"

namespace fovea::testing {
namespace {

constexpr std::uint64_t kProblems = 60;

template <class T>
ConvBuffers<T> magnitudes(ConvBuffers<T> buffers) {
  for (std::vector<T>* values : {&buffers.x, &buffers.w, &buffers.y}) {
    for (T& value : *values) value = std::abs(value);
  }
  return buffers;
}

// |computed - exact| <= n u sum |a||b| for n products added in any order; the reference adds one
// rounding more.
template <class T>
void expect_within_rounding(const std::vector<T>& actual, const std::vector<T>& expected,
                            const std::vector<T>& magnitude, std::int64_t length,
                            const std::string& what) {
  const double unit = std::numeric_limits<T>::epsilon() / 2;
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double bound = unit * static_cast<double>(length + 2) * static_cast<double>(magnitude[i]);
    ASSERT_LE(std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i])), bound)
        << what << ", element " << i << ": " << actual[i] << " instead of " << expected[i];
  }
}

bool accepts(const ConvProblem& problem, Pass pass, std::string_view algorithm) {
  for (const Candidate& candidate : make_plan(problem, pass).candidates) {
    if (candidate.algorithm == algorithm) return !candidate.refusal.has_value();
  }
  return false;
}

template <class T>
void compare_with_reference(std::uint64_t number) {
  const ConvProblem problem = random_problem(number, dtype_of<T>);
  const ConvBuffers<T> buffers = random_buffers<T>(problem, number);
  const ConvBuffers<T> absolute = magnitudes(buffers);
  for (const Pass pass : kPasses) {
    const std::vector<T> expected = run_pass(problem, pass, "reference", buffers);
    const std::vector<T> magnitude = run_pass(problem, pass, "reference", absolute);
    for (const ConvAlgorithmInfo& algorithm : algorithms()) {
      for (const std::string& target : simd_targets()) {
        const TargetGuard guard(target);
        if (!accepts(problem, pass, algorithm.name)) continue;
        const std::string what = problem.to_string() + ' ' + std::string(name(pass)) + ' ' +
                                 std::string(algorithm.name) + ' ' + target;
        expect_within_rounding(run_pass(problem, pass, algorithm.name, buffers), expected,
                               magnitude, reduction_length(problem, pass), what);
      }
    }
  }
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

TEST(ConvAlgorithms, AgreeWithTheReferenceInFloat32) {
  for (std::uint64_t number = 0; number < kProblems; ++number)
    compare_with_reference<float>(number);
}

TEST(ConvAlgorithms, AgreeWithTheReferenceInFloat64) {
  for (std::uint64_t number = 0; number < kProblems; ++number)
    compare_with_reference<double>(1000 + number);
}

// <conv(x, w), v> = <x, backward_data(v, w)> = <w, backward_weights(x, v)>.
TEST(ConvAlgorithms, BackwardPassesAreTheAdjointsOfForward) {
  for (std::uint64_t number = 0; number < kProblems; ++number) {
    const ConvProblem problem = random_problem(number, DType::float64);
    const ConvBuffers<double> buffers = random_buffers<double>(problem, number);
    for (const ConvAlgorithmInfo& algorithm : algorithms()) {
      const auto inner = [&](Pass pass, const std::vector<double>& with) {
        return dot(run_pass(problem, pass, algorithm.name, buffers), with);
      };
      const double scale =
          1 + static_cast<double>(buffers.y.size() * static_cast<std::size_t>(
                                                         reduction_length(problem, Pass::forward)));
      if (!accepts(problem, Pass::forward, algorithm.name)) continue;
      const double forward = inner(Pass::forward, buffers.y);
      if (accepts(problem, Pass::backward_data, algorithm.name)) {
        EXPECT_NEAR(forward, inner(Pass::backward_data, buffers.x), 1e-14 * scale)
            << problem.to_string() << ' ' << algorithm.name;
      }
      if (accepts(problem, Pass::backward_weights, algorithm.name)) {
        EXPECT_NEAR(forward, inner(Pass::backward_weights, buffers.w), 1e-14 * scale)
            << problem.to_string() << ' ' << algorithm.name;
      }
    }
  }
}

TEST(ConvAlgorithms, GiveTheSameBitsForAnyNumberOfThreads) {
  // Large enough that the work is cut into many tasks, the positions of the weight gradient
  // included.
  for (const char* descriptor :
       {"mb3ic33ih30oc40kh3ph1", "mb8ic1ih28oc6kh5ph2", "mb2ic64ih20oc64kh1",
        "mb2ic16ih17oc24kh3sh2ph1", "g4mb2ic32ih20oc32kh3ph1dh1", "g40mb4ic40ih30oc40kh5ph2",
        "g20mb4ic20ih30oc40kh3ph1", "g16mb4ic64ih30oc64kh3sh2ph1"}) {
    const ConvProblem problem = ConvProblem::parse(descriptor);
    const ConvBuffers<float> buffers = random_buffers<float>(problem, 5);
    for (const Pass pass : kPasses) {
      for (const ConvAlgorithmInfo& algorithm : algorithms()) {
        if (!accepts(problem, pass, algorithm.name)) continue;
        const ThreadGuard one(1);
        const std::vector<float> expected = run_pass(problem, pass, algorithm.name, buffers);
        for (const int threads : {2, 3, 5}) {
          const ThreadGuard guard(threads);
          EXPECT_EQ(run_pass(problem, pass, algorithm.name, buffers), expected)
              << descriptor << ' ' << name(pass) << ' ' << algorithm.name;
        }
      }
    }
  }
}

TEST(ConvAlgorithms, DoNotUsePackedWeightsThatHaveChanged) {
  const Tensor x = Tensor::ones({1, 3, 5, 5});
  Tensor w = Tensor::ones({4, 3, 3, 3});
  EXPECT_EQ(conv2d(x, w).at({0, 0, 0, 0}), 27);
  EXPECT_EQ(conv2d(x, w).at({0, 0, 0, 0}), 27);
  w.fill(2);
  EXPECT_EQ(conv2d(x, w).at({0, 0, 0, 0}), 54);
  // The same weights under another geometry are packed apart.
  EXPECT_EQ(conv2d(x, w, {}, {.dilation = 2}).at({0, 0, 0, 0}), 54);
  EXPECT_EQ(conv2d(x, w, {}, {.padding = 1}).at({0, 0, 0, 0}), 24);
}

TEST(ConvAlgorithms, SeeWhatIsWrittenThroughAKeptPointer) {
  Tensor w = Tensor::ones({1, 1, 3, 3});
  const Tensor x = Tensor::ones({1, 1, 3, 3});
  float* weights = w.mutable_data<float>();
  EXPECT_EQ(conv2d(x, w).item<float>(), 9);
  weights[4] = 11;
  EXPECT_EQ(conv2d(x, w).item<float>(), 19);
}

TEST(ConvAlgorithms, SeeWhatTheOwnerWritesIntoWrappedWeights) {
  std::vector<float> weights(9, 1);
  const Tensor w = Tensor::from_blob(weights.data(), {1, 1, 3, 3});
  const Tensor x = Tensor::ones({1, 1, 3, 3});
  EXPECT_EQ(conv2d(x, w).item<float>(), 9);
  weights[4] = 11;
  EXPECT_EQ(conv2d(x, w).item<float>(), 19);
}

TEST(ConvAlgorithms, HandleWeightsThatAreAPartOfATensor) {
  Generator generator{3};
  const Tensor x = normal({2, 4, 6, 6}, 0, 1, generator);
  const Tensor all = normal({8, 4, 3, 3}, 0, 1, generator);
  const Tensor part = all.slice(0, 2, 5);
  const Tensor expected = conv2d(x, all).slice(1, 2, 5);
  const std::vector<float> actual = conv2d(x, part).to_vector<float>();
  EXPECT_EQ(actual, expected.to_vector<float>());
}

}  // namespace
}  // namespace fovea::testing
