// How the kernels of depthwise rows write the results of neighbouring places.
// Included once per SIMD target.
#if defined(FOVEA_KERNELS_DEPTHWISE_STORE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_KERNELS_DEPTHWISE_STORE_INL_H_
#undef FOVEA_KERNELS_DEPTHWISE_STORE_INL_H_
#else
#define FOVEA_KERNELS_DEPTHWISE_STORE_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"
#include "kernels/depthwise_rows.h"
#include "kernels/epilogue-inl.h"
#include "kernels/group_source-inl.h"
#include "kernels/stream-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Writes M vectors of sums, the first of them at `out`, after the epilogue of the job: places of
// one block, or blocks of one place.
template <int M, class D>
HWY_INLINE void StoreSums(const DepthwiseRows<hn::TFromD<D>>& job, D d, const hn::Vec<D> (&sums)[M],
                          const hn::TFromD<D>* HWY_RESTRICT out, std::int64_t step) {
  using T = hn::TFromD<D>;
  if (HWY_UNLIKELY(job.epilogue != nullptr)) {
    const Bounds<D> bounds(d, *job.epilogue);
    const bool adds = job.epilogue->residual != nullptr;
    const T* HWY_RESTRICT residual = adds ? residual_of<T>(*job.epilogue, out) : out;
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m, Walk(out, step), Walk(residual, step)) {
      const hn::Vec<D> sum = adds ? hn::Add(sums[m], hn::LoadU(d, residual)) : sums[m];
      put(job.bypass, d, bounds(sum), const_cast<T*>(out));
    }
  } else {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m, Walk(out, step)) put(job.bypass, d, sums[m], const_cast<T*>(out));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();
#endif
