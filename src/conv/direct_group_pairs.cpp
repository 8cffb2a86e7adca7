// `direct`, backward_data of a 3x3 kernel with a stride of 2 where groups are one or two vectors
// wide: in pairs of rows by pairs of columns of the input's gradient.
//
// Counted with the padding before them, row and column 2q + 1 read gradient q with tap 1, and 2q +
// 2 read q with tap 2 and q + 1 with tap 0. So a pair of rows reads two rows of gradients, and each
// cell of these counts for three columns. By the four remainders of the stride, one after the
// other, half of the time went into short tiles and second copies.
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

template <class T>
class GroupPairs {
 public:
  GroupPairs(const ConvProblem& problem, const ConvArgs& args, const std::vector<PatchGrid>& phases,
             const std::vector<WeightView>& views, const T* packed)
      : args_(args),
        axes_(three_axes(problem)),
        results_(problem.in_channels / problem.groups),
        reduced_(problem.out_channels / problem.groups),
        grid_(pair_grid(problem)),
        walk_(grid_, problem.groups, reduced_, static_cast<double>(problem.multiply_adds())) {
    for (std::size_t i = 0; i < phases.size(); ++i) {
      const std::int64_t step = views[i].packed_size(kernels::vector_lanes<T>());
      weights_[phases[i].axes[1].taps.size() - 1][phases[i].axes[2].taps.size() - 1] = {packed,
                                                                                        step};
      packed += views[i].groups * step;
    }
  }

  void run() const {
    walk_.run(static_cast<const T*>(args_.first),
              [&](std::int64_t group, const GridSegment& segment, const std::vector<const T*>& rows,
                  const std::vector<int>& taps) {
                for (int half = 0; half < 2; ++half) multiply(group, segment, half, rows, taps);
              });
  }

 private:
  // One row of a pair. The first reads the first source row only, with tap 1; the second both.
  void multiply(std::int64_t group, const GridSegment& segment, int half,
                const std::vector<const T*>& rows, const std::vector<int>& taps) const {
    const std::int64_t row = grid_.axes[1].first + 2 * segment.place[1] + half;
    if (row < 0 || row >= axes_[1].input) return;
    std::array<const T*, 2> sources{};
    std::array<int, 2> row_taps{};
    std::size_t count = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (half == 0 && taps[i] == 1) continue;
      sources[count] = rows[i];
      row_taps[count++] = half == 0 ? 0 : 1 - taps[i];
    }
    const auto& [middle, sides] = weights_[static_cast<std::size_t>(half)];
    kernels::row_pairs<T>({.rows = sources.data(),
                           .row_taps = row_taps.data(),
                           .row_count = static_cast<std::int64_t>(count),
                           .pairs = walk_.staged().places(),
                           .reduced = reduced_,
                           .middle = middle.begin + group * middle.group_step,
                           .sides = sides.begin + group * sides.group_step,
                           .block = static_cast<int>(results_),
                           .out = static_cast<T*>(args_.result) +
                                  segment.image * grid_.result.image +
                                  segment.place[0] * grid_.result.axis[0] +
                                  row * grid_.result.axis[1] + group * results_,
                           .out_step = grid_.result.axis[2],
                           .first = -grid_.axes[2].first,
                           .last = axes_[2].input - grid_.axes[2].first});
  }

  struct Weights {
    const T* begin = nullptr;
    std::int64_t group_step = 0;
  };

  const ConvArgs& args_;
  std::array<ConvAxis, 3> axes_;
  std::int64_t results_;  // channels of a group
  std::int64_t reduced_;
  PatchGrid grid_;
  GroupRows<T> walk_;
  // By how many taps read a row and a column of results, less one.
  std::array<std::array<Weights, 2>, 2> weights_;
};

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
  GroupPairs<T>(problem, args, phases, views, packed).run();
}
template void run_group_pairs<float>(const ConvProblem&, const ConvArgs&,
                                     const std::vector<PatchGrid>&, const std::vector<WeightView>&,
                                     const float*);
template void run_group_pairs<double>(const ConvProblem&, const ConvArgs&,
                                      const std::vector<PatchGrid>&, const std::vector<WeightView>&,
                                      const double*);

}  // namespace fovea::conv
