// e^x, log x and their relatives for whole vectors. Included once per SIMD target.
//
// float32 has functions of its own, shorter than Highway's: x = n ln 2 + r with |r| <= ln 2 / 2,
// e^r = 1 + r + r^2 q(r) with q a polynomial (interpolated at Chebyshev nodes),
// and 2^n, which AVX-512 multiplies by in one instruction. The largest errors, in units of the last
// place of the result: exponential 1.1, exponential_minus_one 1.2, exponentials_up_to_one 2.2,
// log_one_plus_exponentials 3.9.
// float64 takes Highway's (at most 4) and extends them to infinities and NaN.
#if defined(FOVEA_KERNELS_EXPONENTIAL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_KERNELS_EXPONENTIAL_INL_H_
#undef FOVEA_KERNELS_EXPONENTIAL_INL_H_
#else
#define FOVEA_KERNELS_EXPONENTIAL_INL_H_
#endif

#include <cstddef>
#include <limits>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The sum of coefficients[i] u^i, even and odd powers apart: half as many multiplications wait for
// one another.
template <std::size_t kCount, class D, class T, class V = hn::Vec<D>>
HWY_INLINE V polynomial(D d, V u, const T (&coefficients)[kCount]) {
  static_assert(kCount >= 3);
  const V square = hn::Mul(u, u);
  V high = hn::Set(d, coefficients[kCount - 1]);
  V low = hn::Set(d, coefficients[kCount - 2]);
  for (std::size_t i = kCount - 2; i-- > 0;) {
    const V next = hn::MulAdd(high, square, hn::Set(d, coefficients[i]));
    high = low;
    low = next;
  }
  return hn::MulAdd(high, u, low);
}

#if HWY_TARGET <= HWY_AVX3
template <std::size_t kLanes>
HWY_INLINE hn::Vec128<float, kLanes> times_power_of_two(hn::Vec128<float, kLanes> value,
                                                        hn::Vec128<float, kLanes> n) {
  return hn::Vec128<float, kLanes>{_mm_scalef_ps(value.raw, n.raw)};
}
HWY_INLINE hn::Vec256<float> times_power_of_two(hn::Vec256<float> value, hn::Vec256<float> n) {
  return hn::Vec256<float>{_mm256_scalef_ps(value.raw, n.raw)};
}
HWY_INLINE hn::Vec512<float> times_power_of_two(hn::Vec512<float> value, hn::Vec512<float> n) {
  return hn::Vec512<float>{_mm512_scalef_ps(value.raw, n.raw)};
}
#else
// In two steps, for 2^n itself may lie outside of what a number can be.
template <class V>
HWY_INLINE V times_power_of_two(V value, V n) {
  const hn::DFromV<V> d;
  const hn::RebindToSigned<decltype(d)> di;
  const auto power = [&](auto exponent) HWY_ATTR {
    return hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(exponent, hn::Set(di, 127))));
  };
  const auto whole = hn::ConvertTo(di, n);
  const auto half = hn::ShiftRight<1>(whole);
  return hn::Mul(hn::Mul(value, power(half)), power(hn::Sub(whole, half)));
}
#endif

// x = n ln 2 + r, and e^r - 1.
template <class D, class V = hn::Vec<D>>
struct ReducedExponent {
  HWY_INLINE ReducedExponent(D d, V x) {
    static constexpr float kCoefficients[] = {0.5F, 0.1666657699F, 0.04166655462F, 0.008363179053F,
                                              0.001392618359F};
    n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504F)));
    // ln 2 in two parts, of which the first has so few digits that n times it is exact.
    const V coarse = hn::NegMulAdd(n, hn::Set(d, 0.693145752F), x);
    const V r = hn::NegMulAdd(n, hn::Set(d, 1.42860677e-6F), coarse);
    part = hn::MulAdd(polynomial(d, r, kCoefficients), hn::Mul(r, r), r);
  }
  V n;
  V part;
};

// Smaller and larger of a number and one that may be NaN, which stays so: x86 gives the second
// operand where one is NaN, Arm gives NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V at_least(D d, hn::TFromD<D> low, V x) {
  return hn::Max(hn::Set(d, low), x);
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V at_most(D d, hn::TFromD<D> high, V x) {
  return hn::Min(hn::Set(d, high), x);
}

// e^x for x that is not too large for a number to hold it.
template <class D, class V = hn::Vec<D>, hwy::EnableIf<sizeof(hn::TFromD<D>) == 4>* = nullptr>
HWY_INLINE V exponential_in_range(D d, V x) {
  const ReducedExponent<D> e(d, at_least(d, -110.0F, x));  // below, the result is zero
  return times_power_of_two(hn::Add(e.part, hn::Set(d, 1.0F)), e.n);
}
template <class D, class V = hn::Vec<D>, hwy::EnableIf<sizeof(hn::TFromD<D>) == 8>* = nullptr>
HWY_INLINE V exponential_in_range(D d, V x) {
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(d, x));
}

// e^x for any x.
template <class D, class V = hn::Vec<D>, hwy::EnableIf<sizeof(hn::TFromD<D>) == 4>* = nullptr>
HWY_INLINE V exponential(D d, V x) {
  return exponential_in_range(d, at_most(d, 90.0F, x));  // above, the result is infinite
}
template <class D, class V = hn::Vec<D>, hwy::EnableIf<sizeof(hn::TFromD<D>) == 8>* = nullptr>
HWY_INLINE V exponential(D d, V x) {
  // e^x is infinite from here on; Highway's is right up to a little more.
  const V largest = hn::Set(d, 709.782712893384);
  const V infinity = hn::Set(d, std::numeric_limits<double>::infinity());
  const V y = exponential_in_range(d, at_most(d, 709.782712893384, x));
  return hn::IfThenElse(hn::Gt(x, largest), infinity, y);
}

// log x for any x: minus infinity of zero, NaN below.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V logarithm(D d, V x) {
  using T = hn::TFromD<D>;
  const V infinity = hn::Set(d, std::numeric_limits<T>::infinity());
  const V nan = hn::Set(d, std::numeric_limits<T>::quiet_NaN());
  const V finite = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Neg(infinity), hn::Log(d, x));
  const V y = hn::IfThenElse(hn::Eq(x, infinity), infinity, finite);
  return hn::IfThenElse(hn::Ge(x, hn::Zero(d)), y, nan);  // NaN compares false
}

// x^a = e^(a log x) for x >= 0 and a other than 0, which would multiply infinity; NaN below.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V power(D d, V x, double a) {
  return exponential(d, hn::Mul(hn::Set(d, static_cast<hn::TFromD<D>>(a)), logarithm(d, x)));
}

// each[i] = f(i) for all of a few vectors.
template <std::size_t kCount, class V, class F>
HWY_INLINE void set_each(V (&each)[kCount], const F& f) {
  for (std::size_t i = 0; i < kCount; ++i) each[i] = f(i);
}

// e^x for a few vectors of x <= 0, in their place; in float32, zero where it is below the smallest
// normal number. An exponential is a chain of a dozen instructions that wait for one another: the
// vectors take each step together. n is rounded by adding a number so large that its last digit is
// a one, and 2^n multiplied by adding to the exponent's bits.
template <std::size_t kCount, class D, class V,
          hwy::EnableIf<sizeof(hn::TFromD<D>) == 4>* = nullptr>
HWY_INLINE void exponentials_up_to_one(D d, V (&x)[kCount]) {
  constexpr float kLow = -86.9F;
  constexpr float kOnes = 12582912.0F;  // 1.5 * 2^23
  constexpr float kCoefficients[] = {1.0F,         1.0F,          0.499992315F,
                                     0.166671147F, 0.0418901567F, 0.00831251968F};
  const hn::RebindToSigned<D> bits;
  V rounded[kCount];
  V rest[kCount];
  V value[kCount];
  set_each(x, [&](auto i) HWY_ATTR { return at_least(d, kLow, x[i]); });
  set_each(rounded, [&](auto i) HWY_ATTR {
    return hn::MulAdd(x[i], hn::Set(d, 1.44269504F), hn::Set(d, kOnes));
  });
  set_each(value, [&](auto i) HWY_ATTR { return hn::Sub(rounded[i], hn::Set(d, kOnes)); });
  set_each(rest, [&](auto i)
                     HWY_ATTR { return hn::NegMulAdd(value[i], hn::Set(d, 0.693145752F), x[i]); });
  set_each(rest, [&](auto i) HWY_ATTR {
    return hn::NegMulAdd(value[i], hn::Set(d, 1.42860677e-6F), rest[i]);
  });
  set_each(value, [&](auto) HWY_ATTR { return hn::Set(d, kCoefficients[5]); });
  for (std::size_t power = 5; power-- > 0;) {
    set_each(value, [&](auto i) HWY_ATTR {
      return hn::MulAdd(value[i], rest[i], hn::Set(d, kCoefficients[power]));
    });
  }
  set_each(value, [&](auto i) HWY_ATTR {
    const auto exponent = hn::ShiftLeft<23>(hn::BitCast(bits, rounded[i]));
    return hn::BitCast(d, hn::Add(hn::BitCast(bits, value[i]), exponent));
  });
  // NaN is kept as it was: with an exponent added to its bits it may be a number.
  set_each(x, [&](auto i) HWY_ATTR {
    const V low = hn::Set(d, kLow);
    return hn::IfThenElse(hn::Gt(x[i], low), value[i], hn::IfThenZeroElse(hn::Eq(x[i], low), x[i]));
  });
}
template <std::size_t kCount, class D, class V,
          hwy::EnableIf<sizeof(hn::TFromD<D>) == 8>* = nullptr>
HWY_INLINE void exponentials_up_to_one(D d, V (&x)[kCount]) {
  for (V& each : x) each = exponential_in_range(d, each);
}

// e^x - 1 for x <= 0.
template <class D, class V = hn::Vec<D>, hwy::EnableIf<sizeof(hn::TFromD<D>) == 4>* = nullptr>
HWY_INLINE V exponential_minus_one(D d, V x) {
  const V one = hn::Set(d, 1.0F);
  const ReducedExponent<D> e(d, at_least(d, -30.0F, x));
  const V scale = times_power_of_two(one, e.n);
  return hn::MulAdd(e.part, scale, hn::Sub(scale, one));
}
template <class D, class V = hn::Vec<D>, hwy::EnableIf<sizeof(hn::TFromD<D>) == 8>* = nullptr>
HWY_INLINE V exponential_minus_one(D d, V x) {
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Expm1(d, at_least(d, -50.0, x)));
}

// log(1 + e^x) for a few vectors, in their place: e^x is at most one where it is added to one, and
// log(1 + e) / e is a polynomial.
template <std::size_t kCount, class D, class V>
HWY_INLINE void log_one_plus_exponentials(D d, V (&x)[kCount]) {
  V e[kCount];
  set_each(e, [&](auto i) HWY_ATTR { return hn::Neg(hn::Abs(x[i])); });
  exponentials_up_to_one(d, e);
  set_each(x, [&](auto i) HWY_ATTR { return at_least(d, 0, x[i]); });
  if constexpr (sizeof(hn::TFromD<D>) == sizeof(float)) {
    constexpr float kCoefficients[] = {0.99999997F,   -0.499994929F,  0.333190933F,
                                       -0.248429587F, 0.191059247F,   -0.136630844F,
                                       0.0782241542F, -0.0295041806F, 0.00523243868F};
    V ratio[kCount];
    set_each(ratio, [&](auto) HWY_ATTR { return hn::Set(d, kCoefficients[8]); });
    // Power by power: e^2 may be too small for a number, which takes long.
    for (std::size_t power = 8; power-- > 0;) {
      set_each(ratio, [&](auto i) HWY_ATTR {
        return hn::MulAdd(ratio[i], e[i], hn::Set(d, kCoefficients[power]));
      });
    }
    set_each(x, [&](auto i) HWY_ATTR { return hn::MulAdd(e[i], ratio[i], x[i]); });
  } else {
    // Where e is NaN, so is x.
    set_each(x, [&](auto i) HWY_ATTR { return hn::Add(x[i], hn::Log1p(d, e[i])); });
  }
}

// 1 / (1 + e^-x), through e^-|x|, which does not overflow.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V logistic(D d, V x) {
  const V one = hn::Set(d, static_cast<hn::TFromD<D>>(1));
  const V e = exponential_in_range(d, hn::Neg(hn::Abs(x)));
  return hn::Div(hn::IfThenElse(hn::Ge(x, hn::Zero(d)), one, e), hn::Add(one, e));
}

// tanh(|x|) = -t / (t + 2) with t = e^(-2|x|) - 1.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V hyperbolic_tangent(D d, V x) {
  const V two = hn::Set(d, static_cast<hn::TFromD<D>>(2));
  const V t = exponential_minus_one(d, hn::Mul(hn::Neg(two), hn::Abs(x)));
  return hn::CopySign(hn::Div(t, hn::Add(t, two)), x);
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();
#endif
