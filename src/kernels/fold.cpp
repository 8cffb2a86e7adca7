// Folding, once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/fold.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/fold.h"
#include "kernels/lanes-inl.h"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

template <class T>
void Fold(const PatchFold<T>& job) {
  const auto run = static_cast<std::size_t>(job.run);
  for (std::int64_t first = 0; first < job.apart; ++first) {
    for (std::int64_t k = 0; k < job.runs; ++k) {
      for (std::int64_t i = first; i < job.count; i += job.apart) {
        const T* HWY_RESTRICT from = job.products + i * job.product_step + k * job.run;
        T* HWY_RESTRICT to = job.to + i * job.to_step + job.offsets[k];
        for_vectors<T>(0, run, [&](auto v, std::size_t j) HWY_ATTR {
          v.store(hn::Add(v.load(to + j), v.load(from + j)), to + j);
        });
      }
    }
  }
}

void Fold32(const PatchFold<float>& job) {
  Fold(job);
}
void Fold64(const PatchFold<double>& job) {
  Fold(job);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {
namespace {
HWY_EXPORT(Fold32);
HWY_EXPORT(Fold64);
}  // namespace

template <>
void fold_patches(const PatchFold<float>& job) {
  HWY_DYNAMIC_DISPATCH(Fold32)(job);
}
template <>
void fold_patches(const PatchFold<double>& job) {
  HWY_DYNAMIC_DISPATCH(Fold64)(job);
}

}  // namespace fovea::kernels
#endif
