// `direct`, backward_data of a 3x3 kernel with a stride of 2 where groups are one or two vectors
// wide: in pairs of rows by pairs of columns of the input's gradient.
//
// Counted with the padding before them, row and column 2q + 1 read gradient q with tap 1, and 2q +
// 2 read q with tap 2 and q + 1 with tap 0. So a pair of rows reads two rows of gradients, and each
// cell of these counts for three columns. By the four remainders of the stride, one after the
// other, half of the time went into short tiles and second copies.
#include <algorithm>
#include <array>
#include <vector>

#include "conv/axes.h"
#include "conv/direct.h"
#include "conv/group_rows.h"
#include "conv/packed_weights.h"
#include "conv/patch_grid.h"
#include "kernels/group_product.h"
#include "kernels/row_pairs.h"

namespace fovea::conv {
namespace {

bool is_halved(const ConvAxis& axis) {
  return axis.kernel == 3 && axis.stride == 2 && axis.dilation == 1 && axis.input >= 2;
}

// The pairs of one axis as places that read two neighbouring cells of the gradient. The first pair
// may begin before the input, and the last end behind it.
GridAxis pair_axis(const ConvAxis& axis) {
  const std::int64_t first = axis.padding.before == 0 ? -1 : (axis.padding.before - 1) / 2;
  GridAxis grid{.table = {}, .taps = {}, .first = 2 * first + 1 - axis.padding.before, .step = 2};
  grid.table = {.taps = 2,
                .outputs = static_cast<int>(ceil_div(axis.input - grid.first, 2)),
                .tap_step = 1,
                .output_step = 1,
                .cells = {}};
  for (std::int64_t cell = first; cell <= first + grid.table.outputs; ++cell) {
    const bool inside = cell >= 0 && cell < axis.output();
    grid.table.cells.push_back(inside ? static_cast<std::int32_t>(cell) : kPaddingCell);
  }
  return grid;
}

PatchGrid pair_grid(const ConvProblem& problem) {
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  return {.batch = problem.batch,
          .axes = {backward_axis(axes[0], 0), pair_axis(axes[1]), pair_axis(axes[2])},
          .source = dense_strides(output_sizes(axes), problem.out_channels),
          .result = dense_strides(input_sizes(axes), problem.in_channels)};
}

}  // namespace

template <class T>
bool pairs_groups(const ConvProblem& problem) {
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  return axes[0].kernel == 1 && axes[0].stride == 1 && is_halved(axes[1]) && is_halved(axes[2]) &&
         StagedRows<T>(pair_grid(problem), problem.out_channels / problem.groups).fits();
}
template bool pairs_groups<float>(const ConvProblem&);
template bool pairs_groups<double>(const ConvProblem&);

template <class T>
void run_group_pairs(const ConvProblem& problem, const ConvArgs& args,
                     const std::vector<PatchGrid>& phases, const std::vector<WeightView>& views,
                     const T* packed) {
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  const int lanes = kernels::vector_lanes<T>();
  const std::int64_t results = problem.in_channels / problem.groups;
  // The weights by how many taps read a row and a column of results, less one.
  struct Weights {
    const T* begin = nullptr;
    const WeightView* view = nullptr;
    const T* of(std::int64_t group, int lanes) const {
      return begin + group * view->packed_size(lanes);
    }
  };
  std::array<std::array<Weights, 2>, 2> weights;
  for (std::size_t i = 0; i < phases.size(); ++i) {
    weights[phases[i].axes[1].taps.size() - 1][phases[i].axes[2].taps.size() - 1] = {packed,
                                                                                     &views[i]};
    packed += views[i].groups * views[i].packed_size(lanes);
  }
  const PatchGrid grid = pair_grid(problem);
  const GroupRows<T> walk(grid, problem.groups, problem.out_channels / problem.groups,
                          static_cast<double>(problem.multiply_adds()));
  walk.run(static_cast<const T*>(args.first),
           [&](std::int64_t group, const GridSegment& segment, const std::vector<const T*>& rows,
               const std::vector<int>& taps) {
             const std::int64_t first = grid.axes[1].first + 2 * segment.place[1];
             for (std::int64_t half = 0; half < 2; ++half) {
               const std::int64_t row = first + half;
               if (row < 0 || row >= axes[1].input) continue;
               // The first row of a pair reads the first cell only, the second both, in the order
               // of its taps.
               std::array<const T*, 2> sources;
               std::array<int, 2> row_taps;
               std::size_t count = 0;
               for (std::size_t i = 0; i < rows.size(); ++i) {
                 if (half == 0 && taps[i] == 1) continue;
                 sources[count] = rows[i];
                 row_taps[count++] = half == 0 ? 0 : 1 - taps[i];
               }
               const auto& [middle, sides] = weights[static_cast<std::size_t>(half)];
               kernels::row_pairs<T>({.rows = sources.data(),
                                      .row_taps = row_taps.data(),
                                      .row_count = static_cast<std::int64_t>(count),
                                      .pairs = walk.staged().places(),
                                      .reduced = problem.out_channels / problem.groups,
                                      .middle = middle.of(group, lanes),
                                      .sides = sides.of(group, lanes),
                                      .block = static_cast<int>(results),
                                      .out = static_cast<T*>(args.result) +
                                             segment.image * grid.result.image +
                                             segment.place[0] * grid.result.axis[0] +
                                             row * grid.result.axis[1] + group * results,
                                      .out_step = grid.result.axis[2],
                                      .first = -grid.axes[2].first,
                                      .last = axes[2].input - grid.axes[2].first});
             }
           });
}
template void run_group_pairs<float>(const ConvProblem&, const ConvArgs&,
                                     const std::vector<PatchGrid>&, const std::vector<WeightView>&,
                                     const float*);
template void run_group_pairs<double>(const ConvProblem&, const ConvArgs&,
                                      const std::vector<PatchGrid>&, const std::vector<WeightView>&,
                                      const double*);

}  // namespace fovea::conv
