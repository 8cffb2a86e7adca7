// The walk of `direct` over the results of groups a vector or two wide, row by row, with the rows
// that each reads copied before (staged_rows.h).
#pragma once

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "conv/axes.h"
#include "conv/patch_grid.h"
#include "conv/staged_rows.h"
#include "conv/tasks.h"
#include "core/scratch.h"
#include "fovea/executor.h"

namespace fovea::conv {

// A task computes rows of some groups. Neighbouring groups whose channels the CPU fetches together
// are copied together.
template <class T>
class GroupRows {
 public:
  GroupRows(const PatchGrid& grid, std::int64_t groups, std::int64_t channels, double multiply_adds)
      : grid_(grid),
        groups_(groups),
        channels_(channels),
        staged_(grid, channels),
        rows_(grid.batch * grid.axes[0].table.outputs * grid.axes[1].table.outputs) {
    const auto bytes = channels * static_cast<std::int64_t>(sizeof(T));
    together_ = std::min(ceil_div(kNeighbourBytes, bytes), groups);
    const std::int64_t units = ceil_div(groups, together_);
    const std::int64_t wanted = tasks_for(multiply_adds);
    parts_ = std::min(units, wanted);
    chunks_ = std::min(ceil_div(wanted, parts_), rows_);
  }

  const StagedRows<T>& staged() const { return staged_; }

  // Calls f(group, segment, rows, taps) for each row of results of each group: its source rows,
  // from the cell that the first place reads with its first tap, and which outer tap reads each.
  template <class F>
  void run(const T* source, const F& f) const {
    parallel_for(parts_ * chunks_, [&](std::int64_t task) {
      const std::int64_t chunk = task % chunks_;
      const std::int64_t part = task / chunks_;
      const auto bytes = static_cast<std::size_t>(together_ * staged_.values()) * sizeof(T);
      const Scratch memory(bytes);
      std::memset(memory.template as<T>(), 0, bytes);  // the padding
      const std::int64_t units = ceil_div(groups_, together_);
      for (std::int64_t unit = part * units / parts_; unit < (part + 1) * units / parts_; ++unit) {
        const std::int64_t group = unit * together_;
        run_groups(source, group, std::min(together_, groups_ - group), chunk * rows_ / chunks_,
                   (chunk + 1) * rows_ / chunks_, memory.template as<T>(), f);
      }
    });
  }

 private:
  template <class F>
  void run_groups(const T* source, std::int64_t group, std::int64_t count, std::int64_t first,
                  std::int64_t last, T* memory, const F& f) const {
    const AxisTable& table0 = grid_.axes[0].table;
    const AxisTable& table1 = grid_.axes[1].table;
    source += group * channels_;
    std::vector<const T*> held(static_cast<std::size_t>(staged_.slots()), nullptr);
    std::vector<const T*> rows;
    std::vector<int> taps;
    for (std::int64_t index = first; index < last; ++index) {
      GridSegment segment{.image = index / table1.outputs / table0.outputs, .place = {}};
      segment.place[0] = static_cast<int>(index / table1.outputs % table0.outputs);
      segment.place[1] = static_cast<int>(index % table1.outputs);
      rows.clear();
      taps.clear();
      for (int tap = 0; tap < table1.taps; ++tap) {
        const T* row = source_row(grid_, source, segment, 0, tap);
        if (row == nullptr) continue;
        const std::int64_t slot = staged_.slot(table1.at(tap, segment.place[1]));
        T* const copy = memory + slot * staged_.row_values();
        if (std::exchange(held[static_cast<std::size_t>(slot)], row) != row)
          staged_.copy(row, count, copy);
        rows.push_back(copy + staged_.first());
        taps.push_back(tap);
      }
      if (index + 1 < last) ask_for_next(source, count, segment);
      for (std::int64_t i = 0; i < count; ++i) {
        f(group + i, segment, rows, taps);
        for (const T*& row : rows) row += staged_.values();
      }
    }
  }

  // Asks for the furthest source row of the next row of results, unless that begins a plane.
  void ask_for_next(const T* source, std::int64_t count, GridSegment segment) const {
    const AxisTable& table = grid_.axes[1].table;
    if (++segment.place[1] == table.outputs) return;
    const int tap = table.tap_step < 0 ? 0 : table.taps - 1;
    const T* row = source_row(grid_, source, segment, 0, tap);
    if (row != nullptr) staged_.ask_for(row, count);
  }

  const PatchGrid& grid_;
  std::int64_t groups_;
  std::int64_t channels_;  // of a group
  StagedRows<T> staged_;
  std::int64_t rows_;          // of results
  std::int64_t together_ = 1;  // groups of a unit
  std::int64_t parts_ = 1;     // of the units
  std::int64_t chunks_ = 1;    // of the rows
};

}  // namespace fovea::conv
