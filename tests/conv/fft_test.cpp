// What is particular to fft: kernels and signals far larger than those of the other tests, when it
// is chosen, what it refuses, and how much it rounds.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "fovea/functions.h"
#include "support/conv_problems.h"
#include "support/errors.h"
#include "support/settings.h"

namespace fovea::testing {
namespace {

const Candidate& answer(const Plan& plan) {
  for (const Candidate& candidate : plan.candidates) {
    if (candidate.algorithm == "fft") return candidate;
  }
  throw std::logic_error("fft is not in the list");
}

double rms(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum / static_cast<double>(values.size()));
}

// Channels below, at and beyond one and two vectors; tiles of every number and place; kernels as
// long as the signal; padding of no and of several kernels; groups; as many tiles as are computed
// one batch after another.
constexpr const char* kProblems[] = {
    "g40mb2ic40ih16oc40kh13ph6",
    "g16mb1ic16ih33iw21oc16kh11kw9ph5pw4",
    "g70mb3ic70ih9oc70kh9ph4",
    "g3mb4ic3ih40oc3kh7ph3",
    "mb3ic1ih50oc1kh15ph7",
    "mb2ic1iw3000oc1kw200pw0",
    "mb1ic1iw6000oc1kw600pw300",
    "g20mb2ic20iw1500oc20kw700pw350",
    "mb1ic1iw300oc1kw300pw299",
    "mb1ic2iw900oc3kw100pw0",
    "mb2ic18iw700oc33kw40pw20dw2",
    "mb1ic20ih30oc34kh11ph5",
    "mb3ic5ih30oc7kh9ph0",
    "mb2ic40ih14oc20kh7ph3dh1",
    "g4mb2ic36ih16oc72kh9ph4",
    "g6mb2ic6ih20oc18kh9ph4",
    "mb1ic4id12ih10iw14oc6kd5kh5kw5pd2ph2pw2",
    "g17mb1ic17id9ih9iw9oc17kd5kh1kw5pd2ph0pw2",
    "mb1ic6ih5oc7kh3ph9",
    "mb2ic6ih9iw40oc7kh1kw15ph2pw7",
    "mb520ic2ih8oc2kh5ph2",
    "mb2ic9ih17oc6kh9ph4+circular",
    "g33mb2ic33ih17oc33kh9ph4+reflect",
};

TEST(ConvFft, AgreesWithTheReferenceOnLargeKernels) {
  for (const char* descriptor : kProblems) {
    const ConvProblem problem = ConvProblem::parse(descriptor);
    const ConvBuffers<float> buffers = random_buffers<float>(problem, 1);
    for (const Pass pass : kPasses) {
      const std::vector<float> exact = run_pass(problem, pass, "reference", buffers);
      for (const std::string& target : simd_targets()) {
        const TargetGuard guard(target);
        std::vector<float> error = run_pass(problem, pass, "fft", buffers);
        EXPECT_EQ(last_algorithm(), "fft");
        for (std::size_t i = 0; i < error.size(); ++i) error[i] -= exact[i];
        EXPECT_LT(rms(error), 1e-6 * rms(exact))
            << descriptor << ' ' << name(pass) << ' ' << target;
      }
    }
  }
}

TEST(ConvFft, GivesTheSameBitsForAnyNumberOfThreads) {
  for (const char* descriptor : kProblems) {
    const ConvProblem problem = ConvProblem::parse(descriptor);
    const ConvBuffers<float> buffers = random_buffers<float>(problem, 2);
    for (const Pass pass : kPasses) {
      const ThreadGuard one(1);
      const std::vector<float> expected = run_pass(problem, pass, "fft", buffers);
      const ThreadGuard three(3);
      EXPECT_EQ(run_pass(problem, pass, "fft", buffers), expected)
          << descriptor << ' ' << name(pass);
    }
  }
}

TEST(ConvFft, IsChosenWhereItSavesTime) {
  for (const Pass pass : kPasses) {
    for (const char* descriptor :
         {"mb4ic64ih56oc64kh11ph5", "mb1ic16iw65536oc16kw512pw255", "mb4ic64ih56oc64kh9ph4"}) {
      EXPECT_EQ(make_plan(ConvProblem::parse(descriptor), pass).algorithm, "fft")
          << descriptor << ' ' << name(pass);
    }
    EXPECT_NE(make_plan(ConvProblem::parse("mb4ic64ih56oc64kh3ph1"), pass).algorithm, "fft");
    EXPECT_NE(make_plan(ConvProblem::parse("mb4ic3ih32oc64kh3ph1"), pass).algorithm, "fft");
  }
}

TEST(ConvFft, SaysWhyItRefuses) {
  const auto refusal = [](const char* descriptor) {
    return answer(make_plan(ConvProblem::parse(descriptor), Pass::forward)).refusal.value_or("");
  };
  EXPECT_EQ(refusal("mb1ic8ih8oc8kh3ph1dh1"), "");
  EXPECT_EQ(refusal("mb1ic8ih8oc8kh3sh2ph1"),
            "it would compute every output of stride 1, but the stride is 2");
  EXPECT_EQ(refusal("mb1ic8ih8oc8kh1"), "a kernel of 1 is its own spectrum");
  EXPECT_EQ(refusal("mb1ic1iw8oc1kw4000000pw4000000"),
            "its smallest tile would have more than 2097152 points");
  EXPECT_EQ(refusal("mb1ic4096ih60oc4096kh31ph15").substr(0, 37),
            "the spectra of its weights would need");
}

TEST(ConvFft, IsNotExact) {
  const ConvProblem problem = ConvProblem::parse("g40mb2ic40ih20oc40kh13ph6");
  const Plan plan = make_plan(problem, Pass::forward, {.precision = Precision::exact});
  EXPECT_NE(plan.algorithm, "fft");
  EXPECT_GT(answer(make_plan(problem, Pass::forward)).error_growth, 1);
}

// Two samples share vectors, but no sums.
TEST(ConvFft, KeepsSamplesApart) {
  for (const char* descriptor :
       {"mb2ic1iw3000oc1kw200pw0", "mb2ic1ih12oc1kh7ph3", "g40mb2ic40ih20oc40kh13ph6",
        "mb2ic4ih12oc3kh7ph3", "mb2ic40ih12oc40kh7ph3"}) {
    const ConvProblem problem = ConvProblem::parse(descriptor);
    ConvBuffers<float> buffers = random_buffers<float>(problem, 3);
    const std::vector<float> expected = run_pass(problem, Pass::forward, "fft", buffers);
    const auto half = static_cast<std::ptrdiff_t>(buffers.x.size() / 2);
    std::fill_n(buffers.x.begin(), half, std::numeric_limits<float>::quiet_NaN());
    const std::vector<float> actual = run_pass(problem, Pass::forward, "fft", buffers);
    EXPECT_TRUE(std::isnan(actual.front())) << descriptor;
    EXPECT_TRUE(std::equal(actual.begin() + std::ssize(actual) / 2, actual.end(),
                           expected.begin() + std::ssize(expected) / 2))
        << descriptor;
  }
}

TEST(ConvFft, AddsTheBias) {
  Generator generator{4};
  for (const std::int64_t channels : {1, 5, 40}) {
    const Tensor x = normal({2, channels, 40}, 0, 1, generator);
    const Tensor w = normal({channels, channels, 15}, 0, 1, generator);
    const Tensor b = normal({channels}, 0, 1, generator);
    const std::vector<float> expected = conv1d(x, w, b, {.algorithm = "direct"}).to_vector<float>();
    const std::vector<float> actual = conv1d(x, w, b, {.algorithm = "fft"}).to_vector<float>();
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(actual[i], expected[i], 1e-5 * std::sqrt(15.0 * static_cast<double>(channels)))
          << channels << " channels, element " << i;
    }
  }
}

TEST(ConvFft, DoesNotUseSpectraOfWeightsThatHaveChanged) {
  const Tensor x = Tensor::ones({1, 3, 9, 9});
  Tensor w = Tensor::ones({4, 3, 5, 5});
  const ConvOptions options{.algorithm = "fft"};
  EXPECT_NEAR(conv2d(x, w, {}, options).at({0, 0, 0, 0}), 75, 1e-4);
  EXPECT_NEAR(conv2d(x, w, {}, options).at({0, 0, 0, 0}), 75, 1e-4);
  w.fill(2);
  EXPECT_NEAR(conv2d(x, w, {}, options).at({0, 0, 0, 0}), 150, 1e-4);
}

}  // namespace
}  // namespace fovea::testing
