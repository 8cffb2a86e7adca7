// Optimiser steps, a vector of parameters at a time. Constants are combined in double, as PyTorch
// does.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/update.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include <cmath>

#include "hwy/highway.h"
#include "kernels/lanes-inl.h"
#include "kernels/simd.h"
#include "kernels/update.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class T>
HWY_INLINE void sgd(const SgdStep& step, std::int64_t count, const T* gradient, T* velocity,
                    T* weight) {
  const T rate = static_cast<T>(-step.lr);
  const T momentum = static_cast<T>(step.momentum);
  const T decay = static_cast<T>(step.weight_decay);
  for_lanes<T>(0, static_cast<std::size_t>(count), [&](auto d, std::size_t i) HWY_ATTR {
    const auto w = hn::LoadU(d, weight + i);
    auto change = hn::MulAdd(hn::Set(d, decay), w, hn::LoadU(d, gradient + i));
    if (velocity != nullptr) {
      const auto v = hn::MulAdd(hn::Set(d, momentum), hn::LoadU(d, velocity + i), change);
      hn::StoreU(v, d, velocity + i);
      change = step.nesterov ? hn::MulAdd(hn::Set(d, momentum), v, change) : v;
    }
    hn::StoreU(hn::MulAdd(hn::Set(d, rate), change, w), d, weight + i);
  });
}

template <class T>
HWY_INLINE void adam(const AdamStep& step, std::int64_t count, const T* gradient, T* first,
                     T* second, T* weight) {
  const T decay = static_cast<T>(step.weight_decay);
  const T beta1 = static_cast<T>(step.beta1);
  const T beta2 = static_cast<T>(step.beta2);
  const T rest1 = static_cast<T>(1 - step.beta1);
  const T rest2 = static_cast<T>(1 - step.beta2);
  const T scale = static_cast<T>(1 / std::sqrt(step.correction2));
  const T eps = static_cast<T>(step.eps);
  const T rate = static_cast<T>(-step.lr / step.correction1);
  const T shrink = static_cast<T>(step.shrink);
  for_lanes<T>(0, static_cast<std::size_t>(count), [&](auto d, std::size_t i) HWY_ATTR {
    const auto w = hn::LoadU(d, weight + i);
    const auto g = hn::MulAdd(hn::Set(d, decay), w, hn::LoadU(d, gradient + i));
    const auto m =
        hn::MulAdd(hn::Set(d, beta1), hn::LoadU(d, first + i), hn::Mul(hn::Set(d, rest1), g));
    const auto v = hn::MulAdd(hn::Set(d, beta2), hn::LoadU(d, second + i),
                              hn::Mul(hn::Set(d, rest2), hn::Mul(g, g)));
    hn::StoreU(m, d, first + i);
    hn::StoreU(v, d, second + i);
    const auto deviation = hn::MulAdd(hn::Sqrt(v), hn::Set(d, scale), hn::Set(d, eps));
    const auto shrunk = hn::Mul(hn::Set(d, shrink), w);  // exactly w where shrink is 1
    hn::StoreU(hn::MulAdd(hn::Set(d, rate), hn::Div(m, deviation), shrunk), d, weight + i);
  });
}

template <class T>
HWY_INLINE void rmsprop(const RmsPropStep& step, std::int64_t count, const T* gradient, T* square,
                        T* velocity, T* weight) {
  const T rate = static_cast<T>(-step.lr);
  const T alpha = static_cast<T>(step.alpha);
  const T rest = static_cast<T>(1 - step.alpha);
  const T eps = static_cast<T>(step.eps);
  const T momentum = static_cast<T>(step.momentum);
  const T decay = static_cast<T>(step.weight_decay);
  for_lanes<T>(0, static_cast<std::size_t>(count), [&](auto d, std::size_t i) HWY_ATTR {
    const auto w = hn::LoadU(d, weight + i);
    const auto g = hn::MulAdd(hn::Set(d, decay), w, hn::LoadU(d, gradient + i));
    const auto s = hn::MulAdd(hn::Set(d, alpha), hn::LoadU(d, square + i),
                              hn::Mul(hn::Set(d, rest), hn::Mul(g, g)));
    hn::StoreU(s, d, square + i);
    auto change = hn::Div(g, hn::Add(hn::Sqrt(s), hn::Set(d, eps)));
    if (velocity != nullptr) {
      change = hn::MulAdd(hn::Set(d, momentum), hn::LoadU(d, velocity + i), change);
      hn::StoreU(change, d, velocity + i);
    }
    hn::StoreU(hn::MulAdd(hn::Set(d, rate), change, w), d, weight + i);
  });
}

template <class T>
HWY_INLINE void average(double share, std::int64_t count, const T* value, T* mean) {
  const T part = static_cast<T>(share);
  for_lanes<T>(0, static_cast<std::size_t>(count), [&](auto d, std::size_t i) HWY_ATTR {
    const auto before = hn::LoadU(d, mean + i);
    const auto difference = hn::Sub(hn::LoadU(d, value + i), before);
    hn::StoreU(hn::MulAdd(hn::Set(d, part), difference, before), d, mean + i);
  });
}

void SgdF32(const SgdStep& step, std::int64_t count, const float* gradient, float* velocity,
            float* weight) {
  sgd(step, count, gradient, velocity, weight);
}
void SgdF64(const SgdStep& step, std::int64_t count, const double* gradient, double* velocity,
            double* weight) {
  sgd(step, count, gradient, velocity, weight);
}
void AdamF32(const AdamStep& step, std::int64_t count, const float* gradient, float* first,
             float* second, float* weight) {
  adam(step, count, gradient, first, second, weight);
}
void AdamF64(const AdamStep& step, std::int64_t count, const double* gradient, double* first,
             double* second, double* weight) {
  adam(step, count, gradient, first, second, weight);
}
void RmsPropF32(const RmsPropStep& step, std::int64_t count, const float* gradient, float* square,
                float* velocity, float* weight) {
  rmsprop(step, count, gradient, square, velocity, weight);
}
void RmsPropF64(const RmsPropStep& step, std::int64_t count, const double* gradient, double* square,
                double* velocity, double* weight) {
  rmsprop(step, count, gradient, square, velocity, weight);
}
void AverageF32(double share, std::int64_t count, const float* value, float* mean) {
  average(share, count, value, mean);
}
void AverageF64(double share, std::int64_t count, const double* value, double* mean) {
  average(share, count, value, mean);
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(SgdF32);
HWY_EXPORT(SgdF64);
HWY_EXPORT(AdamF32);
HWY_EXPORT(AdamF64);
HWY_EXPORT(RmsPropF32);
HWY_EXPORT(RmsPropF64);
HWY_EXPORT(AverageF32);
HWY_EXPORT(AverageF64);

template <>
void sgd_update(const SgdStep& step, std::int64_t count, const float* gradient, float* velocity,
                float* weight) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(SgdF32)(step, count, gradient, velocity, weight);
}
template <>
void sgd_update(const SgdStep& step, std::int64_t count, const double* gradient, double* velocity,
                double* weight) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(SgdF64)(step, count, gradient, velocity, weight);
}
template <>
void adam_update(const AdamStep& step, std::int64_t count, const float* gradient, float* first,
                 float* second, float* weight) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(AdamF32)(step, count, gradient, first, second, weight);
}
template <>
void adam_update(const AdamStep& step, std::int64_t count, const double* gradient, double* first,
                 double* second, double* weight) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(AdamF64)(step, count, gradient, first, second, weight);
}
template <>
void rmsprop_update(const RmsPropStep& step, std::int64_t count, const float* gradient,
                    float* square, float* velocity, float* weight) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(RmsPropF32)(step, count, gradient, square, velocity, weight);
}
template <>
void rmsprop_update(const RmsPropStep& step, std::int64_t count, const double* gradient,
                    double* square, double* velocity, double* weight) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(RmsPropF64)(step, count, gradient, square, velocity, weight);
}
void average_update(double share, std::int64_t count, const float* value, float* average) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(AverageF32)(share, count, value, average);
}
void average_update(double share, std::int64_t count, const double* value, double* average) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(AverageF64)(share, count, value, average);
}

}  // namespace fovea::kernels
#endif
