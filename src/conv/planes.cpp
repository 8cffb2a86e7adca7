// Cutting into bands, and filling planes from channels-last rows.
#include "conv/planes.h"

#include <algorithm>

#include "conv/axes.h"
#include "kernels/transpose.h"

namespace fovea::conv {
namespace {}  // namespace

std::int64_t PlaneProblem::padded_values() const {
  std::int64_t values = channels;
  for (const PlaneAxis& axis : axes) values *= axis.extent(axis.outputs);
  return values;
}

PlaneProblem forward_planes(const ConvProblem& problem) {
  PlaneProblem planes{.batch = problem.batch,
                      .channels = problem.in_channels,
                      .planes = problem.out_channels,
                      .axes = {}};
  const auto axes = three_axes(problem);
  for (std::size_t a = 0; a < 3; ++a) {
    planes.axes[a] = {.source = axes[a].input,
                      .before = axes[a].padding.before,
                      .kernel = axes[a].kernel,
                      .dilation = axes[a].dilation,
                      .stride = axes[a].stride,
                      .outputs = axes[a].output()};
  }
  return planes;
}

PlaneProblem backward_planes(const ConvProblem& problem) {
  PlaneProblem planes{.batch = problem.batch,
                      .channels = problem.out_channels,
                      .planes = problem.in_channels,
                      .axes = {}};
  const auto axes = three_axes(problem);
  for (std::size_t a = 0; a < 3; ++a) {
    planes.axes[a] = {.source = axes[a].output(),
                      .before = axes[a].span() - 1 - axes[a].padding.before,
                      .kernel = axes[a].kernel,
                      .dilation = axes[a].dilation,
                      .stride = 1,
                      .outputs = axes[a].input};
  }
  return planes;
}

Bands::Bands(const PlaneProblem& problem, std::int64_t values) : problem_(problem) {
  while (axis_ < 2 && problem.axes[axis_].outputs == 1) ++axis_;
  const PlaneAxis& axis = problem.axes[axis_];
  const std::int64_t per_cell =
      std::max<std::int64_t>(1, problem.padded_values() / axis.extent(axis.outputs));
  const std::int64_t cells = std::max<std::int64_t>(1, values / per_cell);
  // At least as many outputs as a window is long, or most of what is copied would be read twice.
  const std::int64_t least = ceil_div(axis.extent(1), axis.stride);
  const std::int64_t most = std::max(ceil_div(cells, axis.stride), least);
  per_image_ = ceil_div(axis.outputs, most);
  outputs_ = ceil_div(axis.outputs, per_image_);
  per_image_ = ceil_div(axis.outputs, outputs_);
}

Band Bands::at(std::int64_t index) const {
  Band band{.image = index / per_image_, .first = {}, .count = largest()};
  const std::int64_t first = index % per_image_ * outputs_;
  band.first[axis_] = first;
  band.count[axis_] = std::min(outputs_, problem_.axes[axis_].outputs - first);
  return band;
}

std::array<std::int64_t, 3> Bands::largest() const {
  std::array<std::int64_t, 3> outputs{};
  for (std::size_t a = 0; a < 3; ++a) outputs[a] = problem_.axes[a].outputs;
  outputs[axis_] = outputs_;
  return outputs;
}

PlaneLayout::PlaneLayout(const PlaneProblem& problem, const std::array<std::int64_t, 3>& outputs,
                         int lanes)
    : problem_(problem) {
  const auto& [outer, middle, inner] = problem.axes;
  rows_ = middle.extent(outputs[1]);
  pitch_ = ceil_div(inner.extent(outputs[2]), inner.stride);
  plane_ = outer.extent(outputs[0]) * rows_ * pitch_;
  values_ = problem.channels * inner.stride * plane_ + lanes;
  for (std::int64_t k0 = 0; k0 < outer.kernel; ++k0) {
    for (std::int64_t k1 = 0; k1 < middle.kernel; ++k1) {
      const std::int64_t row = (k0 * outer.dilation * rows_ + k1 * middle.dilation) * pitch_;
      for (std::int64_t c = 0; c < problem.channels; ++c) {
        for (std::int64_t k2 = 0; k2 < inner.kernel; ++k2) {
          const std::int64_t cell = k2 * inner.dilation;
          const std::int64_t plane = c * inner.stride + cell % inner.stride;
          offsets_.push_back(plane * plane_ + row + cell / inner.stride);
        }
      }
    }
  }
}

std::int64_t PlaneLayout::scratch_values() const {
  const PlaneAxis& inner = problem_.axes[2];
  return inner.stride == 1 ? 0 : problem_.channels * inner.source;
}

template <class T>
void PlaneLayout::fill(const Band& band, const T* source, T* planes, T* scratch) const {
  const auto& [outer, middle, inner] = problem_.axes;
  const std::int64_t first0 = band.first[0] * outer.stride - outer.before;
  const std::int64_t first1 = band.first[1] * middle.stride - middle.before;
  const std::int64_t first2 = band.first[2] * inner.stride - inner.before;
  const std::int64_t line = inner.source * problem_.channels;
  std::fill_n(planes, values_, T{0});
  for (std::int64_t i0 = 0; i0 < outer.extent(band.count[0]); ++i0) {
    for (std::int64_t i1 = 0; i1 < middle.extent(band.count[1]); ++i1) {
      T* row = planes + (i0 * rows_ + i1) * pitch_;
      const std::int64_t cell0 = first0 + i0;
      const std::int64_t cell1 = first1 + i1;
      if (cell0 < 0 || cell0 >= outer.source || cell1 < 0 || cell1 >= middle.source) continue;
      const std::int64_t place = (band.image * outer.source + cell0) * middle.source + cell1;
      fill_row(source + place * line, first2, row, scratch);
    }
  }
}
template void PlaneLayout::fill(const Band&, const float*, float*, float*) const;
template void PlaneLayout::fill(const Band&, const double*, double*, double*) const;

// One row of every plane, from the cells that begin at `first_cell` of a row of the source.
template <class T>
void PlaneLayout::fill_row(const T* source, std::int64_t first_cell, T* row, T* scratch) const {
  const PlaneAxis& inner = problem_.axes[2];
  const std::int64_t channels = problem_.channels;
  const std::int64_t begin = std::clamp<std::int64_t>(first_cell, 0, inner.source);
  const std::int64_t end =
      std::clamp<std::int64_t>(first_cell + pitch_ * inner.stride, begin, inner.source);
  const std::int64_t before =  // cells of padding
      std::clamp<std::int64_t>(begin - first_cell, 0, pitch_ * inner.stride);
  const kernels::TransposeShape shape{.rows = end - begin,
                                      .columns = channels,
                                      .from_stride = channels,
                                      .to_stride = inner.stride == 1 ? plane_ : inner.source};
  if (inner.stride == 1) {
    return kernels::transpose(shape, source + begin * channels, row + before);
  }
  kernels::transpose(shape, source + begin * channels, scratch);
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t remainder = 0; remainder < inner.stride; ++remainder) {
      T* to = row + (c * inner.stride + remainder) * plane_;
      for (std::int64_t i = 0; i < pitch_; ++i) {
        const std::int64_t cell = i * inner.stride + remainder - before;
        if (cell >= 0 && cell < end - begin) to[i] = scratch[c * inner.source + cell];
      }
    }
  }
}

}  // namespace fovea::conv
