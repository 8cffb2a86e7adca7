// The inner loops of convolutions whose groups are narrower than a vector (depthwise above all): a
// vector holds the channels of several groups at once.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/epilogue.h"

namespace fovea::kernels {

// The number of a lane of a vector of T.
template <class T>
using LaneIndex = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

// Size of a vector on the SIMD target in use.
int vector_bytes();
template <class T>
int vector_lanes() {
  return vector_bytes() / static_cast<int>(sizeof(T));
}

// A vector of neighbouring result channels. Lane j gets, for each reduced channel i, a weight times
// lane lookup[i][j] of the source vector that begins at channel `source`; without a lookup, times
// lane j itself.
template <class T>
struct ChannelBlock {
  std::int64_t channel = 0;  // first result channel
  int lanes = 0;             // a power of two, at most the target's
  std::int64_t source = 0;
  const LaneIndex<T>* lookup = nullptr;  // [reduced][lanes], or null: reduced is 1
  std::int64_t weights = 0;              // where its weights begin: [row tap][tap][reduced][lanes]
};

// The innermost dimension of a patch table: tap t of output o reads
// cells[t * tap_step + o * output_step]; negative: padding, which counts for nothing.
struct InnerAxis {
  const std::int32_t* cells = nullptr;
  std::int64_t tap_step = 0;
  std::int64_t output_step = 0;
  int taps = 0;
  int outputs = 0;
  std::int64_t cell_values = 0;  // between neighbouring cells of the source
  // Whether entry t * tap_step + o * output_step is cell first + t * tap_step + o * output_step of
  // `inputs`, and padding where there is none of that number.
  bool in_line = false;
  std::int64_t first = 0;
  std::int64_t inputs = 0;
};

// One row of results of all channels of `blocks`, added up in an order that is the same for every
// output: rows, a few taps, reduced channels, cells.
template <class T>
struct GroupProduct {
  InnerAxis inner;
  const T* const* rows;  // [row_count] source rows, at channel 0
  const int* row_taps;   // [row_count] which pair of outer taps reads each
  std::int64_t row_count = 0;
  const ChannelBlock<T>* blocks;
  std::int64_t block_count = 0;
  std::int64_t reduced = 1;
  const T* weights;
  const T* bias;  // of channel 0, or null
  T* out;         // of the first place, at channel 0
  std::int64_t out_step = 0;
  const T* const* ahead = nullptr;  // [ahead_count] source rows wanted next, asked for meanwhile
  std::int64_t ahead_count = 0;
  bool bypass = false;  // write around the caches; vectors of results are then aligned
  const Epilogue<T>* epilogue = nullptr;  // of these results, or null
};
template <class T>
void group_product(const GroupProduct<T>& job);

// sums[row tap][tap][reduced][lanes] of one block: adds gradient times source over the places of a
// row, in their order.
template <class T>
struct GroupGradient {
  InnerAxis inner;
  const T* const* rows;  // [row_count] source rows, at channel 0
  const int* row_taps;   // [row_count] which pair of outer taps reads each
  std::int64_t row_count = 0;
  const T* gradient;  // of the first place, at channel 0
  std::int64_t gradient_step = 0;
  ChannelBlock<T> block;
  std::int64_t reduced = 1;
  T* sums;
  const T* ahead = nullptr;           // the source row wanted next, or null
  const T* ahead_gradient = nullptr;  // and its gradients
};
template <class T>
void group_gradient(const GroupGradient<T>& job);

}  // namespace fovea::kernels
