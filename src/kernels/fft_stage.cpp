// The stages of the Fourier transform. Radices 2, 3, 4, 5 and 8 have butterflies of their own; any
// other prime is a small matrix product. To add a radix: its butterfly and a line in fft_stage_of.
//
// Interleaved sequences are the lanes of a vector. The first stage of a single sequence has none;
// there the lanes run over p, and the results are interleaved as they are stored.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/fft_stage.cpp"
#include "kernels/fft_stage.h"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/butterfly-inl.h"
#include "kernels/lanes-inl.h"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// The lanes are sequences.
template <int kRadix, class T>
void stage_over_sequences(const FftStage<T>& stage, std::int64_t stride, const Planes<const T>& in,
                          const Planes<T>& out) {
  const std::int64_t step = stage.groups * stride;
  for (std::int64_t p = 0; p < stage.groups; ++p) {
    for_lanes<T>(0, static_cast<std::size_t>(stride), [&](auto d, std::size_t lane) {
      using V = hn::Vec<decltype(d)>;
      const std::int64_t from = p * stride + static_cast<std::int64_t>(lane);
      Complex<V> u[kRadix];
      for (int k = 0; k < kRadix; ++k) {
        u[k] = {hn::LoadU(d, in.re + from + k * step), hn::LoadU(d, in.im + from + k * step)};
      }
      butterfly(d, u);
      const std::int64_t to = p * kRadix * stride + static_cast<std::int64_t>(lane);
      for (int k = 0; k < kRadix; ++k) {
        if (k > 0) {
          const std::int64_t at = (k - 1) * stage.groups + p;
          u[k] = u[k] *
                 Complex<V>{hn::Set(d, stage.twiddles.re[at]), hn::Set(d, stage.twiddles.im[at])};
        }
        hn::StoreU(u[k].re, d, out.re + to + k * stride);
        hn::StoreU(u[k].im, d, out.im + to + k * stride);
      }
    });
  }
}

template <class D, class V>
HWY_INLINE void store_interleaved(D d, const Complex<V> (&u)[2], std::int64_t at,
                                  const Planes<hn::TFromD<D>>& out) {
  hn::StoreInterleaved2(u[0].re, u[1].re, d, out.re + at);
  hn::StoreInterleaved2(u[0].im, u[1].im, d, out.im + at);
}
template <class D, class V>
HWY_INLINE void store_interleaved(D d, const Complex<V> (&u)[3], std::int64_t at,
                                  const Planes<hn::TFromD<D>>& out) {
  hn::StoreInterleaved3(u[0].re, u[1].re, u[2].re, d, out.re + at);
  hn::StoreInterleaved3(u[0].im, u[1].im, u[2].im, d, out.im + at);
}
template <class D, class V>
HWY_INLINE void store_interleaved(D d, const Complex<V> (&u)[4], std::int64_t at,
                                  const Planes<hn::TFromD<D>>& out) {
  hn::StoreInterleaved4(u[0].re, u[1].re, u[2].re, u[3].re, d, out.re + at);
  hn::StoreInterleaved4(u[0].im, u[1].im, u[2].im, u[3].im, d, out.im + at);
}

template <class D, class V>
HWY_INLINE void store_interleaved(D d, const Complex<V> (&u)[8], std::int64_t at,
                                  const Planes<hn::TFromD<D>>& out) {
  using T = hn::TFromD<D>;
  constexpr std::size_t kLanes = HWY_LANES(T);
  HWY_ALIGN T re[8 * kLanes];
  HWY_ALIGN T im[8 * kLanes];
  for (std::size_t k = 0; k < 8; ++k) {
    hn::Store(u[k].re, d, re + k * kLanes);
    hn::Store(u[k].im, d, im + k * kLanes);
  }
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    for (std::size_t k = 0; k < 8; ++k) {
      out.re[at + static_cast<std::int64_t>(8 * lane + k)] = re[k * kLanes + lane];
      out.im[at + static_cast<std::int64_t>(8 * lane + k)] = im[k * kLanes + lane];
    }
  }
}

// One sequence: the lanes are values of p, and whole vectors of them only.
template <int kRadix, class T>
void stage_over_groups(const FftStage<T>& stage, const Planes<const T>& in, const Planes<T>& out) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const std::int64_t groups = stage.groups;
  for (std::int64_t p = 0; p < groups; p += static_cast<std::int64_t>(hn::Lanes(d))) {
    Complex<V> u[kRadix];
    for (int k = 0; k < kRadix; ++k) {
      u[k] = {hn::LoadU(d, in.re + p + k * groups), hn::LoadU(d, in.im + p + k * groups)};
    }
    butterfly(d, u);
    for (int k = 1; k < kRadix; ++k) {
      const std::int64_t at = (k - 1) * groups + p;
      u[k] = u[k] *
             Complex<V>{hn::LoadU(d, stage.twiddles.re + at), hn::LoadU(d, stage.twiddles.im + at)};
    }
    store_interleaved(d, u, p * kRadix, out);
  }
}

// Any radix: radix^2 products.
template <class T>
void stage_of_any_radix(const FftStage<T>& stage, std::int64_t stride, const Planes<const T>& in,
                        const Planes<T>& out) {
  const std::int64_t step = stage.groups * stride;
  for (std::int64_t p = 0; p < stage.groups; ++p) {
    for_lanes<T>(0, static_cast<std::size_t>(stride), [&](auto d, std::size_t lane) {
      using V = hn::Vec<decltype(d)>;
      const auto complex_at = [d](const Planes<const T>& from, std::int64_t i) {
        return Complex<V>{hn::Set(d, from.re[i]), hn::Set(d, from.im[i])};
      };
      const std::int64_t from = p * stride + static_cast<std::int64_t>(lane);
      const std::int64_t to = p * stage.radix * stride + static_cast<std::int64_t>(lane);
      for (int k = 0; k < stage.radix; ++k) {
        Complex<V> sum{hn::Zero(d), hn::Zero(d)};
        for (int l = 0; l < stage.radix; ++l) {
          const Complex<V> value{hn::LoadU(d, in.re + from + l * step),
                                 hn::LoadU(d, in.im + from + l * step)};
          sum = sum + value * complex_at(stage.roots, k * l % stage.radix);
        }
        if (k > 0) sum = sum * complex_at(stage.twiddles, (k - 1) * stage.groups + p);
        hn::StoreU(sum.re, d, out.re + to + k * stride);
        hn::StoreU(sum.im, d, out.im + to + k * stride);
      }
    });
  }
}

template <class T>
void fft_stage_of(const FftStage<T>& stage, std::int64_t stride, const Planes<const T>& in,
                  const Planes<T>& out) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(hn::ScalableTag<T>()));
  const bool over_groups = stride == 1 && stage.groups % lanes == 0;
  switch (stage.radix) {
    case 2:
      return over_groups ? stage_over_groups<2>(stage, in, out)
                         : stage_over_sequences<2>(stage, stride, in, out);
    case 3:
      return over_groups ? stage_over_groups<3>(stage, in, out)
                         : stage_over_sequences<3>(stage, stride, in, out);
    case 4:
      return over_groups ? stage_over_groups<4>(stage, in, out)
                         : stage_over_sequences<4>(stage, stride, in, out);
    case 5:
      return stage_over_sequences<5>(stage, stride, in, out);
    case 8:
      return over_groups ? stage_over_groups<8>(stage, in, out)
                         : stage_over_sequences<8>(stage, stride, in, out);
    default:
      return stage_of_any_radix(stage, stride, in, out);
  }
}

void FftStageF32(const FftStage<float>& stage, std::int64_t stride, const Planes<const float>& in,
                 const Planes<float>& out) {
  fft_stage_of(stage, stride, in, out);
}
void FftStageF64(const FftStage<double>& stage, std::int64_t stride, const Planes<const double>& in,
                 const Planes<double>& out) {
  fft_stage_of(stage, stride, in, out);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(FftStageF32);
HWY_EXPORT(FftStageF64);

template <>
void fft_stage(const FftStage<float>& stage, std::int64_t stride, const Planes<const float>& in,
               const Planes<float>& out) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(FftStageF32)(stage, stride, in, out);
}

template <>
void fft_stage(const FftStage<double>& stage, std::int64_t stride, const Planes<const double>& in,
               const Planes<double>& out) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(FftStageF64)(stage, stride, in, out);
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
