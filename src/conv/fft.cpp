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
#include "core/plan_cache.h"

namespace fovea::conv {
namespace {

constexpr std::int64_t kMostPoints = std::int64_t{1} << 21;  // of a tile
constexpr double kMostWeightBytes = std::int64_t{1} << 30;   // of spectra

// Cycles per point of a tile for two vectors, measured on Zen 5.
constexpr double kStageCycles = 5;       // of a stage of the transform
constexpr double kTurnCycles = 4;        // between the two axes of a long one
constexpr double kZeroCycles = 3;        // to clear a tile
constexpr double kCellCycles = 8;        // of each cell: from the tensor or to it
constexpr double kSpectrumCycles = 8;    // of spectra that are told apart or put together
constexpr double kSpilledFactor = 1.35;  // of tiles beyond the second-level cache
constexpr double kCacheBytes = 896 << 10;
constexpr double kStartCycles = 1200;    // of one transform
constexpr std::int64_t kLeastTaps = 16;  // of those that auto takes
constexpr double kLeastProducts = 1 << 20;
constexpr double kProductShare = 0.85;  // of the multiply-adds a core can do, in matrix products
// Rows of a matrix product that take as long as one, for latency.
constexpr double kLeastRows = 2.6;

// The work of a pass with one tiling.
struct Work {
  double points = 1;      // of a tile
  double transform = 0;   // cycles of one, per point, cells in or out included
  double transforms = 0;  // of two vectors over a tile
  double spectrum = 0;    // cycles per point and transform to make use of the spectra
  double products = 0;    // multiply-adds of vectors at the frequencies
  double row_share = 1;   // of these products per cycle, less where a register tile has few rows
  double weights = 0;     // bytes of their spectra
  double weight_use = 1;  // how often they are read or written
  double spectra = 0;     // bytes of other spectra, written and read again
};

struct Channels {
  std::int64_t in;   // of one group
  std::int64_t out;  // of one group
  std::int64_t reduced;
  std::int64_t results;
};
Channels channels_of(const ConvProblem& problem, Pass pass) {
  const std::int64_t in = problem.in_channels / problem.groups;
  const std::int64_t out = problem.out_channels / problem.groups;
  if (pass == Pass::backward_data) return {in, out, out, in};
  return {in, out, in, out};
}

// Bytes of so many vectors of two parts.
double complex_bytes(const ConvProblem& problem, double vectors) {
  return 2 * vectors * static_cast<double>(core_model(problem.dtype).lanes) *
         static_cast<double>(size_of(problem.dtype));
}

// Bytes of the weights' spectra.
double weight_bytes(const ConvProblem& problem, Pass pass, double points) {
  const std::int64_t lanes = core_model(problem.dtype).lanes;
  const Channels channels = channels_of(problem, pass);
  const std::int64_t vectors =
      is_pointwise(problem) ? ceil_div(problem.groups, lanes)
                            : problem.groups * channels.reduced * ceil_div(channels.results, lanes);
  return complex_bytes(problem, points / 2 * static_cast<double>(vectors));
}

Work pointwise_work(const ConvProblem& problem, Pass pass, const FftTiling& tiling, Work work) {
  const auto units =
      static_cast<double>(fft_pointwise_units(problem, tiling, core_model(problem.dtype).lanes));
  const bool to_weights = pass == Pass::backward_weights;
  work.transforms = 2 * units;
  work.spectrum = to_weights ? kSpectrumCycles : kSpectrumCycles / 2;
  work.products = 4 * work.points * units;
  work.weights = complex_bytes(problem, work.points * units);
  work.weight_use = to_weights ? 2 : 1;
  return work;
}

Work dense_work(const ConvProblem& problem, Pass pass, const FftTiling& tiling, Work work) {
  const std::int64_t lanes = core_model(problem.dtype).lanes;
  const Channels channels = channels_of(problem, pass);
  const std::int64_t sources = ceil_div(channels.reduced * problem.groups, lanes);
  const std::int64_t results = problem.groups * ceil_div(channels.results, lanes);
  const std::int64_t tiles = tiling.batch * tiling.tiles_per_image();
  const auto couples = [&](std::int64_t blocks) {
    const bool of_tiles = blocks == 1 && tiling.tiles_per_image() > 1;
    return static_cast<double>(of_tiles ? ceil_div(tiles, 2) : tiles * ceil_div(blocks, 2));
  };
  const bool to_weights = pass == Pass::backward_weights;
  const auto rows = static_cast<double>(to_weights ? channels.reduced : tiles);
  work.transforms = couples(sources) + couples(results);
  work.spectrum = kSpectrumCycles;
  work.products = 2 * work.points * static_cast<double>(tiles * channels.reduced * results);
  work.row_share = std::min(1.0, rows / kLeastRows);
  work.weights = weight_bytes(problem, pass, work.points);
  work.spectra = 2 * complex_bytes(problem, work.points / 2 *
                                                static_cast<double>(tiles * (sources + results)));
  if (to_weights) {
    work.transforms += static_cast<double>(results * ceil_div(channels.reduced, 2));
    work.weight_use = 3;
  }
  return work;
}

Work work_of(const ConvProblem& problem, Pass pass, const FftTiling& tiling) {
  Work work;
  work.points = static_cast<double>(tiling.points());
  // Of the points of a tile, what holds cells or wanted results; rows without any are left out.
  double used = 1;
  double used_rows = 1;
  double stages = 0;
  for (std::size_t a = 0; a < 3; ++a) {
    const FftAxis& axis = tiling.axes[a];
    const auto points = static_cast<double>(axis.points);
    const double sources = axis.tiles > 1 ? 1 : static_cast<double>(axis.source) / points;
    const double share = (sources + static_cast<double>(axis.outputs) / points) / 2;
    used *= share;
    if (a < 2) used_rows *= share;
    if (axis.points == 1) continue;
    stages += kStageCycles * static_cast<double>(kernels::fft_stage_count(axis.points)) *
              (a == 2 ? used_rows : 1);
  }
  if (FftLayout(tiling, 1).is_long()) stages += kTurnCycles;
  if (complex_bytes(problem, work.points) > kCacheBytes) stages *= kSpilledFactor;
  work.transform = stages + kZeroCycles + kCellCycles * used;
  return is_pointwise(problem) ? pointwise_work(problem, pass, tiling, work)
                               : dense_work(problem, pass, tiling, work);
}

// What the phases of a pass take one after the other.
double cycles_of(const ConvProblem& problem, Pass pass, const Work& work) {
  const CoreModel model = core_model(problem.dtype);
  const double transforms =
      work.transforms * (kStartCycles + work.points * (work.transform + work.spectrum));
  const double products = work.products / (2 * kProductShare * work.row_share);
  const double weights = work.weight_use * model.read_cycles(work.weights);
  return transforms + products + weights + work.spectra / model.cache_bytes +
         least_cost(problem, pass).bytes / model.memory_bytes;
}

// Lengths for an axis: those that cut its results into equal parts and transform fast, in one of
// the fewest points or of fewer stages.
std::vector<std::int64_t> lengths_for(const FftAxis& axis) {
  if (axis.taps == 1) return {1};
  const std::int64_t overlap = axis.dilation * (axis.taps - 1);
  std::vector<std::int64_t> lengths;
  const auto add = [&](std::int64_t least) {
    if (least > kMostPoints) return;
    std::int64_t length = kernels::fast_fft_length(least);
    lengths.push_back(length);
    for (std::int64_t stages = kernels::fft_stage_count(length); length <= least + least / 6;
         length = kernels::fast_fft_length(length + 1)) {
      if (kernels::fft_stage_count(length) >= stages) continue;
      stages = kernels::fft_stage_count(length);
      lengths.push_back(length);
    }
  };
  add(axis.whole());
  for (std::int64_t parts = 2; parts <= axis.results;
       parts += std::max<std::int64_t>(1, parts / 2)) {
    const std::int64_t outputs = ceil_div(axis.results, parts);
    add(outputs + overlap);
    if (outputs < overlap / 4) break;
  }
  std::ranges::sort(lengths);
  lengths.erase(std::unique(lengths.begin(), lengths.end()), lengths.end());
  return lengths;
}

struct Choice {
  FftTiling tiling;
  double cycles = std::numeric_limits<double>::infinity();
};

// The tiling with the least cost; none if every tile has too many points.
Choice find_tiling(const ConvProblem& problem, Pass pass) {
  FftTiling tiling = uncut_tiling(problem, pass);
  std::array<std::vector<std::int64_t>, 3> lengths;
  for (std::size_t a = 0; a < 3; ++a) lengths[a] = lengths_for(tiling.axes[a]);
  Choice best;
  for (const std::int64_t n0 : lengths[0]) {
    tiling.axes[0].cut(n0);
    for (const std::int64_t n1 : lengths[1]) {
      tiling.axes[1].cut(n1);
      for (const std::int64_t n2 : lengths[2]) {
        tiling.axes[2].cut(n2);
        if (n0 > kMostPoints / n1 || n0 * n1 > kMostPoints / n2) continue;
        const double cycles = cycles_of(problem, pass, work_of(problem, pass, tiling));
        if (cycles < best.cycles) best = {tiling, cycles};
      }
    }
  }
  return best;
}

struct ChoiceKey {
  ConvProblem problem;
  Pass pass;
  std::int64_t lanes;
  friend bool operator==(const ChoiceKey&, const ChoiceKey&) = default;
};

// The same; those asked for last are kept.
Choice chosen_tiling(const ConvProblem& problem, Pass pass) {
  static PlanCache<ChoiceKey, Choice> cache(256);
  return *cache.get({problem, pass, core_model(problem.dtype).lanes}, 1,
                    [&] { return std::make_shared<const Choice>(find_tiling(problem, pass)); });
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
  cost.multiply_adds =
      static_cast<double>(core_model(problem.dtype).lanes) *
      (work.transforms * work.points * std::log2(work.points) * 2.5 + work.products);
  cost.bytes += work.weights + work.spectra;
  cost.cycles = core_model(problem.dtype).start_cycles + chosen_tiling(problem, pass).cycles;
  return cost;
}

// There is little to gain below these, and a sum of whole numbers is exact.
std::optional<std::string> kept_back(const ConvProblem& problem, Pass pass) {
  if (problem.taps() < kLeastTaps)
    return fmt::format("it is kept for kernels of {} taps and more; this one has {}", kLeastTaps,
                       problem.taps());
  const double products = least_cost(problem, pass).multiply_adds;
  if (products < kLeastProducts)
    return fmt::format("it is kept for problems of {:.0f} products and more; this one has {:.0f}",
                       kLeastProducts, products);
  return std::nullopt;
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
  double terms = per_tile * static_cast<double>(channels_of(problem, pass).reduced);
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
    .kept_back = kept_back,
    .error_growth = error_growth,
};

}  // namespace fovea::conv
