// Depthwise products of 3x3, 5x5 and 7x7 kernels, of any on small maps, and gradients of 3x3, whole
// bands of rows at a time: each source row is read once for all rows of results that it belongs to.
#pragma once

#include <cstdint>

#include "kernels/epilogue.h"
#include "kernels/group_product.h"

namespace fovea::kernels {

// What a band reads: row r and place p of the results meet, for i and k below `taps`, cell
// p * stride + first + k of rows[r * stride + i].
template <class T>
struct RowWindow {
  const T* const* rows;          // [(count - 1) * stride + taps], at channel 0; null: padding
  std::int64_t count = 0;        // of rows of results
  int taps = 3;                  // 3; with a stride of 1 also 5 and 7, and any of small maps
  int stride = 1;                // 1 or 2, along both axes
  std::int64_t first = 0;        // cell of place 0
  std::int64_t inputs = 0;       // cells of a source row; those outside are padding
  int outputs = 0;               // places of a row
  std::int64_t cell_values = 0;  // between neighbouring cells of the source
};

// Rows of results of all channels of `blocks` (whole vectors, without lookups): the sum of
// weights[tap] * cell over i, then k; tap = i * taps + k, or taps * taps - 1 - that if `flipped`.
template <class T>
struct DepthwiseRows {
  RowWindow<T> window;
  const ChannelBlock<T>* blocks;
  std::int64_t block_count = 0;
  const T* weights;
  bool flipped = false;
  const T* bias;  // of channel 0, or null
  T* out;         // of the first place of the first row, at channel 0
  std::int64_t out_step = 0;
  std::int64_t out_row_step = 0;
  bool bypass = false;  // write around the caches; vectors of results are then aligned
  const Epilogue<T>* epilogue = nullptr;  // of these results, or null
};
template <class T>
void depthwise_rows(const DepthwiseRows<T>& job);  // of 3 taps

// Runs of four neighbouring blocks at a time, of 3 taps, to the same bits; returns how many blocks,
// from the first on, it has computed: none where `depthwise_rows` is faster.
template <class T>
std::int64_t depthwise_runs(const DepthwiseRows<T>& job);

// Whether the SIMD target has registers enough for the rows of sums of 5 and 7 taps.
bool joins_columns();
template <class T>
void depthwise_columns(const DepthwiseRows<T>& job);  // of 5 or 7 taps

// Whole maps of 4 to 8 columns, as many of the source as of the results, and at most kMapRows rows
// of the source, with a stride of 1 and any number of taps.
inline constexpr int kLeastMapColumns = 4;
inline constexpr int kMapColumns = 8;
inline constexpr int kMapRows = 16;
template <class T>
void depthwise_map(const DepthwiseRows<T>& job);

// sums[block.weights + tap * lanes] += gradient times cell over all rows and places, for
// tap = i * 3 + k.
template <class T>
struct DepthwiseRowsGradient {
  RowWindow<T> window;
  const ChannelBlock<T>* blocks;
  std::int64_t block_count = 0;
  const T* gradient;  // of the first place of the first row, at channel 0
  std::int64_t gradient_step = 0;
  std::int64_t gradient_row_step = 0;
  T* sums;
  bool fresh = false;  // sums have no values yet, and begin with 0
};
template <class T>
void depthwise_rows_gradient(const DepthwiseRowsGradient<T>& job);

}  // namespace fovea::kernels
