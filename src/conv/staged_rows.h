// Source rows of one group of channels, copied cell behind cell together with the padding beside
// them.
//
// In the tensor the cells of a group of a vector or two lie as far apart as there are channels, in
// few sets of the first-level cache, from which they are gone before the next row of results reads
// them again. Copies lie side by side, and stay for all rows of a kernel.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "conv/joined_rows.h"
#include "conv/patch_grid.h"
#include "kernels/row_product.h"

namespace fovea::conv {

// What the CPU fetches together: groups narrower than that are copied with their neighbours.
inline constexpr std::int64_t kNeighbourBytes = 128;

// How the rows that one row of results reads are copied: source row `cell` has its place in
// slot(cell), which no other row of the same results has.
template <class T>
class StagedRows {
 public:
  StagedRows(const PatchGrid& grid, std::int64_t channels)
      : channels_(channels),
        planar_(grid.axes[0].table.taps == 1),
        source_(inner_axis(grid)),
        rows_(line_axis(grid.axes[1].table)),
        depth_((rows_.taps - 1) * std::abs(rows_.tap_step) + 1),
        width_((source_.taps - 1) * std::abs(source_.tap_step) +
               (source_.outputs - 1) * source_.output_step + 1) {}

  // Whether rows can be copied so, and those of one group stay in the first-level cache.
  bool fits() const {
    constexpr std::int64_t kBytes = 40 << 10;
    return planar_ && source_.in_line && rows_.in_line &&
           values() * static_cast<std::int64_t>(sizeof(T)) <= kBytes;
  }

  std::int64_t row_values() const { return width_ * channels_; }
  std::int64_t values() const { return depth_ * row_values(); }
  std::int64_t slots() const { return depth_; }
  std::int64_t slot(std::int64_t cell) const { return cell % depth_; }

  // Copies a row that begins here, for some neighbouring groups values() apart. What lies beside it
  // is zeros.
  void copy(const T* row, std::int64_t groups, T* to) const {
    const std::int64_t begin = std::max<std::int64_t>(-lowest(), 0);  // of the copy
    const std::int64_t end = std::min(width_, source_.inputs - lowest());
    if (begin >= end) return;
    kernels::copy_cells<T>({.from = row + (lowest() + begin) * source_.cell_values,
                            .from_step = source_.cell_values,
                            .cells = end - begin,
                            .values = channels_,
                            .to = to + begin * channels_,
                            .parts = groups,
                            .part_step = values()});
  }

  // Asks for a row that will be copied later.
  void ask_for(const T* row, std::int64_t groups) const {
    constexpr auto kLine = static_cast<std::int64_t>(64 / sizeof(T));
    for (std::int64_t cell = 0; cell < source_.inputs; ++cell) {
      for (std::int64_t i = 0; i < groups * channels_; i += kLine)
        __builtin_prefetch(row + cell * source_.cell_values + i, 0, 2);
    }
  }

  // Of the cells of a copy that the first place of a row of results reads: that of tap 0.
  std::int64_t first() const { return (source_.first - lowest()) * channels_; }
  std::int64_t tap_step() const { return source_.tap_step * channels_; }
  std::int64_t place_step() const { return source_.output_step * channels_; }
  int taps() const { return source_.taps; }
  int places() const { return source_.outputs; }

 private:
  // The source cell that the copy begins with: perhaps one of the padding.
  std::int64_t lowest() const {
    return source_.first + (source_.tap_step < 0 ? (source_.taps - 1) * source_.tap_step : 0);
  }

  std::int64_t channels_;
  bool planar_;
  kernels::InnerAxis source_;
  kernels::InnerAxis rows_;
  std::int64_t depth_;
  std::int64_t width_;
};

}  // namespace fovea::conv
