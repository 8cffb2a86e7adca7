// Products of rows of places with few input channels, once per SIMD target.
//
// As in the patch product, a tile of M places by N vectors stays in registers for the whole
// reduction. Runs of a few values would each pay for their start, so all are one loop, in which the
// pointers go from value to value by steps from a table; four places share a pointer.
#include "kernels/stepped_product.h"

#include <array>
#include <utility>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/stepped_product.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/epilogue-inl.h"
#include "kernels/part_vector-inl.h"
#include "kernels/registers.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// The sums, weights and a broadcast must fit the registers.
#if FOVEA_MANY_REGISTERS
constexpr int kPlaces = 14;
#else
constexpr int kPlaces = 6;
#endif
constexpr int kShare = 4;  // places that a pointer serves

template <class T, int M, int N>
HWY_INLINE void StartTile(const SteppedProduct<T>& job, hn::Vec<hn::ScalableTag<T>> (&sum)[M][N]) {
  const hn::ScalableTag<T> d;
  constexpr int kLanes = static_cast<int>(HWY_LANES(T));
#pragma GCC unroll 2
  for (int n = 0; n < N; ++n) {
    auto start = hn::Zero(d);
    if (job.bias != nullptr) {
      const T* bias = job.bias + n * kLanes;
      const int rest = job.width - n * kLanes;
      start = rest >= kLanes ? hn::LoadU(d, bias) : LoadFirst(bias, rest);
    }
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) sum[m][n] = start;
  }
}

template <class T, int M, int N>
HWY_INLINE void FinishTile(const SteppedProduct<T>& job, const T* out,
                           hn::Vec<hn::ScalableTag<T>> (&sum)[M][N]) {
  const hn::ScalableTag<T> d;
  constexpr int kLanes = static_cast<int>(HWY_LANES(T));
  const Bounds<hn::ScalableTag<T>> bounds(d, *job.epilogue);
  const T* residual =
      job.epilogue->residual == nullptr ? nullptr : residual_of<T>(*job.epilogue, out);
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n) {
      if (residual != nullptr) {
        const T* from = residual + m * job.out_step + n * kLanes;
        const int rest = job.width - n * kLanes;
        sum[m][n] = hn::Add(sum[m][n], rest >= kLanes ? hn::LoadU(d, from) : LoadUpTo(from, rest));
      }
      sum[m][n] = bounds(sum[m][n]);
    }
  }
}

template <class T, int M, int N>
HWY_INLINE void StoreTile(const SteppedProduct<T>& job, T* out,
                          const hn::Vec<hn::ScalableTag<T>> (&sum)[M][N]) {
  const hn::ScalableTag<T> d;
  constexpr int kLanes = static_cast<int>(HWY_LANES(T));
  if (HWY_UNLIKELY(job.width < N * kLanes)) {
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m, out += job.out_step) {
#pragma GCC unroll 2
      for (int n = 0; n < N; ++n)
        StoreFirst(sum[m][n], out + n * kLanes, HWY_MIN(job.width - n * kLanes, kLanes));
    }
  } else if (job.bypass) {
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m, out += job.out_step) {
#pragma GCC unroll 2
      for (int n = 0; n < N; ++n) hn::Stream(sum[m][n], d, out + n * kLanes);
    }
  } else {
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m, out += job.out_step) {
#pragma GCC unroll 2
      for (int n = 0; n < N; ++n) hn::StoreU(sum[m][n], d, out + n * kLanes);
    }
  }
}

template <class T, int M, int N>
void Tile(const SteppedProduct<T>& given, int place) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<hn::ScalableTag<T>>;
  constexpr int kLanes = static_cast<int>(HWY_LANES(T));
  constexpr int kPointers = (M + kShare - 1) / kShare;
  V sum[M][N];
  StartTile<T, M, N>(given, sum);
  // Volatile keeps it in memory: out of vector registers, where reading it back would wait for the
  // multiplications.
  const SteppedProduct<T>* volatile kept = &given;
  const std::int64_t step = given.place_step;
  const std::int64_t step3 = 3 * step;
  const T* HWY_RESTRICT weights = given.weights;
  const T* HWY_RESTRICT from[kPointers];
#pragma GCC unroll 4
  for (int i = 0; i < kPointers; ++i) from[i] = given.from + (place + i * kShare) * step;
  const std::int64_t* next = given.steps;
  for (const std::int64_t* const end = next + given.reduced; next < end; ++next) {
    V weight[N];
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n) weight[n] = hn::Load(d, weights + n * kLanes);
    weights += N * kLanes;
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const std::int64_t offset = m % kShare == 3 ? step3 : m % kShare * step;
      const V value = hn::Set(d, from[m / kShare][offset]);
#pragma GCC unroll 2
      for (int n = 0; n < N; ++n) sum[m][n] = hn::MulAdd(value, weight[n], sum[m][n]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kPointers; ++i) from[i] += *next;
  }
  const SteppedProduct<T>& job = *kept;
  T* const out = job.out + place * job.out_step;
  if (HWY_UNLIKELY(job.epilogue != nullptr)) FinishTile<T, M, N>(job, out, sum);
  StoreTile<T, M, N>(job, out, sum);
}

// One function per number of places, for blocks of one and of two vectors.
template <class T>
using TileFunction = void (*)(const SteppedProduct<T>&, int);
template <class T, int N, int... M>
constexpr std::array<TileFunction<T>, kPlaces> Tiles(std::integer_sequence<int, M...>) {
  return {&Tile<T, M + 1, N>...};
}

// Asks for some lines, few enough for one burst.
inline void AskFor(const char* from, std::int64_t bytes) {
  constexpr std::int64_t kLine = 64;
  for (std::int64_t i = 0; i < bytes; i += kLine) __builtin_prefetch(from + i, 0, 2);
}

template <class T>
void RunSteppedProduct(const SteppedProduct<T>& job) {
  constexpr auto kCounts = std::make_integer_sequence<int, kPlaces>();
  static constexpr auto kOne = Tiles<T, 1>(kCounts);
  static constexpr auto kTwo = Tiles<T, 2>(kCounts);
  const auto& functions = job.width <= static_cast<int>(HWY_LANES(T)) ? kOne : kTwo;
  const int tiles = (job.places + kPlaces - 1) / kPlaces;
  const char* ahead = static_cast<const char*>(job.ahead.begin);
  const std::int64_t share = job.ahead.bytes == 0 ? 0 : job.ahead.bytes / tiles + 1;
  int place = 0;
  for (int tile = 0; tile < tiles; ++tile, ahead += share) {
    AskFor(ahead, share);
    const int rest = job.places - place;
    const int count = (rest + tiles - tile - 1) / (tiles - tile);  // as equal as may be
    functions[static_cast<std::size_t>(count - 1)](job, place);
    place += count;
  }
}

void SteppedProduct32(const SteppedProduct<float>& job) {
  RunSteppedProduct(job);
}
void SteppedProduct64(const SteppedProduct<double>& job) {
  RunSteppedProduct(job);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {
namespace {
HWY_EXPORT(SteppedProduct32);
HWY_EXPORT(SteppedProduct64);
}  // namespace

template <>
void stepped_product(const SteppedProduct<float>& job) {
  HWY_DYNAMIC_DISPATCH(SteppedProduct32)(job);
}
template <>
void stepped_product(const SteppedProduct<double>& job) {
  HWY_DYNAMIC_DISPATCH(SteppedProduct64)(job);
}

}  // namespace fovea::kernels
#endif
