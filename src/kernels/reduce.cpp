// Sums, accumulated in double: a float32 result is as good as rounded once, whatever the length.
//
// The order of additions follows from the shape and the vector width alone.
#include "kernels/reduce.h"

#include <algorithm>
#include <array>
#include <type_traits>

#include "kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/reduce.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Wide = hn::ScalableTag<double>;

// As many elements as there are doubles in a vector, converted to double.
HWY_INLINE hn::Vec<Wide> load_wide(const double* x) {
  return hn::LoadU(Wide(), x);
}
HWY_INLINE hn::Vec<Wide> load_wide(const float* x) {
  return hn::PromoteTo(Wide(), hn::LoadU(hn::Rebind<float, Wide>(), x));
}

template <class T>
double sum_row(const T* HWY_RESTRICT x, std::int64_t count) {
  const Wide d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto sum0 = hn::Zero(d);
  auto sum1 = hn::Zero(d);
  auto sum2 = hn::Zero(d);
  auto sum3 = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    sum0 = hn::Add(sum0, load_wide(x + i));
    sum1 = hn::Add(sum1, load_wide(x + i + lanes));
    sum2 = hn::Add(sum2, load_wide(x + i + 2 * lanes));
    sum3 = hn::Add(sum3, load_wide(x + i + 3 * lanes));
  }
  for (; i + lanes <= count; i += lanes) sum0 = hn::Add(sum0, load_wide(x + i));
  const auto sum = hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3));
  double total = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; i < count; ++i) total += static_cast<double>(x[i]);
  return total;
}

template <class T>
void sum_rows_of(const Rows& shape, const T* x, double* sums) {
  for (std::int64_t r = 0; r < shape.rows; ++r)
    sums[r] += sum_row(x + r * shape.stride, shape.columns);
}

// Four rows per pass over the sums, which halves the traffic of a pass per row and more.
template <class T>
void sum_columns_of(const Rows& shape, const T* HWY_RESTRICT x, double* HWY_RESTRICT sums) {
  const Wide d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t r = 0;
  for (; r + 4 <= shape.rows; r += 4) {
    const T* HWY_RESTRICT x0 = x + r * shape.stride;
    const T* HWY_RESTRICT x1 = x0 + shape.stride;
    const T* HWY_RESTRICT x2 = x1 + shape.stride;
    const T* HWY_RESTRICT x3 = x2 + shape.stride;
    std::int64_t c = 0;
    for (; c + lanes <= shape.columns; c += lanes) {
      const auto sum01 = hn::Add(load_wide(x0 + c), load_wide(x1 + c));
      const auto sum23 = hn::Add(load_wide(x2 + c), load_wide(x3 + c));
      hn::StoreU(hn::Add(hn::LoadU(d, sums + c), hn::Add(sum01, sum23)), d, sums + c);
    }
    for (; c < shape.columns; ++c) {
      sums[c] += (static_cast<double>(x0[c]) + static_cast<double>(x1[c])) +
                 (static_cast<double>(x2[c]) + static_cast<double>(x3[c]));
    }
  }
  for (; r < shape.rows; ++r) {
    const T* HWY_RESTRICT row = x + r * shape.stride;
    std::int64_t c = 0;
    for (; c + lanes <= shape.columns; c += lanes) {
      hn::StoreU(hn::Add(hn::LoadU(d, sums + c), load_wide(row + c)), d, sums + c);
    }
    for (; c < shape.columns; ++c) sums[c] += static_cast<double>(row[c]);
  }
}

// The larger one; once it is NaN it stays so.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V larger(D, V best, V x) {
  return hn::IfThenElse(hn::Or(hn::Gt(x, best), hn::IsNaN(x)), x, best);
}
inline double larger_of(double best, double x) {
  return x > best || x != x ? x : best;
}

// Maxima of T are T: nothing is converted on the way.
template <class T>
void max_rows_of(const Rows& shape, const T* x, double* maxima) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  HWY_ALIGN T parts[hn::MaxLanes(d)];
  for (std::int64_t r = 0; r < shape.rows; ++r) {
    const T* row = x + r * shape.stride;
    auto best0 = hn::Set(d, static_cast<T>(maxima[r]));
    auto best1 = best0;
    auto best2 = best0;
    auto best3 = best0;
    std::int64_t c = 0;
    for (; c + 4 * lanes <= shape.columns; c += 4 * lanes) {
      best0 = larger(d, best0, hn::LoadU(d, row + c));
      best1 = larger(d, best1, hn::LoadU(d, row + c + lanes));
      best2 = larger(d, best2, hn::LoadU(d, row + c + 2 * lanes));
      best3 = larger(d, best3, hn::LoadU(d, row + c + 3 * lanes));
    }
    for (; c + lanes <= shape.columns; c += lanes) best0 = larger(d, best0, hn::LoadU(d, row + c));
    const auto best = larger(d, larger(d, best0, best1), larger(d, best2, best3));
    hn::Store(best, d, parts);
    auto result = static_cast<double>(parts[0]);
    for (std::int64_t i = 1; i < lanes; ++i) {
      result = larger_of(result, static_cast<double>(parts[i]));
    }
    for (; c < shape.columns; ++c) result = larger_of(result, static_cast<double>(row[c]));
    maxima[r] = result;
  }
}

template <class T>
void max_columns_of(const Rows& shape, const T* x, double* maxima) {
  const Wide d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t r = 0; r < shape.rows; ++r) {
    const T* row = x + r * shape.stride;
    std::int64_t c = 0;
    for (; c + lanes <= shape.columns; c += lanes) {
      hn::StoreU(larger(d, hn::LoadU(d, maxima + c), load_wide(row + c)), d, maxima + c);
    }
    for (; c < shape.columns; ++c) {
      maxima[c] = larger_of(maxima[c], static_cast<double>(row[c]));
    }
  }
}

void MaxRowsF32(const Rows& shape, const float* x, double* maxima) {
  max_rows_of(shape, x, maxima);
}
void MaxRowsF64(const Rows& shape, const double* x, double* maxima) {
  max_rows_of(shape, x, maxima);
}
void MaxColumnsF32(const Rows& shape, const float* x, double* maxima) {
  max_columns_of(shape, x, maxima);
}
void MaxColumnsF64(const Rows& shape, const double* x, double* maxima) {
  max_columns_of(shape, x, maxima);
}

void SumRowsF32(const Rows& shape, const float* x, double* sums) {
  sum_rows_of(shape, x, sums);
}
void SumRowsF64(const Rows& shape, const double* x, double* sums) {
  sum_rows_of(shape, x, sums);
}
void SumColumnsF32(const Rows& shape, const float* x, double* sums) {
  sum_columns_of(shape, x, sums);
}
void SumColumnsF64(const Rows& shape, const double* x, double* sums) {
  sum_columns_of(shape, x, sums);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {
namespace {

HWY_EXPORT(SumRowsF32);
HWY_EXPORT(SumRowsF64);
HWY_EXPORT(SumColumnsF32);
HWY_EXPORT(SumColumnsF64);
HWY_EXPORT(MaxRowsF32);
HWY_EXPORT(MaxRowsF64);
HWY_EXPORT(MaxColumnsF32);
HWY_EXPORT(MaxColumnsF64);

constexpr std::int64_t kMergedColumns = 64;

template <class T>
void dispatch_columns(const Rows& shape, const T* x, double* sums) {
  if constexpr (std::is_same_v<T, float>) {
    HWY_DYNAMIC_DISPATCH(SumColumnsF32)(shape, x, sums);
  } else {
    HWY_DYNAMIC_DISPATCH(SumColumnsF64)(shape, x, sums);
  }
}

}  // namespace

template <>
void sum_rows<float>(const Rows& shape, const float* x, double* sums) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(SumRowsF32)(shape, x, sums);
}

template <>
void sum_rows<double>(const Rows& shape, const double* x, double* sums) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(SumRowsF64)(shape, x, sums);
}

// A few channels do not fill a vector: adjacent rows without gaps are taken as one long row, which
// is folded at the end.
template <class T>
void sum_columns(const Rows& shape, const T* x, double* sums) {
  detect_simd();
  const std::int64_t merge = kMergedColumns / std::max<std::int64_t>(shape.columns, 1);
  if (shape.stride != shape.columns || merge < 2 || shape.rows < merge) {
    dispatch_columns(shape, x, sums);
    return;
  }
  std::array<double, kMergedColumns> merged{};
  const std::int64_t columns = merge * shape.columns;
  const std::int64_t rows = shape.rows / merge;
  dispatch_columns({.rows = rows, .columns = columns, .stride = columns}, x, merged.data());
  for (std::int64_t i = 0; i < columns; ++i)
    sums[i % shape.columns] += merged[static_cast<std::size_t>(i)];
  const Rows rest = {
      .rows = shape.rows - rows * merge, .columns = shape.columns, .stride = shape.stride};
  dispatch_columns(rest, x + rows * columns, sums);
}
template void sum_columns<float>(const Rows&, const float*, double*);
template void sum_columns<double>(const Rows&, const double*, double*);

template <>
void max_rows<float>(const Rows& shape, const float* x, double* maxima) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(MaxRowsF32)(shape, x, maxima);
}
template <>
void max_rows<double>(const Rows& shape, const double* x, double* maxima) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(MaxRowsF64)(shape, x, maxima);
}
template <>
void max_columns<float>(const Rows& shape, const float* x, double* maxima) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(MaxColumnsF32)(shape, x, maxima);
}
template <>
void max_columns<double>(const Rows& shape, const double* x, double* maxima) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(MaxColumnsF64)(shape, x, maxima);
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
