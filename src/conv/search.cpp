// The measured search: algorithms timed on random data, in turns.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

#include "conv/axes.h"
#include "conv/cost.h"
#include "core/check.h"
#include "fovea/executor.h"
#include "fovea/plan.h"
#include "fovea/random.h"

namespace fovea {
namespace {

constexpr int kTurns = 3;
constexpr double kHopeless = 10;  // times the fewest predicted cycles: not worth a call

// The tensors of a pass, channels-last, every page of them written.
class Work {
 public:
  Work(const ConvProblem& problem, Pass pass) {
    Generator generator{.seed = 1};
    const bool to_weights = pass == Pass::backward_weights;
    const auto random = [&](const Shape& shape, Layout layout) {
      return uniform(shape, -1, 1, generator, problem.dtype).contiguous(layout);
    };
    first_ = random(pass == Pass::backward_data ? problem.output_shape() : problem.input_shape(),
                    kCells);
    second_ = to_weights ? random(problem.output_shape(), kCells)
                         : random(problem.weight_shape(), Layout::row_major);
    result_ = Tensor::zeros(conv::result_shape(problem, pass), problem.dtype,
                            to_weights ? Layout::row_major : kCells);
  }

  // Seconds of one call.
  double run(const Plan& plan) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point start = Clock::now();
    run_conv(plan, first_, second_, result_);
    return std::max(std::chrono::duration<double>(Clock::now() - start).count(), 1e-9);
  }

 private:
  static constexpr Layout kCells = Layout::channels_last;
  Tensor first_;
  Tensor second_;
  Tensor result_;
};

// Calls until `share` seconds are used. The first wakes threads, and the first two of all pack
// weights: they count only where one uses the time up by itself.
void take_turn(Work& work, const Plan& plan, double share, std::vector<double>& times) {
  double before = work.run(plan);
  if (times.empty() && before < share) before = work.run(plan);
  if (before >= share) {
    times.push_back(before);
    return;
  }
  for (double used = 0; used < share; used += times.back()) times.push_back(work.run(plan));
}

double median(std::vector<double>& times) {
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

void check_seconds(double seconds) {
  FOVEA_CHECK(seconds > 0, "time_plan: seconds is {}, but must be above 0", seconds);
}

// Of the algorithms that accept the problem, those that may be fastest.
std::vector<Plan> worth_a_call(const ConvProblem& problem, Pass pass,
                               const SearchOptions& options) {
  PlanOptions asked{.precision = options.precision, .workspace_limit = options.workspace_limit};
  const Plan automatic = make_plan(problem, pass, asked);
  double fewest = 0;
  for (const Candidate& one : automatic.candidates) {
    if (!one.refusal && (fewest == 0 || one.predicted.cycles < fewest)) {
      fewest = one.predicted.cycles;
    }
  }
  std::vector<Plan> plans;
  for (const Candidate& one : automatic.candidates) {
    if (one.refusal) continue;
    if (one.predicted.cycles > kHopeless * fewest && one.algorithm != automatic.algorithm) continue;
    asked.algorithm = one.algorithm;
    plans.push_back(make_plan(problem, pass, asked));
  }
  return plans;
}

}  // namespace

double predicted_seconds(const ConvCost& cost, DType dtype, const MachineSpeed& speed) {
  const double operations_per_cycle = 2 * conv::core_model(dtype).multiply_adds;
  const double all_cores = speed.peak_gflops * 1e9 / operations_per_cycle;  // cycles per second
  return cost.cycles / (cost.one_thread ? all_cores / num_threads() : all_cores);
}

double time_plan(const Plan& plan, double seconds) {
  check_seconds(seconds);
  Work work(plan.problem, plan.pass);
  std::vector<double> times;
  take_turn(work, plan, seconds, times);
  return median(times);
}

std::vector<PlanEntry> time_algorithms(const ConvProblem& problem, Pass pass,
                                       const SearchOptions& options) {
  check_seconds(options.seconds);
  const std::vector<Plan> plans = worth_a_call(problem, pass, options);
  Work work(problem, pass);
  std::vector<std::vector<double>> times(plans.size());
  for (int turn = 0; turn < kTurns; ++turn) {
    for (std::size_t i = 0; i < plans.size(); ++i)
      take_turn(work, plans[i], options.seconds / kTurns, times[i]);
  }
  std::vector<PlanEntry> entries;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    entries.push_back({.problem = problem,
                       .pass = pass,
                       .algorithm = std::string(plans[i].algorithm),
                       .seconds = median(times[i])});
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const PlanEntry& a, const PlanEntry& b) { return a.seconds < b.seconds; });
  return entries;
}

PlanEntry search_plan(const ConvProblem& problem, Pass pass, const SearchOptions& options) {
  return time_algorithms(problem, pass, options).front();
}

}  // namespace fovea
