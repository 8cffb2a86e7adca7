// Building grids, and turning places into pointers.
#include "conv/patch_grid.h"

#include <numeric>

namespace fovea::conv {

std::int64_t PatchGrid::places() const {
  std::int64_t count = batch;
  for (const GridAxis& axis : axes) count *= axis.table.outputs;
  return count;
}

std::int64_t PatchGrid::taps() const {
  std::int64_t count = 1;
  for (const GridAxis& axis : axes) count *= axis.table.taps;
  return count;
}

GridAxis forward_axis(const ConvAxis& axis, PaddingMode mode) {
  GridAxis grid;
  grid.table = make_axis_table(axis, mode);
  grid.taps.resize(static_cast<std::size_t>(axis.kernel));
  std::iota(grid.taps.begin(), grid.taps.end(), 0);
  return grid;
}

GridAxis backward_axis(const ConvAxis& axis, std::int64_t first) {
  // Input cell i meets tap k in output (i + before - k * dilation) / stride, where that is whole.
  GridAxis grid;
  grid.first = first;
  grid.step = axis.stride;
  grid.table.outputs = static_cast<int>((axis.input - 1 - first) / axis.stride + 1);
  const std::int64_t outputs = axis.output();
  for (std::int64_t tap = 0; tap < axis.kernel; ++tap) {
    const std::int64_t reach = first + axis.padding.before - tap * axis.dilation;
    if (reach % axis.stride != 0) continue;
    grid.taps.push_back(static_cast<std::int32_t>(tap));
    ++grid.table.taps;
    for (std::int64_t place = 0; place < grid.table.outputs; ++place) {
      const std::int64_t output = reach / axis.stride + place;
      const bool inside = output >= 0 && output < outputs;
      grid.table.source.push_back(inside ? static_cast<std::int32_t>(output) : kPaddingCell);
    }
  }
  return grid;
}

GridStrides dense_strides(const std::array<std::int64_t, 3>& sizes, std::int64_t channels) {
  GridStrides strides;
  strides.axis[2] = channels;
  strides.axis[1] = strides.axis[2] * sizes[2];
  strides.axis[0] = strides.axis[1] * sizes[1];
  strides.image = strides.axis[0] * sizes[0];
  return strides;
}

template <class T>
void fill_runs(const PatchGrid& grid, const T* source, const T* padding, std::int64_t first,
               int rows, const T** runs) {
  const AxisTable& inner = grid.axes[2].table;
  const std::int64_t step = grid.source.axis[2];
  for_each_segment(grid, first, rows, [&](const GridSegment& segment, std::int64_t begin) {
    const T** run = runs + begin;
    for (int tap0 = 0; tap0 < grid.axes[0].table.taps; ++tap0) {
      for (int tap1 = 0; tap1 < grid.axes[1].table.taps; ++tap1) {
        const T* row = source_row(grid, source, segment, tap0, tap1);
        for (int tap2 = 0; tap2 < inner.taps; ++tap2, run += kernels::kMaxTileRows) {
          const std::int32_t* cell = inner.row(tap2) + segment.place[2];
          for (int i = 0; i < segment.count; ++i) {
            run[i] = row == nullptr || cell[i] == kPaddingCell ? padding : row + cell[i] * step;
          }
        }
      }
    }
  });
}
template void fill_runs(const PatchGrid&, const float*, const float*, std::int64_t, int,
                        const float**);
template void fill_runs(const PatchGrid&, const double*, const double*, std::int64_t, int,
                        const double**);

template <class T>
void fill_results(const PatchGrid& grid, T* result, std::int64_t first, int rows, T** out) {
  for_each_segment(grid, first, rows, [&](const GridSegment& segment, std::int64_t begin) {
    T* start = result + segment.image * grid.result.image;
    for (std::size_t a = 0; a < 3; ++a) {
      start += (grid.axes[a].first + segment.place[a] * grid.axes[a].step) * grid.result.axis[a];
    }
    const std::int64_t step = grid.axes[2].step * grid.result.axis[2];
    for (int i = 0; i < segment.count; ++i) out[begin + i] = start + i * step;
  });
}
template void fill_results(const PatchGrid&, float*, std::int64_t, int, float**);
template void fill_results(const PatchGrid&, double*, std::int64_t, int, double**);

}  // namespace fovea::conv
