// Descriptor lines of convolution problems. What parses must print as a line that parses to the
// same, and every algorithm must accept or refuse it without computing. A plan takes memory for
// each position and tap along an axis, so only problems that one could also run are planned.
#include <cstdlib>

#include "fovea/conv.h"
#include "target.h"

namespace fovea {
namespace {

bool could_run(const ConvProblem& problem) {
  constexpr std::int64_t kMost = 1 << 22;
  for (int i = 0; i < problem.dims; ++i) {
    const ConvAxis& axis = problem.axes[static_cast<std::size_t>(i)];
    if (axis.input + axis.padding.before + axis.padding.after > kMost ||
        axis.output() * axis.kernel > kMost)
      return false;
  }
  return problem.input_shape().numel() <= kMost && problem.weight_shape().numel() <= kMost &&
         problem.output_shape().numel() <= kMost;
}

void parse_and_plan(const std::string& line) {
  const ConvProblem problem = ConvProblem::parse(line);
  if (ConvProblem::parse(problem.to_string()) != problem) std::abort();
  if (!could_run(problem)) return;
  for (const Pass pass : kPasses) make_plan(problem, pass);
}

}  // namespace
}  // namespace fovea

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fovea::fuzz::expect_refusal_or_success(
      [&] { fovea::parse_and_plan(fovea::fuzz::string_of(data, size)); }, "");
  return 0;
}
