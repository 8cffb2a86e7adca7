// Times every convolution algorithm and pass on typical problems, in multiply-adds a second.
// To add a problem: a descriptor line in kProblems.
#include <benchmark/benchmark.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/fovea.h"

namespace {

constexpr std::array<std::string_view, 4> kProblems = {
    "mb64ic1ih28oc6oh28kh5ph2",   // LeNet-5, first layer
    "mb64ic6ih14oc16oh10kh5ph0",  // LeNet-5, second layer
    "mb1ic64ih56oc64oh56kh3ph1",  // ResNet, 3x3
    "mb1ic64ih56oc256oh56kh1ph0"  // ResNet, 1x1
};

std::vector<float> values(const fovea::Shape& shape) {
  return std::vector<float>(static_cast<std::size_t>(shape.numel()), 0.5f);
}

void run(benchmark::State& state, const fovea::Plan& plan) {
  const fovea::ConvProblem& problem = plan.problem;
  const std::vector<float> x = values(problem.input_shape());
  const std::vector<float> w = values(problem.weight_shape());
  const std::vector<float> y = values(problem.output_shape());
  const bool forward = plan.pass == fovea::Pass::forward;
  const bool to_data = plan.pass == fovea::Pass::backward_data;
  const std::vector<float>& first = to_data ? y : x;
  const std::vector<float>& second = forward || to_data ? w : y;
  std::vector<float> result = forward ? y : to_data ? x : w;
  for (auto _ : state) {
    fovea::run_conv(plan, first.data(), second.data(), result.data());
    benchmark::DoNotOptimize(result.data());
  }
  state.counters["multiply_adds/s"] = benchmark::Counter(
      static_cast<double>(problem.multiply_adds()), benchmark::Counter::kIsIterationInvariantRate);
}

void add_benchmarks() {
  for (const std::string_view descriptor : kProblems) {
    const fovea::ConvProblem problem = fovea::ConvProblem::parse(descriptor);
    for (const fovea::ConvAlgorithmInfo& algorithm : fovea::algorithms()) {
      for (const fovea::Pass pass : fovea::kPasses) {
        std::string label = std::string(descriptor) + "/" + std::string(algorithm.name) + "/" +
                            std::string(fovea::name(pass));
        try {
          const fovea::Plan plan = fovea::make_plan(problem, pass, algorithm.name);
          benchmark::RegisterBenchmark(label.c_str(), [plan](benchmark::State& state) {
            run(state, plan);
          })->UseRealTime();
        } catch (const fovea::Error&) {
          continue;  // this algorithm refuses the problem
        }
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  add_benchmarks();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
