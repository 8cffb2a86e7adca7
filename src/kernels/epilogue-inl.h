// The epilogue of a vector of results, for kernels that store them. Included once per SIMD target.
#if defined(FOVEA_KERNELS_EPILOGUE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_KERNELS_EPILOGUE_INL_H_
#undef FOVEA_KERNELS_EPILOGUE_INL_H_
#else
#define FOVEA_KERNELS_EPILOGUE_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/epilogue.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Where the residual of the result at `place` is.
template <class T>
HWY_INLINE const T* residual_of(const Epilogue<T>& epilogue, const T* place) {
  return epilogue.residual + (place - epilogue.results);
}

// Keeps values within the bounds. So written, NaN stays NaN: of two operands, one of them NaN, x86
// returns the second.
template <class D>
class Bounds {
 public:
  using T = hn::TFromD<D>;
  HWY_INLINE Bounds(D d, const Epilogue<T>& epilogue)
      : low_(hn::Set(d, epilogue.low)), high_(hn::Set(d, epilogue.high)) {}
  HWY_INLINE hn::Vec<D> operator()(hn::Vec<D> value) const {
    return hn::Min(high_, hn::Max(low_, value));
  }

 private:
  hn::Vec<D> low_;
  hn::Vec<D> high_;
};

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();
#endif
