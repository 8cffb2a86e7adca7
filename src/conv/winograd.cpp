// `winograd`: fewer multiplications for kernels of 3 and 5 [Winograd 1980; Lavin and Gray 2016].
//
// Along one axis F(m, k) computes m neighbouring outputs of a kernel of k with m + k - 1
// multiplications: cells and taps become values of polynomials at m + k - 1 points, are multiplied
// there, and the products are interpolated. Each axis is treated so in turn, and at each point the
// channels make a matrix product. F(4x4, 3x3) needs 36 multiplications for 16 outputs, where the
// sum needs 144. The price: transforms, more bytes, and terms that cancel, so some rounding.
//
// The three passes are in winograd_product.cpp (forward, and backward_data with the flipped kernel)
// and winograd_gradient.cpp (backward_weights, the transpose).
#include <optional>
#include <string>

#include "conv/algorithms.h"
#include "conv/axes.h"
#include "conv/winograd_passes.h"
#include "conv/winograd_tiles.h"
#include "core/dispatch.h"

namespace fovea::conv {
namespace {

using kernels::WinogradAxis;
using kernels::WinogradTile;

WinogradTile chosen_tile(const ConvProblem& problem, Pass pass) {
  static_cast<void>(pass);
  WinogradTile tile;
  const auto axes = three_axes(problem);
  int active = 0;
  for (const auto& axis : axes) active += axis.kernel > 1;
  for (std::size_t a = 0; a < 3; ++a) {
    const int taps = static_cast<int>(axes[a].kernel);
    tile.axes[a] = {.outputs = taps == 1 ? 1 : taps == 5 || active == 3 ? 2 : 4, .taps = taps};
  }
  return tile;
}

std::optional<std::string> refuses(const ConvProblem& problem, Pass) {
  if (problem.groups > 1) {
    return fmt::format("its matrix products need all channels in one group, but there are {}",
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
  if (points > kernels::kMaxWinogradPoints) {
    return fmt::format("this kernel needs {} points, and more than {} round too much", points,
                       kernels::kMaxWinogradPoints);
  }
  return std::nullopt;
}

ConvCost predict(const ConvProblem& problem, Pass pass) {
  const TileGrid grid = tile_grid(problem, pass, chosen_tile(problem, pass));
  ConvCost cost = least_cost(problem, pass);
  cost.multiply_adds = static_cast<double>(grid.count()) * grid.tile.points() *
                       static_cast<double>(problem.in_channels) *
                       static_cast<double>(problem.out_channels);
  return cost;
}

std::size_t workspace(const ConvProblem& problem, Pass pass) {
  return dispatch_floating(problem.dtype, [&](auto tag) -> std::size_t {
    using T = typename decltype(tag)::type;
    const WinogradTile tile = chosen_tile(problem, pass);
    return pass == Pass::backward_weights ? winograd_gradient_workspace<T>(problem, tile)
                                          : winograd_product_workspace<T>(problem, pass, tile);
  });
}

void run(const ConvProblem& problem, Pass pass, const ConvArgs& args) {
  dispatch_floating(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const WinogradTile tile = chosen_tile(problem, pass);
    if (pass == Pass::backward_weights) {
      winograd_gradient<T>(problem, args, tile);
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
    .error_growth = error_growth,
};

}  // namespace fovea::conv
