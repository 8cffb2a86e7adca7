// Functions of one variable and their slopes, one vector expression each.
//
// The error function in float32 is x P(x^2) / Q(x^2), right to 5 units in the last place, where it
// is not yet one; so is gelu's slope less one half, to 2^-22. (Both fitted for the least largest
// error.) In float64, with t = 1 / (1 + c z), erfc(z) e^(z^2) / t is smooth on all of z >= 0 and a
// polynomial in t to the last bits (interpolated at Chebyshev nodes, centred on the interval);
// below one, where 1 - erfc would cancel, erf(z) / z is a polynomial in z^2.
//
// To add a function: a functor with value() and slope(), a line in with_curve() below, and a name
// in the enum of the header.
#include "kernels/curve.h"

#include <cmath>
#include <cstddef>
#include <limits>

#include "kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/curve.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/exponential-inl.h"
#include "kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {

template <class D>
using Vector = hn::Vec<D>;

template <class D>
HWY_INLINE Vector<D> constant(D d, double value) {
  return hn::Set(d, static_cast<hn::TFromD<D>>(value));
}

// x P(x^2) / Q(x^2), where x is first brought into [-limit, limit]: beyond, the function is
// constant.
template <std::size_t kOver, std::size_t kUnder>
struct Rational {
  template <class D>
  HWY_INLINE Vector<D> operator()(D d, Vector<D> x) const {
    const auto inside = at_most(d, limit, at_least(d, -limit, x));
    const auto square = hn::Mul(inside, inside);
    return hn::Div(hn::Mul(inside, polynomial(d, square, over)), polynomial(d, square, under));
  }
  float limit;  // where the result is rounded to the constant
  float over[kOver];
  float under[kUnder];
};

constexpr Rational<6, 6> kErf = {
    .limit = 3.9194F,
    .over = {1.12837914F, 0.193553479F, 0.053102882F, 0.00388371688F, 0.000284576403F,
             1.98674215e-06F},
    .under = {1, 0.504864856F, 0.115353504F, 0.0152079878F, 0.00118566599F, 3.74203147e-05F}};

// The slope of x Phi(x), less 1/2.
constexpr Rational<8, 7> kGeluSlope = {
    .limit = 5.9412F,
    .over = {0.797884531F, -0.0205658508F, 0.013669877F, 0.00023951149F, 3.20416372e-05F,
             1.00124389e-06F, 1.22113972e-08F, -2.83679536e-11F},
    .under = {1, 0.307557481F, 0.0446529252F, 0.00402094052F, 0.000247286633F, 1.02229548e-05F,
              3.31203422e-07F}};

// erf(x), and +-1 where the fraction is rounded to a little more.
template <class D, hwy::EnableIf<sizeof(hn::TFromD<D>) == 4>* = nullptr>
HWY_INLINE Vector<D> error_function(D d, Vector<D> x) {
  return at_most(d, 1, at_least(d, -1, kErf(d, x)));
}

struct WideErrorFunction {
  static constexpr double kScale = 0.25;
  static constexpr double kLimit = 27;  // beyond it erfc is below the smallest number
  static constexpr double kCentre = 0.56451612903225806452;
  static constexpr double kHalf = 2.2962962962962962963;
  static constexpr double kTail[] = {
      0.309033892861328712,      0.262640874779359171,      0.193381981511127359,
      0.122913459059133516,      0.0667946563430249826,     0.0304610783470989976,
      0.011248270355814077,      0.00310950578381944206,    0.000499625518992065527,
      -0.0000335859142038802347, -0.0000437905274213795499, -8.4745421031241276e-6,
      1.58756171650644343e-6,    9.91950912989327557e-7,    1.64486605555746038e-8,
      -8.71449725996477368e-8,   -1.03617295696182503e-8,   7.16342139144609724e-9,
      1.35184197955499438e-9,    -4.45347088719018919e-10,  -1.00474153391012049e-10};
  static constexpr double kSmall[] = {
      0.965468738669867301,     -0.140536089022717121,   0.0198524966889842186,
      -0.00228548556114408547,  0.000217517156035634886, -0.0000175371694412801968,
      1.22338276380935727e-6,   -7.51156925108609026e-8, 4.11575150026588484e-9,
      -2.03523195648352689e-10, 9.21125018742822985e-12, -3.80659122412213977e-13};
};

// erfc(z) for z >= 0, and e^(-z^2), which it needs.
template <class D>
HWY_INLINE Vector<D> erfc_positive(D d, Vector<D> z, Vector<D>& gauss) {
  using E = WideErrorFunction;
  const auto bounded = at_most(d, E::kLimit, z);
  gauss = exponential_in_range(d, hn::Neg(hn::Mul(bounded, bounded)));
  const auto t =
      hn::Div(constant(d, 1), hn::MulAdd(bounded, hn::Set(d, E::kScale), constant(d, 1)));
  const auto u = hn::Mul(hn::Sub(t, hn::Set(d, E::kCentre)), hn::Set(d, E::kHalf));
  const auto tail = hn::Mul(gauss, hn::Mul(t, polynomial(d, u, E::kTail)));
  return hn::IfThenZeroElse(hn::Gt(z, hn::Set(d, E::kLimit)), tail);
}

template <class D, hwy::EnableIf<sizeof(hn::TFromD<D>) == 8>* = nullptr>
HWY_INLINE Vector<D> error_function(D d, Vector<D> x) {
  const auto one = constant(d, 1);
  const auto z = hn::Abs(x);
  Vector<D> gauss;
  const auto far = hn::Sub(one, erfc_positive(d, z, gauss));
  const auto u = hn::MulSub(constant(d, 2), hn::Mul(z, z), one);
  const auto near = hn::Mul(z, polynomial(d, u, WideErrorFunction::kSmall));
  return hn::CopySign(hn::IfThenElse(hn::Lt(z, one), near, far), x);
}

// Phi(x), the share of a standard normal distribution below x; and the slope of x Phi(x).
template <class D, hwy::EnableIf<sizeof(hn::TFromD<D>) == 4>* = nullptr>
HWY_INLINE Vector<D> normal_share(D d, Vector<D> x) {
  const auto half = constant(d, 0.5);
  return hn::MulAdd(half, error_function(d, hn::Mul(x, constant(d, std::sqrt(0.5)))), half);
}
template <class D, hwy::EnableIf<sizeof(hn::TFromD<D>) == 4>* = nullptr>
HWY_INLINE Vector<D> gelu_slope(D d, Vector<D> x) {
  return hn::Add(kGeluSlope(d, x), constant(d, 0.5));
}

// In float64 with e^(-x^2 / 2), so that a small share keeps its digits.
template <class D>
HWY_INLINE Vector<D> normal_share(D d, Vector<D> x, Vector<D>& gauss) {
  const auto half = constant(d, 0.5);
  const auto beyond =
      hn::Mul(half, erfc_positive(d, hn::Mul(hn::Abs(x), constant(d, std::sqrt(0.5))), gauss));
  return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), beyond, hn::Sub(constant(d, 1), beyond));
}
template <class D, hwy::EnableIf<sizeof(hn::TFromD<D>) == 8>* = nullptr>
HWY_INLINE Vector<D> normal_share(D d, Vector<D> x) {
  Vector<D> gauss;
  return normal_share(d, x, gauss);
}
template <class D, hwy::EnableIf<sizeof(hn::TFromD<D>) == 8>* = nullptr>
HWY_INLINE Vector<D> gelu_slope(D d, Vector<D> x) {
  constexpr double kOneOverSqrtTwoPi = 0.398942280401432677940;
  constexpr double kLimit = 1e4;  // far beyond it the density is zero
  Vector<D> gauss;
  const auto share = normal_share(d, x, gauss);
  const auto bounded = at_most(d, kLimit, at_least(d, -kLimit, x));
  return hn::MulAdd(hn::Mul(bounded, gauss), constant(d, kOneOverSqrtTwoPi), share);
}

// The functions. Where nothing else is said, NaN comes out as it went in.

struct Abs {
  explicit Abs(const CurveParameters&) {}
  template <class D>
  HWY_INLINE Vector<D> value(D, Vector<D> x) const {
    return hn::Abs(x);
  }
  template <class D>
  HWY_INLINE Vector<D> slope(D d, Vector<D> x) const {
    const auto zero = hn::Zero(d);
    return hn::IfThenElse(hn::Eq(x, zero), zero, hn::CopySign(constant(d, 1), x));
  }
};

struct Clamp {
  explicit Clamp(const CurveParameters& p) : low(p.a), high(p.b) {}
  template <class D>
  HWY_INLINE Vector<D> value(D d, Vector<D> x) const {
    const auto bounded = hn::Min(hn::Max(x, constant(d, low)), constant(d, high));
    return hn::IfThenElse(hn::IsNaN(x), x, bounded);
  }
  template <class D>
  HWY_INLINE Vector<D> slope(D d, Vector<D> x) const {
    const auto inside = hn::And(hn::Ge(x, constant(d, low)), hn::Le(x, constant(d, high)));
    return hn::IfThenElseZero(inside, constant(d, 1));
  }
  double low, high;
};

// Small whole exponents by multiplication, halves by square roots, others as e^(a log |x|).
struct Pow {
  explicit Pow(const CurveParameters& p) : exponent(p.a) {}
  template <class D>
  HWY_INLINE Vector<D> value(D d, Vector<D> x) const {
    return raised(d, x, exponent);
  }
  template <class D>
  HWY_INLINE Vector<D> slope(D d, Vector<D> x) const {
    if (exponent == 0) return hn::Zero(d);
    return hn::Mul(constant(d, exponent), raised(d, x, exponent - 1));
  }

  template <class D>
  HWY_INLINE Vector<D> raised(D d, Vector<D> x, double a) const {
    constexpr double kMultiplied = 16;
    const auto one = constant(d, 1);
    const double size = std::abs(a);
    const bool whole = size == std::floor(size);
    if (2 * size == std::floor(2 * size) && size <= kMultiplied) {
      auto result = whole ? one : hn::Sqrt(x);
      auto square = x;
      for (int bits = static_cast<int>(size); bits > 0; bits /= 2) {
        if (bits % 2 == 1) result = hn::Mul(result, square);
        square = hn::Mul(square, square);
      }
      return a < 0 ? hn::Div(one, result) : result;
    }
    const auto y = power(d, whole ? hn::Abs(x) : x, a);
    return std::fmod(size, 2) == 1 ? hn::CopySign(y, x) : y;
  }
  double exponent;
};

struct Erf {
  explicit Erf(const CurveParameters&) {}
  template <class D>
  HWY_INLINE Vector<D> value(D d, Vector<D> x) const {
    return error_function(d, x);
  }
  template <class D>
  HWY_INLINE Vector<D> slope(D d, Vector<D> x) const {
    constexpr double kTwoOverSqrtPi = 1.12837916709551257390;
    return hn::Mul(constant(d, kTwoOverSqrtPi), exponential_in_range(d, hn::Neg(hn::Mul(x, x))));
  }
};

struct LeakyRelu {
  explicit LeakyRelu(const CurveParameters& p) : below(p.a) {}
  template <class D>
  HWY_INLINE Vector<D> value(D d, Vector<D> x) const {
    return hn::Mul(x, slope(d, x));
  }
  template <class D>
  HWY_INLINE Vector<D> slope(D d, Vector<D> x) const {
    return hn::IfThenElse(hn::Gt(x, hn::Zero(d)), constant(d, 1), constant(d, below));
  }
  double below;
};

struct Elu {
  explicit Elu(const CurveParameters& p) : scale(p.a) {}
  template <class D>
  HWY_INLINE Vector<D> value(D d, Vector<D> x) const {
    const auto zero = hn::Zero(d);
    const auto below = hn::Mul(constant(d, scale), exponential_minus_one(d, at_most(d, 0, x)));
    return hn::IfThenElse(hn::Gt(x, zero), x, below);
  }
  template <class D>
  HWY_INLINE Vector<D> slope(D d, Vector<D> x) const {
    const auto zero = hn::Zero(d);
    const auto below = hn::Mul(constant(d, scale), exponential_in_range(d, at_most(d, 0, x)));
    return hn::IfThenElse(hn::Gt(x, zero), constant(d, 1), below);
  }
  double scale;
};

struct Gelu {
  explicit Gelu(const CurveParameters&) {}
  template <class D>
  HWY_INLINE Vector<D> value(D d, Vector<D> x) const {
    // -infinity times zero is meant to be zero.
    return hn::Mul(at_least(d, std::numeric_limits<hn::TFromD<D>>::lowest(), x),
                   normal_share(d, x));
  }
  template <class D>
  HWY_INLINE Vector<D> slope(D d, Vector<D> x) const {
    return gelu_slope(d, x);
  }
};

struct Silu {
  explicit Silu(const CurveParameters&) {}
  template <class D>
  HWY_INLINE Vector<D> value(D d, Vector<D> x) const {
    const auto bounded = at_least(d, std::numeric_limits<hn::TFromD<D>>::lowest(), x);
    return hn::Mul(bounded, logistic(d, x));
  }
  template <class D>
  HWY_INLINE Vector<D> slope(D d, Vector<D> x) const {
    const auto one = constant(d, 1);
    constexpr hn::TFromD<D> kLimit = 1e4;  // beyond it the slope is 0 or 1
    const auto bounded = at_most(d, kLimit, at_least(d, -kLimit, x));
    const auto s = logistic(d, x);
    return hn::Mul(s, hn::MulAdd(bounded, hn::Sub(one, s), one));
  }
};

struct Hardswish {
  explicit Hardswish(const CurveParameters&) {}
  template <class D>
  HWY_INLINE Vector<D> gate(D d, Vector<D> x) const {
    const auto line = hn::MulAdd(x, constant(d, 1.0 / 6), constant(d, 0.5));
    return hn::Min(hn::Max(line, hn::Zero(d)), constant(d, 1));
  }
  template <class D>
  HWY_INLINE Vector<D> value(D d, Vector<D> x) const {
    const auto bounded = hn::Max(x, constant(d, std::numeric_limits<hn::TFromD<D>>::lowest()));
    return hn::IfThenElse(hn::IsNaN(x), x, hn::Mul(bounded, gate(d, x)));
  }
  template <class D>
  HWY_INLINE Vector<D> slope(D d, Vector<D> x) const {
    const auto three = constant(d, 3);
    const auto inside = hn::MulAdd(x, constant(d, 1.0 / 3), constant(d, 0.5));
    const auto outside = hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), constant(d, 1));
    return hn::IfThenElse(hn::Lt(hn::Abs(x), three), inside, outside);
  }
};

struct Softplus {
  explicit Softplus(const CurveParameters&) {}
  template <class D>
  HWY_INLINE Vector<D> value(D d, Vector<D> x) const {
    Vector<D> all[] = {x};
    values(d, all);
    return all[0];
  }
  template <class D, std::size_t kCount>
  HWY_INLINE void values(D d, Vector<D> (&x)[kCount]) const {
    log_one_plus_exponentials(d, x);
  }
  template <class D>
  HWY_INLINE Vector<D> slope(D d, Vector<D> x) const {
    return logistic(d, x);
  }
};

struct Relu6 {
  explicit Relu6(const CurveParameters&) {}
  template <class D>
  HWY_INLINE Vector<D> value(D d, Vector<D> x) const {
    return at_most(d, 6, at_least(d, 0, x));
  }
  template <class D>
  HWY_INLINE Vector<D> slope(D d, Vector<D> x) const {
    const auto inside = hn::And(hn::Gt(x, hn::Zero(d)), hn::Lt(x, constant(d, 6)));
    return hn::IfThenElseZero(inside, constant(d, 1));
  }
};

// Calls run(functor) with the functor of `f`.
template <class Run>
void with_curve(Curve f, const CurveParameters& parameters, const Run& run) {
  switch (f) {
    case Curve::abs:
      return run(Abs(parameters));
    case Curve::clamp:
      return run(Clamp(parameters));
    case Curve::pow:
      return run(Pow(parameters));
    case Curve::erf:
      return run(Erf(parameters));
    case Curve::leaky_relu:
      return run(LeakyRelu(parameters));
    case Curve::elu:
      return run(Elu(parameters));
    case Curve::gelu:
      return run(Gelu(parameters));
    case Curve::silu:
      return run(Silu(parameters));
    case Curve::hardswish:
      return run(Hardswish(parameters));
    case Curve::softplus:
      return run(Softplus(parameters));
    case Curve::relu6:
      return run(Relu6(parameters));
  }
}

// Vectors that a function with values() takes together, as far as there are registers for them.
constexpr std::size_t kTogether = HWY_TARGET <= HWY_AVX3 ? 4 : 2;

// The values of whole groups of vectors; returns how many elements that were.
template <class T>
HWY_INLINE std::size_t values_in_groups(const Softplus& f, std::size_t count, const T* x, T* y) {
  const hn::ScalableTag<T> d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + kTogether * lanes <= count; i += kTogether * lanes) {
    Vector<decltype(d)> all[kTogether];
    set_each(all, [&](auto v) HWY_ATTR { return hn::LoadU(d, x + i + v * lanes); });
    f.values(d, all);
    for (std::size_t v = 0; v < kTogether; ++v) hn::StoreU(all[v], d, y + i + v * lanes);
  }
  return i;
}
template <class F, class T>
HWY_INLINE std::size_t values_in_groups(const F&, std::size_t, const T*, T*) {
  return 0;
}

template <class F, class T>
void values(const F& f, std::size_t count, const T* x, T* y) {
  const std::size_t done = values_in_groups(f, count, x, y);
  for_lanes<T>(done, count, [&](auto d, std::size_t i) HWY_ATTR {
    hn::StoreU(f.value(d, hn::LoadU(d, x + i)), d, y + i);
  });
}

template <class F, class T>
void slopes(const F& f, std::size_t count, const T* HWY_RESTRICT g, const T* HWY_RESTRICT x,
            T* HWY_RESTRICT dx) {
  for_lanes<T>(0, count, [&](auto d, std::size_t i) HWY_ATTR {
    hn::StoreU(hn::Mul(hn::LoadU(d, g + i), f.slope(d, hn::LoadU(d, x + i))), d, dx + i);
  });
}

template <class T>
void curve_of(Curve f, const CurveParameters& parameters, std::int64_t count, const T* x, T* y) {
  with_curve(f, parameters,
             [&](const auto& each) { values(each, static_cast<std::size_t>(count), x, y); });
}
template <class T>
void curve_backward_of(Curve f, const CurveParameters& parameters, std::int64_t count, const T* g,
                       const T* x, T* dx) {
  with_curve(f, parameters,
             [&](const auto& each) { slopes(each, static_cast<std::size_t>(count), g, x, dx); });
}

void CurveF32(Curve f, const CurveParameters& parameters, std::int64_t count, const float* x,
              float* y) {
  curve_of(f, parameters, count, x, y);
}
void CurveF64(Curve f, const CurveParameters& parameters, std::int64_t count, const double* x,
              double* y) {
  curve_of(f, parameters, count, x, y);
}
void CurveBackwardF32(Curve f, const CurveParameters& parameters, std::int64_t count,
                      const float* g, const float* x, float* dx) {
  curve_backward_of(f, parameters, count, g, x, dx);
}
void CurveBackwardF64(Curve f, const CurveParameters& parameters, std::int64_t count,
                      const double* g, const double* x, double* dx) {
  curve_backward_of(f, parameters, count, g, x, dx);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(CurveF32);
HWY_EXPORT(CurveF64);
HWY_EXPORT(CurveBackwardF32);
HWY_EXPORT(CurveBackwardF64);

template <>
void curve(Curve f, const CurveParameters& parameters, std::int64_t count, const float* x,
           float* y) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(CurveF32)(f, parameters, count, x, y);
}
template <>
void curve(Curve f, const CurveParameters& parameters, std::int64_t count, const double* x,
           double* y) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(CurveF64)(f, parameters, count, x, y);
}
template <>
void curve_backward(Curve f, const CurveParameters& parameters, std::int64_t count, const float* g,
                    const float* x, float* dx) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(CurveBackwardF32)(f, parameters, count, g, x, dx);
}
template <>
void curve_backward(Curve f, const CurveParameters& parameters, std::int64_t count, const double* g,
                    const double* x, double* dx) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(CurveBackwardF64)(f, parameters, count, g, x, dx);
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
