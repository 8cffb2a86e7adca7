// Depthwise 3x3 products, whole bands of rows at a time: each source row is read once for the three
// rows of results that it belongs to.
#pragma once

#include <cstdint>

#include "kernels/group_product.h"

namespace fovea::kernels {

// Rows of results of all channels of `blocks` (whole vectors, without lookups): result row r and
// place p add up, over source rows 0..2 and cells 0..2,
//   weights[tap] * rows[r * stride + row][cell p * stride + first + cell],
// in this order; tap = row * 3 + cell, or 8 - that if `flipped`.
template <class T>
struct DepthwiseRows {
  const T* const* rows;          // [(count - 1) * stride + 3], at channel 0; null: padding
  std::int64_t count = 0;        // of rows of results
  int stride = 1;                // 1 or 2, along both axes
  std::int64_t first = 0;        // cell of place 0
  std::int64_t inputs = 0;       // cells of a source row; those outside are padding
  int outputs = 0;               // places of a row
  std::int64_t cell_values = 0;  // between neighbouring cells of the source
  const ChannelBlock<T>* blocks;
  std::int64_t block_count = 0;
  const T* weights;
  bool flipped = false;
  const T* bias;  // of channel 0, or null
  T* out;         // of the first place of the first row, at channel 0
  std::int64_t out_step = 0;
  std::int64_t out_row_step = 0;
  bool bypass = false;  // write around the caches; vectors of results are then aligned
};
template <class T>
void depthwise_rows(const DepthwiseRows<T>& job);

}  // namespace fovea::kernels
