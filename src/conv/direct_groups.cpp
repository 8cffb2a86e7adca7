// `direct`, forward and backward_data where groups are one or two vectors wide.
//
// Such a tile has as many loads as multiplications, and a group's cells lie far apart in few sets
// of the first-level cache. So the rows that a row of results reads are copied, padding and all,
// until no later row needs them; then the places of a row lie at one distance, and kernels/
// row_product.cpp finds them without a table. A task computes rows of some groups.
#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "conv/axes.h"
#include "conv/direct.h"
#include "conv/epilogue.h"
#include "conv/packed_weights.h"
#include "conv/patch_grid.h"
#include "conv/staged_rows.h"
#include "core/scratch.h"
#include "fovea/executor.h"
#include "kernels/group_product.h"
#include "kernels/row_product.h"

namespace fovea::conv {
namespace {

// The channels of one group in a pass.
struct Widths {
  std::int64_t results;
  std::int64_t reduced;
};
Widths widths_of(const ConvProblem& problem, Pass pass) {
  const std::int64_t in = problem.in_channels / problem.groups;
  const std::int64_t out = problem.out_channels / problem.groups;
  return pass == Pass::backward_data ? Widths{in, out} : Widths{out, in};
}

std::vector<PatchGrid> grids_of(const ConvProblem& problem, Pass pass) {
  return pass == Pass::forward ? std::vector{forward_grid(problem)} : backward_grids(problem);
}

// The rows of results of one grid.
template <class T>
class GroupRows {
 public:
  GroupRows(const ConvProblem& problem, Pass pass, const ConvArgs& args, const PatchGrid& grid,
            const WeightView& view, const T* packed)
      : args_(args),
        finish_(args),
        grid_(grid),
        view_(view),
        packed_(packed),
        widths_(widths_of(problem, pass)),
        lanes_(kernels::vector_lanes<T>()),
        staged_(grid, widths_.reduced),
        forward_(pass == Pass::forward),
        rows_(grid.batch * grid.axes[0].table.outputs * grid.axes[1].table.outputs) {}

  void run() const {
    const std::int64_t groups = view_.groups;
    const std::int64_t wanted =
        tasks_for(static_cast<double>(grid_.places() * groups) *
                  static_cast<double>(widths_.results * widths_.reduced * std::ssize(view_.taps)));
    const std::int64_t parts = std::min(groups, wanted);
    const std::int64_t chunks = std::min(ceil_div(wanted, parts), rows_);
    parallel_for(parts * chunks, [&](std::int64_t task) {
      const std::int64_t chunk = task % chunks;
      const std::int64_t part = task / chunks;
      const auto bytes = static_cast<std::size_t>(staged_.values()) * sizeof(T);
      const Scratch memory(bytes);
      std::memset(memory.template as<T>(), 0, bytes);  // the padding
      for (std::int64_t group = part * groups / parts; group < (part + 1) * groups / parts; ++group)
        run_group(group, chunk * rows_ / chunks, (chunk + 1) * rows_ / chunks,
                  memory.template as<T>());
    });
  }

 private:
  void run_group(std::int64_t group, std::int64_t first, std::int64_t last, T* memory) const {
    const AxisTable& table0 = grid_.axes[0].table;
    const AxisTable& table1 = grid_.axes[1].table;
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
        const T* source = source_row(grid_, static_cast<const T*>(args_.first), segment, 0, tap);
        if (source == nullptr) continue;
        source += group * widths_.reduced;
        const std::int64_t slot = staged_.slot(table1.at(tap, segment.place[1]));
        T* const copy = memory + slot * staged_.row_values();
        if (std::exchange(held[static_cast<std::size_t>(slot)], source) != source)
          staged_.copy(source, copy);
        rows.push_back(copy + staged_.first());
        taps.push_back(tap);
      }
      if (index + 1 < last) ask_for_next(group, segment);
      multiply(group, segment, rows, taps);
    }
  }

  // Asks for the furthest source row of the next row of results, unless that begins a plane.
  void ask_for_next(std::int64_t group, GridSegment segment) const {
    const AxisTable& table = grid_.axes[1].table;
    if (++segment.place[1] == table.outputs) return;
    const int tap = table.tap_step < 0 ? 0 : table.taps - 1;
    const T* source = source_row(grid_, static_cast<const T*>(args_.first), segment, 0, tap);
    if (source != nullptr) staged_.ask_for(source + group * widths_.reduced);
  }

  // One row of results of one group.
  void multiply(std::int64_t group, const GridSegment& segment, const std::vector<const T*>& rows,
                const std::vector<int>& taps) const {
    T* result = static_cast<T*>(args_.result) + segment.image * grid_.result.image +
                group * widths_.results;
    for (std::size_t a = 0; a < 3; ++a)
      result +=
          (grid_.axes[a].first + segment.place[a] * grid_.axes[a].step) * grid_.result.axis[a];
    const std::int64_t out_step = grid_.axes[2].step * grid_.result.axis[2];
    for (std::int64_t block = 0; block < block_count(widths_.results, lanes_); ++block) {
      const std::int64_t column = block * 2 * lanes_;
      const T* const bias = static_cast<const T*>(args_.bias);
      kernels::row_product<T>(
          {.rows = rows.data(),
           .row_taps = taps.data(),
           .row_count = std::ssize(rows),
           .taps = staged_.taps(),
           .tap_step = staged_.tap_step(),
           .places = staged_.places(),
           .place_step = staged_.place_step(),
           .reduced = widths_.reduced,
           .weights =
               packed_ + group * view_.packed_size(lanes_) + view_.block_begin(block, lanes_),
           .block = block_width(widths_.results, block, lanes_),
           .bias = bias == nullptr ? nullptr : bias + group * widths_.results + column,
           .out = result + column,
           .out_step = out_step,
           .epilogue = forward_ ? finish_.at_store() : nullptr});
    }
    if (!forward_ || !finish_.remains()) return;
    RestOf<T> rest(finish_);
    for (int place = 0; place < staged_.places(); ++place)
      rest.add(widths_.results, result + place * out_step);
  }

  const ConvArgs& args_;
  Finish<T> finish_;
  const PatchGrid& grid_;
  const WeightView& view_;
  const T* packed_;
  Widths widths_;
  int lanes_;
  StagedRows<T> staged_;
  bool forward_;
  std::int64_t rows_;
};

}  // namespace

template <class T>
bool stages_groups(const ConvProblem& problem, Pass pass) {
  constexpr std::int64_t kMostVectors = 2;
  if (problem.groups == 1 || problem.padding_mode != PaddingMode::zeros) return false;
  const Widths widths = widths_of(problem, pass);
  const std::int64_t lanes = kernels::vector_lanes<T>();
  if (widths.results % lanes != 0 || widths.reduced % lanes != 0) return false;
  if (std::max(widths.results, widths.reduced) > kMostVectors * lanes) return false;
  return std::ranges::all_of(grids_of(problem, pass), [&](const PatchGrid& grid) {
    return StagedRows<T>(grid, widths.reduced).fits();
  });
}
template bool stages_groups<float>(const ConvProblem&, Pass);
template bool stages_groups<double>(const ConvProblem&, Pass);

template <class T>
void run_groups(const ConvProblem& problem, Pass pass, const ConvArgs& args) {
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  const std::int64_t in = problem.in_channels / problem.groups;
  const std::int64_t out = problem.out_channels / problem.groups;
  const std::int64_t taps = problem.taps();
  const bool forward = pass == Pass::forward;
  const std::vector<PatchGrid> grids = grids_of(problem, pass);
  std::vector<WeightView> views;
  std::int64_t places = 0;
  for (const PatchGrid& grid : grids) {
    places += grid.places();
    views.push_back({.groups = problem.groups,
                     .group_step = out * in * taps,
                     .results = forward ? out : in,
                     .result_step = forward ? in * taps : taps,
                     .taps = tap_offsets(grid, axes),
                     .run = forward ? multiples(in, taps) : multiples(out, in * taps)});
  }
  // Cells that no output has read.
  const std::int64_t values = problem.input_shape().numel();
  if (!forward && places * problem.in_channels < values)
    std::memset(args.result, 0, static_cast<std::size_t>(values) * sizeof(T));
  const int lanes = kernels::vector_lanes<T>();
  const auto packed = pack_weights<T>(problem, pass, args, views, lanes);
  const T* next = packed->template as<T>();
  for (std::size_t i = 0; i < grids.size(); ++i) {
    GroupRows<T>(problem, pass, args, grids[i], views[i], next).run();
    next += views[i].groups * views[i].packed_size(lanes);
  }
}
template void run_groups<float>(const ConvProblem&, Pass, const ConvArgs&);
template void run_groups<double>(const ConvProblem&, Pass, const ConvArgs&);

}  // namespace fovea::conv
