// `winograd`: fewer multiplications for kernels of 3 and 5 [Winograd 1980; Lavin and Gray 2016].
//
// Along one axis F(m, k) computes m neighbouring outputs of a kernel of k with m + k - 1
// multiplications: cells and taps become values of polynomials at m + k - 1 points, are multiplied
// there, and the products are interpolated. Each axis is treated so in turn, and at each point the
// channels make a matrix product. F(4x4, 3x3) needs 36 multiplications for 16 outputs, where the
// sum needs 144. The price: transforms, more bytes, and terms that cancel, so some rounding; and an
// infinite or undefined cell makes all outputs of its tiles undefined, also those of other groups
// that fill a vector with its own.
//
// The three passes are in winograd_product.cpp (forward, and backward_data with the flipped
// kernel), in winograd_bundles.cpp the same for convolutions with groups, and in
// winograd_gradient.cpp (backward_weights, the transpose).
#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "conv/algorithms.h"
#include "conv/axes.h"
#include "conv/cost.h"
#include "conv/winograd_passes.h"
#include "conv/winograd_tiles.h"
#include "conv/winograd_weights.h"
#include "core/dispatch.h"

namespace fovea::conv {
namespace {

using kernels::WinogradAxis;
using kernels::WinogradTile;

// Groups that fill a vector together: their products with each other's channels are zeros.
constexpr std::int64_t kMostJoined = 4;

std::int64_t whole_vectors(std::int64_t channels, std::int64_t lanes) {
  return ceil_div(channels, lanes);
}

// The outputs of a pass along each axis, over which tiles are laid.
std::array<std::int64_t, 3> tiled_sizes(const ConvProblem& problem, Pass pass) {
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  return pass == Pass::backward_data ? input_sizes(axes) : output_sizes(axes);
}

double tile_count(const ConvProblem& problem, Pass pass, const WinogradTile& tile) {
  const std::array<std::int64_t, 3> sizes = tiled_sizes(problem, pass);
  double count = static_cast<double>(problem.batch);
  for (std::size_t a = 0; a < 3; ++a)
    count *= static_cast<double>(tiles_along(sizes[a], tile.axes[a]));
  return count;
}

// The products at all points; transforms, most of whose cycles are the same for few channels and
// for many; and transformed weights, or their sums, which are more than the weights. Fitted to
// measurements with one and with two threads: in backward_weights one core reads what another
// wrote.
double arithmetic_cycles(const ConvProblem& problem, Pass pass, const WinogradTile& tile) {
  constexpr double kStart = 30000;     // beyond those of any pass
  constexpr double kPointCycles = 26;  // to transform at one point, forth and back
  constexpr double kVectorCycles = 1;  // and for each vector of channels there
  const CoreModel model = core_model(problem.dtype);
  constexpr double kBundleCycles = 6.4;  // in bundles, a point of a vector of channels
  const bool to_weights = pass == Pass::backward_weights;
  const double points = tile.points();
  const double all_points = tile_count(problem, pass, tile) * points;
  const auto bundles = static_cast<double>(bundles_of(problem).value_or(Bundles{}).count);
  const auto in = static_cast<double>(whole_vectors(problem.in_channels, model.lanes));
  const auto out = static_cast<double>(whole_vectors(problem.out_channels, model.lanes));
  const auto lanes = static_cast<double>(model.lanes);
  const double pairs = in * out / bundles * lanes * lanes;
  const double products = all_points * pairs / model.multiply_adds;
  if (problem.groups > 1) {
    const bool narrow = out / bundles == 1;
    return kStart + products * (narrow ? 1.45 : 1.1) + all_points * kBundleCycles * (in + out) +
           points * pairs * static_cast<double>(size_of(problem.dtype)) / model.cache_bytes * 0.8;
  }
  const double transforms =
      all_points * (kPointCycles + kVectorCycles * (in + out)) * (to_weights ? 2.6 : 1);
  const double weight_bytes = points * pairs * static_cast<double>(size_of(problem.dtype));
  return kStart + products * (to_weights ? 2.4 : 1.6) + transforms +
         weight_bytes / model.cache_bytes * (to_weights ? 4 : 0.8);
}

// The tile with the least cost. Four outputs along an axis need the fewest multiplications, two
// waste less at the edge. In three dimensions tiles of four would need more points than are worth
// their rounding.
WinogradTile chosen_tile(const ConvProblem& problem, Pass pass) {
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  std::array<std::vector<int>, 3> choices;
  for (std::size_t a = 0; a < 3; ++a) {
    choices[a] = axes[a].kernel == 1   ? std::vector{1}
                 : axes[a].kernel == 3 ? std::vector{4, 2}
                                       : std::vector{2};
  }
  const auto axis = [&](std::size_t a, int outputs) {
    return WinogradAxis{.outputs = outputs, .taps = static_cast<int>(axes[a].kernel)};
  };
  WinogradTile best;
  double least = std::numeric_limits<double>::infinity();
  for (const int m0 : choices[0]) {
    for (const int m1 : choices[1]) {
      for (const int m2 : choices[2]) {
        const WinogradTile tile{{axis(0, m0), axis(1, m1), axis(2, m2)}};
        if (tile.points() > kernels::kMaxWinogradPoints) continue;
        const double cost = arithmetic_cycles(problem, pass, tile);
        if (cost >= least) continue;
        least = cost;
        best = tile;
      }
    }
  }
  return best;
}

std::optional<std::string> refuses(const ConvProblem& problem, Pass pass) {
  if (problem.groups > 1 && pass == Pass::backward_weights) {
    return fmt::format(
        "for the weights' gradient it needs all channels in one group, but there are {}",
        problem.groups);
  }
  int points = 1;
  for (const ConvAxis& axis : three_axes(problem)) {
    if (axis.stride > 1 || axis.dilation > 1) {
      return fmt::format("neighbouring outputs must share cells, but stride is {} and dilation {}",
                         axis.stride, axis.dilation);
    }
    if (axis.kernel != 1 && axis.kernel != 3 && axis.kernel != 5) {
      return fmt::format("it has points for kernels of 3 and 5, but not of {}", axis.kernel);
    }
    points *= axis.kernel == 1 ? 1 : axis.kernel == 3 ? 4 : 6;
  }
  if (points == 1) return "a kernel of 1 shares no cells between outputs";
  const std::optional<Bundles> bundles = bundles_of(problem);
  if (!bundles) return "its groups do not fill whole vectors";
  if (bundles->groups > kMostJoined) {
    return fmt::format(
        "{} groups would have to be joined to fill a vector; of more than {} most products are "
        "zeros",
        bundles->groups, kMostJoined);
  }
  if (points > kernels::kMaxWinogradPoints) {
    return fmt::format("this kernel needs {} points, and more than {} round too much", points,
                       kernels::kMaxWinogradPoints);
  }
  return std::nullopt;
}

ConvCost predict(const ConvProblem& problem, Pass pass) {
  const WinogradTile tile = chosen_tile(problem, pass);
  ConvCost cost = least_cost(problem, pass);
  cost.multiply_adds = tile_count(problem, pass, tile) * tile.points() *
                       static_cast<double>(problem.in_channels) *
                       static_cast<double>(problem.out_channels) /
                       static_cast<double>(bundles_of(problem).value_or(Bundles{}).count);
  cost.cycles =
      pass_cycles(core_model(problem.dtype), arithmetic_cycles(problem, pass, tile), cost.bytes);
  return cost;
}

// Who asks for float64 wants the digits.
std::optional<std::string> kept_back(const ConvProblem& problem, Pass) {
  if (problem.dtype == DType::float32) return std::nullopt;
  return "its terms cancel, and for float64 sums are preferred that do not";
}

std::size_t workspace(const ConvProblem& problem, Pass pass) {
  return dispatch_floating(problem.dtype, [&](auto tag) -> std::size_t {
    using T = typename decltype(tag)::type;
    const WinogradTile tile = chosen_tile(problem, pass);
    return pass == Pass::backward_weights ? winograd_gradient_workspace<T>(problem, tile)
           : problem.groups > 1           ? winograd_bundles_workspace<T>(problem, pass, tile)
                                          : winograd_product_workspace<T>(problem, pass, tile);
  });
}

void run(const ConvProblem& problem, Pass pass, const ConvArgs& args) {
  dispatch_floating(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const WinogradTile tile = chosen_tile(problem, pass);
    if (pass == Pass::backward_weights) {
      winograd_gradient<T>(problem, args, tile);
    } else if (problem.groups > 1) {
      winograd_bundles<T>(problem, pass, args, tile);
    } else {
      winograd_product<T>(problem, pass, args, tile);
    }
  });
}

double error_growth(const ConvProblem& problem, Pass pass) {
  return winograd_growth(problem, pass, chosen_tile(problem, pass));
}

}  // namespace

const ConvAlgorithm winograd = {
    .name = "winograd",
    .summary =
        "tiles of outputs by way of their values at a few points: fewer multiplications for "
        "kernels of 3 and 5",
    .refuses = refuses,
    .predict = predict,
    .workspace = workspace,
    .run = run,
    .kept_back = kept_back,
    .error_growth = error_growth,
};

}  // namespace fovea::conv
