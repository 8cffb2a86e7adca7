// Cuts [0, count) into blocks of whole vectors: full ones, then halves, quarters ... down to one
// lane, so that no loop needs masks or reads past its end. Included once per SIMD target.
#if defined(FOVEA_KERNELS_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_KERNELS_LANES_INL_H_
#undef FOVEA_KERNELS_LANES_INL_H_
#else
#define FOVEA_KERNELS_LANES_INL_H_
#endif

#include <cstddef>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Calls body(d, i) with a vector tag `d` for each block that starts at i.
template <class T, std::size_t kLanes = HWY_LANES(T), class Body>
HWY_INLINE void for_lanes(std::size_t first, std::size_t count, const Body& body) {
  const hn::CappedTag<T, kLanes> d;
  const std::size_t step = hn::Lanes(d);
  std::size_t i = first;
  for (; i + step <= count; i += step) body(d, i);
  if constexpr (kLanes > 1) {
    if (i < count) for_lanes<T, kLanes / 2>(i, count, body);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();
#endif
