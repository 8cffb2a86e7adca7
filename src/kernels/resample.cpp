// Interpolation and its adjoint, a row of cells at a time: the rows that it reads are first brought
// together in one row, of which each cell then takes a few cells.
#include "kernels/resample.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "core/storage.h"
#include "kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/resample.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {

// target = the weighted sum of `count` elements of each source, or adds it.
template <std::size_t kSources, bool kAdd, class T>
HWY_INLINE void weighted_sum_of(const T* const* sources, const T* factors, std::size_t count,
                                T* HWY_RESTRICT target) {
  const T* from[kSources];
  T weights[kSources];
  for (std::size_t s = 0; s < kSources; ++s) {
    from[s] = sources[s];
    weights[s] = factors[s];
  }
  for_lanes<T>(0, count, [&](auto d, std::size_t i) HWY_ATTR {
    auto sum = hn::Mul(hn::LoadU(d, from[0] + i), hn::Set(d, weights[0]));
    for (std::size_t s = 1; s < kSources; ++s) {
      sum = hn::MulAdd(hn::LoadU(d, from[s] + i), hn::Set(d, weights[s]), sum);
    }
    if (kAdd) sum = hn::Add(hn::LoadU(d, target + i), sum);
    hn::StoreU(sum, d, target + i);
  });
}

// Four sources at a time, so that their pointers stay in registers.
template <bool kAdd, class T>
HWY_INLINE void add_sources(std::size_t sources, const T* const* from, const T* weights,
                            std::size_t count, T* HWY_RESTRICT target) {
  switch (sources) {
    case 1:
      return weighted_sum_of<1, kAdd>(from, weights, count, target);
    case 2:
      return weighted_sum_of<2, kAdd>(from, weights, count, target);
    case 3:
      return weighted_sum_of<3, kAdd>(from, weights, count, target);
    default:
      return weighted_sum_of<4, kAdd>(from, weights, count, target);
  }
}
template <class T>
HWY_INLINE void weighted_sum(std::size_t sources, const T* const* from, const T* weights,
                             std::size_t count, T* HWY_RESTRICT target) {
  constexpr std::size_t kTogether = 4;
  if (sources == 0) {
    std::fill_n(target, count, T{0});
    return;
  }
  add_sources<false>(sources, from, weights, count, target);
  for (std::size_t s = kTogether; s < sources; s += kTogether) {
    add_sources<true>(sources - s, from + s, weights + s, count, target);
  }
}

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
  weighted_sum(reads.count, sources, weights, static_cast<std::size_t>(size), sum);
  return sum;
}

template <bool kStreamed, class D, class V, class T>
HWY_INLINE void put(D d, V value, T* to) {
  if constexpr (kStreamed) {
    hn::Stream(value, d, to);
  } else {
    hn::StoreU(value, d, to);
  }
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
  if (kStreamed) hwy::FlushStream();
}

template <class T>
void cells_resampled(const ResamplePlane& plane, bool streamed, std::int64_t first,
                     std::int64_t last, const T* x, T* y) {
  if (streamed) return cells_resampled<true>(plane, first, last, x, y);
  cells_resampled<false>(plane, first, last, x, y);
}

// For each input cell of an axis the outputs that read it, and with which weights.
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
  std::size_t begin(std::int64_t cell) const { return begins[static_cast<std::size_t>(cell)]; }
  std::size_t end(std::int64_t cell) const { return begins[static_cast<std::size_t>(cell) + 1]; }
  std::vector<std::size_t> begins;
  std::vector<std::int64_t> outputs;
  std::vector<T> weights;
};

// The rows of g that read a row of the input.
template <class T>
struct RowReaders {
  RowReaders(const ResamplePlane& all, const T* gradient)
      : plane(all), g(gradient), slow(plane.axes[0]), middle(plane.axes[1]) {}

  // Of input row `row`, counted over all samples.
  void list(std::int64_t row) {
    const std::int64_t rows = plane.axes[0].inputs * plane.axes[1].inputs;
    const std::int64_t a = row % rows / plane.axes[1].inputs;
    const std::int64_t b = row % plane.axes[1].inputs;
    const T* sample = g + row / rows * plane.outputs() * plane.channels;
    sources.clear();
    weights.clear();
    for (std::size_t i = slow.begin(a); i < slow.end(a); ++i) {
      for (std::size_t j = middle.begin(b); j < middle.end(b); ++j) {
        const std::int64_t output = slow.outputs[i] * plane.axes[1].outputs + middle.outputs[j];
        sources.push_back(sample + output * plane.axes[2].outputs * plane.channels);
        weights.push_back(slow.weights[i] * middle.weights[j]);
      }
    }
  }
  // Part `part` of `parts` of each row: to the cache.
  HWY_INLINE void fetch(std::int64_t part, std::int64_t parts) const {
    constexpr auto kLine = static_cast<std::int64_t>(64 / sizeof(T));
    const std::int64_t size = plane.axes[2].outputs * plane.channels;
    for (const T* source : sources) {
      for (std::int64_t i = part * size / parts; i < (part + 1) * size / parts; i += kLine)
        hwy::Prefetch(source + i);
    }
  }

  const ResamplePlane& plane;
  const T* g;
  const Readers<T> slow;
  const Readers<T> middle;
  std::vector<const T*> sources;
  std::vector<T> weights;
};

template <class T>
void rows_gathered(const ResamplePlane& plane, std::int64_t first, std::int64_t last, const T* g,
                   T* dx) {
  const ResampleAxis& fast = plane.axes[2];
  const std::int64_t channels = plane.channels;
  const auto width = static_cast<std::size_t>(channels);
  const Readers<T> readers(fast);
  const auto row_size = static_cast<std::size_t>(fast.outputs * channels);
  const Workspace memory(row_size * sizeof(T));
  T* row_sum = memory.as<T>();
  RowReaders<T> rows(plane, g);
  rows.list(first);
  std::vector<const T*> sources;
  for (std::int64_t row = first; row < last; ++row) {
    weighted_sum(rows.sources.size(), rows.sources.data(), rows.weights.data(), row_size, row_sum);
    // What comes next is fetched from memory while this row is dealt with in the cache.
    if (row + 1 < last) rows.list(row + 1);
    for (std::int64_t cell = 0; cell < fast.inputs; ++cell) {
      if (row + 1 < last) rows.fetch(cell, fast.inputs);
      const std::size_t begin = readers.begin(cell);
      const std::size_t count = readers.end(cell) - begin;
      sources.resize(count);
      for (std::size_t i = 0; i < count; ++i) {
        sources[i] = row_sum + readers.outputs[begin + i] * channels;
      }
      weighted_sum(count, sources.data(), readers.weights.data() + begin, width,
                   dx + (row * fast.inputs + cell) * channels);
    }
  }
}

void ResampleF32(const ResamplePlane& plane, bool streamed, std::int64_t first, std::int64_t last,
                 const float* x, float* y) {
  cells_resampled(plane, streamed, first, last, x, y);
}
void ResampleF64(const ResamplePlane& plane, bool streamed, std::int64_t first, std::int64_t last,
                 const double* x, double* y) {
  cells_resampled(plane, streamed, first, last, x, y);
}
void ResampleBackwardF32(const ResamplePlane& plane, std::int64_t first, std::int64_t last,
                         const float* g, float* dx) {
  rows_gathered(plane, first, last, g, dx);
}
void ResampleBackwardF64(const ResamplePlane& plane, std::int64_t first, std::int64_t last,
                         const double* g, double* dx) {
  rows_gathered(plane, first, last, g, dx);
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
