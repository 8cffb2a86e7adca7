// Cuts [first, count) into vectors without reading or writing past its end. for_lanes: full
// vectors, then halves, quarters ... down to one lane, so that no loop needs masks. for_vectors:
// full vectors, then the rest in one under a mask, for many short runs (the channels of a cell).
// Included once per SIMD target.
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

// A whole vector of lanes.
template <class D>
struct WholeVector {
  D d;
  template <class T>
  HWY_INLINE hn::Vec<D> load(const T* from) const {
    return hn::LoadU(d, from);
  }
  template <class V, class T>
  HWY_INLINE void store(V value, T* to) const {
    hn::StoreU(value, d, to);
  }
};

// The first lanes of one; the others are loaded as zeros and never stored.
template <class D>
struct PartVector {
  D d;
  hn::Mask<D> mask;
  template <class T>
  HWY_INLINE hn::Vec<D> load(const T* from) const {
    return hn::MaskedLoad(mask, d, from);
  }
  template <class V, class T>
  HWY_INLINE void store(V value, T* to) const {
    hn::BlendedStore(value, mask, d, to);
  }
};

// Calls body(v, i) for each block that starts at i: v.d is its tag, v.load(p) and v.store(x, p)
// move as many elements as it has.
template <class T, class Body>
HWY_INLINE void for_vectors(std::size_t first, std::size_t count, const Body& body) {
#if HWY_TARGET <= HWY_AVX2
  const hn::ScalableTag<T> d;
  const std::size_t step = hn::Lanes(d);
  std::size_t i = first;
  for (; i + step <= count; i += step) body(WholeVector<decltype(d)>{d}, i);
  if (i < count) body(PartVector<decltype(d)>{d, hn::FirstN(d, count - i)}, i);
#else
  // Masked stores would read and rewrite what lies behind, which another thread may be writing.
  for_lanes<T>(first, count,
               [&](auto d, std::size_t i) HWY_ATTR { body(WholeVector<decltype(d)>{d}, i); });
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();
#endif
