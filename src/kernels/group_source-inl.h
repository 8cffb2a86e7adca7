// What group products and their gradients share: source vectors, as they are or spread over the
// lanes of groups, and the number of taps that meet a source vector while it is in a register.
// Included once per SIMD target.
#if defined(FOVEA_KERNELS_GROUP_SOURCE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_KERNELS_GROUP_SOURCE_INL_H_
#undef FOVEA_KERNELS_GROUP_SOURCE_INL_H_
#else
#define FOVEA_KERNELS_GROUP_SOURCE_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"
#include "kernels/group_product.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Loads a source vector: as it is, or with one channel of each group spread over the lanes of the
// group.
template <bool kSpread, class D>
class Source {
 public:
  using T = hn::TFromD<D>;
  HWY_INLINE Source(D /*d*/, const LaneIndex<T>* /*lookup*/) {}
  HWY_INLINE hn::Vec<D> operator()(D d, const T* values) const { return hn::LoadU(d, values); }
};
template <class D>
class Source<true, D> {
 public:
  using T = hn::TFromD<D>;
  HWY_INLINE Source(D d, const LaneIndex<T>* lookup) : indices_(hn::SetTableIndices(d, lookup)) {}
  HWY_INLINE hn::Vec<D> operator()(D d, const T* values) const {
    return hn::TableLookupLanes(hn::LoadU(d, values), indices_);
  }

 private:
  decltype(hn::SetTableIndices(D(), static_cast<const LaneIndex<T>*>(nullptr))) indices_;
};

// For the reduced channel i of a block.
template <bool kSpread, class D>
HWY_INLINE Source<kSpread, D> SourceOf(D d, const ChannelBlock<hn::TFromD<D>>& block,
                                       std::int64_t i) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  return Source<kSpread, D>(d, kSpread ? block.lookup + i * lanes : nullptr);
}

// How many cells lie between neighbouring outputs where K taps of one output read neighbouring
// cells, so that a source vector serves several of them; 0: each tap by itself, any steps.
inline int SharedStep(const InnerAxis& inner) {
  const bool dense = inner.tap_step == 1 || inner.tap_step == -1;
  return inner.in_line && inner.taps > 1 && dense && inner.output_step <= 2
             ? static_cast<int>(inner.output_step)
             : 0;
}

// Up to this many taps at a time.
constexpr int kSharedTaps = 4;

// K taps from `tap` on, in the order of the cells that they read: where the first output's begin,
// and how taps follow.
template <int K>
struct TapRun {
  std::int64_t entry;  // in the table, from that of tap 0
  int first;
  int step;
  HWY_INLINE TapRun(const InnerAxis& inner, int tap)
      : first(inner.tap_step < 0 ? tap + K - 1 : tap), step(inner.tap_step < 0 ? -1 : 1) {
    entry = first * inner.tap_step;
  }
  HWY_INLINE std::int64_t at(int k) const { return first + k * step; }
};

// Keeps a pointer that walks along in one register: the compiler would rather compute all its
// stations before, for which there are not enough.
template <class T>
HWY_INLINE void Walk(const T* HWY_RESTRICT& pointer, std::int64_t step) {
  pointer += step;
  asm("" : "+r"(pointer));
}

// Calls f.operator()<K>(tap) for runs of taps that cover all of them.
template <class F>
HWY_INLINE void ForTapRuns(int taps, const F& f) {
  int tap = 0;
  for (; tap + kSharedTaps <= taps; tap += kSharedTaps) f.template operator()<kSharedTaps>(tap);
  switch (taps - tap) {
    case 3:
      return f.template operator()<3>(tap);
    case 2:
      return f.template operator()<2>(tap);
    case 1:
      return f.template operator()<1>(tap);
    default:
      return;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();
#endif
