// Weighted sums of runs of contiguous elements. Included once per SIMD target.
#if defined(FOVEA_KERNELS_WEIGHTED_SUM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_KERNELS_WEIGHTED_SUM_INL_H_
#undef FOVEA_KERNELS_WEIGHTED_SUM_INL_H_
#else
#define FOVEA_KERNELS_WEIGHTED_SUM_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "hwy/highway.h"
#include "kernels/lanes-inl.h"
#include "kernels/stream-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// target = the weighted sum of `count` elements of each source, or adds it.
template <std::size_t kSources, bool kAdd, bool kStreamed, class T>
HWY_INLINE void weighted_sum_of(const T* const* sources, const T* factors, std::size_t count,
                                T* HWY_RESTRICT target) {
  const T* from[kSources];
  T weights[kSources];
  for (std::size_t s = 0; s < kSources; ++s) {
    from[s] = sources[s];
    weights[s] = factors[s];
  }
  for_lanes<T>(0, count, [&](auto d, std::size_t i) HWY_ATTR {
    auto sum = hn::Mul(hn::LoadU(d, from[0] + i), hn::Set(d, weights[0]));
    for (std::size_t s = 1; s < kSources; ++s) {
      sum = hn::MulAdd(hn::LoadU(d, from[s] + i), hn::Set(d, weights[s]), sum);
    }
    if (kAdd) sum = hn::Add(hn::LoadU(d, target + i), sum);
    put<kStreamed>(d, sum, target + i);
  });
}

// The number of sources is at most four, so that their pointers stay in registers, or four are
// taken.
template <bool kAdd, bool kStreamed, class T>
HWY_INLINE void add_sources(std::size_t sources, const T* const* from, const T* weights,
                            std::size_t count, T* HWY_RESTRICT target) {
  switch (sources) {
    case 1:
      return weighted_sum_of<1, kAdd, kStreamed>(from, weights, count, target);
    case 2:
      return weighted_sum_of<2, kAdd, kStreamed>(from, weights, count, target);
    case 3:
      return weighted_sum_of<3, kAdd, kStreamed>(from, weights, count, target);
    default:
      return weighted_sum_of<4, kAdd, kStreamed>(from, weights, count, target);
  }
}

// Any number of sources. What is added to once more is not streamed.
template <bool kStreamed, class T>
HWY_INLINE void weighted_sum(std::size_t sources, const T* const* from, const T* weights,
                             std::size_t count, T* HWY_RESTRICT target) {
  constexpr std::size_t kTogether = 4;
  if (sources == 0) {
    std::fill_n(target, count, T{0});
    return;
  }
  if (sources <= kTogether)
    return add_sources<false, kStreamed>(sources, from, weights, count, target);
  add_sources<false, false>(sources, from, weights, count, target);
  for (std::size_t s = kTogether; s < sources; s += kTogether)
    add_sources<true, false>(sources - s, from + s, weights + s, count, target);
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();
#endif
