// Planes of a depthwise 3x3 kernel with a stride of 2 in backward_data, by quads of results: two
// rows by two columns that all read the same four cells of the output's gradient.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "conv/axes.h"
#include "conv/patch_grid.h"
#include "kernels/depthwise_quads.h"

namespace fovea::conv {

class JoinedQuads {
 public:
  explicit JoinedQuads(const std::array<ConvAxis, 3>& axes)
      : axes_(axes),
        first_(axes[1].padding.before / 2),
        rows_(ceil_div(axes[1].input + axes[1].padding.before, 2) - first_) {}

  bool fits() const {
    const auto is_halved = [](const ConvAxis& axis) {
      return axis.kernel == 3 && axis.stride == 2 && axis.dilation == 1 && axis.input >= 2;
    };
    return axes_[0].kernel == 1 && axes_[0].input == 1 && axes_[0].output() == 1 &&
           is_halved(axes_[1]) && is_halved(axes_[2]);
  }
  std::int64_t rows() const { return rows_; }  // of quads, in an image

  // Calls f(job) for runs of the rows of quads [first, last) that lie in one image; the job has
  // all but weights, blocks and what concerns storing.
  template <class T, class F>
  void for_each_window(const GridStrides& source, const T* from, const GridStrides& result, T* to,
                       std::int64_t first, std::int64_t last, F&& f) const {
    std::vector<const T*> rows;
    std::vector<T*> results;
    for (std::int64_t count = 0; first < last; first += count) {
      const std::int64_t image = first / rows_;
      const std::int64_t quad = first_ + first % rows_;
      count = std::min(rows_ - first % rows_, last - first);
      rows.clear();
      results.clear();
      for (std::int64_t cell = quad - 1; cell < quad + count; ++cell) {
        const bool there = cell >= 0 && cell < axes_[1].output();
        rows.push_back(there ? from + image * source.image + cell * source.axis[1] : nullptr);
      }
      for (std::int64_t i = 0; i < 2 * count; ++i) {
        const std::int64_t row = 2 * quad + i - axes_[1].padding.before;
        const bool there = row >= 0 && row < axes_[1].input;
        results.push_back(there ? to + image * result.image + row * result.axis[1] : nullptr);
      }
      f(kernels::DepthwiseQuads<T>{.rows = rows.data(),
                                   .results = results.data(),
                                   .count = count,
                                   .inputs = axes_[2].output(),
                                   .cell_values = source.axis[2],
                                   .outputs = axes_[2].input,
                                   .skipped = axes_[2].padding.before,
                                   .out_step = result.axis[2],
                                   .blocks = nullptr,
                                   .block_count = 0,
                                   .weights = nullptr,
                                   .bias = nullptr});
    }
  }

 private:
  std::array<ConvAxis, 3> axes_;
  std::int64_t first_;  // row of quads that has results
  std::int64_t rows_;
};

}  // namespace fovea::conv
