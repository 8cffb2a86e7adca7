// A matrix per position: products with it, with its transpose, and its gradient.
//
// Four rows of weights are taken at a time, so that each patch value is loaded once for four
// products. Every sum is added up in an order that follows from the sizes and the vector width
// alone.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/local_product.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include <algorithm>

#include "hwy/highway.h"
#include "kernels/lanes-inl.h"
#include "kernels/local_product.h"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr std::int64_t kRows = 4;  // of weights, together

// Calls body(first, count) with count a constant of 4 for whole blocks of rows, then 1 for each
// left.
template <class Body>
HWY_INLINE void for_rows(std::int64_t rows, const Body& body) {
  std::int64_t o = 0;
  for (; o + kRows <= rows; o += kRows) body(o, std::integral_constant<std::int64_t, kRows>());
  for (; o < rows; ++o) body(o, std::integral_constant<std::int64_t, 1>());
}

// y[o], ..., y[o + kCount - 1] of kSamples samples.
template <std::int64_t kCount, std::int64_t kSamples, class T>
HWY_INLINE void dot(std::int64_t values, RowsOf<const T> x, const T* weights, RowsOf<T> y) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  hn::Vec<decltype(d)> sums[kSamples][kCount];
  for (auto& of_sample : sums) {
    for (auto& sum : of_sample) sum = hn::Zero(d);
  }
  std::int64_t j = 0;
  for (; j + lanes <= values; j += lanes) {
    hn::Vec<decltype(d)> w[kCount];
    for (std::int64_t i = 0; i < kCount; ++i) w[i] = hn::LoadU(d, weights + i * values + j);
    for (std::int64_t n = 0; n < kSamples; ++n) {
      const auto value = hn::LoadU(d, x.row(n) + j);
      for (std::int64_t i = 0; i < kCount; ++i) sums[n][i] = hn::MulAdd(w[i], value, sums[n][i]);
    }
  }
  for (std::int64_t n = 0; n < kSamples; ++n) {
    for (std::int64_t i = 0; i < kCount; ++i) {
      T total = hn::GetLane(hn::SumOfLanes(d, sums[n][i]));
      for (std::int64_t k = j; k < values; ++k) total += weights[i * values + k] * x.row(n)[k];
      y.row(n)[i] = total;
    }
  }
}

template <class T>
HWY_INLINE void forward(const LocalSizes& sizes, RowsOf<const T> x, const T* weights, RowsOf<T> y) {
  constexpr std::int64_t kSamples = 4;
  for_rows(sizes.outputs, [&](std::int64_t o, auto count) HWY_ATTR {
    constexpr std::int64_t kCount = decltype(count)::value;
    const T* rows = weights + o * sizes.values;
    const auto from = [&](std::int64_t n) { return RowsOf<const T>{x.row(n), x.stride}; };
    const auto to = [&](std::int64_t n) { return RowsOf<T>{y.row(n) + o, y.stride}; };
    std::int64_t n = 0;
    for (; n + kSamples <= sizes.samples; n += kSamples)
      dot<kCount, kSamples>(sizes.values, from(n), rows, to(n));
    for (; n < sizes.samples; ++n) dot<kCount, 1>(sizes.values, from(n), rows, to(n));
  });
}

template <class T>
HWY_INLINE void values_gradient(const LocalSizes& sizes, RowsOf<const T> y, const T* weights,
                                RowsOf<T> x) {
  for (std::int64_t n = 0; n < sizes.samples; ++n) std::fill_n(x.row(n), sizes.values, T(0));
  for_rows(sizes.outputs, [&](std::int64_t o, auto count) HWY_ATTR {
    constexpr std::int64_t kCount = decltype(count)::value;
    const T* rows = weights + o * sizes.values;
    for_lanes<T>(0, static_cast<std::size_t>(sizes.values), [&](auto d, std::size_t j) HWY_ATTR {
      hn::Vec<decltype(d)> w[kCount];
      for (std::int64_t i = 0; i < kCount; ++i) w[i] = hn::LoadU(d, rows + i * sizes.values + j);
      for (std::int64_t n = 0; n < sizes.samples; ++n) {
        T* to = x.row(n) + j;
        const T* factor = y.row(n) + o;
        auto sum = hn::LoadU(d, to);
        for (std::int64_t i = 0; i < kCount; ++i)
          sum = hn::MulAdd(hn::Set(d, factor[i]), w[i], sum);
        hn::StoreU(sum, d, to);
      }
    });
  });
}

template <class T>
HWY_INLINE void weights_gradient(const LocalSizes& sizes, RowsOf<const T> x, RowsOf<const T> y,
                                 T* weights) {
  for_rows(sizes.outputs, [&](std::int64_t o, auto count) HWY_ATTR {
    constexpr std::int64_t kCount = decltype(count)::value;
    T* rows = weights + o * sizes.values;
    for_lanes<T>(0, static_cast<std::size_t>(sizes.values), [&](auto d, std::size_t j) HWY_ATTR {
      hn::Vec<decltype(d)> sums[kCount];
      for (auto& sum : sums) sum = hn::Zero(d);
      for (std::int64_t n = 0; n < sizes.samples; ++n) {
        const auto value = hn::LoadU(d, x.row(n) + j);
        const T* factor = y.row(n) + o;
        for (std::int64_t i = 0; i < kCount; ++i)
          sums[i] = hn::MulAdd(hn::Set(d, factor[i]), value, sums[i]);
      }
      for (std::int64_t i = 0; i < kCount; ++i) hn::StoreU(sums[i], d, rows + i * sizes.values + j);
    });
  });
}

void ForwardF32(const LocalSizes& sizes, RowsOf<const float> x, const float* weights,
                RowsOf<float> y) {
  forward(sizes, x, weights, y);
}
void ForwardF64(const LocalSizes& sizes, RowsOf<const double> x, const double* weights,
                RowsOf<double> y) {
  forward(sizes, x, weights, y);
}
void ValuesF32(const LocalSizes& sizes, RowsOf<const float> y, const float* weights,
               RowsOf<float> x) {
  values_gradient(sizes, y, weights, x);
}
void ValuesF64(const LocalSizes& sizes, RowsOf<const double> y, const double* weights,
               RowsOf<double> x) {
  values_gradient(sizes, y, weights, x);
}
void WeightsF32(const LocalSizes& sizes, RowsOf<const float> x, RowsOf<const float> y,
                float* weights) {
  weights_gradient(sizes, x, y, weights);
}
void WeightsF64(const LocalSizes& sizes, RowsOf<const double> x, RowsOf<const double> y,
                double* weights) {
  weights_gradient(sizes, x, y, weights);
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(ForwardF32);
HWY_EXPORT(ForwardF64);
HWY_EXPORT(ValuesF32);
HWY_EXPORT(ValuesF64);
HWY_EXPORT(WeightsF32);
HWY_EXPORT(WeightsF64);

template <>
void local_product(const LocalSizes& sizes, RowsOf<const float> x, const float* weights,
                   RowsOf<float> y) {
  HWY_DYNAMIC_DISPATCH(ForwardF32)(sizes, x, weights, y);
}
template <>
void local_product(const LocalSizes& sizes, RowsOf<const double> x, const double* weights,
                   RowsOf<double> y) {
  HWY_DYNAMIC_DISPATCH(ForwardF64)(sizes, x, weights, y);
}
template <>
void local_product_values(const LocalSizes& sizes, RowsOf<const float> y, const float* weights,
                          RowsOf<float> x) {
  HWY_DYNAMIC_DISPATCH(ValuesF32)(sizes, y, weights, x);
}
template <>
void local_product_values(const LocalSizes& sizes, RowsOf<const double> y, const double* weights,
                          RowsOf<double> x) {
  HWY_DYNAMIC_DISPATCH(ValuesF64)(sizes, y, weights, x);
}
template <>
void local_product_weights(const LocalSizes& sizes, RowsOf<const float> x, RowsOf<const float> y,
                           float* weights) {
  HWY_DYNAMIC_DISPATCH(WeightsF32)(sizes, x, y, weights);
}
template <>
void local_product_weights(const LocalSizes& sizes, RowsOf<const double> x, RowsOf<const double> y,
                           double* weights) {
  HWY_DYNAMIC_DISPATCH(WeightsF64)(sizes, x, y, weights);
}

}  // namespace fovea::kernels
#endif
