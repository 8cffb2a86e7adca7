// `dot` against the reference; random problems are rarely pointwise.
#include <gtest/gtest.h>

#include <limits>

#include "support/conv_problems.h"
#include "support/settings.h"

namespace fovea::testing {
namespace {

template <class T>
void expect_like_reference(const char* descriptor) {
  ConvProblem problem = ConvProblem::parse(descriptor);
  problem.dtype = dtype_of<T>;
  const ConvBuffers<T> buffers = random_buffers<T>(problem, 4);
  const std::vector<T> expected = run_pass(problem, Pass::forward, "reference", buffers);
  for_simd_targets([&] {
    const std::vector<T> actual = run_pass(problem, Pass::forward, "dot", buffers);
    // Sums of n products of numbers below one.
    const double n = static_cast<double>(problem.in_channels);
    for (std::size_t i = 0; i < expected.size(); ++i)
      ASSERT_NEAR(actual[i], expected[i], std::numeric_limits<T>::epsilon() * n * n) << descriptor;
  });
}

TEST(Dot, AgreesWithTheReferenceOnEverySimdTarget) {
  for (const char* descriptor : {"mb1ic1iw1oc1kw1", "mb3ic37iw1oc29kw1", "mb1ic400iw1oc120kw1",
                                 "mb2ic5ih2oc8kh1", "mb1ic300iw1oc1000kw1"}) {
    expect_like_reference<float>(descriptor);
    expect_like_reference<double>(descriptor);
  }
}

}  // namespace
}  // namespace fovea::testing
