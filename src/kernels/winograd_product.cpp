// The matrix products at the points of Winograd's convolution, once per SIMD target.
//
// As in the patch product, a tile of rows by one or two vectors stays in registers for the whole
// reduction. Here values are our own copy, so they lie where one pointer reaches them all: the rows
// of a tile at a constant distance.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/winograd_product.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include <array>
#include <utility>

#include "hwy/highway.h"
#include "kernels/registers.h"
#include "kernels/winograd.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Accumulators, two weights and a broadcast must fit the register file: 32 registers, or 16.
#if FOVEA_MANY_REGISTERS
constexpr int kRows = 14;
#else
constexpr int kRows = 6;
#endif

template <class T>
using Lanes = hn::ScalableTag<T>;

template <class T, int M, int N>
HWY_INLINE void ProductOfPoint(const PointProduct<T>& job, const T* values, const T* weight_begin,
                               T* out) {
  const Lanes<T> d;
  using V = hn::Vec<decltype(d)>;
  constexpr int kLanes = static_cast<int>(HWY_LANES(T));
  for (int64_t group = 0; group < job.groups; ++group) {
    V sum[M][N];
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
      for (int n = 0; n < N; ++n) sum[m][n] = hn::Zero(d);
    }
    const T* HWY_RESTRICT weights = weight_begin;
    for (int64_t left = job.reduced; left > 0; left -= kLanes, values += M * kLanes) {
      const T* value = values;
      const T* const end = values + HWY_MIN(left, kLanes);
#pragma GCC unroll 2
      for (; value < end; ++value, weights += N * kLanes) {
        V weight[N];
#pragma GCC unroll 2
        for (int n = 0; n < N; ++n) weight[n] = hn::Load(d, weights + n * kLanes);
#pragma GCC unroll 16
        for (int m = 0; m < M; ++m) {
          const V factor = hn::Set(d, value[m * kLanes]);
#pragma GCC unroll 2
          for (int n = 0; n < N; ++n) sum[m][n] = hn::MulAdd(factor, weight[n], sum[m][n]);
        }
      }
    }
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
      for (int n = 0; n < N; ++n) hn::Store(sum[m][n], d, out + (m * N + n) * kLanes);
    }
    out += M * N * kLanes;
  }
}

template <class T, int M, int N>
void Product(const PointProduct<T>& job) {
  const T* values = job.values;
  const T* weights = job.weights;
  T* out = job.out;  // perhaps the same as the values
  for (int64_t point = 0; point < job.points; ++point) {
    ProductOfPoint<T, M, N>(job, values, weights, out);
    values += job.value_step;
    weights += job.weight_step;
    out += job.out_step;
  }
}

template <class T, int M, int N>
void Gradient(const PointGradient<T>& job) {
  const Lanes<T> d;
  using V = hn::Vec<decltype(d)>;
  constexpr int kLanes = static_cast<int>(HWY_LANES(T));
  V sum[M][N];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n) sum[m][n] = hn::Load(d, job.sum + (m * N + n) * kLanes);
  }
  const T* HWY_RESTRICT value = job.values;
  const T* HWY_RESTRICT from = job.gradients;
  for (int64_t q = 0; q < job.count; ++q, value += job.value_step, from += N * kLanes) {
    V gradient[N];
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n) gradient[n] = hn::Load(d, from + n * kLanes);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const V factor = hn::Set(d, value[m]);
#pragma GCC unroll 2
      for (int n = 0; n < N; ++n) sum[m][n] = hn::MulAdd(factor, gradient[n], sum[m][n]);
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n) hn::Store(sum[m][n], d, job.sum + (m * N + n) * kLanes);
  }
}

// One function per even number of rows, for blocks of one and of two vectors.
template <class Job>
using Function = void (*)(const Job&);
template <class T, int N, int... I>
constexpr std::array<Function<PointProduct<T>>, sizeof...(I)> Products(
    std::integer_sequence<int, I...>) {
  return {&Product<T, 2 * I + 2, N>...};
}
template <class T, int N, int... I>
constexpr std::array<Function<PointGradient<T>>, sizeof...(I)> Gradients(
    std::integer_sequence<int, I...>) {
  return {&Gradient<T, 2 * I + 2, N>...};
}
using EvenRows = std::make_integer_sequence<int, kRows / 2>;

template <class T>
void RunProduct(const PointProduct<T>& job) {
  static constexpr auto kOne = Products<T, 1>(EvenRows());
  static constexpr auto kTwo = Products<T, 2>(EvenRows());
  const auto& functions = job.block > static_cast<int>(HWY_LANES(T)) ? kTwo : kOne;
  functions[static_cast<size_t>(job.rows / 2 - 1)](job);
}

// Cuts the rows into register tiles of nearly the same size.
template <class T>
void RunGradient(const PointGradient<T>& job) {
  static constexpr auto kOne = Gradients<T, 1>(EvenRows());
  static constexpr auto kTwo = Gradients<T, 2>(EvenRows());
  const auto& functions = job.block > static_cast<int>(HWY_LANES(T)) ? kTwo : kOne;
  const int64_t pairs = job.rows / 2;
  const int64_t tiles = (job.rows + kRows - 1) / kRows;
  PointGradient<T> part = job;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t first = 2 * (tile * pairs / tiles);
    part.rows = 2 * ((tile + 1) * pairs / tiles) - first;
    part.values = job.values + first;
    part.sum = job.sum + first * job.block;
    functions[static_cast<size_t>(part.rows / 2 - 1)](part);
  }
}

void Product32(const PointProduct<float>& job) {
  RunProduct(job);
}
void Product64(const PointProduct<double>& job) {
  RunProduct(job);
}
void Gradient32(const PointGradient<float>& job) {
  RunGradient(job);
}
void Gradient64(const PointGradient<double>& job) {
  RunGradient(job);
}
WinogradSizes Sizes32() {
  return {kRows, static_cast<int>(HWY_LANES(float))};
}
WinogradSizes Sizes64() {
  return {kRows, static_cast<int>(HWY_LANES(double))};
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/simd.h"

namespace fovea::kernels {

HWY_EXPORT(Product32);
HWY_EXPORT(Product64);
HWY_EXPORT(Gradient32);
HWY_EXPORT(Gradient64);
HWY_EXPORT(Sizes32);
HWY_EXPORT(Sizes64);

template <>
WinogradSizes winograd_sizes<float>() {
  detect_simd();
  return HWY_DYNAMIC_DISPATCH(Sizes32)();
}
template <>
WinogradSizes winograd_sizes<double>() {
  detect_simd();
  return HWY_DYNAMIC_DISPATCH(Sizes64)();
}
template <>
void point_product(const PointProduct<float>& job) {
  HWY_DYNAMIC_DISPATCH(Product32)(job);
}
template <>
void point_product(const PointProduct<double>& job) {
  HWY_DYNAMIC_DISPATCH(Product64)(job);
}
template <>
void point_gradient(const PointGradient<float>& job) {
  HWY_DYNAMIC_DISPATCH(Gradient32)(job);
}
template <>
void point_gradient(const PointGradient<double>& job) {
  HWY_DYNAMIC_DISPATCH(Gradient64)(job);
}

}  // namespace fovea::kernels
#endif
