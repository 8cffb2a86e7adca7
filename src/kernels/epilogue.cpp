// The epilogue of results in memory, once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/epilogue.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/epilogue-inl.h"
#include "kernels/lanes-inl.h"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {

template <class T>
void finish_all(const Epilogue<T>& epilogue, std::int64_t count, T* first) {
  const T* residual = epilogue.residual == nullptr ? nullptr : residual_of(epilogue, first);
  for_lanes<T>(0, static_cast<std::size_t>(count), [&](auto d, std::size_t i) HWY_ATTR {
    const Bounds<decltype(d)> bounds(d, epilogue);
    auto value = hn::LoadU(d, first + i);
    if (residual != nullptr) value = hn::Add(value, hn::LoadU(d, residual + i));
    hn::StoreU(bounds(value), d, first + i);
  });
}

void FinishF32(const Epilogue<float>& epilogue, std::int64_t count, float* first) {
  finish_all(epilogue, count, first);
}
void FinishF64(const Epilogue<double>& epilogue, std::int64_t count, double* first) {
  finish_all(epilogue, count, first);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {
namespace {
HWY_EXPORT(FinishF32);
HWY_EXPORT(FinishF64);
}  // namespace

template <>
void finish(const Epilogue<float>& epilogue, std::int64_t count, float* first) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(FinishF32)(epilogue, count, first);
}
template <>
void finish(const Epilogue<double>& epilogue, std::int64_t count, double* first) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(FinishF64)(epilogue, count, first);
}

}  // namespace fovea::kernels
#endif
