// The gradient of the input of a depthwise 3x3 kernel with a stride of 2, whole bands of rows at a
// time. Results come in quads of two rows by two columns, which all read the same four cells.
#pragma once

#include <cstdint>

#include "kernels/group_product.h"

namespace fovea::kernels {

// Quad c of quad row r is places 2 * c - skipped and the next of results[2 * r] and of
// results[2 * r + 1]. It reads cells c - 1 and c of rows[r], through the last row of the kernel,
// and of rows[r + 1], through the others:
//
//   results[2r][2c]      w[0][0] * rows[r + 1][c] + w[0][2] * rows[r + 1][c - 1]
//                        + w[2][0] * rows[r][c] + w[2][2] * rows[r][c - 1]
//   results[2r][2c + 1]      w[0][1] * rows[r + 1][c] + w[2][1] * rows[r][c]
//   results[2r + 1][2c]      w[1][0] * rows[r + 1][c] + w[1][2] * rows[r + 1][c - 1]
//   results[2r + 1][2c + 1]  w[1][1] * rows[r + 1][c]
template <class T>
struct DepthwiseQuads {
  const T* const* rows;          // [count + 1], at channel 0; null: padding
  T* const* results;             // [2 * count], at channel 0; null: no such row
  std::int64_t count = 0;        // of quad rows
  std::int64_t inputs = 0;       // cells of a source row; those outside are padding
  std::int64_t cell_values = 0;  // between neighbouring cells of the source
  std::int64_t outputs = 0;      // places of a row of results
  std::int64_t skipped = 0;      // columns of padding before them
  std::int64_t out_step = 0;
  const ChannelBlock<T>* blocks;  // whole vectors, without lookups
  std::int64_t block_count = 0;
  const T* weights;     // of a block, from block.weights on: [i * 3 + k][lanes]
  const T* bias;        // of channel 0, or null
  bool bypass = false;  // write around the caches; vectors of results are then aligned
};
template <class T>
void depthwise_quads(const DepthwiseQuads<T>& job);

}  // namespace fovea::kernels
