// fovea bench plan: how good the choice of `auto` is. For each problem and pass every algorithm
// that may be fastest is timed, in turns, and the one that `auto` takes is held against the
// fastest.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "bench.h"
#include "bench_problems.h"
#include "support.h"

namespace cli {
namespace {

using fovea::ConvProblem;
using fovea::Pass;
using fovea::PlanEntry;

struct BenchPlanOptions {
  BenchOptions common;
  ProblemOptions problems;
};

constexpr double kGood = 1.1;  // times as long as the fastest

// The choice for one problem and pass, and what was measured.
Json judge(const ConvProblem& problem, Pass pass, double seconds) {
  const fovea::Plan plan = fovea::make_plan(problem, pass);
  const std::vector<PlanEntry> timed = fovea::time_algorithms(problem, pass, {.seconds = seconds});
  Json algorithms = Json::array();
  double chosen = 0;
  for (const PlanEntry& entry : timed) {
    const auto candidate =
        std::find_if(plan.candidates.begin(), plan.candidates.end(),
                     [&](const fovea::Candidate& one) { return one.algorithm == entry.algorithm; });
    algorithms.push_back({{"algorithm", entry.algorithm},
                          {"cycles", candidate->predicted.cycles},
                          {"ms", entry.seconds * 1e3}});
    if (entry.algorithm == plan.algorithm) chosen = entry.seconds;
  }
  return {{"problem", problem.to_string()},
          {"pass", fovea::name(pass)},
          {"threads", fovea::num_threads()},
          {"chosen", plan.algorithm},
          {"fastest", timed.front().algorithm},
          {"ratio", chosen / timed.front().seconds},
          {"algorithms", algorithms}};
}

// How many choices are good, and what the others cost.
class Judgement {
 public:
  void add(const Json& result) {
    const auto ratio = result.at("ratio").get<double>();
    const bool alone = result.at("algorithms").size() == 1;
    ++count_;
    if (alone) ++alone_;
    if (ratio <= kGood) ++good_;
    logarithms_ += std::log(ratio);
    worst_ = std::max(worst_, ratio);
  }

  void print(bool json) const {
    const double share = 100.0 * static_cast<double>(good_) / static_cast<double>(count_);
    const double mean = std::exp(logarithms_ / static_cast<double>(count_));
    if (json) {
      print_json({{"choices", count_},
                  {"without_alternative", alone_},
                  {"percent_within_10", share},
                  {"geometric_mean", mean},
                  {"worst", worst_}});
      return;
    }
    fmt::print(
        "{} choices, {} of them without an alternative: {:.1f} % within 10 % of the fastest; "
        "geometric mean {:.3f}, worst {:.2f}\n",
        count_, alone_, share, mean, worst_);
  }

 private:
  std::int64_t count_ = 0;
  std::int64_t alone_ = 0;  // nothing else was worth a call
  std::int64_t good_ = 0;
  double logarithms_ = 0;
  double worst_ = 1;
};

void print_result(const Json& result, std::size_t width) {
  std::vector<std::string> others;
  for (const Json& one : result.at("algorithms")) {
    others.push_back(fmt::format("{} {:.4f}", one.at("algorithm").get<std::string>(),
                                 one.at("ms").get<double>()));
  }
  fmt::print("{:<{}}  {:<16}  {:<9}  {:>5.2f}  {}\n", result.at("problem").get<std::string>(),
             width, result.at("pass").get<std::string>(), result.at("chosen").get<std::string>(),
             result.at("ratio").get<double>(), fmt::join(others, ", "));
  std::fflush(stdout);
}

void bench_plan(const BenchPlanOptions& options) {
  const std::vector<CountedProblem> problems = problems_or_all_suites(options.problems);
  const std::vector<Pass> passes = chosen_passes(options.problems);
  std::size_t width = 7;
  for (const CountedProblem& counted : problems) {
    require_memory("bench plan", counted.problem);
    width = std::max(width, counted.problem.to_string().size());
  }
  for_threads(options.common, [&] {
    if (!options.common.json) {
      fmt::print("{:<{}}  {:<16}  {:<9}  {:>5}  {}\n", "problem", width, "pass", "chosen", "ratio",
                 "measured, in ms");
    }
    Judgement judgement;
    for (const CountedProblem& counted : problems) {
      for (const Pass pass : passes) {
        const Json result = judge(counted.problem, pass, options.common.seconds);
        judgement.add(result);
        if (options.common.json)
          print_json(result);
        else
          print_result(result, width);
      }
    }
    judgement.print(options.common.json);
  });
}

}  // namespace

Action bench_plan_command(CLI::App& app) {
  const auto options = std::make_shared<BenchPlanOptions>();
  options->common.seconds = 0.1;
  add_problems(app, options->problems, "all suites");
  add_bench_options(app, options->common, false);
  app.footer(
      "ratio: the time of the one that auto chooses, over that of the fastest.\n"
      "Examples:\n  fovea bench plan --mb 4\n"
      "  fovea bench plan --suite resnet50 --mb 1,16 --passes fwd");
  return [options] { bench_plan(*options); };
}

}  // namespace cli
