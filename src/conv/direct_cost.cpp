// `direct`: what its register tiles cost. The constants were fitted to the suites of bench/suites,
// on one core of a Zen 5.
#include <algorithm>
#include <cmath>

#include "conv/cost.h"
#include "conv/direct.h"
#include "conv/padded_input.h"
#include "core/dispatch.h"
#include "kernels/patch_product.h"

namespace fovea::conv {
namespace {

constexpr double kWaste = 1.05;       // of a product's cycles
constexpr double kLeastRows = 5;      // a tile of fewer waits for its own additions
constexpr double kLoneVector = 1.8;   // a block of one vector costs so much of one of two, halved
constexpr double kLoneEven = 1.2;     // the same where places lie at one distance
constexpr double kTilesPerChunk = 8;  // that share a pass over the weights
constexpr double kTapCycles = 12;     // to set out for a tap: per tile and block of channels
constexpr double kTableCycles = 45;   // and per tile and group, to look its cells up
constexpr double kTileCycles = 60;    // to store a tile of one block
constexpr double kGroupTileCycles = 150;
constexpr double kStartCycles = 3000;  // beyond those of any pass

double vectors_of(double channels, double lanes) {
  return std::ceil(channels / lanes);
}

// A product of patches over `places`: each of `results` channels a sum of `taps` runs of `run`.
struct Product {
  double groups = 1;
  double places = 1;
  double taps = 1;
  double run = 1;
  double results = 1;
  bool flat = false;  // places follow each other: none is looked up
};

double product_cycles(const CoreModel& model, const Product& product, int tile_rows,
                      std::size_t bytes) {
  const auto lanes = static_cast<double>(model.lanes);
  const double vectors = vectors_of(product.results, lanes);
  const double blocks = std::ceil(vectors / 2);
  const double lone = product.flat ? kLoneEven : kLoneVector;
  const double counted = vectors + (2 * blocks - vectors) * (lone - 1);
  const double tiles = std::ceil(product.places / tile_rows);
  const double rest = product.places - (tiles - 1) * tile_rows;
  const double rows = (tiles - 1) * tile_rows + std::max(rest, kLeastRows);
  const double multiplied =
      rows * product.taps * product.run * counted * lanes / model.multiply_adds * kWaste;
  const double around =
      tiles *
      (product.taps * blocks * kTapCycles + (product.flat ? 0 : product.taps) * kTableCycles +
       blocks * kTileCycles + (product.groups > 1 ? kGroupTileCycles : 0));
  // Weights come again for each few tiles.
  const double weights =
      product.groups * product.taps * product.run * vectors * lanes * static_cast<double>(bytes);
  return std::max(product.groups * (multiplied + around),
                  weights / model.cache_bytes * std::ceil(tiles / kTilesPerChunk));
}

template <class T>
double forward_cycles(const CoreModel& model, const ConvProblem& problem) {
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  Product product{.groups = static_cast<double>(problem.groups),
                  .places = static_cast<double>(problem.output_positions()),
                  .taps = static_cast<double>(problem.taps()),
                  .run = inputs_of_group(problem),
                  .results = outputs_of_group(problem),
                  .flat = is_flat(problem)};
  double copied = 0;
  if (joins_rows(problem)) {
    product.taps /= static_cast<double>(axes[2].kernel);
    product.run *= static_cast<double>(axes[2].kernel);
    product.flat = true;
    copied = static_cast<double>(padded_values(problem));
  }
  return product_cycles(model, product, kernels::tile_size<T>().rows, sizeof(T)) + 1.5 * copied;
}

template <class T>
double data_cycles(const CoreModel& model, const ConvProblem& problem) {
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  const int rows = kernels::tile_size<T>().rows;
  const double out = outputs_of_group(problem);
  const double in = inputs_of_group(problem);
  if (folds<T>(problem)) {
    const auto positions = static_cast<double>(problem.output_positions());
    const auto runs = static_cast<double>(axes[0].kernel * axes[1].kernel);
    const double added = positions * runs * (8 + 0.5 * static_cast<double>(axes[2].kernel) * in);
    return product_cycles(model,
                          {.groups = 1,
                           .places = positions,
                           .taps = 1,
                           .run = out,
                           .results = static_cast<double>(problem.taps()) * in},
                          rows, sizeof(T)) +
           added + static_cast<double>(padded_values(problem));
  }
  // One grid for each remainder of the stride, with its share of the taps.
  double strides = 1;
  for (const ConvAxis& axis : axes)
    strides *= static_cast<double>(std::min(axis.stride, axis.kernel));
  const double cells =
      static_cast<double>(problem.input_shape().numel()) / static_cast<double>(problem.in_channels);
  return product_cycles(model,
                        {.groups = static_cast<double>(problem.groups),
                         .places = cells,
                         .taps = static_cast<double>(problem.taps()) / strides,
                         .run = out,
                         .results = in,
                         .flat = is_flat(problem)},
                        rows, sizeof(T));
}

// Groups whose rows are copied: tiles, and vectors of source cells.
double group_cycles(const CoreModel& model, const ConvProblem& problem, Pass pass) {
  constexpr double kGroupTileStart = 60;
  constexpr double kCopyCycles = 6;
  constexpr double kPlaces = 14;  // of a tile
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  const bool forward = pass == Pass::forward;
  const auto lanes = static_cast<double>(model.lanes);
  const auto in = static_cast<double>(problem.in_channels);
  const auto out = static_cast<double>(problem.out_channels);
  const double cells = static_cast<double>(problem.input_shape().numel()) / in;
  const auto positions = static_cast<double>(problem.output_positions());
  const auto row = static_cast<double>(forward ? axes[2].output() : axes[2].input);
  const double tiles =
      (forward ? positions * out : cells * in) / lanes / row * std::ceil(row / kPlaces);
  const double copies = (forward ? cells * in : positions * out) / lanes;
  return static_cast<double>(problem.multiply_adds()) / model.multiply_adds * kWaste +
         tiles * kGroupTileStart + copies * kCopyCycles;
}

// The same for the weights' gradient: each cell is copied once, and read for each row of taps.
double group_weights_cycles(const CoreModel& model, const ConvProblem& problem) {
  constexpr double kCopyCycles = 6;
  constexpr double kChannels = 8;    // of a tile
  constexpr double kRowCycles = 30;  // of a tile, around each row
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  const auto lanes = static_cast<double>(model.lanes);
  const auto rows = static_cast<double>(problem.batch * axes[0].output() * axes[1].output());
  const auto out = static_cast<double>(problem.out_channels) / lanes;
  const double tiles = out * inputs_of_group(problem) / kChannels;
  const double copies =
      static_cast<double>(problem.input_shape().numel() + problem.output_shape().numel()) / lanes;
  return static_cast<double>(problem.multiply_adds()) / model.multiply_adds * kWaste +
         rows * static_cast<double>(axes[1].kernel) * tiles * kRowCycles + copies * kCopyCycles;
}

template <class T>
double weights_cycles(const CoreModel& model, const ConvProblem& problem) {
  constexpr double kCollect = 1.5;  // per position and tap
  constexpr double kRowCycles = 45;
  const auto lanes = static_cast<double>(model.lanes);
  const int tile_rows = kernels::tile_size<T>().gradient_rows;
  double in = inputs_of_group(problem);
  double out = outputs_of_group(problem);
  if (gradient_is_flat<T>(problem)) {
    // Tiles that are stored once or twice; nothing is looked up.
    const double stored = vectors_of(in, lanes) * std::ceil(out / tile_rows) / 2;
    return static_cast<double>(problem.groups) *
           (static_cast<double>(problem.output_positions()) * out * vectors_of(in, lanes) * lanes /
                model.multiply_adds * kWaste +
            stored * 2 * kTileCycles);
  }
  if (copies_group_rows<T>(problem)) return group_weights_cycles(model, problem);
  const bool swaps = swaps_sides<T>(problem);
  if (swaps) std::swap(in, out);
  const bool joins = in < tile_rows && problem.taps() > 1 && may_copy_padded(problem);
  const double taps = static_cast<double>(problem.taps());
  const double rows = joins ? in * taps : in;
  const double units = static_cast<double>(problem.groups) * (joins ? 1 : taps);
  const double vectors = vectors_of(out, lanes);
  const double tiles = std::ceil(rows / tile_rows);
  const auto positions = static_cast<double>(problem.output_positions());
  const auto row = static_cast<double>(three_axes(problem)[2].output());
  const double each = (problem.groups > 1 ? 2 : 1) * (kCollect + kRowCycles / row) +
                      tiles * std::ceil(vectors / 2) +
                      rows * vectors * lanes / model.multiply_adds * 1.12;
  const double sums = units * rows * vectors * lanes;
  // To write a sum to its weight; runs of several taps are turned round more cheaply.
  const double write = swaps ? 0.5 : 0.9 + 2.1 / taps;
  return units * positions * each + sums * write;
}

}  // namespace

ConvCost direct_cost(const ConvProblem& problem, Pass pass) {
  ConvCost cost = least_cost(problem, pass);
  const CoreModel model = core_model(problem.dtype);
  const double arithmetic = dispatch_floating(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (pass != Pass::backward_weights && stages_groups<T>(problem, pass))
      return group_cycles(model, problem, pass);
    return pass == Pass::forward         ? forward_cycles<T>(model, problem)
           : pass == Pass::backward_data ? data_cycles<T>(model, problem)
                                         : weights_cycles<T>(model, problem);
  });
  cost.cycles = pass_cycles(model, kStartCycles + arithmetic, cost.bytes);
  return cost;
}

}  // namespace fovea::conv
