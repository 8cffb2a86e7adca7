// Tiles over the grids of patch_grid.h, and the error bound that follows from the points.
#include "conv/winograd_tiles.h"

#include <algorithm>
#include <cmath>

#include "conv/axes.h"
#include "kernels/winograd_points.h"

namespace fovea::conv {
namespace {

using kernels::WinogradAxis;
using kernels::WinogradPoints;
using kernels::WinogradTile;

struct TilePlace {
  std::int64_t image;
  std::array<std::int64_t, 3> tile;
};

TilePlace place_of(const TileGrid& grid, std::int64_t index) {
  TilePlace place{};
  place.tile[2] = index % grid.tiles[2];
  index /= grid.tiles[2];
  place.tile[1] = index % grid.tiles[1];
  index /= grid.tiles[1];
  place.tile[0] = index % grid.tiles[0];
  place.image = index / grid.tiles[0];
  return place;
}

// Sums of magnitudes over the matrices of one axis.
struct Magnitudes {
  double output;   // the largest |A^T| (|G| 1 . |B^T| 1)
  double weights;  // the largest |G^T| (|A| 1 . |B^T| 1)
};

template <int kPoints>
Magnitudes magnitudes(const WinogradAxis& axis) {
  using Points = WinogradPoints<kPoints>;
  struct Point {
    double value;
    double scale;  // a row of G is this times the powers of the value
    double input;  // sum of magnitudes in the row of B^T: coefficients of the other points' product
    double times;  // both of a pair have the same magnitudes
  };
  double all = 1;
  for (const double p : Points::kPair) all *= 1 + p * p;
  std::vector<Point> points{{0, std::abs(Points::kZeroScale), all, 1}};
  for (std::size_t i = 0; i < Points::kPairs; ++i) {
    const double p = Points::kPair[i];
    points.push_back({p, std::abs(Points::kPairScale[i]), all / (1 + p * p) * (1 + p), 2});
  }
  // Of one row of A^T or G^T, `place`, where the other operand has `others` values per tile.
  const auto row = [&](int place, int places, int others) {
    double sum = place == places - 1 ? all : 0;  // infinity
    for (const Point& point : points) {
      double powers = 0;
      for (int k = 0; k < others; ++k) powers += kernels::power(point.value, k);
      sum += point.times * kernels::power(point.value, place) * powers * point.scale * point.input;
    }
    return sum;
  };
  Magnitudes largest{0, 0};
  for (int k = 0; k < axis.outputs; ++k)
    largest.output = std::max(largest.output, row(k, axis.outputs, axis.taps));
  for (int k = 0; k < axis.taps; ++k)
    largest.weights = std::max(largest.weights, row(k, axis.taps, axis.outputs));
  return largest;
}

}  // namespace

TileGrid tile_grid(const ConvProblem& problem, Pass pass, const WinogradTile& tile) {
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  const bool to_data = pass == Pass::backward_data;
  TileGrid grid;
  grid.tile = tile;
  grid.batch = problem.batch;
  for (std::size_t a = 0; a < 3; ++a) {
    // Backward, tap k of the flipped kernel reads place p + k as well.
    const GridAxis axis =
        to_data ? backward_axis(axes[a], 0) : forward_axis(axes[a], problem.padding_mode);
    grid.outputs[a] = axis.table.outputs;
    grid.tiles[a] = tiles_along(grid.outputs[a], tile.axes[a]);
    grid.cells[a] = axis.table.cells;
    grid.cells[a].resize(
        static_cast<std::size_t>(grid.tiles[a] * tile.axes[a].outputs + tile.axes[a].taps - 1),
        kPaddingCell);
  }
  const GridStrides x = dense_strides(input_sizes(axes), problem.in_channels);
  const GridStrides y = dense_strides(output_sizes(axes), problem.out_channels);
  grid.source = to_data ? y : x;
  grid.result = to_data ? x : y;
  return grid;
}

template <class T>
void read_cells(const TileGrid& grid, const T* source, const T* padding, std::int64_t index,
                const T** cells) {
  const TilePlace place = place_of(grid, index);
  const std::int32_t* first[3];
  for (std::size_t a = 0; a < 3; ++a)
    first[a] = grid.cells[a].data() + place.tile[a] * grid.tile.axes[a].outputs;
  const T* const image = source + place.image * grid.source.image;
  const auto& axes = grid.tile.axes;
  for (int i0 = 0; i0 < axes[0].points(); ++i0) {
    for (int i1 = 0; i1 < axes[1].points(); ++i1) {
      const bool outside = first[0][i0] == kPaddingCell || first[1][i1] == kPaddingCell;
      const T* const row =
          outside ? nullptr
                  : image + first[0][i0] * grid.source.axis[0] + first[1][i1] * grid.source.axis[1];
      for (int i2 = 0; i2 < axes[2].points(); ++i2) {
        *cells++ = outside || first[2][i2] == kPaddingCell
                       ? padding
                       : row + first[2][i2] * grid.source.axis[2];
      }
    }
  }
}
template void read_cells(const TileGrid&, const float*, const float*, std::int64_t, const float**);
template void read_cells(const TileGrid&, const double*, const double*, std::int64_t,
                         const double**);

template <class T>
void result_cells(const TileGrid& grid, T* result, T* outside, std::int64_t index, T** cells) {
  const TilePlace place = place_of(grid, index);
  const auto& axes = grid.tile.axes;
  std::array<std::int64_t, 3> first{};
  std::array<std::int64_t, 3> inside{};
  T* corner = result + place.image * grid.result.image;
  for (std::size_t a = 0; a < 3; ++a) {
    first[a] = place.tile[a] * axes[a].outputs;
    inside[a] = grid.outputs[a] - first[a];
    corner += first[a] * grid.result.axis[a];
  }
  for (int i0 = 0; i0 < axes[0].outputs; ++i0) {
    for (int i1 = 0; i1 < axes[1].outputs; ++i1) {
      T* const row = corner + i0 * grid.result.axis[0] + i1 * grid.result.axis[1];
      for (int i2 = 0; i2 < axes[2].outputs; ++i2) {
        *cells++ = i0 < inside[0] && i1 < inside[1] && i2 < inside[2]
                       ? row + i2 * grid.result.axis[2]
                       : outside;
      }
    }
  }
}
template void result_cells(const TileGrid&, float*, float*, std::int64_t, float**);
template void result_cells(const TileGrid&, double*, double*, std::int64_t, double**);
template void result_cells(const TileGrid&, const float*, const float*, std::int64_t,
                           const float**);
template void result_cells(const TileGrid&, const double*, const double*, std::int64_t,
                           const double**);

double winograd_growth(const ConvProblem& problem, Pass pass, const WinogradTile& tile) {
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  double growth = 1;
  for (std::size_t a = 0; a < 3; ++a) {
    const WinogradAxis& axis = tile.axes[a];
    if (axis.points() == 1) continue;
    const Magnitudes m = axis.points() == 4 ? magnitudes<4>(axis) : magnitudes<6>(axis);
    const std::int64_t outputs = axes[a].output();
    growth *= pass == Pass::backward_weights
                  ? m.weights * static_cast<double>(tiles_along(outputs, axis)) /
                        static_cast<double>(outputs)
                  : m.output / axis.taps;
  }
  return growth;
}

}  // namespace fovea::conv
