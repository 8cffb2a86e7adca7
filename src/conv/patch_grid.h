// A patch grid: the output positions of one patch product, and the runs of source values that each
// of its taps reads.
//
// Forward, every phase of backward_data, and backward_weights differ only in the grid they walk
// over.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "conv/patch_table.h"
#include "kernels/patch_product.h"

namespace fovea::conv {

// One dimension: place q of the grid is cell first + q * step of the result; tap t of the table is
// kernel tap taps[t].
struct GridAxis {
  AxisTable table;
  std::vector<std::int32_t> taps;
  std::int64_t first = 0;
  std::int64_t step = 1;
};

// Distances in memory, in elements.
struct GridStrides {
  std::int64_t image = 0;
  std::array<std::int64_t, 3> axis{};
};

struct PatchGrid {
  std::int64_t batch = 0;
  std::array<GridAxis, 3> axes;
  GridStrides source;
  GridStrides result;

  std::int64_t places() const;  // positions in all
};

// The grid of all outputs, reading all taps.
GridAxis forward_axis(const ConvAxis& axis, PaddingMode mode);
// The input cells first, first + stride, ... of backward_data: only the taps whose product with the
// dilation has their remainder reach them, so that no zeros are multiplied.
GridAxis backward_axis(const ConvAxis& axis, std::int64_t first);
// The first cells of all grids of backward_data in which any tap reads; the cells of others stay
// zero.
std::vector<std::int64_t> backward_phases(const ConvAxis& axis);
// The grid of forward, from the input to the output.
PatchGrid forward_grid(const ConvProblem& problem);
// All grids of backward_data, from the output's gradient to the input's.
std::vector<PatchGrid> backward_grids(const ConvProblem& problem);
// Clears the input's gradient if there are cells in it that no output has read.
template <class T>
void clear_unread(const ConvProblem& problem, const std::vector<PatchGrid>& grids, T* result);
// Whether each place reads one cell and writes one, each behind those of the place before.
bool is_flat(const PatchGrid& grid);
// Distances in a dense channels-last tensor of these spatial sizes and channels.
GridStrides dense_strides(const std::array<std::int64_t, 3>& sizes, std::int64_t channels);

// Weights [out][in][k0][k1][k2]: offsets of the taps that a grid reads, over axes as three_axes().
std::vector<std::int64_t> tap_offsets(const PatchGrid& grid, const std::array<ConvAxis, 3>& axes);

// A run of neighbouring places in one row of the grid.
struct GridSegment {
  std::int64_t image = 0;
  std::array<int, 3> place{};  // of the first
  int count = 0;
};

// Calls f(segment, index of its first place within the range) for each row that places [first,
// first + count) touch.
template <class F>
void for_each_segment(const PatchGrid& grid, std::int64_t first, std::int64_t count, F&& f) {
  const int n1 = grid.axes[1].table.outputs;
  const int n2 = grid.axes[2].table.outputs;
  GridSegment segment;
  segment.place[2] = static_cast<int>(first % n2);
  std::int64_t rest = first / n2;
  segment.place[1] = static_cast<int>(rest % n1);
  rest /= n1;
  segment.place[0] = static_cast<int>(rest % grid.axes[0].table.outputs);
  segment.image = rest / grid.axes[0].table.outputs;
  for (std::int64_t done = 0; done < count;) {
    const std::int64_t row = n2 - segment.place[2];
    segment.count = static_cast<int>(row < count - done ? row : count - done);
    f(segment, done);
    done += segment.count;
    segment.place[2] = 0;
    if (++segment.place[1] < n1) continue;
    segment.place[1] = 0;
    if (++segment.place[0] < grid.axes[0].table.outputs) continue;
    segment.place[0] = 0;
    ++segment.image;
  }
}

// Where each tap of each of `rows` places from `first` on begins to read: runs[tap * kMaxTileRows +
// row], so that only of a grid of one tap more places than these are asked for. Padding cells read
// `padding`.
template <class T>
void fill_runs(const PatchGrid& grid, const T* source, const T* padding, std::int64_t first,
               std::int64_t rows, const T** runs);
// Where each of these places is written.
template <class T>
void fill_results(const PatchGrid& grid, T* result, std::int64_t first, std::int64_t rows, T** out);

// The start of a source row for one pair of outer taps, or null where they are padding.
template <class T>
const T* source_row(const PatchGrid& grid, const T* source, const GridSegment& segment, int tap0,
                    int tap1) {
  const std::int32_t cell0 = grid.axes[0].table.at(tap0, segment.place[0]);
  const std::int32_t cell1 = grid.axes[1].table.at(tap1, segment.place[1]);
  if (cell0 == kPaddingCell || cell1 == kPaddingCell) return nullptr;
  return source + segment.image * grid.source.image + cell0 * grid.source.axis[0] +
         cell1 * grid.source.axis[1];
}

}  // namespace fovea::conv
