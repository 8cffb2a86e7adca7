// The inner loop of convolutions whose groups are one or two vectors wide: one row of results, from
// copies of source rows in which cells follow each other.
#pragma once

#include <cstdint>

#include "kernels/epilogue.h"

namespace fovea::kernels {

// out[p][j] = bias[j] + the sum over rows r, taps k and c of
// rows[r][p * place_step + k * tap_step + c] * weights[row_taps[r] * taps + k][c][j].
template <class T>
struct RowProduct {
  const T* const* rows;  // [row_count]
  const int* row_taps;   // [row_count] which run of taps reads each
  std::int64_t row_count = 0;
  int taps = 0;  // of a row
  std::int64_t tap_step = 0;
  int places = 0;
  std::int64_t place_step = 0;
  std::int64_t reduced = 0;
  const T* weights;  // [row tap][tap][reduced][block], aligned
  int block = 0;     // results: one or two whole vectors
  const T* bias;     // or null
  T* out;
  std::int64_t out_step = 0;              // from place to place
  const Epilogue<T>* epilogue = nullptr;  // of these results, or null
};
template <class T>
void row_product(const RowProduct<T>& job);

// Copies some cells: `parts` neighbours of `values` values, whole vectors, of each, those of a part
// one behind the other.
template <class T>
struct CopyCells {
  const T* from;
  std::int64_t from_step = 0;  // from cell to cell
  std::int64_t cells = 0;
  std::int64_t values = 0;
  T* to;  // aligned
  std::int64_t parts = 1;
  std::int64_t part_step = 0;  // from copy to copy
};
template <class T>
void copy_cells(const CopyCells<T>& job);

}  // namespace fovea::kernels
