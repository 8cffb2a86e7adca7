// Eight rows at a time, each with a vector of sums: enough of them to hide the latency of a
// multiplication, so that loading the matrix is the limit.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/dot.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/dot.h"
#include "kernels/lanes-inl.h"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

template <class T, int R>
HWY_INLINE void dots(const DotRows<T>& job, std::int64_t row) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const T* HWY_RESTRICT matrix = job.matrix + row * job.columns;
  const T* HWY_RESTRICT x = job.x;
  V sum[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) sum[r] = hn::Zero(d);
  std::int64_t k = 0;
  for (; k + lanes <= job.columns; k += lanes) {
    const V value = hn::LoadU(d, x + k);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
      sum[r] = hn::MulAdd(value, hn::LoadU(d, matrix + r * job.columns + k), sum[r]);
  }
#if HWY_TARGET <= HWY_AVX2
  if (k < job.columns) {
    const PartVector<decltype(d)> part{d, hn::FirstN(d, static_cast<std::size_t>(job.columns - k))};
    const V value = part.load(x + k);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
      sum[r] = hn::MulAdd(value, part.load(matrix + r * job.columns + k), sum[r]);
    k = job.columns;
  }
#endif
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    T total = hn::GetLane(hn::SumOfLanes(d, sum[r]));
    for (std::int64_t rest = k; rest < job.columns; ++rest)
      total += matrix[r * job.columns + rest] * x[rest];
    job.out[row + r] = job.start == nullptr ? total : total + job.start[row + r];
  }
}

template <class T>
void all_dots(const DotRows<T>& job) {
  constexpr int kRows = 8;
  std::int64_t row = 0;
  for (; row + kRows <= job.rows; row += kRows) dots<T, kRows>(job, row);
  for (; row < job.rows; ++row) dots<T, 1>(job, row);
}

void DotRowsF32(const DotRows<float>& job) {
  all_dots(job);
}
void DotRowsF64(const DotRows<double>& job) {
  all_dots(job);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {
namespace {
HWY_EXPORT(DotRowsF32);
HWY_EXPORT(DotRowsF64);
}  // namespace

template <>
void dot_rows(const DotRows<float>& job) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(DotRowsF32)(job);
}
template <>
void dot_rows(const DotRows<double>& job) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(DotRowsF64)(job);
}

}  // namespace fovea::kernels
#endif
