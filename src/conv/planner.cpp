// The planner: which algorithm computes a problem. The first of the list that accepts, or the one
// forced by name.
#include <algorithm>
#include <iterator>

#include "conv/algorithms.h"
#include "conv/axes.h"
#include "kernels/simd.h"

namespace fovea {
namespace conv {
namespace {

thread_local std::string_view last;

const ConvAlgorithm& find(std::string_view wanted) {
  std::vector<std::string_view> names;
  for (const ConvAlgorithm* algorithm : kAlgorithms) {
    if (algorithm->name == wanted) return *algorithm;
    names.push_back(algorithm->name);
  }
  throw_error(fmt::format("conv: there is no algorithm '{}'; the names are auto, {}", wanted,
                          fmt::join(names, ", ")));
}

}  // namespace

const ConvAlgorithm& choose(const ConvProblem& problem, Pass pass, std::string_view wanted) {
  if (wanted != "auto") {
    const ConvAlgorithm& forced = find(wanted);
    const std::optional<std::string> refusal = forced.refuses(problem, pass);
    FOVEA_CHECK(!refusal, "conv: '{}' was asked for, but refuses {} of {}: {}", wanted, name(pass),
                problem.to_string(), refusal.value_or(""));
    return forced;
  }
  for (const ConvAlgorithm* algorithm : kAlgorithms) {
    if (!algorithm->refuses(problem, pass)) return *algorithm;
  }
  FOVEA_ASSERT(false, "no algorithm accepts {} of {}", name(pass), problem.to_string());
}

void run(const ConvProblem& problem, Pass pass, std::string_view algorithm, const ConvArgs& args) {
  kernels::detect_simd();
  const ConvAlgorithm& chosen = choose(problem, pass, algorithm);
  chosen.run(problem, pass, args);
  last = chosen.name;
}

}  // namespace conv

std::span<const ConvAlgorithmInfo> algorithms() {
  static const std::vector<ConvAlgorithmInfo> list = [] {
    std::vector<ConvAlgorithmInfo> infos;
    for (const conv::ConvAlgorithm* algorithm : conv::kAlgorithms)
      infos.push_back({algorithm->name, algorithm->summary});
    return infos;
  }();
  return list;
}

Plan make_plan(const ConvProblem& problem, Pass pass, std::string_view algorithm) {
  problem.validate();
  const conv::ConvAlgorithm& chosen = conv::choose(problem, pass, algorithm);
  Plan plan;
  plan.problem = problem;
  plan.pass = pass;
  plan.algorithm = chosen.name;
  plan.reason = algorithm == "auto"
                    ? fmt::format("the first in the list that accepts: {}", chosen.summary)
                    : "it was asked for by name";
  for (const conv::ConvAlgorithm* asked : conv::kAlgorithms) {
    Candidate candidate{.algorithm = asked->name,
                        .refusal = asked->refuses(problem, pass),
                        .predicted = {},
                        .workspace = 0};
    if (!candidate.refusal) {
      candidate.predicted = asked->predict(problem, pass);
      candidate.workspace = asked->workspace(problem, pass);
    }
    plan.candidates.push_back(std::move(candidate));
  }
  return plan;
}

std::string_view last_algorithm() {
  return conv::last;
}

void run_conv(const Plan& plan, const void* first, const void* second, void* result) {
  FOVEA_CHECK(first != nullptr && second != nullptr && result != nullptr,
              "run_conv: a pointer is null");
  plan.problem.validate("run_conv");
  conv::run(plan.problem, plan.pass, plan.algorithm,
            {.first = first, .second = second, .result = result});
}

}  // namespace fovea
