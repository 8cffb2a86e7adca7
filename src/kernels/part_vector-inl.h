// The first lanes of one vector: loads of memory that may end behind them, and stores that leave
// alone what lies behind. Included once per SIMD target.
#if defined(FOVEA_KERNELS_PART_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_KERNELS_PART_VECTOR_INL_H_
#undef FOVEA_KERNELS_PART_VECTOR_INL_H_
#else
#define FOVEA_KERNELS_PART_VECTOR_INL_H_
#endif

#include <cstddef>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Writes the first `count` lanes.
template <class T, class V>
HWY_INLINE void StoreFirst(V value, T* out, int count) {
  const hn::ScalableTag<T> d;
#if HWY_TARGET <= HWY_AVX2
  hn::BlendedStore(value, hn::FirstN(d, static_cast<size_t>(count)), d, out);
#else
  // Here a masked store would read and rewrite what lies behind, which another thread may be
  // writing.
  HWY_ALIGN T lanes[HWY_LANES(T)];
  hn::Store(value, d, lanes);
  for (int i = 0; i < count; ++i) out[i] = lanes[i];
#endif
}

template <class T>
HWY_INLINE hn::Vec<hn::ScalableTag<T>> LoadFirst(const T* in, int count) {
  const hn::ScalableTag<T> d;
  HWY_ALIGN T lanes[HWY_LANES(T)] = {};
  for (int i = 0; i < count; ++i) lanes[i] = in[i];
  return hn::Load(d, lanes);
}

// The first `count` lanes, of memory that may end there; what the others hold is undefined.
template <class T>
HWY_INLINE hn::Vec<hn::ScalableTag<T>> LoadUpTo(const T* in, int count) {
#if HWY_TARGET <= HWY_AVX2
  const hn::ScalableTag<T> d;
  return hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(count)), d, in);
#else
  return LoadFirst(in, count);
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();
#endif
