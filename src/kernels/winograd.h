// The inner loops of Winograd's convolution, on raw memory: transforms between cells and points,
// and the matrix products at each point.
//
// Along one axis, F(outputs, taps) computes `outputs` neighbours with outputs + taps - 1
// multiplications instead of outputs * taps: with the points 0, +-p, ... and infinity,
// y = A^T [(G w) . (B^T d)] [Winograd 1980]. Several axes are transformed one after the other.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/epilogue.h"

namespace fovea::kernels {

inline constexpr int kMaxWinogradPoints = 64;  // of all axes together

// One axis of a tile: 4 or 6 points, or one cell, one tap and nothing to transform.
struct WinogradAxis {
  int outputs = 1;
  int taps = 1;
  int points() const { return outputs + taps - 1; }
  friend bool operator==(const WinogradAxis&, const WinogradAxis&) = default;
};

struct WinogradTile {
  std::array<WinogradAxis, 3> axes;
  int outputs() const { return axes[0].outputs * axes[1].outputs * axes[2].outputs; }
  int points() const { return axes[0].points() * axes[1].points() * axes[2].points(); }
};

// The transforms to points, and back.
enum class ToPoints : std::uint8_t {
  input,     // B^T: points of cells of the input
  gradient,  // A: of cells of the output's gradient
  weights    // G: of taps
};
enum class FromPoints : std::uint8_t {
  output,  // A^T: cells of the output
  weights  // G^T: taps of the weights' gradient
};

// For each point, and each vector of channels: points[point * point_step + vector * vector_step +
// lane]. Lanes behind `channels` become zero.
template <class T>
struct SpreadJob {
  ToPoints map;
  WinogradTile tile;
  const T* const* cells;    // of all axes, innermost last
  std::int64_t offset = 0;  // of channel 0 in each cell
  int channels;
  T* points;
  std::int64_t point_step;
  std::int64_t vector_step;
  const T* const* next = nullptr;  // cells of the job that follows, asked for meanwhile, or null
};
template <class T>
void winograd_spread(const SpreadJob<T>& job);

// The way back: cells[i][channel] = bias[channel] + what the points give. Null cells are left out.
template <class T>
struct CollectJob {
  FromPoints map;
  WinogradTile tile;
  const T* points;
  std::int64_t point_step;
  std::int64_t vector_step;
  const T* bias;  // of channel 0, or null
  T* const* cells;
  std::int64_t offset = 0;  // of channel 0 in each cell
  int channels;
  const Epilogue<T>* epilogue = nullptr;  // of these cells, or null
};
template <class T>
void winograd_collect(const CollectJob<T>& job);

// Rows of a register tile, at most, and lanes of a vector, on the SIMD target in use. Tiles have an
// even number of rows; a block of results is one or two vectors wide (block_lanes).
struct WinogradSizes {
  int rows = 0;
  int lanes = 0;
};
template <class T>
WinogradSizes winograd_sizes();

// out[row][j] = sum over k of values[k / lanes][row][k % lanes] * weights[k][j], for each group of
// `rows` rows: the product of one point, or of several one after the other.
template <class T>
struct PointProduct {
  const T* values;  // [groups][ceil(reduced / lanes)][rows][lanes]
  std::int64_t groups;
  int rows;  // even
  std::int64_t reduced;
  const T* weights;  // [reduced][block]
  int block;         // one or two vectors
  T* out;            // [groups * rows][block]; may be `values` where a row of both is as long
  std::int64_t points = 1;
  std::int64_t value_step = 0;   // from point to point
  std::int64_t weight_step = 0;  // the same
  std::int64_t out_step = 0;     // the same
};
template <class T>
void point_product(const PointProduct<T>& job);

// sum[row][j] += sum over q of values[q * value_step + row] * gradients[q][j], in the order of q.
// `rows` is even.
template <class T>
struct PointGradient {
  const T* values;
  std::int64_t value_step;
  const T* gradients;  // [count][block]
  std::int64_t count;
  std::int64_t rows;
  int block;
  T* sum;  // [rows][block]
};
template <class T>
void point_gradient(const PointGradient<T>& job);

}  // namespace fovea::kernels
