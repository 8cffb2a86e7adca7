// Interpolation and its adjoint, a row of output cells at a time: the input rows that it reads are
// first brought together in one row, of which each output cell then takes one or two cells.
#include "kernels/resample.h"

#include <algorithm>
#include <cstddef>
#include <vector>

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
const T* brought_together(const ResamplePlane& plane, const RowReads& reads, const T* x,
                          std::vector<T>& sum) {
  const std::int64_t size = plane.axes[2].inputs * plane.channels;
  const T* first = x + reads.rows[0] * size;
  if (reads.count == 1 && reads.weights[0] == 1) return first;
  for_lanes<T>(0, static_cast<std::size_t>(size), [&](auto d, std::size_t i) HWY_ATTR {
    auto total = hn::Mul(hn::LoadU(d, first + i), hn::Set(d, static_cast<T>(reads.weights[0])));
    for (std::size_t r = 1; r < reads.count; ++r) {
      total = hn::MulAdd(hn::LoadU(d, x + reads.rows[r] * size + i),
                         hn::Set(d, static_cast<T>(reads.weights[r])), total);
    }
    hn::StoreU(total, d, sum.data() + i);
  });
  return sum.data();
}

template <class T>
void cells_resampled(const ResamplePlane& plane, std::int64_t first, std::int64_t last, const T* x,
                     T* y) {
  const std::int64_t channels = plane.channels;
  const ResampleAxis& fast = plane.axes[2];
  std::vector<T> sum(static_cast<std::size_t>(fast.inputs * channels));
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
        for_lanes<T>(0, static_cast<std::size_t>(channels), [&](auto d, std::size_t c) HWY_ATTR {
          hn::StoreU(hn::LoadU(d, only + c), d, out + c);
        });
        continue;
      }
      for_lanes<T>(0, static_cast<std::size_t>(channels), [&](auto d, std::size_t c) HWY_ATTR {
        const auto scaled = hn::Mul(hn::LoadU(d, left + c), hn::Set(d, left_weight));
        hn::StoreU(hn::MulAdd(hn::LoadU(d, right + c), hn::Set(d, right_weight), scaled), d,
                   out + c);
      });
    }
  }
}

// For each input cell of the last axis the outputs that read it, and with which weights.
template <class T>
struct Readers {
  explicit Readers(const ResampleAxis& axis) : begins(static_cast<std::size_t>(axis.inputs) + 1) {
    const std::int64_t taps = axis.outputs * axis.taps;
    for (std::int64_t tap = 0; tap < taps; ++tap) {
      if (axis.weights[tap] != 0) ++begins[static_cast<std::size_t>(axis.cells[tap]) + 1];
    }
    for (std::size_t cell = 1; cell < begins.size(); ++cell) begins[cell] += begins[cell - 1];
    outputs.resize(begins.back());
    weights.resize(begins.back());
    std::vector<std::size_t> next(begins);
    for (std::int64_t tap = 0; tap < taps; ++tap) {
      if (axis.weights[tap] == 0) continue;
      const std::size_t place = next[static_cast<std::size_t>(axis.cells[tap])]++;
      outputs[place] = tap / axis.taps;
      weights[place] = static_cast<T>(axis.weights[tap]);
    }
  }
  std::vector<std::size_t> begins;
  std::vector<std::int64_t> outputs;
  std::vector<T> weights;
};

// Channels [first, last) of one sample.
template <class T>
void cells_spread(const ResamplePlane& plane, std::int64_t first, std::int64_t last, const T* g,
                  T* dx) {
  const ResampleAxis& fast = plane.axes[2];
  const std::int64_t channels = plane.channels;
  const auto width = static_cast<std::size_t>(last - first);
  for (std::int64_t cell = 0; cell < plane.inputs(); ++cell) {
    std::fill_n(dx + cell * channels + first, width, T{0});
  }
  const Readers<T> readers(fast);
  const std::int64_t rows = plane.axes[0].outputs * plane.axes[1].outputs;
  for (std::int64_t row = 0; row < rows; ++row) {
    const RowReads reads = reads_of(plane, row);
    const T* gradients = g + row * fast.outputs * channels + first;
    for (std::int64_t cell = 0; cell < fast.inputs; ++cell) {
      const std::size_t begin = readers.begins[static_cast<std::size_t>(cell)];
      const std::size_t end = readers.begins[static_cast<std::size_t>(cell) + 1];
      for_lanes<T>(0, width, [&](auto d, std::size_t c) HWY_ATTR {
        auto sum = hn::Zero(d);
        for (std::size_t i = begin; i < end; ++i) {
          sum = hn::MulAdd(hn::LoadU(d, gradients + readers.outputs[i] * channels + c),
                           hn::Set(d, readers.weights[i]), sum);
        }
        for (std::size_t r = 0; r < reads.count; ++r) {
          T* target = dx + (reads.rows[r] * fast.inputs + cell) * channels + first + c;
          hn::StoreU(
              hn::MulAdd(sum, hn::Set(d, static_cast<T>(reads.weights[r])), hn::LoadU(d, target)),
              d, target);
        }
      });
    }
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
