// `dot`: a pointwise forward pass over a few positions, such as a linear layer on one sample. Each
// result is a dot product of a position's channels with a row of the weights, which are read once,
// as they lie: packing them, or filling the rows of a register tile, would not pay.
#include <algorithm>

#include "conv/algorithms.h"
#include "conv/axes.h"
#include "conv/cost.h"
#include "conv/epilogue.h"
#include "core/dispatch.h"
#include "fovea/executor.h"
#include "kernels/dot.h"

namespace fovea::conv {
namespace {

constexpr std::int64_t kWeightsPerTask = 1 << 17;  // some ten microseconds

std::optional<std::string> refuses(const ConvProblem& problem, Pass pass) {
  if (pass != Pass::forward) return "it computes dot products over input channels: forward only";
  if (problem.groups > 1) return "it has no loops over groups";
  for (const ConvAxis& axis : three_axes(problem)) {
    if (axis.kernel > 1 || axis.stride > 1 || axis.padding != Sides{}) {
      return "the kernel is not 1x1 without stride and padding";
    }
  }
  return std::nullopt;
}

// The weights are read for each position, each value for one multiplication.
ConvCost predict(const ConvProblem& problem, Pass pass) {
  constexpr double kNear = 256 << 10;  // bytes of weights that stay in the second-level cache
  constexpr double kShare = 0.35;      // of the multiply-adds of a full register tile
  constexpr double kPositionCycles = 50;
  const CoreModel model = core_model(problem.dtype);
  const auto positions = static_cast<double>(problem.output_positions());
  ConvCost cost = least_cost(problem, pass);
  const double read = cost.multiply_adds * static_cast<double>(size_of(problem.dtype));
  const double rate = model.cache_bytes * (read / positions < kNear ? 2 : 1);
  const double products =
      std::max(read / rate, cost.multiply_adds / (kShare * model.multiply_adds));
  cost.cycles = pass_cycles(model, products + kPositionCycles * positions, cost.bytes);
  return cost;
}

std::size_t workspace(const ConvProblem&, Pass) {
  return 0;
}

void run(const ConvProblem& problem, Pass, const ConvArgs& args) {
  const std::int64_t in = problem.in_channels;
  const std::int64_t out = problem.out_channels;
  const std::int64_t grain = std::max<std::int64_t>(8, kWeightsPerTask / in / 8 * 8);
  dispatch_floating(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* bias = static_cast<const T*>(args.bias);
    const Finish<T> finish(args);
    parallel_ranges(out, grain, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t position = 0; position < problem.output_positions(); ++position) {
        T* const results = static_cast<T*>(args.result) + position * out + first;
        kernels::dot_rows<T>({.matrix = static_cast<const T*>(args.second) + first * in,
                              .x = static_cast<const T*>(args.first) + position * in,
                              .start = bias == nullptr ? nullptr : bias + first,
                              .out = results,
                              .rows = last - first,
                              .columns = in});
        finish.all(last - first, results);
      }
    });
  });
}

}  // namespace

const ConvAlgorithm dot = {
    .name = "dot",
    .summary = "dot products over channels, for a linear layer on few samples",
    .refuses = refuses,
    .predict = predict,
    .workspace = workspace,
    .run = run,
};

}  // namespace fovea::conv
