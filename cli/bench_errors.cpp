// fovea bench errors: how exact the algorithms are, measured over the suites on random data in
// [-1, 1): the largest distance from `reference` in double precision, as a share of the largest
// value.
#include <fmt/format.h>
#include <fovea/fovea.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench.h"
#include "bench_problems.h"
#include "exact_part.h"
#include "support.h"
#include "workload.h"

namespace cli {
namespace {

using fovea::Candidate;
using fovea::ConvProblem;
using fovea::Pass;

// About a second. Beyond it an algorithm is not run: those for teaching take minutes.
constexpr double kMostCycles = 3e9;

// The products that a result of one pass adds up, padding counted.
double products_per_result(const ConvProblem& problem, Pass pass) {
  const auto results =
      static_cast<double>(pass == Pass::forward         ? problem.output_shape().numel()
                          : pass == Pass::backward_data ? problem.input_shape().numel()
                                                        : problem.weight_shape().numel());
  return std::max(1.0, static_cast<double>(problem.multiply_adds()) / results);
}

// The worst of one algorithm and pass.
struct Worst {
  int problems = 0;
  double error = 0;
  double over_root = 0;  // error / sqrt(products)
  std::string problem;   // of the largest error
};
using Key = std::pair<std::string, Pass>;

struct Measured {
  std::string algorithm;
  double error = 0;
};

// Of every algorithm that accepts the problem.
std::vector<Measured> errors_of(const ConvProblem& problem, Pass pass) {
  std::vector<Measured> all;
  const ExactPart part(problem, pass);
  if (part.is_too_large()) return all;
  fovea::Tensor exact;
  for (const Candidate& candidate : fovea::make_plan(problem, pass).candidates) {
    if (candidate.refusal || candidate.predicted.cycles > kMostCycles) continue;
    if (candidate.algorithm == "reference") continue;
    bench::ConvWork work(fovea::make_plan(problem, pass, {.algorithm = candidate.algorithm}));
    work.run();
    if (!exact.defined()) exact = part.exact(work.first(), work.second());
    all.push_back(
        {std::string(candidate.algorithm), relative_error(part.of(work.result()), exact)});
  }
  return all;
}

Json row_of(const Key& key, const Worst& worst) {
  return {
      {"algorithm", key.first}, {"pass", fovea::name(key.second)},    {"problems", worst.problems},
      {"error", worst.error},   {"error_over_root", worst.over_root}, {"problem", worst.problem}};
}

void print_table(const std::map<Key, Worst>& all) {
  Table table({"algorithm", "pass", "problems", "error", "error/sqrt(products)"}, 2);
  for (const auto& [key, worst] : all) {
    table.add({key.first, std::string(fovea::name(key.second)), std::to_string(worst.problems),
               fmt::format("{:.1e}", worst.error), fmt::format("{:.1e}", worst.over_root)});
  }
  table.print();
  for (const auto& [key, worst] : all)
    fmt::print("worst of {}, {}: {}\n", key.first, fovea::name(key.second), worst.problem);
}

struct BenchErrorsOptions {
  ProblemOptions problems;
  bool json = false;
};

void bench_errors(const BenchErrorsOptions& options) {
  const std::vector<CountedProblem> problems = problems_or_all_suites(options.problems);
  for (const CountedProblem& counted : problems) require_memory("bench errors", counted.problem);
  std::map<Key, Worst> all;
  for (const CountedProblem& counted : problems) {
    for (const Pass pass : chosen_passes(options.problems)) {
      const double root = std::sqrt(products_per_result(counted.problem, pass));
      for (const Measured& one : errors_of(counted.problem, pass)) {
        Worst& worst = all[{one.algorithm, pass}];
        ++worst.problems;
        worst.over_root = std::max(worst.over_root, one.error / root);
        if (one.error < worst.error) continue;
        worst.error = one.error;
        worst.problem = counted.problem.to_string();
      }
    }
  }
  if (options.json) {
    for (const auto& [key, worst] : all) print_json(row_of(key, worst));
  } else {
    print_table(all);
  }
}

}  // namespace

Action bench_errors_command(CLI::App& app) {
  const auto options = std::make_shared<BenchErrorsOptions>();
  add_problems(app, options->problems, "those of all suites");
  app.add_flag("--json", options->json, "Print one JSON object per algorithm and pass");
  app.footer("Example:\n  fovea bench errors --suite vgg16 --mb 4");
  return [options] { bench_errors(*options); };
}

}  // namespace cli
