// Tiles, and their transforms axis by axis.
#include "conv/fft_tiles.h"

#include <algorithm>
#include <cstring>

#include "conv/axes.h"
#include "core/plan_cache.h"
#include "kernels/group_product.h"

namespace fovea::conv {
namespace {

using kernels::Planes;

std::int64_t modulo(std::int64_t value, std::int64_t n) {
  const std::int64_t rest = value % n;
  return rest < 0 ? rest + n : rest;
}

constexpr std::int64_t kLongPoints = 512;  // of a line that would not stay in the first-level cache

// The greatest divisor that is at most the root.
std::int64_t middle_divisor(std::int64_t n) {
  std::int64_t best = 1;
  for (std::int64_t d = 1; d * d <= n; ++d) {
    if (n % d == 0) best = d;
  }
  return best;
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

GridStrides FftTiling::source_strides(std::int64_t channels) const {
  return dense_strides({axes[0].source, axes[1].source, axes[2].source}, channels);
}

GridStrides FftTiling::result_strides(std::int64_t channels) const {
  return dense_strides({axes[0].results, axes[1].results, axes[2].results}, channels);
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

FftLayout::FftLayout(const FftTiling& tiling, int vector_lanes)
    : lanes(vector_lanes),
      points{tiling.axes[0].points, tiling.axes[1].points, tiling.axes[2].points},
      sizes(points) {
  if (points[0] == 1 && points[1] == 1 && points[2] >= kLongPoints) {
    sizes[1] = middle_divisor(points[2]);
    sizes[2] = points[2] / sizes[1];
  }
  // An odd number of vectors from row to row and from plane to plane.
  steps[2] = lanes;
  steps[1] = (sizes[1] > 1 ? sizes[2] | 1 : sizes[2]) * lanes;
  steps[0] = sizes[1] * steps[1];
  if (sizes[0] > 1) steps[0] = (steps[0] / lanes | 1) * lanes;
  plane_values = sizes[0] * steps[0] + lanes;
  std::int64_t own_mirrors = 1;
  for (const std::int64_t n : points) own_mirrors *= n % 2 == 0 ? 2 : 1;
  frequency_count = (point_count() + own_mirrors) / 2;
}

template <class T>
FftLayout fft_layout(const FftTiling& tiling) {
  return {tiling, kernels::vector_lanes<T>()};
}
template FftLayout fft_layout<float>(const FftTiling&);
template FftLayout fft_layout<double>(const FftTiling&);

std::int32_t FftLayout::place(std::int64_t k0, std::int64_t k1, std::int64_t k2) const {
  const std::int64_t row = is_long() ? k2 % sizes[1] : k1;
  const std::int64_t column = is_long() ? k2 / sizes[1] : k2;
  return static_cast<std::int32_t>((k0 * steps[0] + row * steps[1] + column * steps[2]) / lanes);
}

template <class T>
FftTransform<T>::Rows::Rows(const FftLayout& layout) : all_(layout.is_long()) {
  for (std::size_t a = 0; a < 2; ++a)
    used_[a].assign(static_cast<std::size_t>(layout.sizes[a]), all_ ? 1 : 0);
}

template <class T>
void FftTransform<T>::Rows::add(const TileRuns& runs) {
  if (all_) return;
  for (std::size_t a = 0; a < 2; ++a) {
    for (std::int64_t i = 0; i < runs[a].count; ++i)
      used_[a][static_cast<std::size_t>(runs[a].position + i) % used_[a].size()] = 1;
  }
}

template <class T>
FftTransform<T>::FftTransform(const FftLayout& layout) : layout_(layout) {
  for (std::size_t a = 0; a < 3; ++a) {
    if (layout.sizes[a] > 1) plans_[a] = kernels::fft_plan<T>(layout.sizes[a]);
  }
  if (layout.is_long()) {
    twiddles_ =
        std::make_unique<const kernels::TwiddleMatrix<T>>(layout.point_count(), layout.sizes[1]);
  }
  list_frequencies();
}

template <class T>
void FftTransform<T>::list_frequencies() {
  const auto& points = layout_.points;
  frequencies_.reserve(static_cast<std::size_t>(layout_.frequency_count));
  for (std::int64_t k0 = 0; k0 < points[0]; ++k0) {
    for (std::int64_t k1 = 0; k1 < points[1]; ++k1) {
      for (std::int64_t k2 = 0; k2 < points[2]; ++k2) {
        const std::int32_t point = layout_.place(k0, k1, k2);
        const std::int32_t mirror =
            layout_.place((points[0] - k0) % points[0], (points[1] - k1) % points[1],
                          (points[2] - k2) % points[2]);
        if (point <= mirror) frequencies_.push_back({point, mirror});
      }
    }
  }
}

template <class T>
void FftTransform<T>::clear(const Planes<T>& planes) const {
  std::memset(planes.re, 0, static_cast<std::size_t>(layout_.block_values()) * sizeof(T));
}

template <class T>
void FftTransform<T>::rows(const Planes<T>& planes, const Rows& used, T* work) const {
  if (plans_[2] == nullptr) return;
  for (std::int64_t p0 = 0; p0 < layout_.sizes[0]; ++p0) {
    if (used.used_[0][static_cast<std::size_t>(p0)] == 0) continue;
    const std::vector<char>& row = used.used_[1];
    for (auto it = std::find(row.begin(), row.end(), 1); it != row.end();) {
      const auto last = std::find(it, row.end(), 0);
      const std::int64_t at = p0 * layout_.steps[0] + (it - row.begin()) * layout_.steps[1];
      plans_[2]->lines({.data = {planes.re + at, planes.im + at},
                        .step = layout_.steps[2],
                        .lines = last - it,
                        .line_step = layout_.steps[1],
                        .work = work});
      it = std::find(last, row.end(), 1);
    }
  }
}

template <class T>
void FftTransform<T>::columns(const Planes<T>& planes, const Rows& used, T* work) const {
  if (plans_[1] == nullptr) return;
  for (std::int64_t p0 = 0; p0 < layout_.sizes[0]; ++p0) {
    if (used.used_[0][static_cast<std::size_t>(p0)] == 0) continue;
    const std::int64_t at = p0 * layout_.steps[0];
    plans_[1]->lines({.data = {planes.re + at, planes.im + at},
                      .step = layout_.steps[1],
                      .lines = layout_.sizes[2],
                      .line_step = layout_.steps[2],
                      .work = work});
  }
}

template <class T>
void FftTransform<T>::depths(const Planes<T>& planes, T* work) const {
  if (plans_[0] == nullptr) return;
  for (std::int64_t p1 = 0; p1 < layout_.sizes[1]; ++p1) {
    const std::int64_t at = p1 * layout_.steps[1];
    plans_[0]->lines({.data = {planes.re + at, planes.im + at},
                      .step = layout_.steps[0],
                      .lines = layout_.sizes[2],
                      .line_step = layout_.steps[2],
                      .work = work});
  }
}

template <class T>
void FftTransform<T>::turn(const Planes<T>& planes) const {
  for (std::int64_t row = 0; row < layout_.sizes[1]; ++row) {
    const std::int64_t at = row * layout_.sizes[2];
    kernels::turn_vectors<T>(
        {twiddles_->re.data() + at, twiddles_->im.data() + at}, layout_.sizes[2],
        {planes.re + row * layout_.steps[1], planes.im + row * layout_.steps[1]});
  }
}

template <class T>
void FftTransform<T>::forward(const Planes<T>& planes, const Rows& filled, T* work) const {
  if (layout_.is_long()) {
    columns(planes, filled, work);
    turn(planes);
    rows(planes, filled, work);
    return;
  }
  rows(planes, filled, work);
  columns(planes, filled, work);
  depths(planes, work);
}

template <class T>
void FftTransform<T>::inverse(const Planes<T>& planes, const Rows& wanted, T* work) const {
  const Planes<T> exchanged{planes.im, planes.re};
  if (layout_.is_long()) {
    rows(exchanged, wanted, work);
    turn(exchanged);
    columns(exchanged, wanted, work);
    return;
  }
  depths(exchanged, work);
  columns(exchanged, wanted, work);
  rows(exchanged, wanted, work);
}

template <class T>
void FftTransform<T>::load(const T* image, const GridStrides& strides, const TileRuns& runs,
                           std::int64_t width, const Planes<T>& planes) const {
  layout_.for_each_run(runs, strides,
                       [&](std::int64_t cell, std::int64_t point, std::int64_t count) {
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
                            const ResultCells<T>& to) const {
  const std::int64_t step = to.strides.axis[2];
  RestOf<T> rest(to.finish);
  layout_.for_each_run(
      runs, to.strides, [&](std::int64_t cell, std::int64_t point, std::int64_t count) {
        kernels::store_cells<T>(
            {.cells = to.image + cell,
             .cell_step = step,
             .first = planes.re + point,
             .second = planes.im + point,
             .count = count,
             .width = width},
            {.bias = to.bias, .epilogue = to.finish.at_store(), .bypass = to.bypass});
        if (!to.finish.remains()) return;
        for (std::int64_t i = 0; i < count; ++i) rest.add(width, to.image + cell + i * step);
      });
}

template class FftTransform<float>;
template class FftTransform<double>;

template <class T>
std::shared_ptr<const FftTransform<T>> fft_transform(const FftLayout& layout) {
  // Sizes are points: what a transform keeps is about as many pairs of numbers.
  static PlanCache<std::array<std::int64_t, 4>, FftTransform<T>> cache(std::int64_t{1} << 20);
  const auto& points = layout.points;
  return cache.get({points[0], points[1], points[2], layout.lanes}, layout.point_count(),
                   [&] { return std::make_shared<const FftTransform<T>>(layout); });
}
template std::shared_ptr<const FftTransform<float>> fft_transform(const FftLayout&);
template std::shared_ptr<const FftTransform<double>> fft_transform(const FftLayout&);

}  // namespace fovea::conv
