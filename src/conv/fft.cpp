// `fft`: convolution as a product of spectra [A, C].
//
// The Fourier transform turns a circular convolution over n points into n products, of the spectra
// of both operands; a correlation, which is what a layer computes, conjugates the kernel's. With
// tiles that overlap by the kernel less one cell (overlap-save) it computes any convolution of
// stride 1, at a cost that hardly grows with the kernel. Rounding errors are relative to the
// largest values of a tile, and an infinite or undefined cell makes all of its tile undefined.
//
// Tiles and their transforms are in fft_tiles.cpp, the passes in fft_pointwise.cpp, for depthwise
// problems, and fft_dense.cpp, for all others. To teach it more, begin with FftAxis.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "conv/algorithms.h"
#include "conv/axes.h"
#include "conv/cost.h"
#include "conv/fft_passes.h"
#include "core/dispatch.h"

namespace fovea::conv {
namespace {

constexpr std::int64_t kMostPoints = std::int64_t{1} << 21;  // of a tile
constexpr double kMostWeightBytes = std::int64_t{1} << 30;   // of spectra
constexpr double kCacheBytes = 768 << 10;                    // of a second-level cache
constexpr double kLevelCycles = 2;                           // of a transform, per point and level
constexpr double kPointCycles = 15;                          // and per point: cells in and out

// The work of a pass with one tiling.
struct Work {
  double transforms = 0;   // of two vectors over all points of a tile
  double points = 1;       // of a tile
  double levels = 0;       // log2 of them
  double products = 0;     // multiply-adds of vectors at the frequencies
  double cache_bytes = 0;  // spectra that go to the last-level cache or come from there
};

double bytes_of(const ConvProblem& problem, double vectors) {
  return vectors * static_cast<double>(core_model(problem.dtype).lanes) *
         static_cast<double>(size_of(problem.dtype));
}

// Bytes of the weights' spectra.
double weight_bytes(const ConvProblem& problem, Pass pass, double points) {
  const auto lanes = core_model(problem.dtype).lanes;
  if (is_pointwise(problem))
    return bytes_of(problem, points * static_cast<double>(ceil_div(problem.groups, lanes)));
  const std::int64_t in = problem.in_channels / problem.groups;
  const std::int64_t out = problem.out_channels / problem.groups;
  const std::int64_t results = pass == Pass::backward_data ? in : out;
  const std::int64_t reduced = pass == Pass::backward_data ? out : in;
  return bytes_of(
      problem, points * static_cast<double>(problem.groups * reduced * ceil_div(results, lanes)));
}

Work pointwise_work(const ConvProblem& problem, Pass pass, const FftTiling& tiling, Work work) {
  const std::int64_t lanes = core_model(problem.dtype).lanes;
  const auto tiles = static_cast<double>(tiling.batch * tiling.tiles_per_image());
  double units = tiles * static_cast<double>(ceil_div(problem.groups, 2 * lanes));
  if (problem.groups <= lanes) {
    std::int64_t pitch = 1;
    while (pitch < problem.groups) pitch *= 2;
    const std::int64_t together = lanes / pitch;
    units =
        static_cast<double>(tiling.tiles_per_image() >= 2 * together
                                ? tiling.batch * ceil_div(tiling.tiles_per_image(), 2 * together)
                                : ceil_div(tiling.batch * tiling.tiles_per_image(), together));
  }
  work.transforms = 2 * units;
  work.products = 4 * work.points * units;
  work.cache_bytes = bytes_of(problem, 2 * work.points * units) *
                     (pass == Pass::backward_weights ? 2 : 1);  // weights, or their sums
  return work;
}

Work dense_work(const ConvProblem& problem, Pass pass, const FftTiling& tiling, Work work) {
  const std::int64_t lanes = core_model(problem.dtype).lanes;
  const std::int64_t in = problem.in_channels / problem.groups;
  const std::int64_t out = problem.out_channels / problem.groups;
  const bool to_data = pass == Pass::backward_data;
  const std::int64_t reduced = to_data ? out : in;
  const std::int64_t sources = ceil_div(reduced * problem.groups, lanes);
  const std::int64_t results = problem.groups * ceil_div(to_data ? in : out, lanes);
  const std::int64_t tiles = tiling.batch * tiling.tiles_per_image();
  const auto couples = [&](std::int64_t blocks) {
    const bool of_tiles = blocks == 1 && tiling.tiles_per_image() > 1;
    return static_cast<double>(of_tiles ? ceil_div(tiles, 2) : tiles * ceil_div(blocks, 2));
  };
  work.transforms = couples(sources) + couples(results);
  work.products = 2 * work.points * static_cast<double>(tiles * reduced * results);
  const double spectra =
      bytes_of(problem, work.points * static_cast<double>(tiles * (sources + results)));
  const double weights = weight_bytes(problem, pass, work.points);
  work.cache_bytes = 2 * spectra + weights;
  if (pass == Pass::backward_weights) {
    work.transforms += static_cast<double>(results * ceil_div(reduced, 2));
    work.cache_bytes += 2 * weights;
  }
  return work;
}

Work work_of(const ConvProblem& problem, Pass pass, const FftTiling& tiling) {
  Work work;
  work.points = static_cast<double>(tiling.points());
  work.levels = std::log2(work.points);
  return is_pointwise(problem) ? pointwise_work(problem, pass, tiling, work)
                               : dense_work(problem, pass, tiling, work);
}

double cycles_of(const ConvProblem& problem, const Work& work) {
  const CoreModel model = core_model(problem.dtype);
  double transform = work.points * (kLevelCycles * work.levels + kPointCycles);
  const double block_bytes = bytes_of(problem, 2 * work.points);
  if (block_bytes > kCacheBytes) transform += 4 * block_bytes / model.cache_bytes;
  return work.transforms * transform + work.products / (2 * model.winograd_share) +
         work.cache_bytes / model.cache_bytes;
}

// Lengths for an axis: those that cut its results into equal parts, and transform fast.
std::vector<std::int64_t> lengths_for(const FftAxis& axis) {
  if (axis.taps == 1) return {1};
  const std::int64_t overlap = axis.dilation * (axis.taps - 1);
  std::vector<std::int64_t> lengths;
  const auto add = [&](std::int64_t least) {
    if (least > kMostPoints) return;
    const std::int64_t length = kernels::fast_fft_length(least);
    if (lengths.empty() || length < lengths.back()) lengths.push_back(length);
  };
  add(axis.whole());
  for (std::int64_t parts = 2; parts <= axis.results;
       parts += std::max<std::int64_t>(1, parts / 2)) {
    const std::int64_t outputs = ceil_div(axis.results, parts);
    add(outputs + overlap);
    if (outputs < overlap / 4) break;
  }
  return lengths;
}

struct Choice {
  FftTiling tiling;
  double cycles = std::numeric_limits<double>::infinity();
};

// The tiling with the least cost; none if every tile has too many points.
Choice chosen_tiling(const ConvProblem& problem, Pass pass) {
  FftTiling tiling = uncut_tiling(problem, pass);
  Choice best;
  for (const std::int64_t n0 : lengths_for(tiling.axes[0])) {
    tiling.axes[0].cut(n0);
    for (const std::int64_t n1 : lengths_for(tiling.axes[1])) {
      tiling.axes[1].cut(n1);
      for (const std::int64_t n2 : lengths_for(tiling.axes[2])) {
        tiling.axes[2].cut(n2);
        if (n0 > kMostPoints / n1 || n0 * n1 > kMostPoints / n2) continue;
        const double cycles = cycles_of(problem, work_of(problem, pass, tiling));
        if (cycles < best.cycles) best = {tiling, cycles};
      }
    }
  }
  return best;
}

std::optional<std::string> refuses(const ConvProblem& problem, Pass pass) {
  for (const ConvAxis& axis : three_axes(problem)) {
    if (axis.stride > 1)
      return fmt::format("it would compute every output of stride 1, but the stride is {}",
                         axis.stride);
  }
  if (problem.taps() == 1) return "a kernel of 1 is its own spectrum";
  const Choice choice = chosen_tiling(problem, pass);
  if (std::isinf(choice.cycles))
    return fmt::format("its smallest tile would have more than {} points", kMostPoints);
  const double bytes = weight_bytes(problem, pass, static_cast<double>(choice.tiling.points()));
  if (bytes > kMostWeightBytes)
    return fmt::format("the spectra of its weights would need {:.0f} MB", bytes / 1e6);
  return std::nullopt;
}

ConvCost predict(const ConvProblem& problem, Pass pass) {
  const Work work = work_of(problem, pass, chosen_tiling(problem, pass).tiling);
  ConvCost cost = least_cost(problem, pass);
  // A transform has 5/2 multiply-adds per point and level.
  cost.multiply_adds = static_cast<double>(core_model(problem.dtype).lanes) *
                       (work.transforms * work.points * work.levels * 2.5 + work.products);
  return cost;
}

double cycles(const ConvProblem& problem, Pass pass) {
  return std::max(chosen_tiling(problem, pass).cycles,
                  least_cost(problem, pass).bytes / core_model(problem.dtype).memory_bytes);
}

bool suits(const ConvProblem& problem, Pass pass) {
  return !refuses(problem, pass) && cycles(problem, pass) < direct_cycles(problem, pass);
}

std::size_t workspace(const ConvProblem& problem, Pass pass) {
  return dispatch_floating(problem.dtype, [&](auto tag) -> std::size_t {
    using T = typename decltype(tag)::type;
    const FftTiling tiling = chosen_tiling(problem, pass).tiling;
    return is_pointwise(problem) ? fft_pointwise_workspace<T>(problem, pass, tiling)
                                 : fft_dense_workspace<T>(problem, pass, tiling);
  });
}

void run(const ConvProblem& problem, Pass pass, const ConvArgs& args) {
  dispatch_floating(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const FftTiling tiling = chosen_tiling(problem, pass).tiling;
    if (is_pointwise(problem)) {
      fft_pointwise<T>(problem, pass, args, tiling);
    } else {
      fft_dense<T>(problem, pass, args, tiling);
    }
  });
}

// The error of a transform of N points is at most about 6.7 u log2 N times the norm of what is
// transformed [Higham 2002, section 24.1], and there are three. With the greatest values of both
// operands, the norms of a tile are those times sqrt(N) and times the root of the number of its
// terms; a result has `terms` products, `per_tile` of them from each channel or tile.
double error_growth(const ConvProblem& problem, Pass pass) {
  const FftTiling tiling = chosen_tiling(problem, pass).tiling;
  const auto points = static_cast<double>(tiling.points());
  auto per_tile = static_cast<double>(problem.taps());
  double terms = per_tile * static_cast<double>((pass == Pass::forward ? problem.in_channels
                                                                       : problem.out_channels) /
                                                problem.groups);
  if (pass == Pass::backward_weights) {
    per_tile = 1;
    for (const FftAxis& axis : tiling.axes) per_tile *= static_cast<double>(axis.outputs);
    terms = static_cast<double>(problem.output_positions());
  }
  return 1 + 3 * 6.7 * std::log2(points) * std::sqrt(points / per_tile) / terms;
}

}  // namespace

const ConvAlgorithm fft = {
    .name = "fft",
    .summary = "tiles by way of their Fourier transforms: a cost that hardly grows with the kernel",
    .refuses = refuses,
    .predict = predict,
    .workspace = workspace,
    .run = run,
    .suits = suits,
    .error_growth = error_growth,
};

}  // namespace fovea::conv
