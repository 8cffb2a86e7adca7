// Interpolation, a row of cells at a time: the rows that it reads are first brought
// together in one row, of which each cell then takes a few cells.
#include "kernels/resample.h"

#include <cstddef>

#include "core/storage.h"
#include "kernels/simd.h"
#include "kernels/stream.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/resample.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/lanes-inl.h"
#include "kernels/weighted_sum-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {

// The input rows (all axes but the last) that a row of outputs reads: at most two per axis.
struct RowReads {
  std::size_t count = 0;
  std::int64_t rows[4] = {};
  double weights[4] = {};
};

RowReads reads_of(const ResamplePlane& plane, std::int64_t row) {
  const ResampleAxis& slow = plane.axes[0];
  const ResampleAxis& middle = plane.axes[1];
  const std::int64_t i = row / middle.outputs;
  const std::int64_t j = row % middle.outputs;
  RowReads reads;
  for (std::int64_t a = i * slow.taps; a < (i + 1) * slow.taps; ++a) {
    for (std::int64_t b = j * middle.taps; b < (j + 1) * middle.taps; ++b) {
      const double weight = slow.weights[a] * middle.weights[b];
      if (weight == 0) continue;
      reads.weights[reads.count] = weight;
      reads.rows[reads.count++] = slow.cells[a] * middle.inputs + middle.cells[b];
    }
  }
  return reads;
}

// The weighted sum of the input rows; one that is taken as it is is not copied.
template <class T>
const T* brought_together(const ResamplePlane& plane, const RowReads& reads, const T* x, T* sum) {
  const std::int64_t size = plane.axes[2].inputs * plane.channels;
  if (reads.count == 1 && reads.weights[0] == 1) return x + reads.rows[0] * size;
  const T* sources[4];
  T weights[4];
  for (std::size_t r = 0; r < reads.count; ++r) {
    sources[r] = x + reads.rows[r] * size;
    weights[r] = static_cast<T>(reads.weights[r]);
  }
  weighted_sum<false>(reads.count, sources, weights, static_cast<std::size_t>(size), sum);
  return sum;
}

template <bool kStreamed, class T>
void cells_resampled(const ResamplePlane& plane, std::int64_t first, std::int64_t last, const T* x,
                     T* y) {
  const std::int64_t channels = plane.channels;
  const auto width = static_cast<std::size_t>(channels);
  const ResampleAxis& fast = plane.axes[2];
  const Workspace memory(static_cast<std::size_t>(fast.inputs * channels) * sizeof(T));
  T* sum = memory.as<T>();
  for (std::int64_t cell = first; cell < last;) {
    const std::int64_t begin = cell % fast.outputs;
    const std::int64_t end = HWY_MIN(fast.outputs, begin + last - cell);
    const RowReads reads = reads_of(plane, cell % plane.outputs() / fast.outputs);
    const T* sample = x + cell / plane.outputs() * plane.inputs() * channels;
    const T* row = brought_together(plane, reads, sample, sum);
    for (std::int64_t k = begin; k < end; ++k, ++cell) {
      T* out = y + cell * channels;
      const T* left = row + fast.cells[k * fast.taps] * channels;
      const T* right = row + fast.cells[(k + 1) * fast.taps - 1] * channels;
      const auto left_weight = static_cast<T>(fast.weights[k * fast.taps]);
      const T right_weight =
          fast.taps == 1 ? T{0} : static_cast<T>(fast.weights[(k + 1) * fast.taps - 1]);
      // Infinity in a cell that is not read must not become NaN.
      if (right_weight == 0 || left_weight == 0) {
        const T* only = left_weight == 0 ? right : left;
        for_lanes<T>(0, width, [&](auto d, std::size_t c) HWY_ATTR {
          put<kStreamed>(d, hn::LoadU(d, only + c), out + c);
        });
        continue;
      }
      for_lanes<T>(0, width, [&](auto d, std::size_t c) HWY_ATTR {
        const auto scaled = hn::Mul(hn::LoadU(d, left + c), hn::Set(d, left_weight));
        const auto total = hn::MulAdd(hn::LoadU(d, right + c), hn::Set(d, right_weight), scaled);
        put<kStreamed>(d, total, out + c);
      });
    }
  }
  if (kStreamed) finish_streaming();
}

template <class T>
void cells_resampled(const ResamplePlane& plane, bool streamed, std::int64_t first,
                     std::int64_t last, const T* x, T* y) {
  if (streamed) return cells_resampled<true>(plane, first, last, x, y);
  cells_resampled<false>(plane, first, last, x, y);
}

void ResampleF32(const ResamplePlane& plane, bool streamed, std::int64_t first, std::int64_t last,
                 const float* x, float* y) {
  cells_resampled(plane, streamed, first, last, x, y);
}
void ResampleF64(const ResamplePlane& plane, bool streamed, std::int64_t first, std::int64_t last,
                 const double* x, double* y) {
  cells_resampled(plane, streamed, first, last, x, y);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(ResampleF32);
HWY_EXPORT(ResampleF64);

template <>
void resample(const ResamplePlane& plane, bool streamed, std::int64_t first, std::int64_t last,
              const float* x, float* y) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(ResampleF32)(plane, streamed, first, last, x, y);
}
template <>
void resample(const ResamplePlane& plane, bool streamed, std::int64_t first, std::int64_t last,
              const double* x, double* y) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(ResampleF64)(plane, streamed, first, last, x, y);
}
}  // namespace fovea::kernels
#endif  // HWY_ONCE
