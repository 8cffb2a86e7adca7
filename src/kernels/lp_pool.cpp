// The p-norm of each window and its gradient, a vector of channels at a time.
//
// p = 1 and p = 2 need no logarithm. A zero adds nothing to a norm and gets no gradient.
#include "kernels/pool.h"
#include "kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/lp_pool.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/exponential-inl.h"
#include "kernels/lanes-inl.h"
#include "kernels/pool_window.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {

// Each norm: that of `count` cells, of which cell(k) are the sizes; what all gradients of a window
// with norm y and gradient g have in common; and the gradient of a cell x.
struct Sum {
  explicit Sum(double) {}
  template <class D, class Cells>
  HWY_INLINE hn::Vec<D> of(D d, std::int64_t count, const Cells& cell) const {
    auto sum = hn::Zero(d);
    for (std::int64_t k = 0; k < count; ++k) sum = hn::Add(sum, cell(k));
    return sum;
  }
  template <class D, class V>
  HWY_INLINE V factor(D, V g, V) const {
    return g;
  }
  template <class D, class V>
  HWY_INLINE V slope(D d, V factor, V x) const {
    const V zero = hn::Zero(d);
    return hn::IfThenElse(hn::Eq(x, zero), zero, hn::CopySign(factor, hn::Xor(factor, x)));
  }
};

struct Euclid {
  explicit Euclid(double) {}
  template <class D, class Cells>
  HWY_INLINE hn::Vec<D> of(D d, std::int64_t count, const Cells& cell) const {
    auto sum = hn::Zero(d);
    for (std::int64_t k = 0; k < count; ++k) {
      const auto size = cell(k);
      sum = hn::MulAdd(size, size, sum);
    }
    return hn::Sqrt(sum);
  }
  template <class D, class V>
  HWY_INLINE V factor(D d, V g, V y) const {
    const V zero = hn::Zero(d);
    return hn::IfThenElse(hn::Eq(y, zero), zero, hn::Div(g, y));
  }
  template <class D, class V>
  HWY_INLINE V slope(D, V factor, V x) const {
    return hn::Mul(factor, x);
  }
};

// Powers are taken of shares, |x| / max |x| and |x| / y, which a large p does not carry out of
// range.
struct General {
  explicit General(double exponent) : p(exponent) {}
  template <class D, class Cells>
  HWY_INLINE hn::Vec<D> of(D d, std::int64_t count, const Cells& cell) const {
    const auto zero = hn::Zero(d);
    auto largest = zero;
    for (std::int64_t k = 0; k < count; ++k) largest = hn::Max(largest, cell(k));
    const auto scaled = hn::And(hn::Gt(largest, zero), hn::IsFinite(largest));
    const auto unit = hn::IfThenElse(scaled, largest, hn::Set(d, 1));
    auto sum = zero;
    for (std::int64_t k = 0; k < count; ++k) {
      sum = hn::Add(sum, power(d, hn::Div(cell(k), unit), p));
    }
    return hn::Mul(unit, power(d, sum, 1 / p));
  }
  template <class V>
  struct Window {
    V g;
    V y;
  };
  template <class D, class V>
  HWY_INLINE Window<V> factor(D, V g, V y) const {
    return {g, y};
  }
  template <class D, class V>
  HWY_INLINE V slope(D d, Window<V> window, V x) const {
    const V size = hn::Mul(window.g, power(d, hn::Div(hn::Abs(x), window.y), p - 1));
    return hn::IfThenZeroElse(hn::Eq(x, hn::Zero(d)), hn::CopySign(size, hn::Xor(size, x)));
  }
  double p;
};

template <class Norm, class T>
void norm_cells(const PoolPlane& plane, const Norm& norm, std::int64_t first, std::int64_t last,
                const T* x, T* y) {
  const std::int64_t channels = plane.channels;
  PoolWindows windows(plane, first % plane.outputs());
  for (std::int64_t cell = first; cell < last; ++cell, windows.advance()) {
    const PoolWindow window = windows.current();
    const T* sample = x + cell / plane.outputs() * plane.inputs() * channels;
    T* out = y + cell * channels;
    for_lanes<T>(0, static_cast<std::size_t>(channels), [&](auto d, std::size_t c) HWY_ATTR {
      const T* base = sample + window.base * channels + c;
      const auto size = [&](std::int64_t k) HWY_ATTR {
        return hn::Abs(hn::LoadU(d, base + window.cells[k] * channels));
      };
      hn::StoreU(norm.of(d, window.count, size), d, out + c);
    });
  }
}

template <class Norm, class T>
void norm_spread(const PoolPlane& plane, const Norm& norm, std::int64_t first, std::int64_t last,
                 const T* g, const T* x, const T* y, T* dx) {
  const std::int64_t channels = plane.channels;
  const auto begin = static_cast<std::size_t>(first);
  const auto end = static_cast<std::size_t>(last);
  for (std::int64_t cell = 0; cell < plane.inputs(); ++cell) {
    T* row = dx + cell * channels;
    for (std::size_t c = begin; c < end; ++c) row[c] = 0;
  }
  PoolWindows windows(plane, 0);
  for (std::int64_t cell = 0; cell < plane.outputs(); ++cell, windows.advance()) {
    const PoolWindow window = windows.current();
    for_lanes<T>(begin, end, [&](auto d, std::size_t c) HWY_ATTR {
      const auto factor = norm.factor(d, hn::LoadU(d, g + cell * channels + c),
                                      hn::LoadU(d, y + cell * channels + c));
      const std::int64_t base = window.base * channels + static_cast<std::int64_t>(c);
      for (std::int64_t k = 0; k < window.count; ++k) {
        const std::int64_t at = base + window.cells[k] * channels;
        const auto slope = norm.slope(d, factor, hn::LoadU(d, x + at));
        hn::StoreU(hn::Add(hn::LoadU(d, dx + at), slope), d, dx + at);
      }
    });
  }
}

// Calls f with the norm for p.
template <class F>
void with_norm(double p, const F& f) {
  if (p == 1) return f(Sum(p));
  if (p == 2) return f(Euclid(p));
  f(General(p));
}

template <class T>
void lp_cells(const PoolPlane& plane, double p, std::int64_t first, std::int64_t last, const T* x,
              T* y) {
  with_norm(p, [&](const auto& norm) { norm_cells(plane, norm, first, last, x, y); });
}
template <class T>
void lp_spread(const PoolPlane& plane, double p, std::int64_t first, std::int64_t last, const T* g,
               const T* x, const T* y, T* dx) {
  with_norm(p, [&](const auto& norm) { norm_spread(plane, norm, first, last, g, x, y, dx); });
}

void LpPoolF32(const PoolPlane& plane, double p, std::int64_t first, std::int64_t last,
               const float* x, float* y) {
  lp_cells(plane, p, first, last, x, y);
}
void LpPoolF64(const PoolPlane& plane, double p, std::int64_t first, std::int64_t last,
               const double* x, double* y) {
  lp_cells(plane, p, first, last, x, y);
}
void LpPoolBackwardF32(const PoolPlane& plane, double p, std::int64_t first, std::int64_t last,
                       const float* g, const float* x, const float* y, float* dx) {
  lp_spread(plane, p, first, last, g, x, y, dx);
}
void LpPoolBackwardF64(const PoolPlane& plane, double p, std::int64_t first, std::int64_t last,
                       const double* g, const double* x, const double* y, double* dx) {
  lp_spread(plane, p, first, last, g, x, y, dx);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(LpPoolF32);
HWY_EXPORT(LpPoolF64);
HWY_EXPORT(LpPoolBackwardF32);
HWY_EXPORT(LpPoolBackwardF64);

template <>
void lp_pool(const PoolPlane& plane, double p, std::int64_t first, std::int64_t last,
             const float* x, float* y) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(LpPoolF32)(plane, p, first, last, x, y);
}
template <>
void lp_pool(const PoolPlane& plane, double p, std::int64_t first, std::int64_t last,
             const double* x, double* y) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(LpPoolF64)(plane, p, first, last, x, y);
}
template <>
void lp_pool_backward(const PoolPlane& plane, double p, std::int64_t first, std::int64_t last,
                      const float* g, const float* x, const float* y, float* dx) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(LpPoolBackwardF32)(plane, p, first, last, g, x, y, dx);
}
template <>
void lp_pool_backward(const PoolPlane& plane, double p, std::int64_t first, std::int64_t last,
                      const double* g, const double* x, const double* y, double* dx) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(LpPoolBackwardF64)(plane, p, first, last, g, x, y, dx);
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
