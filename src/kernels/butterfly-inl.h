// Complex vectors, and the butterflies of the Fourier transform: u[k] = sum over l of
// e^(-2 pi i k l / radix) u[l]. Included once per SIMD target.
#if defined(FOVEA_KERNELS_BUTTERFLY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_KERNELS_BUTTERFLY_INL_H_
#undef FOVEA_KERNELS_BUTTERFLY_INL_H_
#else
#define FOVEA_KERNELS_BUTTERFLY_INL_H_
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class V>
struct Complex {
  V re, im;
};

template <class V>
HWY_INLINE Complex<V> operator+(const Complex<V>& a, const Complex<V>& b) {
  return {hn::Add(a.re, b.re), hn::Add(a.im, b.im)};
}
template <class V>
HWY_INLINE Complex<V> operator-(const Complex<V>& a, const Complex<V>& b) {
  return {hn::Sub(a.re, b.re), hn::Sub(a.im, b.im)};
}
// -i a
template <class V>
HWY_INLINE Complex<V> turned(const Complex<V>& a) {
  return {a.im, hn::Neg(a.re)};
}
template <class V>
HWY_INLINE Complex<V> operator*(const Complex<V>& a, const Complex<V>& b) {
  return {hn::MulSub(a.re, b.re, hn::Mul(a.im, b.im)), hn::MulAdd(a.re, b.im, hn::Mul(a.im, b.re))};
}
// a + x b with a real x
template <class V>
HWY_INLINE Complex<V> add_scaled(const Complex<V>& a, V x, const Complex<V>& b) {
  return {hn::MulAdd(x, b.re, a.re), hn::MulAdd(x, b.im, a.im)};
}

template <class D, class V>
HWY_INLINE void butterfly(D, Complex<V> (&u)[2]) {
  const Complex<V> difference = u[0] - u[1];
  u[0] = u[0] + u[1];
  u[1] = difference;
}

template <class D, class V>
HWY_INLINE void butterfly(D d, Complex<V> (&u)[3]) {
  using T = hn::TFromD<D>;
  constexpr double kSin60 = 0.86602540378443864676;
  const V sin60 = hn::Set(d, static_cast<T>(kSin60));
  const Complex<V> sum = u[1] + u[2];
  const Complex<V> difference = u[1] - u[2];
  const Complex<V> side =
      turned(Complex<V>{hn::Mul(sin60, difference.re), hn::Mul(sin60, difference.im)});
  const Complex<V> middle = add_scaled(u[0], hn::Set(d, static_cast<T>(-0.5)), sum);
  u[0] = u[0] + sum;
  u[1] = middle + side;
  u[2] = middle - side;
}

template <class D, class V>
HWY_INLINE void butterfly(D, Complex<V> (&u)[4]) {
  const Complex<V> even_sum = u[0] + u[2];
  const Complex<V> even_difference = u[0] - u[2];
  const Complex<V> odd_sum = u[1] + u[3];
  const Complex<V> odd_difference = turned(u[1] - u[3]);
  u[0] = even_sum + odd_sum;
  u[1] = even_difference + odd_difference;
  u[2] = even_sum - odd_sum;
  u[3] = even_difference - odd_difference;
}

template <class D, class V>
HWY_INLINE void butterfly(D d, Complex<V> (&u)[5]) {
  using T = hn::TFromD<D>;
  const V cos72 = hn::Set(d, static_cast<T>(0.30901699437494742410));
  const V cos144 = hn::Set(d, static_cast<T>(-0.80901699437494742410));
  const V sin72 = hn::Set(d, static_cast<T>(0.95105651629515357212));
  const V sin144 = hn::Set(d, static_cast<T>(0.58778525229247312917));
  const Complex<V> zero{hn::Zero(d), hn::Zero(d)};
  const Complex<V> outer_sum = u[1] + u[4];
  const Complex<V> inner_sum = u[2] + u[3];
  const Complex<V> outer = u[1] - u[4];
  const Complex<V> inner = u[2] - u[3];
  const Complex<V> even1 = add_scaled(add_scaled(u[0], cos72, outer_sum), cos144, inner_sum);
  const Complex<V> even2 = add_scaled(add_scaled(u[0], cos144, outer_sum), cos72, inner_sum);
  const Complex<V> odd1 = turned(add_scaled(add_scaled(zero, sin72, outer), sin144, inner));
  const Complex<V> odd2 =
      turned(add_scaled(add_scaled(zero, sin144, outer), hn::Neg(sin72), inner));
  u[0] = u[0] + outer_sum + inner_sum;
  u[1] = even1 + odd1;
  u[2] = even2 + odd2;
  u[3] = even2 - odd2;
  u[4] = even1 - odd1;
}

template <class D, class V>
HWY_INLINE void butterfly(D d, Complex<V> (&u)[8]) {
  using T = hn::TFromD<D>;
  const V half_root = hn::Set(d, static_cast<T>(0.70710678118654752440));
  Complex<V> even[4] = {u[0], u[2], u[4], u[6]};
  Complex<V> odd[4] = {u[1], u[3], u[5], u[7]};
  butterfly(d, even);
  butterfly(d, odd);
  // Times e^(-2 pi i k / 8).
  odd[1] = {hn::Mul(half_root, hn::Add(odd[1].re, odd[1].im)),
            hn::Mul(half_root, hn::Sub(odd[1].im, odd[1].re))};
  odd[2] = turned(odd[2]);
  odd[3] = {hn::Mul(half_root, hn::Sub(odd[3].im, odd[3].re)),
            hn::Neg(hn::Mul(half_root, hn::Add(odd[3].im, odd[3].re)))};
  for (int k = 0; k < 4; ++k) {
    u[k] = even[k] + odd[k];
    u[k + 4] = even[k] - odd[k];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();
#endif
