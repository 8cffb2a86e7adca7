// Four vectors of outputs stay in registers while the taps pass by; the rest goes vector by vector.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/correlate.cpp"
#include "kernels/correlate.h"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/lanes-inl.h"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

template <class T>
void correlate_row_of(const T* x, const T* w, std::int64_t taps, T* y, std::int64_t count) {
  const hn::ScalableTag<T> full;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(full));
  std::int64_t p = 0;
  for (; p + 4 * lanes <= count; p += 4 * lanes) {
    auto sum0 = hn::LoadU(full, y + p);
    auto sum1 = hn::LoadU(full, y + p + lanes);
    auto sum2 = hn::LoadU(full, y + p + 2 * lanes);
    auto sum3 = hn::LoadU(full, y + p + 3 * lanes);
    for (std::int64_t j = 0; j < taps; ++j) {
      const auto weight = hn::Set(full, w[j]);
      const T* from = x + p + j;
      sum0 = hn::MulAdd(weight, hn::LoadU(full, from), sum0);
      sum1 = hn::MulAdd(weight, hn::LoadU(full, from + lanes), sum1);
      sum2 = hn::MulAdd(weight, hn::LoadU(full, from + 2 * lanes), sum2);
      sum3 = hn::MulAdd(weight, hn::LoadU(full, from + 3 * lanes), sum3);
    }
    hn::StoreU(sum0, full, y + p);
    hn::StoreU(sum1, full, y + p + lanes);
    hn::StoreU(sum2, full, y + p + 2 * lanes);
    hn::StoreU(sum3, full, y + p + 3 * lanes);
  }
  for_lanes<T>(static_cast<std::size_t>(p), static_cast<std::size_t>(count),
               [&](auto d, std::size_t at) {
                 auto sum = hn::LoadU(d, y + at);
                 for (std::int64_t j = 0; j < taps; ++j) {
                   sum = hn::MulAdd(hn::Set(d, w[j]), hn::LoadU(d, x + at + j), sum);
                 }
                 hn::StoreU(sum, d, y + at);
               });
}

void CorrelateRowF32(const float* x, const float* w, std::int64_t taps, float* y,
                     std::int64_t count) {
  correlate_row_of(x, w, taps, y, count);
}
void CorrelateRowF64(const double* x, const double* w, std::int64_t taps, double* y,
                     std::int64_t count) {
  correlate_row_of(x, w, taps, y, count);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(CorrelateRowF32);
HWY_EXPORT(CorrelateRowF64);

void correlate_row(const float* x, const float* w, std::int64_t taps, float* y,
                   std::int64_t count) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(CorrelateRowF32)(x, w, taps, y, count);
}

void correlate_row(const double* x, const double* w, std::int64_t taps, double* y,
                   std::int64_t count) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(CorrelateRowF64)(x, w, taps, y, count);
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
