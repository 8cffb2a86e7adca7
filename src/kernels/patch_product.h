// The two inner loops of every direct convolution, on raw memory: a matrix product whose left
// operand is given as pointers to runs of values, so that patches need not be copied.
#pragma once

#include <cstdint>

#include "kernels/epilogue.h"

namespace fovea::kernels {

inline constexpr int kMaxTileRows = 14;

// Sizes of the register tile on the SIMD target in use: rows of outputs by lanes of output
// channels.
struct TileSize {
  int rows = 0;           // at most kMaxTileRows
  int gradient_rows = 0;  // of a gradient product; at most kMaxTileRows
  int lanes = 0;  // of one vector, or a few small ones; a block of channels is one or two as wide
};
template <class T>
TileSize tile_size();

// Width of the packed block that starts with `remaining` channels to go: two vectors, or one at the
// end.
inline int block_lanes(std::int64_t remaining, int lanes) {
  return remaining > lanes ? 2 * lanes : lanes;
}

// Memory that is wanted soon. It is asked for a little at a time, between multiplications: a burst
// of prefetches would hold them up.
struct Ahead {
  const void* begin = nullptr;
  std::int64_t bytes = 0;
};

// out[m][column + j] = bias[column + j] + sum over t, r of source(t, m)[r] * weights[(t * run + r)
// * block + j] for m < rows and j < width, added up in the order of t, then r. source(t, m) is
// runs[t * kMaxTileRows + m].
template <class T>
struct PatchProduct {
  const T* const* runs;  // [taps][kMaxTileRows]
  std::int64_t taps;
  std::int64_t run;     // values per tap
  const T* weights;     // [taps][run][block], block as block_lanes(width) says
  const T* bias;        // of channel 0, or null
  T* const* out;        // [rows], channel 0
  std::int64_t column;  // first output channel of this block
  int rows;             // of more than a tile has, several are made
  int width;            // output channels of this block: at most two vectors
  Ahead ahead = {};     // asked for meanwhile
  bool bypass = false;  // write around the caches; outputs are then aligned to whole vectors
  const Epilogue<T>* epilogue = nullptr;  // of these results, or null
  std::int64_t tile_step = 0;             // from the runs of a tile to those of the next
  std::int64_t row_step = 0;         // where not 0: one tap, and runs[m] = runs[0] + m * row_step
  int most_rows = 2 * kMaxTileRows;  // of a tile
};
template <class T>
void patch_product(const PatchProduct<T>& job);

// sum[m * sum_step + j] += (or = if it begins) sum over q of runs[q][offsets[m]] *
// gradients[q][column + j] for m < rows and j < width, in the order of q: the same product,
// transposed, for the gradient of the weights. Lanes of `sum` behind `width` are left alone.
template <class T>
struct GradientProduct {
  const T* const* runs;       // [count]
  const T* const* gradients;  // [count]
  std::int64_t column;        // first output channel of this block
  std::int64_t count;
  const std::int64_t* offsets;  // [rows]
  T* sum;                       // [rows], sum_step apart
  std::int64_t sum_step;
  int rows;             // at most tile_size().gradient_rows
  int width;            // output channels of this block: at most two vectors
  Ahead ahead = {};     // asked for meanwhile
  bool begins = false;  // nothing is in `sum` yet
  // Where not 0: runs[q] = runs[0] + q * run_step, gradients[q] = gradients[0] + q * gradient_step,
  // and offsets[m] = offsets[0] + m; only the first of each is read.
  std::int64_t run_step = 0;
  std::int64_t gradient_step = 0;
};
template <class T>
void gradient_product(const GradientProduct<T>& job);

}  // namespace fovea::kernels
