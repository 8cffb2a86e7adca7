// Tiles, and their transforms axis by axis.
#include "conv/fft_tiles.h"

#include <algorithm>
#include <cstring>

#include "conv/axes.h"
#include "kernels/group_product.h"

namespace fovea::conv {
namespace {

using kernels::Planes;

std::int64_t modulo(std::int64_t value, std::int64_t n) {
  const std::int64_t rest = value % n;
  return rest < 0 ? rest + n : rest;
}

}  // namespace

// With point 0 at source cell 0: cells before it are read at the end of the tile, where only zeros
// may lie, and each result needs a point of its own.
std::int64_t FftAxis::whole() const {
  const std::int64_t span = dilation * (taps - 1) + 1;
  return std::max({source, source + before, results + span - 1 - before, results, span});
}

void FftAxis::cut(std::int64_t tile_points) {
  points = tile_points;
  const bool holds_all = points >= whole();
  outputs = holds_all ? results : points - dilation * (taps - 1);
  tiles = holds_all ? 1 : ceil_div(results, outputs);
}

std::int64_t FftAxis::origin(std::int64_t tile) const {
  return points >= whole() ? 0 : tile * outputs - before;
}

AxisRun FftAxis::source_run(std::int64_t tile) const {
  const std::int64_t begin = origin(tile);
  const std::int64_t first = std::clamp<std::int64_t>(begin, 0, source);
  const std::int64_t last = std::clamp<std::int64_t>(begin + points, 0, source);
  return {first, last - first, last > first ? first - begin : 0};
}

AxisRun FftAxis::result_run(std::int64_t tile) const {
  const std::int64_t first = tile * outputs;
  return {first, std::min(outputs, results - first),
          modulo(first - before - origin(tile) + shift, points)};
}

std::int64_t FftTiling::points() const {
  return axes[0].points * axes[1].points * axes[2].points;
}
std::int64_t FftTiling::tiles_per_image() const {
  return axes[0].tiles * axes[1].tiles * axes[2].tiles;
}

TileRuns FftTiling::source_runs(std::int64_t index) const {
  const std::int64_t outer = index / axes[2].tiles;
  return {axes[0].source_run(outer / axes[1].tiles), axes[1].source_run(outer % axes[1].tiles),
          axes[2].source_run(index % axes[2].tiles)};
}
TileRuns FftTiling::result_runs(std::int64_t index) const {
  const std::int64_t outer = index / axes[2].tiles;
  return {axes[0].result_run(outer / axes[1].tiles), axes[1].result_run(outer % axes[1].tiles),
          axes[2].result_run(index % axes[2].tiles)};
}

FftTiling uncut_tiling(const ConvProblem& problem, Pass pass) {
  const std::array<ConvAxis, 3> axes = three_axes(problem);
  FftTiling tiling;
  tiling.batch = problem.batch;
  for (std::size_t a = 0; a < 3; ++a) {
    const ConvAxis& axis = axes[a];
    FftAxis& to = tiling.axes[a];
    to = {.source = axis.input,
          .results = axis.output(),
          .before = axis.padding.before,
          .taps = axis.kernel,
          .dilation = axis.dilation};
    if (pass != Pass::backward_data) continue;
    std::swap(to.source, to.results);
    to.shift = axis.span() - 1;
    to.before = to.shift - axis.padding.before;
  }
  return tiling;
}

template <class T>
FftTransform<T>::Rows::Rows(const FftTransform& transform) {
  for (std::size_t a = 0; a < 2; ++a) {
    points_[a] = transform.sizes_[a];
    used_[a].assign(static_cast<std::size_t>(points_[a]), 0);
  }
}

template <class T>
void FftTransform<T>::Rows::add(const TileRuns& runs) {
  for (std::size_t a = 0; a < 2; ++a) {
    for (std::int64_t i = 0; i < runs[a].count; ++i)
      used_[a][static_cast<std::size_t>((runs[a].position + i) % points_[a])] = 1;
  }
}

template <class T>
FftTransform<T>::FftTransform(const FftTiling& tiling) : lanes_(kernels::vector_lanes<T>()) {
  for (std::size_t a = 0; a < 3; ++a) {
    sizes_[a] = tiling.axes[a].points;
    if (sizes_[a] > 1) plans_[a] = kernels::fft_plan<T>(sizes_[a]);
  }
  // An odd number of vectors from row to row and from plane to plane.
  steps_[2] = lanes_;
  steps_[1] = (sizes_[1] > 1 ? sizes_[2] | 1 : sizes_[2]) * lanes_;
  steps_[0] = sizes_[1] * steps_[1];
  if (sizes_[0] > 1) steps_[0] = (steps_[0] / lanes_ | 1) * lanes_;
  plane_values_ = sizes_[0] * steps_[0] + lanes_;
  list_frequencies();
}

template <class T>
void FftTransform<T>::list_frequencies() {
  const auto place = [&](std::int64_t k0, std::int64_t k1, std::int64_t k2) {
    return static_cast<std::int32_t>(offset(k0, k1, k2) / lanes_);
  };
  for (std::int64_t k0 = 0; k0 < sizes_[0]; ++k0) {
    for (std::int64_t k1 = 0; k1 < sizes_[1]; ++k1) {
      for (std::int64_t k2 = 0; k2 < sizes_[2]; ++k2) {
        const std::int32_t point = place(k0, k1, k2);
        const std::int32_t mirror =
            place((sizes_[0] - k0) % sizes_[0], (sizes_[1] - k1) % sizes_[1],
                  (sizes_[2] - k2) % sizes_[2]);
        if (point <= mirror) frequencies_.push_back({point, mirror});
      }
    }
  }
}

template <class T>
std::int64_t FftTransform<T>::work_values() const {
  return 4 * std::max({sizes_[0], sizes_[1], sizes_[2]}) * lanes_;
}

template <class T>
void FftTransform<T>::clear(const Planes<T>& planes) const {
  std::memset(planes.re, 0, static_cast<std::size_t>(block_values()) * sizeof(T));
}

template <class T>
void FftTransform<T>::rows(const Planes<T>& planes, const Rows& used, T* work) const {
  if (plans_[2] == nullptr) return;
  for (std::int64_t p0 = 0; p0 < sizes_[0]; ++p0) {
    if (used.used_[0][static_cast<std::size_t>(p0)] == 0) continue;
    const std::vector<char>& row = used.used_[1];
    for (auto it = std::find(row.begin(), row.end(), 1); it != row.end();) {
      const auto last = std::find(it, row.end(), 0);
      const std::int64_t at = offset(p0, it - row.begin(), 0);
      plans_[2]->lines({.data = {planes.re + at, planes.im + at},
                        .step = steps_[2],
                        .lines = last - it,
                        .line_step = steps_[1],
                        .work = work});
      it = std::find(last, row.end(), 1);
    }
  }
}

template <class T>
void FftTransform<T>::columns(const Planes<T>& planes, const Rows& used, T* work) const {
  if (plans_[1] == nullptr) return;
  for (std::int64_t p0 = 0; p0 < sizes_[0]; ++p0) {
    if (used.used_[0][static_cast<std::size_t>(p0)] == 0) continue;
    const std::int64_t at = offset(p0, 0, 0);
    plans_[1]->lines({.data = {planes.re + at, planes.im + at},
                      .step = steps_[1],
                      .lines = sizes_[2],
                      .line_step = steps_[2],
                      .work = work});
  }
}

template <class T>
void FftTransform<T>::depths(const Planes<T>& planes, T* work) const {
  if (plans_[0] == nullptr) return;
  for (std::int64_t p1 = 0; p1 < sizes_[1]; ++p1) {
    const std::int64_t at = offset(0, p1, 0);
    plans_[0]->lines({.data = {planes.re + at, planes.im + at},
                      .step = steps_[0],
                      .lines = sizes_[2],
                      .line_step = steps_[2],
                      .work = work});
  }
}

template <class T>
void FftTransform<T>::forward(const Planes<T>& planes, const Rows& filled, T* work) const {
  rows(planes, filled, work);
  columns(planes, filled, work);
  depths(planes, work);
}

template <class T>
void FftTransform<T>::inverse(const Planes<T>& planes, const Rows& wanted, T* work) const {
  const Planes<T> exchanged{planes.im, planes.re};
  depths(exchanged, work);
  columns(exchanged, wanted, work);
  rows(exchanged, wanted, work);
}

template <class T>
void FftTransform<T>::load(const T* image, const GridStrides& strides, const TileRuns& runs,
                           std::int64_t width, const Planes<T>& planes) const {
  for_each_run(runs, strides, [&](std::int64_t cell, std::int64_t point, std::int64_t count) {
    kernels::load_cells<T>({.cells = image + cell,
                            .cell_step = strides.axis[2],
                            .first = planes.re + point,
                            .second = planes.im + point,
                            .count = count,
                            .width = width});
  });
}

template <class T>
void FftTransform<T>::store(const Planes<T>& planes, const TileRuns& runs, std::int64_t width,
                            const T* bias, bool bypass, T* image,
                            const GridStrides& strides) const {
  for_each_run(runs, strides, [&](std::int64_t cell, std::int64_t point, std::int64_t count) {
    kernels::store_cells<T>({.cells = image + cell,
                             .cell_step = strides.axis[2],
                             .first = planes.re + point,
                             .second = planes.im + point,
                             .count = count,
                             .width = width},
                            bias, bypass);
  });
}

template class FftTransform<float>;
template class FftTransform<double>;

}  // namespace fovea::conv
