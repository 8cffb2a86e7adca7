// What is particular to winograd: when it is chosen, what it refuses, and how much it rounds. That
// it computes what the reference does is tested with the other algorithms.
#include <gtest/gtest.h>

#include <cmath>

#include "support/conv_problems.h"
#include "support/errors.h"
#include "support/settings.h"

namespace fovea::testing {
namespace {

std::string_view chosen(const char* descriptor, Pass pass = Pass::forward) {
  return make_plan(ConvProblem::parse(descriptor), pass).algorithm;
}

const Candidate& answer(const Plan& plan) {
  for (const Candidate& candidate : plan.candidates) {
    if (candidate.algorithm == "winograd") return candidate;
  }
  throw std::logic_error("winograd is not in the list");
}

TEST(Winograd, IsChosenWhereItSavesTime) {
  for (const Pass pass : kPasses) {
    EXPECT_EQ(chosen("mb16ic64ih56oc64kh3ph1", pass), "winograd") << name(pass);
    EXPECT_EQ(chosen("mb4ic128ih28oc128kh3ph1", pass), "winograd") << name(pass);
    EXPECT_NE(chosen("mb4ic3ih32oc64kh3ph1", pass), "winograd") << name(pass);
    EXPECT_NE(chosen("mb1ic64ih3oc64kh3ph1", pass), "winograd") << name(pass);
  }
}

TEST(Winograd, IsNotChosenForFloat64) {
  EXPECT_NE(chosen("mb16ic64ih56oc64kh3ph1+f64"), "winograd");
}

TEST(Winograd, IsChosenForAnyNumberOfThreadsAlike) {
  for_thread_counts([] { EXPECT_EQ(chosen("mb16ic64ih56oc64kh3ph1"), "winograd"); });
}

TEST(Winograd, SaysWhyItRefuses) {
  const auto refusal = [](const char* descriptor) {
    return answer(make_plan(ConvProblem::parse(descriptor), Pass::forward)).refusal.value_or("");
  };
  EXPECT_EQ(refusal("mb1ic8ih8oc8kh3ph1"), "");
  EXPECT_EQ(refusal("mb1ic8ih8oc8kh3sh2ph1"),
            "neighbouring outputs must share cells, but stride is 2 and dilation 1");
  EXPECT_EQ(refusal("mb1ic8ih8oc8kh3ph1dh1"),
            "neighbouring outputs must share cells, but stride is 1 and dilation 2");
  EXPECT_EQ(refusal("g2mb1ic6ih8oc6kh3ph1"), "its groups do not fill whole vectors");
  EXPECT_EQ(answer(make_plan(ConvProblem::parse("g2mb1ic64ih8oc64kh3ph1"), Pass::backward_weights))
                .refusal.value_or(""),
            "for the weights' gradient it needs all channels in one group, but there are 2");
  EXPECT_EQ(refusal("mb1ic8ih8oc8kh7ph3"), "it has points for kernels of 3 and 5, but not of 7");
  EXPECT_EQ(refusal("mb1ic8ih8oc8kh1"), "a kernel of 1 shares no cells between outputs");
}

// By hand, for the points 0, 1, -1 and infinity: the rows of |B^T| add up to 2 each, those of |G|
// to 1, 3/2, 3/2 and 1. The first row of |A^T| is 1, 1, 1, 0, so its terms add up to 2 + 3 + 3,
// where the plain sum has 3 taps.
TEST(Winograd, KnowsHowMuchItsTermsCancel) {
  const Plan plan = make_plan(ConvProblem::parse("mb1ic16iw4oc16kw3pw0"), Pass::forward);
  EXPECT_DOUBLE_EQ(answer(plan).error_growth, 8.0 / 3);
}

TEST(Winograd, RoundsLittleOnRandomData) {
  const ConvProblem problem = ConvProblem::parse("mb1ic256ih16oc32kh3ph1");
  const ConvBuffers<float> buffers = random_buffers<float>(problem, 1);
  for (const Pass pass : kPasses) {
    const std::vector<float> exact = run_pass(problem, pass, "reference", buffers);
    const std::vector<float> actual = run_pass(problem, pass, "winograd", buffers);
    double error = 0;
    double size = 0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      const double difference = static_cast<double>(actual[i]) - static_cast<double>(exact[i]);
      error += difference * difference;
      size += static_cast<double>(exact[i]) * static_cast<double>(exact[i]);
    }
    EXPECT_LT(std::sqrt(error / size), 2e-6) << name(pass);
  }
}

}  // namespace
}  // namespace fovea::testing
