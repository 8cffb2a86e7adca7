// Pairs of results along a row, once per SIMD target.
//
// As in kernels/row_product.cpp, a tile stays in registers for the whole reduction. Here a cell is
// broadcast once for the three results that it counts for, so the multipliers are the limit and not
// the loads.
#include "kernels/row_pairs.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/row_pairs.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/registers.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// The sums, three weights and a broadcast must fit the registers.
#if FOVEA_MANY_REGISTERS
constexpr int kTall = 7;
#else
constexpr int kTall = 5;
#endif

// M pairs from `pair` on, and one vector of results. Cells are V vectors long.
template <class T, int M, int V>
void Tile(const RowPairs<T>& job, std::int64_t pair, std::int64_t column) {
  const hn::ScalableTag<T> d;
  using Vec = hn::Vec<hn::ScalableTag<T>>;
  constexpr std::int64_t kCell = V * static_cast<std::int64_t>(HWY_LANES(T));
  Vec sum[M][2];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) sum[m][0] = sum[m][1] = hn::Zero(d);
  const std::int64_t block = job.block;
  for (std::int64_t r = 0; r < job.row_count; ++r) {
    const T* HWY_RESTRICT from = job.rows[r] + pair * kCell;
    const T* HWY_RESTRICT middle = job.middle + job.row_taps[r] * kCell * block + column;
    const T* HWY_RESTRICT sides = job.sides + job.row_taps[r] * 2 * kCell * block + column;
    for (const T* const end = from + kCell; from < end; ++from, middle += block, sides += block) {
      const Vec weight0 = hn::Load(d, sides);
      const Vec weight1 = hn::Load(d, middle);
      const Vec weight2 = hn::Load(d, sides + kCell * block);
#pragma GCC unroll 8
      for (int m = 0; m <= M; ++m) {
        const Vec cell = hn::Set(d, from[m * kCell]);
        if (m > 0) sum[m - 1][1] = hn::MulAdd(cell, weight0, sum[m - 1][1]);
        if (m == M) break;
        sum[m][0] = hn::MulAdd(cell, weight1, sum[m][0]);
        sum[m][1] = hn::MulAdd(cell, weight2, sum[m][1]);
      }
    }
  }
  const std::int64_t first = 2 * pair - job.first;
  const std::int64_t last = job.last - job.first;
  T* const out = job.out + column;
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const std::int64_t result = first + 2 * m + i;
      if (result >= 0 && result < last) hn::StoreU(sum[m][i], d, out + result * job.out_step);
    }
  }
}

// The last tile is moved back to end with the row: it computes some pairs again, to the same bits.
template <int M, int V, class T>
void Tiles(const RowPairs<T>& job) {
  for (std::int64_t pair = 0; pair < job.pairs; pair += M) {
    for (std::int64_t column = 0; column < job.block;
         column += static_cast<std::int64_t>(HWY_LANES(T)))
      Tile<T, M, V>(job, HWY_MIN(pair, job.pairs - M), column);
  }
}

template <int V, class T>
void RowOfPairs(const RowPairs<T>& job) {
  if (job.pairs >= kTall) return Tiles<kTall, V>(job);
  if (job.pairs >= 4) return Tiles<4, V>(job);
  if (job.pairs >= 2) return Tiles<2, V>(job);
  Tiles<1, V>(job);
}

template <class T>
void RunRowPairs(const RowPairs<T>& job) {
  if (job.reduced == static_cast<std::int64_t>(HWY_LANES(T))) return RowOfPairs<1>(job);
  RowOfPairs<2>(job);
}

void RowPairs32(const RowPairs<float>& job) {
  RunRowPairs(job);
}
void RowPairs64(const RowPairs<double>& job) {
  RunRowPairs(job);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {
namespace {
HWY_EXPORT(RowPairs32);
HWY_EXPORT(RowPairs64);
}  // namespace

template <>
void row_pairs(const RowPairs<float>& job) {
  HWY_DYNAMIC_DISPATCH(RowPairs32)(job);
}
template <>
void row_pairs(const RowPairs<double>& job) {
  HWY_DYNAMIC_DISPATCH(RowPairs64)(job);
}

}  // namespace fovea::kernels
#endif
