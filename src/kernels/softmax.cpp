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
#include <type_traits>

#include "hwy/highway.h"
#include "kernels/exponential-inl.h"
#include "kernels/lanes-inl.h"
#include "kernels/simd.h"
#include "kernels/softmax.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Highway's logarithm turns NaN into a number.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V log_or_nan(D d, V x) {
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Log(d, x));
}

// The sum of term(d, i) over a row.
template <class T, class Term>
HWY_INLINE T sum_row(std::size_t size, const Term& term) {
  T total = 0;
  const hn::ScalableTag<T> d;
  const std::size_t lanes = hn::Lanes(d);
  const std::size_t whole = size / lanes * lanes;
  if (whole > 0) {
    auto sums = hn::Zero(d);
    for (std::size_t i = 0; i < whole; i += lanes) sums = hn::Add(sums, term(d, i));
    total = hn::GetLane(hn::SumOfLanes(d, sums));
  }
  for_lanes<T>(whole, size, [&](auto tail, std::size_t i) HWY_ATTR {
    total += hn::GetLane(hn::SumOfLanes(tail, term(tail, i)));
  });
  return total;
}

template <class T>
HWY_INLINE T max_row(std::size_t size, const T* x) {
  const hn::ScalableTag<T> d;
  const std::size_t lanes = hn::Lanes(d);
  const std::size_t whole = size / lanes * lanes;
  T highest = -std::numeric_limits<T>::infinity();
  if (whole > 0) {
    auto best = hn::LoadU(d, x);
    for (std::size_t i = lanes; i < whole; i += lanes) best = hn::Max(best, hn::LoadU(d, x + i));
    highest = hn::GetLane(hn::MaxOfLanes(d, best));
  }
  for_lanes<T>(whole, size, [&](auto tail, std::size_t i) HWY_ATTR {
    highest = std::max(highest, hn::GetLane(hn::MaxOfLanes(tail, hn::LoadU(tail, x + i))));
  });
  return highest;
}

// kRows columns, one behind the other, of kVectors whole vectors each, all in registers: what waits
// for a maximum or a sum over lanes waits for those of all rows together.
template <bool kLogarithm, std::size_t kRows, std::size_t kVectors, class T>
HWY_INLINE void softmax_vectors(const T* x, T* y) {
  const hn::ScalableTag<T> d;
  const std::size_t lanes = hn::Lanes(d);
  using V = hn::Vec<decltype(d)>;
  V values[kRows][kVectors];
  V highest[kRows];
  for (std::size_t row = 0; row < kRows; ++row) {
    for (std::size_t v = 0; v < kVectors; ++v)
      values[row][v] = hn::LoadU(d, x + (row * kVectors + v) * lanes);
    highest[row] = values[row][0];
    for (std::size_t v = 1; v < kVectors; ++v) highest[row] = hn::Max(highest[row], values[row][v]);
  }
  for (V& each : highest) each = hn::MaxOfLanes(d, each);
  V sums[kRows];
  for (std::size_t row = 0; row < kRows; ++row) {
    V powers[kVectors];
    set_each(powers, [&](auto v) HWY_ATTR { return hn::Sub(values[row][v], highest[row]); });
    if (kLogarithm) set_each(values[row], [&](auto v) HWY_ATTR { return powers[v]; });
    exponentials_up_to_one(d, powers);
    sums[row] = powers[0];
    for (std::size_t v = 1; v < kVectors; ++v) sums[row] = hn::Add(sums[row], powers[v]);
    if (!kLogarithm) set_each(values[row], [&](auto v) HWY_ATTR { return powers[v]; });
  }
  for (V& each : sums) each = hn::SumOfLanes(d, each);
  // Row r's total in lane r.
  V total = sums[0];
  for (std::size_t row = 1; row < kRows; ++row)
    total = hn::IfThenElse(hn::FirstN(d, row), total, sums[row]);
  total = kLogarithm ? log_or_nan(d, total) : hn::Div(hn::Set(d, T{1}), total);
  HWY_ALIGN T totals[hn::MaxLanes(d)];
  hn::Store(total, d, totals);
  for (std::size_t row = 0; row < kRows; ++row) {
    const V last = hn::Set(d, totals[row]);
    for (std::size_t v = 0; v < kVectors; ++v) {
      const V value = values[row][v];
      hn::StoreU(kLogarithm ? hn::Sub(value, last) : hn::Mul(value, last), d,
                 y + (row * kVectors + v) * lanes);
    }
  }
}

// A column whose elements are neighbours.
template <class T>
HWY_INLINE void softmax_row(std::size_t size, bool logarithm, const T* x, T* y) {
  const T highest = max_row(size, x);
  const auto shifted = [&](auto d, std::size_t i)
                           HWY_ATTR { return hn::Sub(hn::LoadU(d, x + i), hn::Set(d, highest)); };
  const T sum = sum_row<T>(size, [&](auto d, std::size_t i) HWY_ATTR {
    const auto value = exponential_in_range(d, shifted(d, i));
    if (!logarithm) hn::StoreU(value, d, y + i);
    return value;
  });
  if (logarithm) {
    const T log_sum = std::log(sum);
    for_lanes<T>(0, size, [&](auto d, std::size_t i) HWY_ATTR {
      hn::StoreU(hn::Sub(shifted(d, i), hn::Set(d, log_sum)), d, y + i);
    });
    return;
  }
  const T inverse = 1 / sum;
  for_lanes<T>(0, size, [&](auto d, std::size_t i) HWY_ATTR {
    hn::StoreU(hn::Mul(hn::LoadU(d, y + i), hn::Set(d, inverse)), d, y + i);
  });
}

// What is summed over a column, and then the gradient.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V gradient_term(bool logarithm, V g, V y) {
  return logarithm ? g : hn::Mul(g, y);
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V gradient_of(D d, bool logarithm, V g, V y, V sum) {
  return logarithm ? hn::NegMulAdd(exponential_in_range(d, y), sum, g)
                   : hn::Mul(y, hn::Sub(g, sum));
}

template <class T>
HWY_INLINE void gradient_row(std::size_t size, bool logarithm, const T* g, const T* y, T* dx) {
  const T sum = sum_row<T>(size, [&](auto d, std::size_t i) HWY_ATTR {
    return gradient_term<decltype(d)>(logarithm, hn::LoadU(d, g + i), hn::LoadU(d, y + i));
  });
  for_lanes<T>(0, size, [&](auto d, std::size_t i) HWY_ATTR {
    hn::StoreU(gradient_of(d, logarithm, hn::LoadU(d, g + i), hn::LoadU(d, y + i), hn::Set(d, sum)),
               d, dx + i);
  });
}

template <class D, class T = hn::TFromD<D>>
HWY_INLINE void gradient_lanes(D d, const SoftmaxShape& shape, bool logarithm, const T* g,
                               const T* y, T* dx) {
  auto sum = hn::Zero(d);
  for (std::int64_t k = 0; k < shape.size * shape.inner; k += shape.inner) {
    sum = hn::Add(sum, gradient_term<D>(logarithm, hn::LoadU(d, g + k), hn::LoadU(d, y + k)));
  }
  for (std::int64_t k = 0; k < shape.size * shape.inner; k += shape.inner) {
    hn::StoreU(gradient_of(d, logarithm, hn::LoadU(d, g + k), hn::LoadU(d, y + k), sum), d, dx + k);
  }
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
    const auto value = exponential_in_range(d, hn::Sub(hn::LoadU(d, x + k * shape.inner), highest));
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

// Calls row(start) for each column whose elements are neighbours, and else lanes(d, start) for
// columns side by side.
template <class T, class Row, class Lanes>
HWY_INLINE void for_each_column(const SoftmaxShape& shape, std::int64_t first, std::int64_t last,
                                const Row& row, const Lanes& lanes) {
  if (shape.inner == 1) {
    for (std::int64_t column = first; column < last; ++column) row(column * shape.size);
    return;
  }
  for (std::int64_t column = first; column < last;) {
    const std::int64_t outer = column / shape.inner;
    const std::int64_t begin = column % shape.inner;
    const std::int64_t end = std::min(shape.inner, begin + last - column);
    const std::int64_t start = outer * shape.size * shape.inner;
    for_lanes<T>(static_cast<std::size_t>(begin), static_cast<std::size_t>(end),
                 [&](auto d, std::size_t i)
                     HWY_ATTR { lanes(d, start + static_cast<std::int64_t>(i)); });
    column += end - begin;
  }
}

template <std::size_t kVectors, class T>
HWY_INLINE void softmax_in_registers(bool logarithm, std::int64_t first, std::int64_t last,
                                     const T* x, T* y) {
  constexpr std::size_t kRows = HWY_TARGET <= HWY_AVX3 ? 8 / kVectors : 1;
  constexpr auto kStep = static_cast<std::int64_t>(kRows);
  const auto size = static_cast<std::int64_t>(kVectors * hn::Lanes(hn::ScalableTag<T>()));
  const auto rows_of = [&](auto rows, std::int64_t at) HWY_ATTR {
    if (logarithm) {
      softmax_vectors<true, rows(), kVectors>(x + at * size, y + at * size);
    } else {
      softmax_vectors<false, rows(), kVectors>(x + at * size, y + at * size);
    }
  };
  for (; first + kStep <= last; first += kStep)
    rows_of(std::integral_constant<std::size_t, kRows>(), first);
  // In the same way, so that a row's bits do not depend on its place.
  for (; first < last; ++first) rows_of(std::integral_constant<std::size_t, 1>(), first);
}

// Columns of neighbours that fill a few vectors; false where these are not such.
template <class T>
HWY_INLINE bool softmax_short_rows(const SoftmaxShape& shape, bool logarithm, std::int64_t first,
                                   std::int64_t last, const T* x, T* y) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(hn::ScalableTag<T>()));
  if (shape.inner != 1) return false;
  if (shape.size == lanes) {
    softmax_in_registers<1>(logarithm, first, last, x, y);
  } else if (shape.size == 2 * lanes) {
    softmax_in_registers<2>(logarithm, first, last, x, y);
  } else if (shape.size == 4 * lanes) {
    softmax_in_registers<4>(logarithm, first, last, x, y);
  } else {
    return false;
  }
  return true;
}

template <class T>
HWY_INLINE void softmax_columns(const SoftmaxShape& shape, bool logarithm, std::int64_t first,
                                std::int64_t last, const T* x, T* y) {
  const auto size = static_cast<std::size_t>(shape.size);
  if (softmax_short_rows(shape, logarithm, first, last, x, y)) return;
  for_each_column<T>(
      shape, first, last,
      [&](std::int64_t at) HWY_ATTR { softmax_row(size, logarithm, x + at, y + at); },
      [&](auto d, std::int64_t at)
          HWY_ATTR { softmax_lanes(d, shape, logarithm, x + at, y + at); });
}

template <class T>
HWY_INLINE void gradient_columns(const SoftmaxShape& shape, bool logarithm, std::int64_t first,
                                 std::int64_t last, const T* g, const T* y, T* dx) {
  const auto size = static_cast<std::size_t>(shape.size);
  for_each_column<T>(
      shape, first, last,
      [&](std::int64_t at) HWY_ATTR { gradient_row(size, logarithm, g + at, y + at, dx + at); },
      [&](auto d, std::int64_t at)
          HWY_ATTR { gradient_lanes(d, shape, logarithm, g + at, y + at, dx + at); });
}

void SoftmaxF32(const SoftmaxShape& shape, bool logarithm, std::int64_t first, std::int64_t last,
                const float* x, float* y) {
  softmax_columns(shape, logarithm, first, last, x, y);
}
void SoftmaxF64(const SoftmaxShape& shape, bool logarithm, std::int64_t first, std::int64_t last,
                const double* x, double* y) {
  softmax_columns(shape, logarithm, first, last, x, y);
}
void SoftmaxBackwardF32(const SoftmaxShape& shape, bool logarithm, std::int64_t first,
                        std::int64_t last, const float* g, const float* y, float* dx) {
  gradient_columns(shape, logarithm, first, last, g, y, dx);
}
void SoftmaxBackwardF64(const SoftmaxShape& shape, bool logarithm, std::int64_t first,
                        std::int64_t last, const double* g, const double* y, double* dx) {
  gradient_columns(shape, logarithm, first, last, g, y, dx);
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(SoftmaxF32);
HWY_EXPORT(SoftmaxF64);
HWY_EXPORT(SoftmaxBackwardF32);
HWY_EXPORT(SoftmaxBackwardF64);

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
template <>
void softmax_backward(const SoftmaxShape& shape, bool logarithm, std::int64_t first,
                      std::int64_t last, const float* g, const float* y, float* dx) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(SoftmaxBackwardF32)(shape, logarithm, first, last, g, y, dx);
}
template <>
void softmax_backward(const SoftmaxShape& shape, bool logarithm, std::int64_t first,
                      std::int64_t last, const double* g, const double* y, double* dx) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(SoftmaxBackwardF64)(shape, logarithm, first, last, g, y, dx);
}

}  // namespace fovea::kernels
#endif
