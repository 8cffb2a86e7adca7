// Copying an input together with its padding.
#include "conv/padded_input.h"

#include <algorithm>

#include "conv/axes.h"
#include "fovea/executor.h"

namespace fovea::conv {

std::array<std::int64_t, 3> padded_sizes(const std::array<ConvAxis, 3>& axes) {
  std::array<std::int64_t, 3> sizes{};
  for (std::size_t a = 0; a < 3; ++a)
    sizes[a] = axes[a].input + axes[a].padding.before + axes[a].padding.after;
  return sizes;
}

std::int64_t padded_values(const ConvProblem& problem) {
  std::int64_t values = problem.batch * problem.in_channels;
  for (const std::int64_t size : padded_sizes(three_axes(problem))) values *= size;
  return values;
}
bool may_copy_padded(const ConvProblem& problem) {
  return padded_values(problem) <=
         4 * (problem.input_shape().numel() + problem.output_shape().numel());
}

std::array<ConvAxis, 3> with_padding_inside(std::array<ConvAxis, 3> axes) {
  for (ConvAxis& axis : axes) {
    axis.input += axis.padding.before + axis.padding.after;
    axis.padding = {};
  }
  return axes;
}

template <class T>
void copy_padded(const ConvProblem& problem, const T* input, T* padded) {
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  const auto sizes = padded_sizes(axes);
  const std::int64_t channels = problem.in_channels;
  const std::int64_t row = sizes[2] * channels;
  const std::int64_t input_row = axes[2].input * channels;
  const std::int64_t grain = std::max<std::int64_t>(1, (1 << 14) / row);
  parallel_ranges(
      problem.batch * sizes[0] * sizes[1], grain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          T* out = padded + i * row;
          const std::int64_t i1 = i % sizes[1] - axes[1].padding.before;
          const std::int64_t i0 = i / sizes[1] % sizes[0] - axes[0].padding.before;
          const std::int64_t image = i / sizes[1] / sizes[0];
          if (i0 < 0 || i0 >= axes[0].input || i1 < 0 || i1 >= axes[1].input) {
            std::fill(out, out + row, T(0));
            continue;
          }
          const T* in = input + ((image * axes[0].input + i0) * axes[1].input + i1) * input_row;
          T* inside = std::fill_n(out, axes[2].padding.before * channels, T(0));
          inside = std::copy(in, in + input_row, inside);
          std::fill(inside, out + row, T(0));
        }
      });
}
template void copy_padded(const ConvProblem&, const float*, float*);
template void copy_padded(const ConvProblem&, const double*, double*);

}  // namespace fovea::conv
