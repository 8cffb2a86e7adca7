// Register tiles for few channels: kWidth strips by P planes stay in registers for the whole
// reduction. Per tap that costs kWidth loads of values and P broadcast weights for kWidth * P fused
// multiply-adds.
//
// kWidth shrinks as P grows, so that the tile fits the registers; there is one function per P.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/plane_product.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/plane_product.h"
#include "kernels/registers.h"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Accumulators of a tile; the other registers hold values and weights.
#if FOVEA_MANY_REGISTERS
constexpr int kSums = 24;
#else
constexpr int kSums = 12;
#endif

// Strips of a product, and taps of a gradient, for P planes.
constexpr int tile_width(int planes) {
  const int width = kSums / planes;
  return width < 8 ? width : 8;
}

template <class T, int P>
void Product(const StripProduct<T>& job) {
  constexpr int kWidth = tile_width(P);
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  V sum[kWidth][P];
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
    const V start = job.start == nullptr ? hn::Zero(d) : hn::Set(d, job.start[p]);
#pragma GCC unroll 8
    for (int s = 0; s < kWidth; ++s) sum[s][p] = start;
  }
  const T* HWY_RESTRICT source[kWidth];
#pragma GCC unroll 8
  for (int s = 0; s < kWidth; ++s) source[s] = job.sources[s];
  const T* HWY_RESTRICT weight = job.weights;
  for (std::int64_t t = 0; t < job.taps; ++t, weight += P) {
    const std::int64_t offset = job.offsets[t];
    V value[kWidth];
#pragma GCC unroll 8
    for (int s = 0; s < kWidth; ++s) value[s] = hn::LoadU(d, source[s] + offset);
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
      const V factor = hn::Set(d, weight[p]);
#pragma GCC unroll 8
      for (int s = 0; s < kWidth; ++s) sum[s][p] = hn::MulAdd(factor, value[s], sum[s][p]);
    }
  }
#pragma GCC unroll 8
  for (int s = 0; s < kWidth; ++s) {
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) hn::StoreU(sum[s][p], d, job.out + (s * P + p) * lanes);
  }
}

// The lanes of `mask`, zeros elsewhere, of memory of any alignment.
template <class D, class M, class T>
HWY_INLINE hn::Vec<D> load_part(D d, M mask, const T* from) {
#if HWY_TARGET <= HWY_AVX2
  return hn::MaskedLoad(mask, d, from);
#else
  return hn::IfThenElseZero(mask, hn::LoadU(d, from));
#endif
}

template <class T, int P>
void Gradient(const StripGradient<T>& job) {
  constexpr int kWidth = tile_width(P);
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  V sum[kWidth][P];
#pragma GCC unroll 8
  for (int s = 0; s < kWidth; ++s) {
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) sum[s][p] = hn::LoadU(d, job.sums + (s * P + p) * lanes);
  }
  std::int64_t offset[kWidth];
#pragma GCC unroll 8
  for (int s = 0; s < kWidth; ++s) offset[s] = job.offsets[s];
  for (std::int64_t q = 0; q < job.count; ++q) {
    const auto mask = hn::FirstN(d, static_cast<std::size_t>(job.widths[q]));
    const T* HWY_RESTRICT source = job.sources[q];
    const T* HWY_RESTRICT gradients = job.gradients[q];
    V value[kWidth];
#pragma GCC unroll 8
    for (int s = 0; s < kWidth; ++s) value[s] = load_part(d, mask, source + offset[s]);
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
      const V gradient = load_part(d, mask, gradients + p * job.plane_step);
#pragma GCC unroll 8
      for (int s = 0; s < kWidth; ++s) sum[s][p] = hn::MulAdd(gradient, value[s], sum[s][p]);
    }
  }
#pragma GCC unroll 8
  for (int s = 0; s < kWidth; ++s) {
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) hn::StoreU(sum[s][p], d, job.sums + (s * P + p) * lanes);
  }
}

// Calls f.operator()<planes>().
template <class F>
void with_planes(int planes, const F& f) {
  switch (planes) {
    case 1:
      return f.template operator()<1>();
    case 2:
      return f.template operator()<2>();
    case 3:
      return f.template operator()<3>();
    case 4:
      return f.template operator()<4>();
    case 5:
      return f.template operator()<5>();
    case 6:
      return f.template operator()<6>();
    case 7:
      return f.template operator()<7>();
    default:
      return f.template operator()<8>();
  }
}

template <class T>
void run_product(const StripProduct<T>& job) {
  with_planes(job.planes, [&]<int P>() { Product<T, P>(job); });
}
template <class T>
void run_gradient(const StripGradient<T>& job) {
  with_planes(job.planes, [&]<int P>() { Gradient<T, P>(job); });
}

template <class T>
StripTile tile(int planes) {
  return {.lanes = static_cast<int>(HWY_LANES(T)),
          .strips = tile_width(planes),
          .taps = tile_width(planes)};
}

template <class T>
void sum_all_lanes(std::int64_t count, const T* sums, T* out) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < count; ++i)
    out[i] = hn::GetLane(hn::SumOfLanes(d, hn::LoadU(d, sums + i * lanes)));
}

StripTile TileF32(int planes) {
  return tile<float>(planes);
}
StripTile TileF64(int planes) {
  return tile<double>(planes);
}
void ProductF32(const StripProduct<float>& job) {
  run_product(job);
}
void ProductF64(const StripProduct<double>& job) {
  run_product(job);
}
void GradientF32(const StripGradient<float>& job) {
  run_gradient(job);
}
void GradientF64(const StripGradient<double>& job) {
  run_gradient(job);
}
void SumLanesF32(std::int64_t count, const float* sums, float* out) {
  sum_all_lanes(count, sums, out);
}
void SumLanesF64(std::int64_t count, const double* sums, double* out) {
  sum_all_lanes(count, sums, out);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {
namespace {
HWY_EXPORT(TileF32);
HWY_EXPORT(TileF64);
HWY_EXPORT(ProductF32);
HWY_EXPORT(ProductF64);
HWY_EXPORT(GradientF32);
HWY_EXPORT(GradientF64);
HWY_EXPORT(SumLanesF32);
HWY_EXPORT(SumLanesF64);
}  // namespace

template <>
StripTile strip_tile<float>(int planes) {
  detect_simd();
  return HWY_DYNAMIC_DISPATCH(TileF32)(planes);
}
template <>
StripTile strip_tile<double>(int planes) {
  detect_simd();
  return HWY_DYNAMIC_DISPATCH(TileF64)(planes);
}
template <>
void strip_product(const StripProduct<float>& job) {
  HWY_DYNAMIC_DISPATCH(ProductF32)(job);
}
template <>
void strip_product(const StripProduct<double>& job) {
  HWY_DYNAMIC_DISPATCH(ProductF64)(job);
}
template <>
void strip_gradient(const StripGradient<float>& job) {
  HWY_DYNAMIC_DISPATCH(GradientF32)(job);
}
template <>
void strip_gradient(const StripGradient<double>& job) {
  HWY_DYNAMIC_DISPATCH(GradientF64)(job);
}
void sum_lanes(std::int64_t count, const float* sums, float* out) {
  HWY_DYNAMIC_DISPATCH(SumLanesF32)(count, sums, out);
}
void sum_lanes(std::int64_t count, const double* sums, double* out) {
  HWY_DYNAMIC_DISPATCH(SumLanesF64)(count, sums, out);
}

}  // namespace fovea::kernels
#endif
