// Stockham's algorithm on lines of vectors. The first stage gathers a line from where it lies and
// the last one puts it back, so that all between them stays in the first-level cache.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/fft_lines.cpp"
#include "kernels/fft_lines.h"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/butterfly-inl.h"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Elements at a constant distance from each other.
template <class T>
struct Line {
  Planes<T> at;
  std::int64_t step;
};

// The butterflies of one p; twiddles are all 1 where p is 0.
template <int kRadix, bool kTwiddles, class T>
HWY_INLINE void butterflies(const FftStage<T>& stage, std::int64_t p, std::int64_t stride,
                            const Line<T>& in, const Line<T>& out) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  Complex<V> twiddles[kRadix];
  if constexpr (kTwiddles) {
    for (int k = 1; k < kRadix; ++k) {
      const std::int64_t at = (k - 1) * stage.groups + p;
      twiddles[k] = {hn::Set(d, stage.twiddles.re[at]), hn::Set(d, stage.twiddles.im[at])};
    }
  }
  const std::int64_t from_step = stage.groups * stride * in.step;
  const std::int64_t to_step = stride * out.step;
  const std::int64_t from = p * stride * in.step;
  const std::int64_t to = p * kRadix * stride * out.step;
  // Pointers of their own: for all that the compiler knows, a store may change `in` and `out`.
  const T* from_re = in.at.re + from;
  const T* from_im = in.at.im + from;
  T* to_re = out.at.re + to;
  T* to_im = out.at.im + to;
  const std::int64_t in_step = in.step;
  const std::int64_t out_step = out.step;
  for (std::int64_t q = 0; q < stride; ++q) {
    Complex<V> u[kRadix];
#pragma GCC unroll 8
    for (int k = 0; k < kRadix; ++k)
      u[k] = {hn::Load(d, from_re + k * from_step), hn::Load(d, from_im + k * from_step)};
    butterfly(d, u);
#pragma GCC unroll 8
    for (int k = 0; k < kRadix; ++k) {
      if (kTwiddles && k > 0) u[k] = u[k] * twiddles[k];
      hn::Store(u[k].re, d, to_re + k * to_step);
      hn::Store(u[k].im, d, to_im + k * to_step);
    }
    from_re += in_step;
    from_im += in_step;
    to_re += out_step;
    to_im += out_step;
  }
}

template <int kRadix, class T>
void run_stage(const FftStage<T>& stage, std::int64_t stride, const Line<T>& in,
               const Line<T>& out) {
  butterflies<kRadix, false>(stage, 0, stride, in, out);
  for (std::int64_t p = 1; p < stage.groups; ++p)
    butterflies<kRadix, true>(stage, p, stride, in, out);
}

template <class T>
void stage_of(const FftStage<T>& stage, std::int64_t stride, const Line<T>& in,
              const Line<T>& out) {
  switch (stage.radix) {
    case 2:
      return run_stage<2>(stage, stride, in, out);
    case 3:
      return run_stage<3>(stage, stride, in, out);
    case 4:
      return run_stage<4>(stage, stride, in, out);
    case 5:
      return run_stage<5>(stage, stride, in, out);
    default:
      return run_stage<8>(stage, stride, in, out);
  }
}

template <class T>
void lines_of(std::span<const FftStage<T>> stages, std::int64_t length, const FftLines<T>& job) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(hn::ScalableTag<T>()));
  const std::int64_t size = length * lanes;
  const Line<T> buffers[2] = {{{job.work, job.work + size}, lanes},
                              {{job.work + 2 * size, job.work + 3 * size}, lanes}};
  for (std::int64_t i = 0; i < job.lines; ++i) {
    const std::int64_t begin = i * job.line_step;
    const Line<T> line{{job.data.re + begin, job.data.im + begin}, job.step};
    const Line<T>* from = &line;
    std::int64_t stride = 1;
    for (std::size_t s = 0; s < stages.size(); ++s) {
      const Line<T>* to = s + 1 == stages.size() ? &line : &buffers[s % 2];
      stage_of(stages[s], stride, *from, *to);
      stride *= stages[s].radix;
      from = to;
    }
  }
}

template <class T>
void turn(const Planes<const T>& factors, std::int64_t count, const Planes<T>& vectors) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < count; ++i) {
    T* const re = vectors.re + i * lanes;
    T* const im = vectors.im + i * lanes;
    const Complex<V> product = Complex<V>{hn::Load(d, re), hn::Load(d, im)} *
                               Complex<V>{hn::Set(d, factors.re[i]), hn::Set(d, factors.im[i])};
    hn::Store(product.re, d, re);
    hn::Store(product.im, d, im);
  }
}

void TurnF32(const Planes<const float>& factors, std::int64_t count, const Planes<float>& vectors) {
  turn(factors, count, vectors);
}
void TurnF64(const Planes<const double>& factors, std::int64_t count,
             const Planes<double>& vectors) {
  turn(factors, count, vectors);
}
void FftLinesF32(std::span<const FftStage<float>> stages, std::int64_t length,
                 const FftLines<float>& job) {
  lines_of(stages, length, job);
}
void FftLinesF64(std::span<const FftStage<double>> stages, std::int64_t length,
                 const FftLines<double>& job) {
  lines_of(stages, length, job);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(FftLinesF32);
HWY_EXPORT(FftLinesF64);
HWY_EXPORT(TurnF32);
HWY_EXPORT(TurnF64);

template <>
void fft_lines(std::span<const FftStage<float>> stages, std::int64_t length,
               const FftLines<float>& job) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(FftLinesF32)(stages, length, job);
}
template <>
void fft_lines(std::span<const FftStage<double>> stages, std::int64_t length,
               const FftLines<double>& job) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(FftLinesF64)(stages, length, job);
}

template <>
void turn_vectors(const Planes<const float>& factors, std::int64_t count,
                  const Planes<float>& vectors) {
  HWY_DYNAMIC_DISPATCH(TurnF32)(factors, count, vectors);
}
template <>
void turn_vectors(const Planes<const double>& factors, std::int64_t count,
                  const Planes<double>& vectors) {
  HWY_DYNAMIC_DISPATCH(TurnF64)(factors, count, vectors);
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
