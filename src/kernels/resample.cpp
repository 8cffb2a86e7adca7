// Interpolation and its adjoint, a vector of channels at a time.
#include "kernels/resample.h"

#include <cstddef>

#include "kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/resample.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {

// What one output cell reads: at most two cells per axis.
struct Reads {
  std::size_t count = 0;
  std::int64_t cells[8] = {};
  double weights[8] = {};
};

Reads reads_of(const ResamplePlane& plane, std::int64_t output) {
  const ResampleAxis& slow = plane.axes[0];
  const ResampleAxis& middle = plane.axes[1];
  const ResampleAxis& fast = plane.axes[2];
  const std::int64_t k = output % fast.outputs;
  const std::int64_t j = output / fast.outputs % middle.outputs;
  const std::int64_t i = output / fast.outputs / middle.outputs;
  Reads reads;
  for (std::int64_t a = i * slow.taps; a < (i + 1) * slow.taps; ++a) {
    for (std::int64_t b = j * middle.taps; b < (j + 1) * middle.taps; ++b) {
      for (std::int64_t c = k * fast.taps; c < (k + 1) * fast.taps; ++c) {
        const double weight = slow.weights[a] * middle.weights[b] * fast.weights[c];
        if (weight == 0) continue;
        reads.weights[reads.count] = weight;
        reads.cells[reads.count++] =
            (slow.cells[a] * middle.inputs + middle.cells[b]) * fast.inputs + fast.cells[c];
      }
    }
  }
  return reads;
}

template <class T>
void cells_resampled(const ResamplePlane& plane, std::int64_t first, std::int64_t last, const T* x,
                     T* y) {
  const std::int64_t channels = plane.channels;
  for (std::int64_t cell = first; cell < last; ++cell) {
    const Reads reads = reads_of(plane, cell % plane.outputs());
    const T* sample = x + cell / plane.outputs() * plane.inputs() * channels;
    T* out = y + cell * channels;
    for_lanes<T>(0, static_cast<std::size_t>(channels), [&](auto d, std::size_t c) HWY_ATTR {
      const T* base = sample + c;
      auto sum = hn::Mul(hn::LoadU(d, base + reads.cells[0] * channels),
                         hn::Set(d, static_cast<T>(reads.weights[0])));
      for (std::size_t i = 1; i < reads.count; ++i) {
        sum = hn::MulAdd(hn::LoadU(d, base + reads.cells[i] * channels),
                         hn::Set(d, static_cast<T>(reads.weights[i])), sum);
      }
      hn::StoreU(sum, d, out + c);
    });
  }
}

template <class T>
void cells_spread(const ResamplePlane& plane, std::int64_t first, std::int64_t last, const T* g,
                  T* dx) {
  const std::int64_t channels = plane.channels;
  const auto begin = static_cast<std::size_t>(first);
  const auto end = static_cast<std::size_t>(last);
  for (std::int64_t cell = 0; cell < plane.inputs(); ++cell) {
    T* row = dx + cell * channels;
    for (std::size_t c = begin; c < end; ++c) row[c] = 0;
  }
  for (std::int64_t cell = 0; cell < plane.outputs(); ++cell) {
    const Reads reads = reads_of(plane, cell);
    for_lanes<T>(begin, end, [&](auto d, std::size_t c) HWY_ATTR {
      const auto gradient = hn::LoadU(d, g + cell * channels + static_cast<std::int64_t>(c));
      for (std::size_t i = 0; i < reads.count; ++i) {
        T* target = dx + reads.cells[i] * channels + c;
        hn::StoreU(hn::MulAdd(gradient, hn::Set(d, static_cast<T>(reads.weights[i])),
                              hn::LoadU(d, target)),
                   d, target);
      }
    });
  }
}

void ResampleF32(const ResamplePlane& plane, std::int64_t first, std::int64_t last, const float* x,
                 float* y) {
  cells_resampled(plane, first, last, x, y);
}
void ResampleF64(const ResamplePlane& plane, std::int64_t first, std::int64_t last, const double* x,
                 double* y) {
  cells_resampled(plane, first, last, x, y);
}
void ResampleBackwardF32(const ResamplePlane& plane, std::int64_t first, std::int64_t last,
                         const float* g, float* dx) {
  cells_spread(plane, first, last, g, dx);
}
void ResampleBackwardF64(const ResamplePlane& plane, std::int64_t first, std::int64_t last,
                         const double* g, double* dx) {
  cells_spread(plane, first, last, g, dx);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(ResampleF32);
HWY_EXPORT(ResampleF64);
HWY_EXPORT(ResampleBackwardF32);
HWY_EXPORT(ResampleBackwardF64);

template <>
void resample(const ResamplePlane& plane, std::int64_t first, std::int64_t last, const float* x,
              float* y) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(ResampleF32)(plane, first, last, x, y);
}
template <>
void resample(const ResamplePlane& plane, std::int64_t first, std::int64_t last, const double* x,
              double* y) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(ResampleF64)(plane, first, last, x, y);
}
template <>
void resample_backward(const ResamplePlane& plane, std::int64_t first, std::int64_t last,
                       const float* g, float* dx) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(ResampleBackwardF32)(plane, first, last, g, dx);
}
template <>
void resample_backward(const ResamplePlane& plane, std::int64_t first, std::int64_t last,
                       const double* g, double* dx) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(ResampleBackwardF64)(plane, first, last, g, dx);
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
