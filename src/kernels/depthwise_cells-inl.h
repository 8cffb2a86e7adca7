// What the kernels of depthwise 3x3 share: how many places a tile has, the cells that it reads, and
// bands of rows. Included once per SIMD target.
#if defined(FOVEA_KERNELS_DEPTHWISE_CELLS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_KERNELS_DEPTHWISE_CELLS_INL_H_
#undef FOVEA_KERNELS_DEPTHWISE_CELLS_INL_H_
#else
#define FOVEA_KERNELS_DEPTHWISE_CELLS_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"
#include "kernels/depthwise_rows.h"
#include "kernels/group_source-inl.h"
#include "kernels/registers.h"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Three rows of sums, the weights and a source must fit the registers; where there are 16, weights
// are read from memory.
#if FOVEA_MANY_REGISTERS
constexpr int kPlaces = 7;
#else
constexpr int kPlaces = 4;
#endif

constexpr int kFewPlaces = 3;
constexpr int kTaps = 3;

// Where a vector is a line of the caches, runs of neighbouring vectors are worth kernels of their
// own, which 32 registers hold.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
constexpr bool kVectorIsLine = true;
#else
constexpr bool kVectorIsLine = false;
#endif

// Where the cells of a tile lie in a source row, the first of them, and which are none of the
// padding: bit c for cell c.
struct CellRange {
  std::int64_t offset;
  std::uint32_t inside;
};
template <class T>
HWY_INLINE CellRange CellsFrom(const RowWindow<T>& window, const ChannelBlock<T>& block, int place,
                               int cells) {
  const std::int64_t first = window.first + place * window.stride;
  const std::int64_t begin = HWY_MIN(HWY_MAX(-first, 0), cells);
  const std::int64_t end = HWY_MAX(HWY_MIN(window.inputs - first, cells), begin);
  return {first * window.cell_values + block.source,
          (std::uint32_t{1} << end) - (std::uint32_t{1} << begin)};
}

// The cells that M places of one vector of channels read.
template <class T, int M, int S>
class Cells {
 public:
  using D = hn::ScalableTag<T>;
  using V = hn::Vec<D>;
  using Places = V[M];  // a vector per place

  HWY_INLINE Cells(const RowWindow<T>& window, const ChannelBlock<T>& block, int place)
      : rows_(window.rows),
        step_(window.cell_values),
        range_(CellsFrom(window, block, place, kCells)) {}

  // Calls f(cell, value) for the cells of a source row that are there.
  template <class F>
  HWY_INLINE void operator()(std::int64_t row, const F& f) const {
    const T* HWY_RESTRICT from = rows_[row];
    if (from == nullptr) return;
    from += range_.offset;
#pragma GCC unroll 16
    for (int c = 0; c < kCells; ++c, Walk(from, step_)) {
      if ((range_.inside & (std::uint32_t{1} << c)) != 0) f(c, hn::LoadU(D(), from));
    }
  }

  // Calls f(m, k) for the places m that meet cell c through tap k.
  template <class F>
  static HWY_INLINE void ForTaps(int c, const F& f) {
#pragma GCC unroll 3
    for (int k = 0; k < kTaps; ++k) {
      const int m = (c - k) / S;
      if (c < k || (c - k) % S != 0 || m >= M) continue;
      f(m, k);
    }
  }

  static HWY_INLINE void Move(const Places& from, Places& to) {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) to[m] = from[m];
  }

 private:
  static constexpr int kCells = (M - 1) * S + kTaps;
  const T* const* rows_;
  std::int64_t step_;
  CellRange range_;
};

// Whether the cells of a strip share few sets of the first-level cache: the lines beside them,
// which the CPU fetches too, are gone before their turn comes unless that is soon.
template <class T>
HWY_INLINE bool SharesSets(const RowWindow<T>& window) {
  return static_cast<std::int64_t>(sizeof(T)) * window.cell_values % 512 == 0;
}

// How many blocks, from the first on, cover channel after channel: all, or all but the last, which
// may have been moved back.
template <template <class> class Job, class T>
HWY_INLINE std::int64_t NeighboursOf(const Job<T>& job) {
  const std::int64_t last = job.block_count - 1;
  const auto lanes = static_cast<std::int64_t>(HWY_LANES(T));
  return job.blocks[last].channel == job.blocks[0].channel + last * lanes ? last + 1 : last;
}

// Rows that a strip walks down at a time, so that a column of those that share sets is `most`
// bytes.
template <class T>
std::int64_t RowsAtOnce(const RowWindow<T>& window, std::int64_t most) {
  if (!SharesSets(window)) return window.count;
  const auto bytes = static_cast<std::int64_t>(sizeof(T)) * window.cell_values;
  return HWY_MAX(most / (bytes * window.stride), 1);
}

// Calls f(band, first row) for bands of the window.
template <class T, class F>
void ForBands(const RowWindow<T>& window, std::int64_t column, const F& f) {
  const std::int64_t most = RowsAtOnce(window, column);
  for (std::int64_t row = 0; row < window.count; row += most) {
    RowWindow<T> band = window;
    band.rows += row * window.stride;
    band.count = HWY_MIN(most, window.count - row);
    f(band, row);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();
#endif
