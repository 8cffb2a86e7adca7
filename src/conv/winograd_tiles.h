// Winograd's convolution as geometry: which tiles cover a grid, and where their cells lie.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "conv/axes.h"
#include "conv/patch_grid.h"
#include "fovea/conv.h"
#include "kernels/winograd.h"

namespace fovea::conv {

// The tiles over the outputs of a pass: those of the convolution, or, for backward_data, those of
// the convolution with the flipped kernel that computes it.
struct TileGrid {
  kernels::WinogradTile tile;
  std::int64_t batch = 0;
  std::array<std::int64_t, 3> tiles{};             // along each axis
  std::array<std::int64_t, 3> outputs{};           // along each axis
  std::array<std::vector<std::int32_t>, 3> cells;  // what place p of the padded source reads
  GridStrides source;
  GridStrides result;

  std::int64_t count() const { return batch * tiles[0] * tiles[1] * tiles[2]; }
};

// Tiles of these sizes for this pass; sizes as chosen by winograd_tile.
TileGrid tile_grid(const ConvProblem& problem, Pass pass, const kernels::WinogradTile& tile);

// Tiles that cover an axis of this many outputs.
inline std::int64_t tiles_along(std::int64_t outputs, const kernels::WinogradAxis& axis) {
  return ceil_div(outputs, axis.outputs);
}

// Where the cells that tile `index` reads lie; padding, and what lies behind it, reads `padding`.
template <class T>
void read_cells(const TileGrid& grid, const T* source, const T* padding, std::int64_t index,
                const T** cells);
// Where the cells of tile `index` in the result lie; `outside` where the tile overlaps the edge.
template <class T>
void result_cells(const TileGrid& grid, T* result, T* outside, std::int64_t index, T** cells);

// How much larger than in the plain sum the terms are, at worst, that cancel in one result: the
// error of a pass is at most u * (terms + roundings of the transforms) * growth * terms * (the
// largest values of the two operands, multiplied).
double winograd_growth(const ConvProblem& problem, Pass pass, const kernels::WinogradTile& tile);

}  // namespace fovea::conv
