// fovea bench conv: convolutions against the machine's limits.
//
// The limits are measured first. A pass cannot take less than its operations at the peak of
// multiply-adds, nor than reading and writing its tensors once at the bandwidth of a copy: the
// larger is the roofline (Williams, Waterman and Patterson, 2009).
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fovea/fovea.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string_view>
#include <utility>

#include "bench.h"
#include "bench_pairs.h"
#include "bench_problems.h"
#include "bench_summary.h"
#include "harness.h"
#include "peers.h"
#include "support.h"
#include "workload.h"

namespace cli {
namespace {

using fovea::ConvProblem;
using fovea::Pass;

struct BenchConvOptions {
  BenchOptions common;
  ProblemOptions problems;
  AlgorithmOptions algorithm;
  std::string plan_file;
  int pairs = 0;  // with peers, in turn; 0: none asked for
};

// ResNet-50's kinds of layers: what is measured where nothing else is asked for.
constexpr const char* kDefaultProblems[] = {
    "ic64ih56oc64oh56kh3ph1",       // 3x3
    "ic128ih28oc128oh28kh3ph1",     //
    "ic256ih14oc256oh14kh3ph1",     //
    "ic512ih7oc512oh7kh3ph1",       //
    "ic64ih56oc256oh56kh1ph0",      // 1x1
    "ic256ih56oc64oh56kh1ph0",      //
    "ic1024ih14oc256oh14kh1ph0",    //
    "ic3ih224oc64oh112kh7sh2ph3",   // the first layer
    "ic64ih56oc64oh56kh3ph2dh1",    // dilation 2
    "ic128ih56oc128oh28kh3sh2ph1",  // stride 2
    "ic256ih56oc512oh28kh1sh2ph0",  //
};
const std::vector<std::int64_t> kDefaultBatches = {1, 16};

// ---- What to measure

// The default's where nothing is asked for.
std::vector<CountedProblem> problems_of(ProblemOptions options) {
  if (!options.any()) {
    options.descriptors.assign(std::begin(kDefaultProblems), std::end(kDefaultProblems));
    if (options.batches.empty()) options.batches = kDefaultBatches;
  }
  return chosen_problems(options);
}

// One line of the report, before it is measured.
struct CountedPlan {
  std::int64_t count = 1;
  fovea::Plan plan;
};

// All of them, before the first is measured: what cannot be run is told at once.
std::vector<CountedPlan> make_plans(const BenchConvOptions& options) {
  const std::vector<Pass> passes = chosen_passes(options.problems);
  std::vector<CountedPlan> plans;
  for (const CountedProblem& counted : problems_of(options.problems)) {
    require_memory("bench conv", counted.problem);
    for (const Pass pass : passes) {
      plans.push_back(
          {counted.count, fovea::make_plan(counted.problem, pass, options.algorithm.plan())});
    }
  }
  return plans;
}

// ---- Measuring

// The limits for one number of threads, by type; measured when they are first asked for.
class Machine {
 public:
  const fovea::MachineSpeed& speed(fovea::DType dtype) {
    const auto known = speeds_.find(dtype);
    if (known != speeds_.end()) return known->second;
    return speeds_[dtype] = fovea::measure_machine(dtype);
  }

 private:
  std::map<fovea::DType, fovea::MachineSpeed> speeds_;
};

Json measure(const fovea::Plan& plan, double seconds) {
  bench::ConvWork work(plan);
  const std::vector<double> medians = bench::median_seconds(
      {{.name = "fovea", .call = [&work] { work.run(); }}}, {.seconds = seconds});
  return {{"problem", plan.problem.to_string()},
          {"pass", fovea::name(plan.pass)},
          {"algorithm", fovea::last_algorithm()},
          {"threads", fovea::num_threads()},
          {"ms", medians.front() * 1e3}};
}

// Adds what follows from the time and the machine; what else `timed` holds (peers) stays behind it.
Json judge(const Json& timed, std::int64_t count, Machine& machine) {
  const ConvProblem problem = ConvProblem::parse(timed.at("problem").get<std::string>());
  const fovea::MachineSpeed& speed = machine.speed(problem.dtype);
  const double seconds = timed.at("ms").get<double>() * 1e-3;
  const double operations = 2 * static_cast<double>(problem.multiply_adds());
  const double roofline = std::max(operations / (speed.peak_gflops * 1e9),
                                   tensor_bytes(problem) / (speed.copy_gbytes * 1e9));
  const double gflops = operations / seconds * 1e-9;
  Json result;
  for (const char* key : {"problem", "pass", "algorithm", "threads", "ms"}) {
    result[key] = timed.at(key);
  }
  result["count"] = count;
  result["gflops"] = gflops;
  result["peak_gflops"] = speed.peak_gflops;
  result["percent_of_peak"] = 100 * gflops / speed.peak_gflops;
  result["percent_of_roofline"] = 100 * roofline / seconds;
  result["copy_gbytes"] = speed.copy_gbytes;
  result["simd"] = fovea::simd_target();
  for (const auto& [key, value] : timed.items()) {
    if (!result.contains(key)) result[key] = value;
  }
  return result;
}

// ---- Reporting: a line as soon as it is known

class Report {
 public:
  Report(const BenchConvOptions& options, const std::vector<CountedPlan>& plans)
      : json_(options.common.json), peers_(options.common.peers), pairs_(options.pairs > 0) {
    for (const auto& [count, plan] : plans) {
      counts_ = counts_ || count > 1;
      problem_width_ = std::max(problem_width_, plan.problem.to_string().size());
      algorithm_width_ = std::max(algorithm_width_, plan.algorithm.size());
    }
  }

  void add(const Json& result) {
    if (json_) return print_json(result);
    machine_line(result);
    if (counts_) fmt::print("{:>5}  ", result.at("count").get<std::int64_t>());
    fmt::print("{:<{}}  {:<16}  {:<{}}  {:>7}  {:>9.4f}  {:>8.1f}  {:>6.1f}  {:>10.1f}",
               result.at("problem").get<std::string>(), problem_width_,
               result.at("pass").get<std::string>(), result.at("algorithm").get<std::string>(),
               algorithm_width_, result.at("threads").get<int>(), result.at("ms").get<double>(),
               result.at("gflops").get<double>(), result.at("percent_of_peak").get<double>(),
               result.at("percent_of_roofline").get<double>());
    if (pairs_) {
      fmt::print("  {:>6}  {:>6} to {:>5}", ratio(result, "ratio"), ratio(result, "ratio_low"),
                 ratio(result, "ratio_high"));
    } else if (peers_) {
      fmt::print("  {:>6}  {:>10}  {}", ratio(result, "ratio"), ratio(result, "best_ratio"),
                 text(result, "best_peer"));
    }
    fmt::print("\n");
    std::fflush(stdout);
  }

 private:
  // The machine's limits, when they are new; the header before the first line.
  void machine_line(const Json& result) {
    const std::string line =
        fmt::format("{}, {} threads: peak {:.1f} GFLOP/s ({}), copy {:.1f} GB/s",
                    result.at("simd").get<std::string>(), result.at("threads").get<int>(),
                    result.at("peak_gflops").get<double>(),
                    fovea::name(ConvProblem::parse(result.at("problem").get<std::string>()).dtype),
                    result.at("copy_gbytes").get<double>());
    if (line == machine_) return;
    machine_ = line;
    fmt::print("{}\n{}{:<{}}  {:<16}  {:<{}}  {:>7}  {:>9}  {:>8}  {:>6}  {:>10}{}\n", line,
               counts_ ? "count  " : "", "problem", problem_width_, "pass", "algorithm",
               algorithm_width_, "threads", "ms", "GFLOP/s", "% peak", "% roofline",
               pairs_   ? "   ratio   95 % interval"
               : peers_ ? "   ratio  best ratio  best peer"
                        : "");
  }

  static std::string ratio(const Json& result, const char* key) {
    return result.contains(key) && result.at(key).is_number()
               ? fmt::format("{:.2f}", result.at(key).get<double>())
               : "-";
  }
  static std::string text(const Json& result, const char* key) {
    return result.contains(key) && result.at(key).is_string() ? result.at(key).get<std::string>()
                                                              : "-";
  }

  bool json_;
  bool peers_;
  bool pairs_;
  bool counts_ = false;  // whether a problem stands for several
  std::size_t problem_width_ = 7;
  std::size_t algorithm_width_ = 9;
  std::string machine_;
};

// Through fovea-peers, which times Fovea beside the others, problem by problem and pass by pass as
// the plans are ordered.
void measure_with_peers(const BenchConvOptions& options, const std::vector<CountedPlan>& plans,
                        Machine& machine, const std::function<void(const Json&)>& each) {
  const std::vector<Pass> asked = chosen_passes(options.problems);
  std::vector<std::string_view> passes;
  for (const Pass pass : asked) passes.push_back(fovea::name(pass));
  std::vector<std::string> arguments = {"conv", "--passes",
                                        fmt::format("{}", fmt::join(passes, ","))};
  arguments.insert(arguments.end(), {"--algorithm", options.algorithm.algorithm, "--precision",
                                     options.algorithm.precision, "--workspace-limit",
                                     std::to_string(options.algorithm.workspace_limit)});
  if (!options.plan_file.empty())
    arguments.insert(arguments.end(), {"--plan-file", options.plan_file});
  if (options.pairs > 0)
    arguments.insert(arguments.end(), {"--pairs", std::to_string(options.pairs)});
  for (std::string& argument : peer_arguments(options.common)) arguments.push_back(argument);
  std::string input;
  for (std::size_t i = 0; i < plans.size(); i += passes.size()) {
    input += plans[i].plan.problem.to_string() + "\n";
    machine.speed(plans[i].plan.problem.dtype);  // now, while nothing else runs
  }
  std::size_t next = 0;
  run_peers(arguments, input, [&](const Json& timed) {
    if (next == plans.size()) throw fovea::Error("fovea-peers reported more than it was asked for");
    Json result = judge(timed, plans[next++].count, machine);
    if (options.pairs > 0) add_interval(result);
    each(result);
  });
}

void bench_conv(const BenchConvOptions& options) {
  use_plan_file(options.plan_file);
  const std::vector<CountedPlan> plans = make_plans(options);
  Report report(options, plans);
  for_threads(options.common, [&] {
    Machine machine;
    SuiteSummary summary(options.problems.suite);
    FarBehind behind;
    const auto each = [&](const Json& result) {
      report.add(result);
      summary.add(result);
      if (options.pairs > 0) behind.add(result);
    };
    if (options.common.peers) {
      measure_with_peers(options, plans, machine, each);
    } else {
      for (const auto& [count, plan] : plans) {
        machine.speed(plan.problem.dtype);  // before the work, whose memory it would share
        each(judge(measure(plan, options.common.seconds), count, machine));
      }
    }
    if (!options.problems.suite.empty()) summary.print(options.common.json);
    if (options.pairs > 0) behind.print(options.common.json);
  });
}

}  // namespace

Action bench_conv_command(CLI::App& app) {
  const auto options = std::make_shared<BenchConvOptions>();
  add_problems(app, options->problems, "the kinds of layers of ResNet-50, batches 1 and 16");
  add_algorithm(app, options->algorithm);
  add_plan_file(app, options->plan_file);
  add_bench_options(app, options->common);
  app.add_option("--pairs", options->pairs,
                 "With --peers: so many turns of Fovea and of oneDNN's channels-last direct alone; "
                 "the median of their ratios, with a 95 % interval")
      ->needs("--peers")
      ->check(whole_number(kLeastPairs, 1000))
      ->type_name("N");
  app.footer(
      "Examples:\n  fovea bench conv\n"
      "  fovea bench conv mb16ic64ih56oc64kh3ph1 --passes fwd --threads 1,2\n"
      "  fovea bench conv --suite resnet50 --mb 4 --peers\n"
      "  fovea bench conv --suite resnet50 --mb 4 --peers --pairs 15 --time 0.1\n"
      "  FOVEA_SIMD=AVX2 fovea bench conv --problems layers.txt --mb 16 --json");
  return [options] { bench_conv(*options); };
}

}  // namespace cli
