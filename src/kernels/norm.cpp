// Sums for means and variances, and the loops that apply them.
//
// A few elements are added up in T before their sum goes on in double: the result is as good as
// rounded a handful of times, whatever the length, at the speed of memory. Differences from a
// pivot, which is one of the values, keep the sum of squares from cancelling.
#include "kernels/norm.h"

#include <cstddef>
#include <type_traits>

#include "kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/epilogue-inl.h"
#include "kernels/lanes-inl.h"
#include "kernels/stream-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {

using Wide = hn::ScalableTag<double>;

// Calls use(part, i) for the elements of `value` from i on, as many as there are doubles in a
// vector, converted to double.
template <class Use>
HWY_INLINE void for_wide(hn::ScalableTag<double>, hn::Vec<Wide> value, const Use& use) {
  use(value, std::size_t{0});
}
template <class Use>
HWY_INLINE void for_wide(hn::ScalableTag<float> d, hn::Vec<hn::ScalableTag<float>> value,
                         const Use& use) {
  const Wide wide;
  const hn::Half<decltype(d)> half;
  use(hn::PromoteTo(wide, hn::LowerHalf(half, value)), std::size_t{0});
  use(hn::PromoteTo(wide, hn::UpperHalf(half, value)), hn::Lanes(wide));
}

// target[0 .. lanes) += value
template <class D, class V>
HWY_INLINE void add_wide(D d, V value, double* target) {
  const Wide wide;
  for_wide(d, value, [&](auto part, std::size_t i) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(wide, target + i), part), wide, target + i);
  });
}

template <class D, class V>
HWY_INLINE double total(D d, V value) {
  const Wide wide;
  auto sum = hn::Zero(wide);
  for_wide(d, value, [&](auto part, std::size_t) HWY_ATTR { sum = hn::Add(sum, part); });
  return hn::GetLane(hn::SumOfLanes(wide, sum));
}

constexpr std::int64_t kRows = 8;  // whose terms are added up in T

// The two sums of terms(d, row, column, a, b) over each column.
template <class T, class Terms>
HWY_INLINE void add_columns(const NormRows& shape, double* first, double* second,
                            const Terms& terms) {
  const hn::ScalableTag<T> d;
  const hn::CappedTag<T, 1> one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t row = 0; row < shape.rows; row += kRows) {
    const std::int64_t end = HWY_MIN(row + kRows, shape.rows);
    std::int64_t column = 0;
    for (; column + lanes <= shape.columns; column += lanes) {
      auto a = hn::Zero(d);
      auto b = hn::Zero(d);
      for (std::int64_t r = row; r < end; ++r) terms(d, r, column, a, b);
      add_wide(d, a, first + column);
      add_wide(d, b, second + column);
    }
    for (; column < shape.columns; ++column) {
      auto a = hn::Zero(one);
      auto b = hn::Zero(one);
      for (std::int64_t r = row; r < end; ++r) terms(one, r, column, a, b);
      first[column] += static_cast<double>(hn::GetLane(a));
      second[column] += static_cast<double>(hn::GetLane(b));
    }
  }
}

template <class T>
void moments_of_columns(const NormRows& shape, const T* x, const T* pivot, double* sums,
                        double* squares) {
  add_columns<T>(
      shape, sums, squares,
      [&](auto d, std::int64_t row, std::int64_t column, auto& sum, auto& square) HWY_ATTR {
        const std::int64_t at = row * shape.columns + column;
        const auto difference = hn::Sub(hn::LoadU(d, x + at), hn::LoadU(d, pivot + column));
        sum = hn::Add(sum, difference);
        square = hn::MulAdd(difference, difference, square);
      });
}

template <class T>
void products_of_columns(const NormRows& shape, const T* g, const T* x, const T* mean, double* sums,
                         double* products) {
  add_columns<T>(
      shape, sums, products,
      [&](auto d, std::int64_t row, std::int64_t column, auto& sum, auto& product) HWY_ATTR {
        const std::int64_t at = row * shape.columns + column;
        const auto gradient = hn::LoadU(d, g + at);
        const auto difference = hn::Sub(hn::LoadU(d, x + at), hn::LoadU(d, mean + column));
        sum = hn::Add(sum, gradient);
        product = hn::MulAdd(gradient, difference, product);
      });
}

template <class T>
void products_of_passed(const NormRows& shape, const T* g, const T* x, const T* mean,
                        const Passed<T>& through, double* sums, double* products) {
  add_columns<T>(
      shape, sums, products,
      [&](auto d, std::int64_t row, std::int64_t column, auto& sum, auto& product) HWY_ATTR {
        const std::int64_t at = row * shape.columns + column;
        const auto y = hn::LoadU(d, through.y + at);
        const auto inside =
            hn::And(hn::Gt(y, hn::Set(d, through.low)), hn::Lt(y, hn::Set(d, through.high)));
        const auto gradient = hn::IfThenElseZero(inside, hn::LoadU(d, g + at));
        hn::StoreU(gradient, d, through.passed + at);
        const auto difference = hn::Sub(hn::LoadU(d, x + at), hn::LoadU(d, mean + column));
        sum = hn::Add(sum, gradient);
        product = hn::MulAdd(gradient, difference, product);
      });
}

constexpr std::int64_t kTogether = 4;  // rows that share the loads of what belongs to a column

// Calls body(d, column, first row, last row) for all of them.
template <class T, class Body>
HWY_INLINE void for_columns(const NormRows& shape, const Body& body) {
  for (std::int64_t row = 0; row < shape.rows; row += kTogether) {
    const std::int64_t end = HWY_MIN(row + kTogether, shape.rows);
    for_lanes<T>(0, static_cast<std::size_t>(shape.columns), [&](auto d, std::size_t c) HWY_ATTR {
      body(d, static_cast<std::int64_t>(c), row, end);
    });
  }
}

template <class T>
void columns_normalized(const NormRows& shape, const T* x, const T* mean, const T* scale,
                        const T* shift, const Epilogue<T>& epilogue, T* y) {
  const T* residual = epilogue.residual == nullptr ? nullptr : residual_of(epilogue, y);
  for_columns<T>(shape,
                 [&](auto d, std::int64_t c, std::int64_t first, std::int64_t last) HWY_ATTR {
                   const Bounds<decltype(d)> bounds(d, epilogue);
                   const auto centre = hn::LoadU(d, mean + c);
                   const auto factor = hn::LoadU(d, scale + c);
                   const auto offset = hn::LoadU(d, shift + c);
                   for (std::int64_t at = first * shape.columns + c; at < last * shape.columns;
                        at += shape.columns) {
                     const auto difference = hn::Sub(hn::LoadU(d, x + at), centre);
                     auto value = hn::MulAdd(difference, factor, offset);
                     if (residual != nullptr) value = hn::Add(value, hn::LoadU(d, residual + at));
                     hn::StoreU(bounds(value), d, y + at);
                   }
                 });
}

template <bool kStreamed, class T>
HWY_INLINE void columns_differentiated_to(const NormRows& shape, const T* g, const T* x,
                                          const T* mean, const T* a, const T* b, const T* shift,
                                          T* dx) {
  for_columns<T>(shape,
                 [&](auto d, std::int64_t c, std::int64_t first, std::int64_t last) HWY_ATTR {
                   const auto centre = hn::LoadU(d, mean + c);
                   const auto direct = hn::LoadU(d, a + c);
                   const auto factor = hn::LoadU(d, b + c);
                   const auto offset = hn::LoadU(d, shift + c);
                   for (std::int64_t at = first * shape.columns + c; at < last * shape.columns;
                        at += shape.columns) {
                     const auto difference = hn::Sub(hn::LoadU(d, x + at), centre);
                     const auto along = hn::MulAdd(difference, factor, offset);
                     put<kStreamed>(d, hn::MulAdd(hn::LoadU(d, g + at), direct, along), dx + at);
                   }
                 });
}

template <class T>
void columns_differentiated(const NormRows& shape, const T* g, const T* x, const T* mean,
                            const T* a, const T* b, const T* shift, bool streamed, T* dx) {
  if (streamed) return columns_differentiated_to<true>(shape, g, x, mean, a, b, shift, dx);
  columns_differentiated_to<false>(shape, g, x, mean, a, b, shift, dx);
}

// The two sums of terms(d, place, a, b) over a row, in blocks of a few vectors.
template <class T, class Terms>
HWY_INLINE RowSums add_row(std::int64_t count, const Terms& terms) {
  const hn::ScalableTag<T> d;
  const hn::CappedTag<T, 1> one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  RowSums sums;
  std::int64_t i = 0;
  while (i + lanes <= count) {
    const std::int64_t end = HWY_MIN(i + 4 * kRows * lanes, count);
    auto a0 = hn::Zero(d);
    auto b0 = hn::Zero(d);
    auto a1 = hn::Zero(d);
    auto b1 = hn::Zero(d);
    for (; i + 2 * lanes <= end; i += 2 * lanes) {
      terms(d, i, a0, b0);
      terms(d, i + lanes, a1, b1);
    }
    for (; i + lanes <= end; i += lanes) terms(d, i, a0, b0);
    sums.first += total(d, hn::Add(a0, a1));
    sums.second += total(d, hn::Add(b0, b1));
  }
  auto a = hn::Zero(one);
  auto b = hn::Zero(one);
  for (; i < count; ++i) terms(one, i, a, b);
  sums.first += static_cast<double>(hn::GetLane(a));
  sums.second += static_cast<double>(hn::GetLane(b));
  return sums;
}

template <class T>
RowSums moments_of_row(std::int64_t count, const T* x, T pivot) {
  return add_row<T>(count, [&](auto d, std::int64_t i, auto& sum, auto& square) HWY_ATTR {
    const auto difference = hn::Sub(hn::LoadU(d, x + i), hn::Set(d, pivot));
    sum = hn::Add(sum, difference);
    square = hn::MulAdd(difference, difference, square);
  });
}

// g w; the template spares a load per vector where there is no w.
template <class T>
struct Weighted {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, std::int64_t i) const {
    return hn::Mul(hn::LoadU(d, g + i), hn::LoadU(d, w + i));
  }
  const T* g;
  const T* w;
};
template <class T>
struct Unweighted {
  template <class D>
  HWY_INLINE hn::Vec<D> operator()(D d, std::int64_t i) const {
    return hn::LoadU(d, g + i);
  }
  const T* g;
};

template <class T, class Gradient>
RowSums products_with(std::int64_t count, const Gradient& gradient_at, const T* x, T mean) {
  return add_row<T>(count, [&](auto d, std::int64_t i, auto& sum, auto& product) HWY_ATTR {
    const auto gradient = gradient_at(d, i);
    sum = hn::Add(sum, gradient);
    product = hn::MulAdd(gradient, hn::Sub(hn::LoadU(d, x + i), hn::Set(d, mean)), product);
  });
}

template <class T>
RowSums products_of_row(std::int64_t count, const T* g, const T* x, const T* w, T mean) {
  return w == nullptr ? products_with(count, Unweighted<T>{g}, x, mean)
                      : products_with(count, Weighted<T>{g, w}, x, mean);
}

template <class T>
void row_normalized(std::int64_t count, const T* x, T mean, T inverse, const T* w, const T* b,
                    T* y) {
  if (w == nullptr && b == nullptr) {
    for_lanes<T>(0, static_cast<std::size_t>(count), [&](auto d, std::size_t c) HWY_ATTR {
      const auto difference = hn::Sub(hn::LoadU(d, x + c), hn::Set(d, mean));
      hn::StoreU(hn::Mul(difference, hn::Set(d, inverse)), d, y + c);
    });
    return;
  }
  for_lanes<T>(0, static_cast<std::size_t>(count), [&](auto d, std::size_t c) HWY_ATTR {
    const auto difference = hn::Sub(hn::LoadU(d, x + c), hn::Set(d, mean));
    const auto scale = hn::Mul(hn::LoadU(d, w + c), hn::Set(d, inverse));
    hn::StoreU(hn::MulAdd(difference, scale, hn::LoadU(d, b + c)), d, y + c);
  });
}

template <class T, class Gradient>
void differentiated_with(std::int64_t count, const Gradient& gradient_at, const T* x, T mean, T a,
                         T b, T shift, T* dx) {
  for_lanes<T>(0, static_cast<std::size_t>(count), [&](auto d, std::size_t c) HWY_ATTR {
    const auto difference = hn::Sub(hn::LoadU(d, x + c), hn::Set(d, mean));
    const auto along = hn::MulAdd(difference, hn::Set(d, b), hn::Set(d, shift));
    const auto gradient = gradient_at(d, static_cast<std::int64_t>(c));
    hn::StoreU(hn::MulAdd(gradient, hn::Set(d, a), along), d, dx + c);
  });
}

template <class T>
void row_differentiated(std::int64_t count, const T* g, const T* x, const T* w, T mean, T a, T b,
                        T shift, T* dx) {
  if (w == nullptr) return differentiated_with(count, Unweighted<T>{g}, x, mean, a, b, shift, dx);
  differentiated_with(count, Weighted<T>{g, w}, x, mean, a, b, shift, dx);
}

template <class T>
void gradients_of_weights(const NormRows& shape, std::int64_t stride, const T* g, const T* x,
                          const T* mean, const T* inverse, double* sums, double* products) {
  add_columns<T>(
      shape, sums, products,
      [&](auto d, std::int64_t row, std::int64_t column, auto& sum, auto& product) HWY_ATTR {
        const std::int64_t at = row * stride + column;
        const auto gradient = hn::LoadU(d, g + at);
        const auto difference = hn::Sub(hn::LoadU(d, x + at), hn::Set(d, mean[row]));
        sum = hn::Add(sum, gradient);
        product = hn::MulAdd(gradient, hn::Mul(difference, hn::Set(d, inverse[row])), product);
      });
}

// One name per type: HWY_EXPORT takes no templates.
#define FOVEA_NORM_KERNELS(Suffix, T)                                                              \
  void ColumnMoments##Suffix(const NormRows& shape, const T* x, const T* pivot, double* sums,      \
                             double* squares) {                                                    \
    moments_of_columns(shape, x, pivot, sums, squares);                                            \
  }                                                                                                \
  void ColumnProducts##Suffix(const NormRows& shape, const T* g, const T* x, const T* mean,        \
                              double* sums, double* products) {                                    \
    products_of_columns(shape, g, x, mean, sums, products);                                        \
  }                                                                                                \
  void PassedProducts##Suffix(const NormRows& shape, const T* g, const T* x, const T* mean,        \
                              const Passed<T>& through, double* sums, double* products) {          \
    products_of_passed(shape, g, x, mean, through, sums, products);                                \
  }                                                                                                \
  void NormalizeColumns##Suffix(const NormRows& shape, const T* x, const T* mean, const T* scale,  \
                                const T* shift, const Epilogue<T>& epilogue, T* y) {               \
    columns_normalized(shape, x, mean, scale, shift, epilogue, y);                                 \
  }                                                                                                \
  void GradientColumns##Suffix(const NormRows& shape, const T* g, const T* x, const T* mean,       \
                               const T* a, const T* b, const T* d, bool streamed, T* dx) {         \
    columns_differentiated(shape, g, x, mean, a, b, d, streamed, dx);                              \
  }                                                                                                \
  RowSums RowMoments##Suffix(std::int64_t count, const T* x, T pivot) {                            \
    return moments_of_row(count, x, pivot);                                                        \
  }                                                                                                \
  RowSums RowProducts##Suffix(std::int64_t count, const T* g, const T* x, const T* w, T mean) {    \
    return products_of_row(count, g, x, w, mean);                                                  \
  }                                                                                                \
  void NormalizeRow##Suffix(std::int64_t count, const T* x, T mean, T inverse, const T* w,         \
                            const T* b, T* y) {                                                    \
    row_normalized(count, x, mean, inverse, w, b, y);                                              \
  }                                                                                                \
  void GradientRow##Suffix(std::int64_t count, const T* g, const T* x, const T* w, T mean, T a,    \
                           T b, T d, T* dx) {                                                      \
    row_differentiated(count, g, x, w, mean, a, b, d, dx);                                         \
  }                                                                                                \
  void WeightGradients##Suffix(const NormRows& shape, std::int64_t stride, const T* g, const T* x, \
                               const T* mean, const T* inverse, double* sums, double* products) {  \
    gradients_of_weights(shape, stride, g, x, mean, inverse, sums, products);                      \
  }
FOVEA_NORM_KERNELS(F32, float)
FOVEA_NORM_KERNELS(F64, double)
#undef FOVEA_NORM_KERNELS

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

#define FOVEA_NORM_DISPATCH(Suffix, T)                                                             \
  HWY_EXPORT(ColumnMoments##Suffix);                                                               \
  HWY_EXPORT(ColumnProducts##Suffix);                                                              \
  HWY_EXPORT(PassedProducts##Suffix);                                                              \
  HWY_EXPORT(NormalizeColumns##Suffix);                                                            \
  HWY_EXPORT(GradientColumns##Suffix);                                                             \
  HWY_EXPORT(RowMoments##Suffix);                                                                  \
  HWY_EXPORT(RowProducts##Suffix);                                                                 \
  HWY_EXPORT(NormalizeRow##Suffix);                                                                \
  HWY_EXPORT(GradientRow##Suffix);                                                                 \
  HWY_EXPORT(WeightGradients##Suffix);                                                             \
  template <>                                                                                      \
  void column_moments(const NormRows& shape, const T* x, const T* pivot, double* sums,             \
                      double* squares) {                                                           \
    detect_simd();                                                                                 \
    HWY_DYNAMIC_DISPATCH(ColumnMoments##Suffix)(shape, x, pivot, sums, squares);                   \
  }                                                                                                \
  template <>                                                                                      \
  void column_products(const NormRows& shape, const T* g, const T* x, const T* mean, double* sums, \
                       double* products) {                                                         \
    detect_simd();                                                                                 \
    HWY_DYNAMIC_DISPATCH(ColumnProducts##Suffix)(shape, g, x, mean, sums, products);               \
  }                                                                                                \
  template <>                                                                                      \
  void passed_products(const NormRows& shape, const T* g, const T* x, const T* mean,               \
                       const Passed<T>& through, double* sums, double* products) {                 \
    detect_simd();                                                                                 \
    HWY_DYNAMIC_DISPATCH(PassedProducts##Suffix)(shape, g, x, mean, through, sums, products);      \
  }                                                                                                \
  template <>                                                                                      \
  void normalize_columns(const NormRows& shape, const T* x, const T* mean, const T* scale,         \
                         const T* shift, const Epilogue<T>& epilogue, T* y) {                      \
    detect_simd();                                                                                 \
    HWY_DYNAMIC_DISPATCH(NormalizeColumns##Suffix)(shape, x, mean, scale, shift, epilogue, y);     \
  }                                                                                                \
  template <>                                                                                      \
  void gradient_columns(const NormRows& shape, const T* g, const T* x, const T* mean, const T* a,  \
                        const T* b, const T* d, bool streamed, T* dx) {                            \
    detect_simd();                                                                                 \
    HWY_DYNAMIC_DISPATCH(GradientColumns##Suffix)(shape, g, x, mean, a, b, d, streamed, dx);       \
  }                                                                                                \
  template <>                                                                                      \
  RowSums row_moments(std::int64_t count, const T* x, T pivot) {                                   \
    detect_simd();                                                                                 \
    return HWY_DYNAMIC_DISPATCH(RowMoments##Suffix)(count, x, pivot);                              \
  }                                                                                                \
  template <>                                                                                      \
  RowSums row_products(std::int64_t count, const T* g, const T* x, const T* w, T mean) {           \
    detect_simd();                                                                                 \
    return HWY_DYNAMIC_DISPATCH(RowProducts##Suffix)(count, g, x, w, mean);                        \
  }                                                                                                \
  void normalize_row(std::int64_t count, const T* x, T mean, T inverse, const T* w, const T* b,    \
                     T* y) {                                                                       \
    detect_simd();                                                                                 \
    HWY_DYNAMIC_DISPATCH(NormalizeRow##Suffix)(count, x, mean, inverse, w, b, y);                  \
  }                                                                                                \
  void gradient_row(std::int64_t count, const T* g, const T* x, const T* w, T mean, T a, T b, T d, \
                    T* dx) {                                                                       \
    detect_simd();                                                                                 \
    HWY_DYNAMIC_DISPATCH(GradientRow##Suffix)(count, g, x, w, mean, a, b, d, dx);                  \
  }                                                                                                \
  template <>                                                                                      \
  void weight_gradients(const NormRows& shape, std::int64_t stride, const T* g, const T* x,        \
                        const T* mean, const T* inverse, double* sums, double* products) {         \
    detect_simd();                                                                                 \
    HWY_DYNAMIC_DISPATCH(WeightGradients##Suffix)                                                  \
    (shape, stride, g, x, mean, inverse, sums, products);                                          \
  }
FOVEA_NORM_DISPATCH(F32, float)
FOVEA_NORM_DISPATCH(F64, double)
#undef FOVEA_NORM_DISPATCH

}  // namespace fovea::kernels
#endif  // HWY_ONCE
