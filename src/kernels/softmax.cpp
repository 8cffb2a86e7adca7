// Softmax loops: along the axis where it is contiguous, else over neighbouring columns, one per
// lane.
//
// After the maximum is subtracted every exponent is at most zero, so nothing overflows and the sum
// is at least one.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/softmax.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include <algorithm>
#include <cmath>
#include <limits>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"
#include "kernels/lanes-inl.h"
#include "kernels/simd.h"
#include "kernels/softmax.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Highway's functions turn NaN into a number.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_or_nan(D d, V x) {
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(d, x));
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V log_or_nan(D d, V x) {
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Log(d, x));
}

template <class T>
HWY_INLINE T sum_exp_row(std::size_t size, T highest, const T* x) {
  T total = 0;
  const hn::ScalableTag<T> d;
  const std::size_t lanes = hn::Lanes(d);
  const std::size_t whole = size / lanes * lanes;
  if (whole > 0) {
    auto sums = hn::Zero(d);
    for (std::size_t i = 0; i < whole; i += lanes) {
      sums = hn::Add(sums, exp_or_nan(d, hn::Sub(hn::LoadU(d, x + i), hn::Set(d, highest))));
    }
    total = hn::GetLane(hn::SumOfLanes(d, sums));
  }
  for_lanes<T>(whole, size, [&](auto tail, std::size_t i) HWY_ATTR {
    const auto value = exp_or_nan(tail, hn::Sub(hn::LoadU(tail, x + i), hn::Set(tail, highest)));
    total += hn::GetLane(hn::SumOfLanes(tail, value));
  });
  return total;
}

// A column whose elements are neighbours.
template <class T>
HWY_INLINE void softmax_row(std::size_t size, bool logarithm, const T* x, T* y) {
  T highest = -std::numeric_limits<T>::infinity();
  for_lanes<T>(0, size, [&](auto d, std::size_t i) HWY_ATTR {
    highest = std::max(highest, hn::GetLane(hn::MaxOfLanes(d, hn::LoadU(d, x + i))));
  });
  const T sum = sum_exp_row(size, highest, x);
  const T log_sum = std::log(sum);
  for_lanes<T>(0, size, [&](auto d, std::size_t i) HWY_ATTR {
    const auto value = hn::Sub(hn::LoadU(d, x + i), hn::Set(d, highest));
    const auto result = logarithm ? hn::Sub(value, hn::Set(d, log_sum))
                                  : hn::Div(exp_or_nan(d, value), hn::Set(d, sum));
    hn::StoreU(result, d, y + i);
  });
}

// Neighbouring columns, one per lane, whose elements lie `inner` apart.
template <class D, class T = hn::TFromD<D>>
HWY_INLINE void softmax_lanes(D d, const SoftmaxShape& shape, bool logarithm, const T* x, T* y) {
  auto highest = hn::LoadU(d, x);
  for (std::int64_t k = 1; k < shape.size; ++k) {
    highest = hn::Max(highest, hn::LoadU(d, x + k * shape.inner));
  }
  auto sum = hn::Zero(d);
  for (std::int64_t k = 0; k < shape.size; ++k) {
    const auto value = exp_or_nan(d, hn::Sub(hn::LoadU(d, x + k * shape.inner), highest));
    sum = hn::Add(sum, value);
    hn::StoreU(value, d, y + k * shape.inner);
  }
  const auto log_sum = log_or_nan(d, sum);
  for (std::int64_t k = 0; k < shape.size; ++k) {
    const T* in = x + k * shape.inner;
    T* out = y + k * shape.inner;
    const auto result = logarithm ? hn::Sub(hn::Sub(hn::LoadU(d, in), highest), log_sum)
                                  : hn::Div(hn::LoadU(d, out), sum);
    hn::StoreU(result, d, out);
  }
}

template <class T>
HWY_INLINE void softmax_columns(const SoftmaxShape& shape, bool logarithm, std::int64_t first,
                                std::int64_t last, const T* x, T* y) {
  if (shape.inner == 1) {
    for (std::int64_t row = first; row < last; ++row) {
      const std::int64_t start = row * shape.size;
      softmax_row(static_cast<std::size_t>(shape.size), logarithm, x + start, y + start);
    }
    return;
  }
  for (std::int64_t column = first; column < last;) {
    const std::int64_t outer = column / shape.inner;
    const std::int64_t begin = column % shape.inner;
    const std::int64_t end = std::min(shape.inner, begin + last - column);
    const std::int64_t start = outer * shape.size * shape.inner;
    for_lanes<T>(static_cast<std::size_t>(begin), static_cast<std::size_t>(end),
                 [&](auto d, std::size_t i) HWY_ATTR {
                   softmax_lanes(d, shape, logarithm, x + start + i, y + start + i);
                 });
    column += end - begin;
  }
}

void SoftmaxF32(const SoftmaxShape& shape, bool logarithm, std::int64_t first, std::int64_t last,
                const float* x, float* y) {
  softmax_columns(shape, logarithm, first, last, x, y);
}
void SoftmaxF64(const SoftmaxShape& shape, bool logarithm, std::int64_t first, std::int64_t last,
                const double* x, double* y) {
  softmax_columns(shape, logarithm, first, last, x, y);
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(SoftmaxF32);
HWY_EXPORT(SoftmaxF64);

template <>
void softmax(const SoftmaxShape& shape, bool logarithm, std::int64_t first, std::int64_t last,
             const float* x, float* y) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(SoftmaxF32)(shape, logarithm, first, last, x, y);
}
template <>
void softmax(const SoftmaxShape& shape, bool logarithm, std::int64_t first, std::int64_t last,
             const double* x, double* y) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(SoftmaxF64)(shape, logarithm, first, last, x, y);
}

}  // namespace fovea::kernels
#endif
