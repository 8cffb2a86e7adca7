// Building grids, and turning places into pointers.
#include "conv/patch_grid.h"

#include <algorithm>
#include <numeric>

#include "conv/axes.h"
#include "fovea/executor.h"

namespace fovea::conv {

std::int64_t PatchGrid::places() const {
  std::int64_t count = batch;
  for (const GridAxis& axis : axes) count *= axis.table.outputs;
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
  // Input cell first + place * stride meets tap k in output reach(k) / stride + place, where that
  // is whole; such taps are evenly spaced.
  GridAxis grid;
  grid.first = first;
  grid.step = axis.stride;
  AxisTable& table = grid.table;
  table.outputs = static_cast<int>((axis.input - 1 - first) / axis.stride + 1);
  table.output_step = 1;
  const auto reach = [&](std::int64_t tap) {
    return first + axis.padding.before - tap * axis.dilation;
  };
  for (std::int64_t tap = 0; tap < axis.kernel; ++tap) {
    if (reach(tap) % axis.stride == 0) grid.taps.push_back(static_cast<std::int32_t>(tap));
  }
  table.taps = static_cast<int>(grid.taps.size());
  if (grid.taps.empty()) return grid;
  const std::int64_t highest = reach(grid.taps.front()) / axis.stride;
  const std::int64_t lowest = reach(grid.taps.back()) / axis.stride;
  if (table.taps > 1) table.tap_step = (lowest - highest) / (table.taps - 1);
  table.origin = highest - lowest;
  const std::int64_t outputs = axis.output();
  for (std::int64_t output = lowest; output < highest + table.outputs; ++output) {
    const bool inside = output >= 0 && output < outputs;
    table.cells.push_back(inside ? static_cast<std::int32_t>(output) : kPaddingCell);
  }
  return grid;
}

std::vector<std::int64_t> backward_phases(const ConvAxis& axis) {
  std::vector<std::int64_t> phases;
  for (std::int64_t tap = 0; tap < std::min(axis.kernel, axis.stride); ++tap) {
    const std::int64_t remainder = (tap * axis.dilation - axis.padding.before) % axis.stride;
    const std::int64_t first = remainder < 0 ? remainder + axis.stride : remainder;
    if (first < axis.input) phases.push_back(first);
  }
  std::sort(phases.begin(), phases.end());
  phases.erase(std::unique(phases.begin(), phases.end()), phases.end());
  return phases;
}

PatchGrid forward_grid(const ConvProblem& problem) {
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  PatchGrid grid{.batch = problem.batch,
                 .axes = {},
                 .source = dense_strides(input_sizes(axes), problem.in_channels),
                 .result = dense_strides(output_sizes(axes), problem.out_channels)};
  for (std::size_t a = 0; a < 3; ++a) grid.axes[a] = forward_axis(axes[a], problem.padding_mode);
  return grid;
}

std::vector<PatchGrid> backward_grids(const ConvProblem& problem) {
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  std::vector<PatchGrid> grids;
  for (const std::int64_t p0 : backward_phases(axes[0]))
    for (const std::int64_t p1 : backward_phases(axes[1]))
      for (const std::int64_t p2 : backward_phases(axes[2]))
        grids.push_back({.batch = problem.batch,
                         .axes = {backward_axis(axes[0], p0), backward_axis(axes[1], p1),
                                  backward_axis(axes[2], p2)},
                         .source = dense_strides(output_sizes(axes), problem.out_channels),
                         .result = dense_strides(input_sizes(axes), problem.in_channels)});
  return grids;
}

template <class T>
void clear_unread(const ConvProblem& problem, const std::vector<PatchGrid>& grids, T* result) {
  constexpr std::int64_t kGrain = 1 << 14;
  std::int64_t places = 0;
  for (const PatchGrid& grid : grids) places += grid.places();
  const std::int64_t values = problem.input_shape().numel();
  if (places * problem.in_channels == values) return;
  parallel_ranges(values, kGrain, [&](std::int64_t begin, std::int64_t end) {
    std::fill(result + begin, result + end, T(0));
  });
}
template void clear_unread(const ConvProblem&, const std::vector<PatchGrid>&, float*);
template void clear_unread(const ConvProblem&, const std::vector<PatchGrid>&, double*);

std::vector<std::int64_t> tap_offsets(const PatchGrid& grid, const std::array<ConvAxis, 3>& axes) {
  std::vector<std::int64_t> offsets;
  for (const std::int64_t k0 : grid.axes[0].taps)
    for (const std::int64_t k1 : grid.axes[1].taps)
      for (const std::int64_t k2 : grid.axes[2].taps)
        offsets.push_back((k0 * axes[1].kernel + k1) * axes[2].kernel + k2);
  return offsets;
}

bool is_flat(const PatchGrid& grid) {
  std::int64_t places = 1;
  for (std::size_t a = 3; a-- > 0;) {
    const GridAxis& axis = grid.axes[a];
    const AxisTable& table = axis.table;
    if (table.taps != 1 || axis.first != 0 || axis.step != 1) return false;
    if (grid.source.axis[a] != places * grid.source.axis[2] ||
        grid.result.axis[a] != places * grid.result.axis[2]) {
      return false;
    }
    for (int place = 0; place < table.outputs; ++place) {
      if (table.at(0, place) != place) return false;
    }
    places *= table.outputs;
  }
  return grid.source.image == places * grid.source.axis[2] &&
         grid.result.image == places * grid.result.axis[2];
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
               std::int64_t rows, const T** runs) {
  const AxisTable& inner = grid.axes[2].table;
  const std::int64_t step = grid.source.axis[2];
  for_each_segment(grid, first, rows, [&](const GridSegment& segment, std::int64_t begin) {
    const T** run = runs + begin;
    for (int tap0 = 0; tap0 < grid.axes[0].table.taps; ++tap0) {
      for (int tap1 = 0; tap1 < grid.axes[1].table.taps; ++tap1) {
        const T* row = source_row(grid, source, segment, tap0, tap1);
        for (int tap2 = 0; tap2 < inner.taps; ++tap2, run += kernels::kMaxTileRows) {
          const std::int32_t* cell = inner.row(tap2) + segment.place[2] * inner.output_step;
          for (int i = 0; i < segment.count; ++i) {
            const std::int32_t read = cell[i * inner.output_step];
            run[i] = row == nullptr || read == kPaddingCell ? padding : row + read * step;
          }
        }
      }
    }
  });
}
template void fill_runs(const PatchGrid&, const float*, const float*, std::int64_t, std::int64_t,
                        const float**);
template void fill_runs(const PatchGrid&, const double*, const double*, std::int64_t, std::int64_t,
                        const double**);

template <class T>
void fill_results(const PatchGrid& grid, T* result, std::int64_t first, std::int64_t rows,
                  T** out) {
  for_each_segment(grid, first, rows, [&](const GridSegment& segment, std::int64_t begin) {
    T* start = result + segment.image * grid.result.image;
    for (std::size_t a = 0; a < 3; ++a) {
      start += (grid.axes[a].first + segment.place[a] * grid.axes[a].step) * grid.result.axis[a];
    }
    const std::int64_t step = grid.axes[2].step * grid.result.axis[2];
    for (int i = 0; i < segment.count; ++i) out[begin + i] = start + i * step;
  });
}
template void fill_results(const PatchGrid&, float*, std::int64_t, std::int64_t, float**);
template void fill_results(const PatchGrid&, double*, std::int64_t, std::int64_t, double**);

}  // namespace fovea::conv
