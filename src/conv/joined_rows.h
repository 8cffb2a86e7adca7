// The axes of a patch grid as lines of cells at one distance, and planes of small square kernels
// whose rows are joined: a source row is read once for all rows of places that it belongs to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "conv/patch_grid.h"
#include "conv/patch_table.h"
#include "kernels/depthwise_rows.h"
#include "kernels/group_product.h"

namespace fovea::conv {

// Of one axis of a grid, but for the distance of its cells.
inline kernels::InnerAxis line_axis(const AxisTable& table) {
  kernels::InnerAxis axis{.cells = table.row(0),
                          .tap_step = table.tap_step,
                          .output_step = table.output_step,
                          .taps = table.taps,
                          .outputs = table.outputs};
  // One run of neighbouring cells, if any, between padding?
  const auto inside = [](std::int32_t cell) { return cell != kPaddingCell; };
  const auto begin = std::ranges::find_if(table.cells, inside);
  const auto end = std::find_if_not(begin, table.cells.end(), inside);
  axis.in_line = std::none_of(end, table.cells.end(), inside) &&
                 std::adjacent_find(
                     begin, end, [](std::int32_t a, std::int32_t b) { return b != a + 1; }) == end;
  if (axis.in_line && begin != end) {
    axis.inputs = *std::prev(end) + 1;
    axis.first = table.origin - (begin - table.cells.begin()) + *begin;
  }
  return axis;
}

inline kernels::InnerAxis inner_axis(const PatchGrid& grid) {
  kernels::InnerAxis axis = line_axis(grid.axes[2].table);
  axis.cell_values = grid.source.axis[2];
  return axis;
}

// Grids of 3x3, 5x5 and 7x7 kernels, and of any larger ones on small maps, which read each source
// row once for all rows of places that it belongs to.
class JoinedRows {
 public:
  explicit JoinedRows(const PatchGrid& grid)
      : grid_(grid), inner_(inner_axis(grid)), rows_(line_axis(grid.axes[1].table)) {}

  bool fits() const {
    return grid_.axes[0].table.taps == 1 && reads_neighbours(inner_) && reads_neighbours(rows_) &&
           inner_.taps == rows_.taps && inner_.tap_step == rows_.tap_step &&
           inner_.output_step == rows_.output_step && (taps() == 3 || fits_map() || fits_columns());
  }
  // Of `fits`: a map that stays in registers row by row.
  bool fits_map() const {
    return taps() > 3 && inner_.output_step == 1 && inner_.inputs == inner_.outputs &&
           inner_.outputs >= kernels::kLeastMapColumns && inner_.outputs <= kernels::kMapColumns &&
           rows_.inputs <= kernels::kMapRows;
  }
  int taps() const { return inner_.taps; }
  std::int64_t planes() const { return grid_.batch * grid_.axes[0].table.outputs; }
  bool flipped() const { return inner_.tap_step < 0; }

  // Calls f(window, image, place0, place1) for runs of the rows [first, last) of places that lie in
  // one plane.
  template <class T, class F>
  void for_each_window(const T* source, std::int64_t first, std::int64_t last, F&& f) const {
    const std::int64_t planes = grid_.axes[0].table.outputs;  // of one image
    const std::int64_t step = rows_.output_step;
    std::vector<const T*> sources;
    for (std::int64_t count = 0; first < last; first += count) {
      const std::int64_t row = first % rows_.outputs;
      const std::int64_t plane = first / rows_.outputs % planes;
      const std::int64_t image = first / rows_.outputs / planes;
      count = std::min(rows_.outputs - row, last - first);
      const std::int32_t cell0 = grid_.axes[0].table.at(0, plane);
      sources.assign(static_cast<std::size_t>((count - 1) * step + taps()), nullptr);
      for (std::int64_t i = 0; i < std::ssize(sources) && cell0 != kPaddingCell; ++i) {
        const std::int64_t cell1 = lowest_cell(rows_) + row * step + i;
        if (cell1 < 0 || cell1 >= rows_.inputs) continue;
        sources[static_cast<std::size_t>(i)] = source + image * grid_.source.image +
                                               cell0 * grid_.source.axis[0] +
                                               cell1 * grid_.source.axis[1];
      }
      f(kernels::RowWindow<T>{.rows = sources.data(),
                              .count = count,
                              .taps = taps(),
                              .stride = static_cast<int>(step),
                              .first = lowest_cell(inner_),
                              .inputs = inner_.inputs,
                              .outputs = inner_.outputs,
                              .cell_values = inner_.cell_values},
        image, plane, row);
    }
  }

 private:
  // Whether taps read neighbouring cells, one or two cells from output to output.
  static bool reads_neighbours(const kernels::InnerAxis& axis) {
    return axis.in_line && std::abs(axis.tap_step) == 1 && axis.output_step <= 2;
  }
  bool fits_columns() const {
    return (taps() == 5 || taps() == 7) && inner_.output_step == 1 && kernels::joins_columns();
  }
  // The cell that the first output reads before all others.
  static std::int64_t lowest_cell(const kernels::InnerAxis& axis) {
    return axis.first + (axis.tap_step < 0 ? axis.taps - 1 : 0) * axis.tap_step;
  }

  const PatchGrid& grid_;
  kernels::InnerAxis inner_;
  kernels::InnerAxis rows_;
};

}  // namespace fovea::conv
