// Stores that may bypass the caches (stream.h says when). Included once per SIMD target.
#if defined(FOVEA_KERNELS_STREAM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_KERNELS_STREAM_INL_H_
#undef FOVEA_KERNELS_STREAM_INL_H_
#else
#define FOVEA_KERNELS_STREAM_INL_H_
#endif

#include "hwy/cache_control.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// A store, past the caches where kStreamed (see stream.h).
template <bool kStreamed, class D, class V, class T>
HWY_INLINE void put(D d, V value, T* to) {
  if constexpr (kStreamed) {
    hn::Stream(value, d, to);
  } else {
    hn::StoreU(value, d, to);
  }
}

// The same, decided for each store.
template <class D, class V, class T>
HWY_INLINE void put(bool streamed, D d, V value, T* to) {
  if (HWY_UNLIKELY(streamed)) {
    put<true>(d, value, to);
  } else {
    put<false>(d, value, to);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();
#endif
