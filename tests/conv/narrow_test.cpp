// `narrow` beyond what random problems reach: shapes that are cut into several bands, and when it
// is chosen.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "fovea/conv.h"
#include "support/conv_problems.h"
#include "support/settings.h"

namespace fovea::testing {
namespace {

// One image, signal or volume that is far larger than a band.
constexpr const char* kLarge[] = {
    "mb1ic1iw30011oc6kw31pw15",
    "mb2ic1iw20003oc2kw9sw4dw2",
    "mb1ic3ih150iw190oc3kh3ph1",
    "mb3ic1ih96iw131oc8kh7sh2ph3",
    "mb2ic1id18ih20iw40oc4kd3kh3kw3pd1ph1pw1",
};

void expect_like_reference(const ConvProblem& problem, Pass pass) {
  const ConvBuffers<double> buffers = random_buffers<double>(problem, 11);
  const std::vector<double> expected = run_pass(problem, pass, "reference", buffers);
  const std::vector<double> actual = run_pass(problem, pass, "narrow", buffers);
  // Sums of n products of numbers below one.
  const double bound = std::numeric_limits<double>::epsilon() *
                       std::pow(static_cast<double>(reduction_length(problem, pass)), 2);
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i)
    ASSERT_NEAR(actual[i], expected[i], bound) << problem.to_string() << ' ' << name(pass);
}

TEST(Narrow, AgreesWithTheReferenceWhereImagesAreCutIntoBands) {
  for (const char* descriptor : kLarge) {
    ConvProblem problem = ConvProblem::parse(descriptor);
    problem.dtype = DType::float64;
    expect_like_reference(problem, Pass::forward);
    expect_like_reference(problem, Pass::backward_weights);
    if (problem.axes[0].stride > 1) continue;  // which it refuses
    expect_like_reference(problem, Pass::backward_data);
  }
}

TEST(Narrow, GivesTheSameBitsForAnyNumberOfThreads) {
  for (const char* descriptor : kLarge) {
    const ConvProblem problem = ConvProblem::parse(descriptor);
    const ConvBuffers<float> buffers = random_buffers<float>(problem, 3);
    for (const Pass pass : {Pass::forward, Pass::backward_weights}) {
      const ThreadGuard one(1);
      const std::vector<float> expected = run_pass(problem, pass, "narrow", buffers);
      const ThreadGuard three(3);
      EXPECT_EQ(run_pass(problem, pass, "narrow", buffers), expected) << descriptor;
    }
  }
}

TEST(Narrow, IsChosenForFewChannelsOnly) {
  const auto chosen = [](const char* descriptor, Pass pass) {
    return make_plan(ConvProblem::parse(descriptor), pass).algorithm;
  };
  for_simd_targets([&] {
    EXPECT_EQ(chosen("mb1ic3ih64oc3kh3ph1", Pass::forward), "narrow");
    EXPECT_NE(chosen("mb1ic16ih64oc64kh3ph1", Pass::forward), "narrow");
    EXPECT_EQ(chosen("mb1ic16ih64oc3kh3ph1", Pass::backward_weights), "narrow");
    EXPECT_NE(chosen("mb64ic400iw1oc6kw1", Pass::forward), "narrow");  // no row to run along
  });
}

// Lanes behind the end of a row, and cells that a stride steps over, are not multiplied by zeros.
TEST(Narrow, KeepsInfinityOutOfWhatDoesNotReadIt) {
  const ConvProblem problem = ConvProblem::parse("mb1ic1iw21oc2kw3sw2");
  ConvBuffers<float> buffers = random_buffers<float>(problem, 1);
  buffers.x[20] = std::numeric_limits<float>::infinity();  // read by the last tap alone
  const std::vector<float> dw = run_pass(problem, Pass::backward_weights, "narrow", buffers);
  for (const std::size_t tap : {0u, 1u, 3u, 4u}) EXPECT_TRUE(std::isfinite(dw[tap])) << tap;
  for (const std::size_t tap : {2u, 5u}) EXPECT_FALSE(std::isfinite(dw[tap])) << tap;
}

}  // namespace
}  // namespace fovea::testing
