// Element-wise loops, one vector expression per operator.
//
// The rest of a row that does not fill a vector runs through the same expressions, so an element's
// value does not depend on its place.
//
// To add an operator: a functor, a line in the switch below, and a name in the enum of the header.
#include "kernels/elementwise.h"

#include <cstddef>

#include "kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/exponential-inl.h"
#include "kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {

struct Neg {
  template <class D, class V>
  HWY_INLINE V operator()(D, V x) const {
    return hn::Neg(x);
  }
};

struct Exp {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    return exponential(d, x);
  }
};

struct Log {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    return logarithm(d, x);
  }
};

struct Sqrt {
  template <class D, class V>
  HWY_INLINE V operator()(D, V x) const {
    return hn::Sqrt(x);
  }
};

struct Relu {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    return hn::IfThenZeroElse(hn::Le(x, hn::Zero(d)), x);  // so written, NaN stays NaN
  }
};

struct Sigmoid {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    return logistic(d, x);
  }
};

struct Tanh {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    return hyperbolic_tangent(d, x);
  }
};

struct Add {
  template <class D, class V>
  HWY_INLINE V operator()(D, V a, V b) const {
    return hn::Add(a, b);
  }
};

struct Sub {
  template <class D, class V>
  HWY_INLINE V operator()(D, V a, V b) const {
    return hn::Sub(a, b);
  }
};

struct Mul {
  template <class D, class V>
  HWY_INLINE V operator()(D, V a, V b) const {
    return hn::Mul(a, b);
  }
};

struct Div {
  template <class D, class V>
  HWY_INLINE V operator()(D, V a, V b) const {
    return hn::Div(a, b);
  }
};

struct Maximum {
  template <class D, class V>
  HWY_INLINE V operator()(D, V a, V b) const {
    return hn::IfThenElse(hn::Or(hn::Gt(a, b), hn::IsNaN(a)), a, b);
  }
};

struct Minimum {
  template <class D, class V>
  HWY_INLINE V operator()(D, V a, V b) const {
    return hn::IfThenElse(hn::Or(hn::Lt(a, b), hn::IsNaN(a)), a, b);
  }
};

struct Above {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V a, V b) const {
    using T = hn::TFromD<D>;
    const V tie = hn::IfThenElseZero(hn::Eq(a, b), hn::Set(d, static_cast<T>(0.5)));
    return hn::IfThenElse(hn::Gt(a, b), hn::Set(d, static_cast<T>(1)), tie);
  }
};

struct Equal {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V a, V b) const {
    using T = hn::TFromD<D>;
    return hn::IfThenElseZero(hn::Eq(a, b), hn::Set(d, static_cast<T>(1)));
  }
};

struct ReluBackward {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V g, V y) const {
    return hn::IfThenZeroElse(hn::Le(y, hn::Zero(d)), g);
  }
};

struct SigmoidBackward {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V g, V y) const {
    using T = hn::TFromD<D>;
    return hn::Mul(g, hn::Mul(y, hn::Sub(hn::Set(d, static_cast<T>(1)), y)));
  }
};

struct TanhBackward {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V g, V y) const {
    using T = hn::TFromD<D>;
    const V one = hn::Set(d, static_cast<T>(1));
    return hn::Mul(g, hn::Mul(hn::Sub(one, y), hn::Add(one, y)));
  }
};

template <class T, class F>
HWY_INLINE void unary_row(F f, std::size_t count, const T* a, T* out) {
  for_lanes<T>(0, count, [&](auto d, std::size_t i) HWY_ATTR {
    hn::StoreU(f(d, hn::LoadU(d, a + i)), d, out + i);
  });
}

template <bool kRepeatA, bool kRepeatB, class T, class F>
HWY_INLINE void binary_row(F f, std::size_t count, const T* HWY_RESTRICT a, const T* HWY_RESTRICT b,
                           T* HWY_RESTRICT out) {
  for_lanes<T>(0, count, [&](auto d, std::size_t i) HWY_ATTR {
    const auto va = kRepeatA ? hn::Set(d, *a) : hn::LoadU(d, a + i);
    const auto vb = kRepeatB ? hn::Set(d, *b) : hn::LoadU(d, b + i);
    hn::StoreU(f(d, va, vb), d, out + i);
  });
}

template <class T, class F>
void unary_rows(F f, const RowBlock& block, const T* a, T* out) {
  const auto columns = static_cast<std::size_t>(block.columns);
  for (std::int64_t r = 0; r < block.rows; ++r) {
    unary_row(f, columns, a + r * block.a_stride, out + r * block.out_stride);
  }
}

template <bool kRepeatA, bool kRepeatB, class T, class F>
void binary_rows(F f, const RowBlock& block, const T* a, const T* b, T* out) {
  const auto columns = static_cast<std::size_t>(block.columns);
  for (std::int64_t r = 0; r < block.rows; ++r) {
    binary_row<kRepeatA, kRepeatB>(f, columns, a + r * block.a_stride, b + r * block.b_stride,
                                   out + r * block.out_stride);
  }
}

template <class T, class F>
void binary_block(F f, const RowBlock& block, const T* a, const T* b, T* out) {
  if (block.a_repeats && block.b_repeats) {
    binary_rows<true, true>(f, block, a, b, out);
  } else if (block.a_repeats) {
    binary_rows<true, false>(f, block, a, b, out);
  } else if (block.b_repeats) {
    binary_rows<false, true>(f, block, a, b, out);
  } else {
    binary_rows<false, false>(f, block, a, b, out);
  }
}

template <class T>
void unary_any(Unary op, const RowBlock& block, const T* a, T* out) {
  switch (op) {
    case Unary::neg:
      return unary_rows(Neg{}, block, a, out);
    case Unary::exp:
      return unary_rows(Exp{}, block, a, out);
    case Unary::log:
      return unary_rows(Log{}, block, a, out);
    case Unary::sqrt:
      return unary_rows(Sqrt{}, block, a, out);
    case Unary::relu:
      return unary_rows(Relu{}, block, a, out);
    case Unary::sigmoid:
      return unary_rows(Sigmoid{}, block, a, out);
    case Unary::tanh:
      return unary_rows(Tanh{}, block, a, out);
  }
}

template <class T>
void binary_any(Binary op, const RowBlock& block, const T* a, const T* b, T* out) {
  switch (op) {
    case Binary::add:
      return binary_block(Add{}, block, a, b, out);
    case Binary::sub:
      return binary_block(Sub{}, block, a, b, out);
    case Binary::mul:
      return binary_block(Mul{}, block, a, b, out);
    case Binary::div:
      return binary_block(Div{}, block, a, b, out);
    case Binary::maximum:
      return binary_block(Maximum{}, block, a, b, out);
    case Binary::minimum:
      return binary_block(Minimum{}, block, a, b, out);
    case Binary::above:
      return binary_block(Above{}, block, a, b, out);
    case Binary::equal:
      return binary_block(Equal{}, block, a, b, out);
    case Binary::relu_backward:
      return binary_block(ReluBackward{}, block, a, b, out);
    case Binary::sigmoid_backward:
      return binary_block(SigmoidBackward{}, block, a, b, out);
    case Binary::tanh_backward:
      return binary_block(TanhBackward{}, block, a, b, out);
  }
}

void UnaryF32(Unary op, const RowBlock& block, const float* a, float* out) {
  unary_any(op, block, a, out);
}
void UnaryF64(Unary op, const RowBlock& block, const double* a, double* out) {
  unary_any(op, block, a, out);
}
void BinaryF32(Binary op, const RowBlock& block, const float* a, const float* b, float* out) {
  binary_any(op, block, a, b, out);
}
void BinaryF64(Binary op, const RowBlock& block, const double* a, const double* b, double* out) {
  binary_any(op, block, a, b, out);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(UnaryF32);
HWY_EXPORT(UnaryF64);
HWY_EXPORT(BinaryF32);
HWY_EXPORT(BinaryF64);

template <>
void unary<float>(Unary op, const RowBlock& block, const float* a, float* out) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(UnaryF32)(op, block, a, out);
}

template <>
void unary<double>(Unary op, const RowBlock& block, const double* a, double* out) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(UnaryF64)(op, block, a, out);
}

template <>
void binary<float>(Binary op, const RowBlock& block, const float* a, const float* b, float* out) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(BinaryF32)(op, block, a, b, out);
}

template <>
void binary<double>(Binary op, const RowBlock& block, const double* a, const double* b,
                    double* out) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(BinaryF64)(op, block, a, b, out);
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
