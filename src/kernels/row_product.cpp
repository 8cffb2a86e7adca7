// Patch products along a row, once per SIMD target.
//
// As in the patch product, a tile of M places by N vectors stays in registers for the whole
// reduction. With one vector there are as many loads as multiplications, so no time is left to read
// pointers back that do not fit the registers: places lie at one distance, and four share a
// pointer.
#include "kernels/row_product.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/row_product.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/epilogue-inl.h"
#include "kernels/registers.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// The sums, weights and a broadcast must fit the registers.
#if FOVEA_MANY_REGISTERS
constexpr int kTall = 14;
constexpr int kMiddle = 7;
constexpr int kJoinedTall = 14;
#else
constexpr int kTall = 6;
constexpr int kMiddle = 4;
constexpr int kJoinedTall = 8;  // three products for a sum in turn: fewer would wait for each other
#endif
constexpr int kShare = 4;   // places that a pointer serves
constexpr int kJoined = 3;  // taps that share broadcasts

template <class T>
using Lanes = hn::ScalableTag<T>;
template <class T>
using Vec = hn::Vec<Lanes<T>>;
template <class T>
constexpr auto kLanes = static_cast<std::int64_t>(HWY_LANES(T));

// The sums of M places by N vectors, begun with the bias.
template <class T, int M, int N>
HWY_INLINE void Begin(const RowProduct<T>& job, Vec<T> (&sum)[M][N]) {
  const Lanes<T> d;
#pragma GCC unroll 2
  for (int n = 0; n < N; ++n) {
    const Vec<T> start = job.bias == nullptr ? hn::Zero(d) : hn::LoadU(d, job.bias + n * kLanes<T>);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) sum[m][n] = start;
  }
}

// Writes them to the places from `place` on.
template <class T, int M, int N>
HWY_INLINE void End(const RowProduct<T>& job, int place, Vec<T> (&sum)[M][N]) {
  const Lanes<T> d;
  T* out = job.out + place * job.out_step;
  if (HWY_UNLIKELY(job.epilogue != nullptr)) {
    const Bounds<Lanes<T>> bounds(d, *job.epilogue);
    const T* residual =
        job.epilogue->residual == nullptr ? nullptr : residual_of<T>(*job.epilogue, out);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
      for (int n = 0; n < N; ++n) {
        if (residual != nullptr)
          sum[m][n] = hn::Add(sum[m][n], hn::LoadU(d, residual + m * job.out_step + n * kLanes<T>));
        sum[m][n] = bounds(sum[m][n]);
      }
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m, out += job.out_step) {
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n) hn::StoreU(sum[m][n], d, out + n * kLanes<T>);
  }
}

template <class T, int M, int N>
void Tile(const RowProduct<T>& job, int place) {
  const Lanes<T> d;
  constexpr int kPointers = (M + kShare - 1) / kShare;
  Vec<T> sum[M][N];
  Begin(job, sum);
  const std::int64_t step = job.place_step;
  const std::int64_t step3 = 3 * step;
  // Volatile keeps it in memory: out of vector registers, where reading it back would wait for the
  // multiplications.
  const RowProduct<T>* volatile kept = &job;
  for (std::int64_t r = 0; r < kept->row_count; ++r) {
    const T* HWY_RESTRICT weights =
        kept->weights + kept->row_taps[r] * kept->taps * kept->reduced * (N * kLanes<T>);
    const T* row = kept->rows[r] + place * step;
    for (int tap = 0; tap < kept->taps; ++tap, row += kept->tap_step) {
      const T* HWY_RESTRICT from[kPointers];
#pragma GCC unroll 4
      for (int i = 0; i < kPointers; ++i) from[i] = row + i * kShare * step;
      for (const T* const end = row + kept->reduced; from[0] < end; weights += N * kLanes<T>) {
        Vec<T> weight[N];
#pragma GCC unroll 2
        for (int n = 0; n < N; ++n) weight[n] = hn::Load(d, weights + n * kLanes<T>);
#pragma GCC unroll 16
        for (int m = 0; m < M; ++m) {
          const std::int64_t offset = m % kShare == 3 ? step3 : m % kShare * step;
          const Vec<T> value = hn::Set(d, from[m / kShare][offset]);
#pragma GCC unroll 2
          for (int n = 0; n < N; ++n) sum[m][n] = hn::MulAdd(value, weight[n], sum[m][n]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < kPointers; ++i) ++from[i];
      }
    }
  }
  End(*kept, place, sum);
}

// The same for kJoined taps of neighbouring cells, V vectors long, with S cells between places: a
// cell is broadcast once for all places that read it, at a distance that the compiler knows.
template <class T, int M, int S, int V>
void JoinedTile(const RowProduct<T>& job, int place) {
  const Lanes<T> d;
  constexpr std::int64_t kCell = V * kLanes<T>;
  constexpr int kCells = (M - 1) * S + kJoined;
  const bool flipped = job.tap_step < 0;
  Vec<T> sum[M][1];
  Begin(job, sum);
  for (std::int64_t r = 0; r < job.row_count; ++r) {
    const T* HWY_RESTRICT weights =
        job.weights + job.row_taps[r] * kJoined * kCell * kLanes<T> +
        (flipped ? (kJoined - 1) * kCell * kLanes<T> : 0);  // of the lowest cell
    const std::int64_t weight_step = (flipped ? -1 : 1) * kCell * kLanes<T>;
    const T* HWY_RESTRICT from =
        job.rows[r] + place * S * kCell + (flipped ? (kJoined - 1) * job.tap_step : 0);
    for (const T* const end = from + kCell; from < end; ++from, weights += kLanes<T>) {
      Vec<T> weight[kJoined];
#pragma GCC unroll 3
      for (int k = 0; k < kJoined; ++k) weight[k] = hn::Load(d, weights + k * weight_step);
#pragma GCC unroll 32
      for (int i = 0; i < kCells; ++i) {
        const Vec<T> value = hn::Set(d, from[i * kCell]);
#pragma GCC unroll 3
        for (int k = i % S; k < kJoined; k += S) {
          const int m = (i - k) / S;
          if (k <= i && m < M) sum[m][0] = hn::MulAdd(value, weight[k], sum[m][0]);
        }
      }
    }
  }
  End(job, place, sum);
}

// Calls tile(place) for places that cover the row. The last tile is moved back to end with the row:
// it computes some places again, to the same bits.
template <int M, class F>
HWY_INLINE void ForTiles(int places, const F& tile) {
  for (int place = 0; place < places; place += M) tile(HWY_MIN(place, places - M));
}

template <int M, class T>
void Tiles(const RowProduct<T>& job) {
  const bool one = job.block == static_cast<int>(kLanes<T>);
  ForTiles<M>(job.places, [&](int place) {
    if (one) {
      Tile<T, M, 1>(job, place);
    } else {
      Tile<T, M, 2>(job, place);
    }
  });
}

template <int M, class T>
void JoinedTiles(const RowProduct<T>& job) {
  const bool two = job.reduced > kLanes<T>;
  const bool apart = job.place_step > job.reduced;
  ForTiles<M>(job.places, [&](int place) {
    if (apart) {
      two ? JoinedTile<T, M, 2, 2>(job, place) : JoinedTile<T, M, 2, 1>(job, place);
    } else {
      two ? JoinedTile<T, M, 1, 2>(job, place) : JoinedTile<T, M, 1, 1>(job, place);
    }
  });
}

// Whether taps read neighbouring cells, one or two from place to place, so that they share loads; a
// block of two vectors has fewer loads than multiplications anyway.
template <class T>
bool Joins(const RowProduct<T>& job) {
  return job.block == static_cast<int>(kLanes<T>) && job.taps == kJoined &&
         (job.tap_step == job.reduced || job.tap_step == -job.reduced) &&
         (job.place_step == job.reduced || job.place_step == 2 * job.reduced);
}

template <class T>
void RunRowProduct(const RowProduct<T>& job) {
  const auto computed = [&](int height) { return (job.places + height - 1) / height * height; };
  const auto suits = [&](int height) {
    return job.places >= height && computed(height) <= computed(kMiddle) + kMiddle / 2;
  };
  if (Joins(job) && suits(kJoinedTall)) return JoinedTiles<kJoinedTall>(job);
  if (suits(kTall)) return Tiles<kTall>(job);
  if (job.places >= kMiddle) return Tiles<kMiddle>(job);
  if (job.places >= 2) return Tiles<2>(job);
  Tiles<1>(job);
}

// The vectors of P parts by V of each cell.
template <int P, int V, class T>
void Copy(const CopyCells<T>& job) {
  const Lanes<T> d;
  const T* HWY_RESTRICT from = job.from;
  T* HWY_RESTRICT to = job.to;
  for (std::int64_t cell = 0; cell < job.cells; ++cell, from += job.from_step, to += job.values) {
#pragma GCC unroll 2
    for (int part = 0; part < P; ++part) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v)
        hn::Store(hn::LoadU(d, from + part * job.values + v * kLanes<T>), d,
                  to + part * job.part_step + v * kLanes<T>);
    }
  }
}

template <class T>
void RunCopyCells(const CopyCells<T>& job) {
  const std::int64_t vectors = job.values / kLanes<T>;
  if (job.parts == 1 && vectors == 2) return Copy<1, 2>(job);
  if (job.parts == 1 && vectors == 4) return Copy<1, 4>(job);
  if (job.parts == 2 && vectors == 1) return Copy<2, 1>(job);
  if (job.parts == 2 && vectors == 2) return Copy<2, 2>(job);
  CopyCells<T> column = job;
  for (std::int64_t part = 0; part < job.parts; ++part) {
    for (std::int64_t v = 0; v < vectors; ++v) {
      column.from = job.from + part * job.values + v * kLanes<T>;
      column.to = job.to + part * job.part_step + v * kLanes<T>;
      Copy<1, 1>(column);
    }
  }
}

void CopyCells32(const CopyCells<float>& job) {
  RunCopyCells(job);
}
void CopyCells64(const CopyCells<double>& job) {
  RunCopyCells(job);
}
void RowProduct32(const RowProduct<float>& job) {
  RunRowProduct(job);
}
void RowProduct64(const RowProduct<double>& job) {
  RunRowProduct(job);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {
namespace {
HWY_EXPORT(RowProduct32);
HWY_EXPORT(RowProduct64);
HWY_EXPORT(CopyCells32);
HWY_EXPORT(CopyCells64);
}  // namespace

template <>
void row_product(const RowProduct<float>& job) {
  HWY_DYNAMIC_DISPATCH(RowProduct32)(job);
}
template <>
void row_product(const RowProduct<double>& job) {
  HWY_DYNAMIC_DISPATCH(RowProduct64)(job);
}
template <>
void copy_cells(const CopyCells<float>& job) {
  HWY_DYNAMIC_DISPATCH(CopyCells32)(job);
}
template <>
void copy_cells(const CopyCells<double>& job) {
  HWY_DYNAMIC_DISPATCH(CopyCells64)(job);
}

}  // namespace fovea::kernels
#endif
