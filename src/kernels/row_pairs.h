// The inner loop of backward_data of a kernel of 3 with a stride of 2 where groups are one or two
// vectors wide: one row of results, in pairs of neighbours that read the same two cells.
#pragma once

#include <cstdint>

namespace fovea::kernels {

// Pair p reads cells p and p + 1 of each row. Its first result is the sum of cell(p) * middle, its
// second that of cell(p) * sides[1] + cell(p + 1) * sides[0]. Results before `first` and from
// `last` on are not written.
template <class T>
struct RowPairs {
  const T* const* rows;  // [row_count], cells behind each other
  const int* row_taps;   // [row_count] which run of taps reads each
  std::int64_t row_count = 0;
  int pairs = 0;
  std::int64_t reduced = 0;  // values of a cell: one or two whole vectors
  const T* middle;           // [row tap][reduced][block], aligned: weights of tap 1
  const T* sides;            // [row tap][2][reduced][block]: of taps 0 and 2
  int block = 0;             // results: one or two whole vectors
  T* out;                    // of result `first`
  std::int64_t out_step = 0;
  std::int64_t first = 0;
  std::int64_t last = 0;
};
template <class T>
void row_pairs(const RowPairs<T>& job);

}  // namespace fovea::kernels
