// `direct`, forward and backward_data where groups are one or two vectors wide.
//
// Such a tile has as many loads as multiplications, and a group's cells lie far apart in few sets
// of the first-level cache. So the rows that a row of results reads are copied, padding and all,
// until no later row needs them (group_rows.h); then the places of a row lie at one distance, and
// kernels/row_product.cpp finds them without a table.
#include <algorithm>
#include <vector>

#include "conv/axes.h"
#include "conv/direct.h"
#include "conv/epilogue.h"
#include "conv/group_rows.h"
#include "conv/packed_weights.h"
#include "conv/patch_grid.h"
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
class Results {
 public:
  Results(const ConvProblem& problem, Pass pass, const ConvArgs& args, const PatchGrid& grid,
          const WeightView& view, const T* packed)
      : args_(args),
        finish_(args),
        grid_(grid),
        view_(view),
        packed_(packed),
        widths_(widths_of(problem, pass)),
        lanes_(kernels::vector_lanes<T>()),
        forward_(pass == Pass::forward),
        walk_(grid, problem.groups, widths_.reduced,
              static_cast<double>(grid.places() * problem.groups) *
                  static_cast<double>(widths_.results * widths_.reduced * std::ssize(view.taps))) {}

  void run() const {
    walk_.run(static_cast<const T*>(args_.first),
              [&](std::int64_t group, const GridSegment& segment, const std::vector<const T*>& rows,
                  const std::vector<int>& taps) { multiply(group, segment, rows, taps); });
  }

 private:
  // One row of results of one group.
  void multiply(std::int64_t group, const GridSegment& segment, const std::vector<const T*>& rows,
                const std::vector<int>& taps) const {
    const StagedRows<T>& staged = walk_.staged();
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
           .taps = staged.taps(),
           .tap_step = staged.tap_step(),
           .places = staged.places(),
           .place_step = staged.place_step(),
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
    for (int place = 0; place < staged.places(); ++place)
      rest.add(widths_.results, result + place * out_step);
  }

  const ConvArgs& args_;
  Finish<T> finish_;
  const PatchGrid& grid_;
  const WeightView& view_;
  const T* packed_;
  Widths widths_;
  int lanes_;
  bool forward_;
  GroupRows<T> walk_;
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
  if (pass == Pass::backward_data && pairs_groups<T>(problem)) return true;
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
  for (const PatchGrid& grid : grids) {
    views.push_back({.groups = problem.groups,
                     .group_step = out * in * taps,
                     .results = forward ? out : in,
                     .result_step = forward ? in * taps : taps,
                     .taps = tap_offsets(grid, axes),
                     .run = forward ? multiples(in, taps) : multiples(out, in * taps)});
  }
  if (!forward) clear_unread(problem, grids, static_cast<T*>(args.result));
  const int lanes = kernels::vector_lanes<T>();
  const auto packed = pack_weights<T>(problem, pass, args, views, lanes);
  const T* next = packed->template as<T>();
  if (!forward && pairs_groups<T>(problem))
    return run_group_pairs<T>(problem, args, grids, views, next);
  for (std::size_t i = 0; i < grids.size(); ++i) {
    Results<T>(problem, pass, args, grids[i], views[i], next).run();
    next += views[i].groups * views[i].packed_size(lanes);
  }
}
template void run_groups<float>(const ConvProblem&, Pass, const ConvArgs&);
template void run_groups<double>(const ConvProblem&, Pass, const ConvArgs&);

}  // namespace fovea::conv
