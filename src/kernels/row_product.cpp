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

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// The sums, weights and a broadcast must fit the registers.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_ARCH_ARM_A64
constexpr int kTall = 14;
constexpr int kMiddle = 7;
#else
constexpr int kTall = 6;
constexpr int kMiddle = 4;
#endif
constexpr int kShare = 4;  // places that a pointer serves

template <class T, int M, int N>
void Tile(const RowProduct<T>& job, int place) {
  const hn::ScalableTag<T> d;
  using D = hn::ScalableTag<T>;
  using V = hn::Vec<D>;
  constexpr auto kLanes = static_cast<std::int64_t>(HWY_LANES(T));
  constexpr int kPointers = (M + kShare - 1) / kShare;
  V sum[M][N];
#pragma GCC unroll 2
  for (int n = 0; n < N; ++n) {
    const V start = job.bias == nullptr ? hn::Zero(d) : hn::LoadU(d, job.bias + n * kLanes);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) sum[m][n] = start;
  }
  const std::int64_t step = job.place_step;
  const std::int64_t step3 = 3 * step;
  // Volatile keeps it in memory: out of vector registers, where reading it back would wait for the
  // multiplications.
  const RowProduct<T>* volatile kept = &job;
  for (std::int64_t r = 0; r < kept->row_count; ++r) {
    const T* HWY_RESTRICT weights =
        kept->weights + kept->row_taps[r] * kept->taps * kept->reduced * (N * kLanes);
    const T* row = kept->rows[r] + place * step;
    for (int tap = 0; tap < kept->taps; ++tap, row += kept->tap_step) {
      const T* HWY_RESTRICT from[kPointers];
#pragma GCC unroll 4
      for (int i = 0; i < kPointers; ++i) from[i] = row + i * kShare * step;
      for (const T* const end = row + kept->reduced; from[0] < end; weights += N * kLanes) {
        V weight[N];
#pragma GCC unroll 2
        for (int n = 0; n < N; ++n) weight[n] = hn::Load(d, weights + n * kLanes);
#pragma GCC unroll 16
        for (int m = 0; m < M; ++m) {
          const std::int64_t offset = m % kShare == 3 ? step3 : m % kShare * step;
          const V value = hn::Set(d, from[m / kShare][offset]);
#pragma GCC unroll 2
          for (int n = 0; n < N; ++n) sum[m][n] = hn::MulAdd(value, weight[n], sum[m][n]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < kPointers; ++i) ++from[i];
      }
    }
  }
  const RowProduct<T>& same = *kept;
  T* out = same.out + place * same.out_step;
  if (HWY_UNLIKELY(same.epilogue != nullptr)) {
    const Bounds<D> bounds(d, *same.epilogue);
    const T* residual =
        same.epilogue->residual == nullptr ? nullptr : residual_of<T>(*same.epilogue, out);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
      for (int n = 0; n < N; ++n) {
        if (residual != nullptr)
          sum[m][n] = hn::Add(sum[m][n], hn::LoadU(d, residual + m * same.out_step + n * kLanes));
        sum[m][n] = bounds(sum[m][n]);
      }
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m, out += same.out_step) {
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n) hn::StoreU(sum[m][n], d, out + n * kLanes);
  }
}

// The last tile is moved back to end with the row: it computes some places again, to the same bits.
template <int M, class T>
void Tiles(const RowProduct<T>& job) {
  const bool one = job.block == static_cast<int>(HWY_LANES(T));
  for (int place = 0; place < job.places; place += M) {
    const int first = HWY_MIN(place, job.places - M);
    if (one) {
      Tile<T, M, 1>(job, first);
    } else {
      Tile<T, M, 2>(job, first);
    }
  }
}

template <class T>
void RunRowProduct(const RowProduct<T>& job) {
  const auto computed = [&](int height) { return (job.places + height - 1) / height * height; };
  if (job.places >= kTall && computed(kTall) <= computed(kMiddle) + kMiddle / 2)
    return Tiles<kTall>(job);
  if (job.places >= kMiddle) return Tiles<kMiddle>(job);
  if (job.places >= 2) return Tiles<2>(job);
  Tiles<1>(job);
}

template <class T>
void RunCopyCells(const CopyCells<T>& job) {
  const hn::ScalableTag<T> d;
  constexpr auto kLanes = static_cast<std::int64_t>(HWY_LANES(T));
  const T* HWY_RESTRICT from = job.from;
  T* HWY_RESTRICT to = job.to;
  for (std::int64_t cell = 0; cell < job.cells; ++cell, from += job.from_step, to += job.values) {
    for (std::int64_t part = 0; part < job.parts; ++part) {
      for (std::int64_t i = 0; i < job.values; i += kLanes)
        hn::Store(hn::LoadU(d, from + part * job.values + i), d, to + part * job.part_step + i);
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
