// Taps and lanes.
#include "conv/fft_weights.h"

#include "kernels/transpose.h"

namespace fovea::conv {
namespace {

// Calls f(offset of the first tap of a stretch in a kernel, its offset in a plane, taps) for
// neighbours along the innermost axis.
template <class F>
void for_each_tap_row(const FftTiling& tiling, const FftLayout& layout, const F& f) {
  const auto& axes = tiling.axes;
  for (std::int64_t t0 = 0; t0 < axes[0].taps; ++t0) {
    for (std::int64_t t1 = 0; t1 < axes[1].taps; ++t1) {
      const std::int64_t first = (t0 * axes[1].taps + t1) * axes[2].taps;
      layout.for_each_stretch(t0 * axes[0].dilation, t1 * axes[1].dilation, 0, axes[2].dilation,
                              axes[2].taps,
                              [&](std::int64_t t2, std::int64_t point, std::int64_t count) {
                                f(first + t2, point, count);
                              });
    }
  }
}

}  // namespace

TileRuns tap_runs(const FftTiling& tiling) {
  TileRuns runs;
  for (std::size_t a = 0; a < 3; ++a)
    runs[a] = {0, tiling.axes[a].dilation * (tiling.axes[a].taps - 1) + 1, 0};
  return runs;
}

template <class T>
void spread_taps(const FftTiling& tiling, const FftLayout& layout, const T* w,
                 std::int64_t channel_step, std::int64_t width, T* plane) {
  for_each_tap_row(tiling, layout, [&](std::int64_t tap, std::int64_t point, std::int64_t count) {
    kernels::transpose({.rows = width,
                        .columns = count,
                        .from_stride = channel_step,
                        .to_stride = tiling.axes[2].dilation * layout.lanes},
                       w + tap, plane + point);
  });
}
template void spread_taps(const FftTiling&, const FftLayout&, const float*, std::int64_t,
                          std::int64_t, float*);
template void spread_taps(const FftTiling&, const FftLayout&, const double*, std::int64_t,
                          std::int64_t, double*);

template <class T>
void gather_taps(const FftTiling& tiling, const FftLayout& layout, const T* plane,
                 std::int64_t width, std::int64_t channel_step, T* dw) {
  for_each_tap_row(tiling, layout, [&](std::int64_t tap, std::int64_t point, std::int64_t count) {
    kernels::transpose({.rows = count,
                        .columns = width,
                        .from_stride = tiling.axes[2].dilation * layout.lanes,
                        .to_stride = channel_step},
                       plane + point, dw + tap);
  });
}
template void gather_taps(const FftTiling&, const FftLayout&, const float*, std::int64_t,
                          std::int64_t, float*);
template void gather_taps(const FftTiling&, const FftLayout&, const double*, std::int64_t,
                          std::int64_t, double*);

Derived::Key spectrum_key(const ConvProblem& problem, const FftTiling& tiling, SpectrumOrder order,
                          std::int64_t lanes) {
  constexpr std::int64_t kKind = 200;  // apart from packed_weights.cpp and winograd_weights.cpp
  Derived::Key key{kKind + static_cast<std::int64_t>(order),
                   lanes,
                   problem.in_channels,
                   problem.out_channels,
                   problem.groups,
                   static_cast<std::int64_t>(problem.dtype)};
  std::size_t place = 6;
  for (const FftAxis& axis : tiling.axes) {
    key[place++] = axis.points;
    key[place++] = axis.taps;
    key[place++] = axis.dilation;
  }
  return key;
}

}  // namespace fovea::conv
