// The register-tiled loops behind direct convolution, once per SIMD target.
//
// A tile of M output rows by N vectors of output channels stays in registers for the whole
// reduction. Per reduced value it costs N loads of weights and M broadcasts for M*N fused
// multiply-adds: with 14 x 2 (AVX-512) or 6 x 2 (AVX2) the multipliers are the limit; SSE4 takes
// 3 x 4. Each output is reduced in one fixed order whatever M is, so edge tiles give the same bits.
#include "kernels/patch_product.h"

#include <array>
#include <utility>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/patch_product.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/epilogue-inl.h"
#include "kernels/part_vector-inl.h"
#include "kernels/registers.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Sums, weights and a broadcast must fit the register file: 32 registers, or 16. Half a block of
// output channels is kHalf vectors. Without a broadcasting load each row costs a shuffle, and
// without a fused multiplication and addition shuffles contend with both, so few rows are better.
#if FOVEA_MANY_REGISTERS
constexpr int kRows = 14;
constexpr int kGradientRows = 14;
constexpr int kHalf = 1;
#elif HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_SSE2
constexpr int kRows = 3;
constexpr int kGradientRows = 2;  // its weights are not aligned, so they take registers
constexpr int kHalf = 2;
#else
constexpr int kRows = 6;
constexpr int kGradientRows = 6;
constexpr int kHalf = 1;
#endif

template <class T>
using Lanes = hn::ScalableTag<T>;

// Asks for the bytes of `ahead` evenly over a number of steps. Asking for a line again costs less
// than finding out whether that is due.
class Prefetcher {
 public:
  Prefetcher(const Ahead& ahead, int64_t steps) : place_(reinterpret_cast<const char*>(&ahead)) {
    if (ahead.bytes == 0) return;  // the place is a harmless one
    place_ = static_cast<const char*>(ahead.begin);
    // 32 bits divide faster; no tile is as long.
    const auto parts = static_cast<uint32_t>(HWY_MIN(HWY_MAX(steps, 1), int64_t{1} << 30));
    pace_ = static_cast<uint32_t>(ahead.bytes) / parts + 1;
  }
  HWY_INLINE void Step() {
    __builtin_prefetch(place_, 0, 2);
    place_ += pace_;
  }

 private:
  const char* place_;
  int64_t pace_ = 0;
};

// Asks for the residual of a tile: rows lie too far apart for the CPU to see what comes next.
template <class T, int M, int N>
HWY_INLINE void PrefetchResidual(const PatchProduct<T>& job) {
  if (HWY_LIKELY(job.epilogue == nullptr) || job.epilogue->residual == nullptr) return;
  for (int m = 0; m < M; ++m) {
    const T* residual = residual_of(*job.epilogue, job.out[m] + job.column);
    for (int n = 0; n < N; ++n)
      __builtin_prefetch(residual + n * static_cast<int>(HWY_LANES(T)), 0, 3);
  }
}

template <class T, int M, int N>
HWY_INLINE void FinishTile(const PatchProduct<T>& job, hn::Vec<Lanes<T>> (&sum)[M][N]) {
  const Lanes<T> d;
  constexpr int kLanes = static_cast<int>(HWY_LANES(T));
  const Epilogue<T>& epilogue = *job.epilogue;
  if (epilogue.residual != nullptr) {
#pragma GCC unroll 32
    for (int m = 0; m < M; ++m) {
      const T* residual = residual_of(epilogue, job.out[m] + job.column);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) {
        const int count = job.width - n * kLanes;
        const T* from = residual + n * kLanes;
        sum[m][n] = hn::Add(
            sum[m][n], count >= kLanes ? hn::LoadU(d, from) : LoadUpTo(from, HWY_MAX(count, 0)));
      }
    }
  }
  const Bounds<Lanes<T>> bounds(d, epilogue);
#pragma GCC unroll 32
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) sum[m][n] = bounds(sum[m][n]);
  }
}

template <class T, int M, int N>
HWY_INLINE void StoreTile(const PatchProduct<T>& job, const hn::Vec<Lanes<T>> (&sum)[M][N]) {
  const Lanes<T> d;
  constexpr int kLanes = static_cast<int>(HWY_LANES(T));
  T* const* HWY_RESTRICT out = job.out;
  const int64_t column = job.column;
  if (job.width < N * kLanes) {
#pragma GCC unroll 32
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) {
        StoreFirst(sum[m][n], out[m] + column + n * kLanes,
                   HWY_MIN(job.width - n * kLanes, kLanes));
      }
    }
  } else if (job.bypass) {
#pragma GCC unroll 32
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) hn::Stream(sum[m][n], d, out[m] + column + n * kLanes);
    }
  } else {
#pragma GCC unroll 32
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) hn::StoreU(sum[m][n], d, out[m] + column + n * kLanes);
    }
  }
}

// What each sum of a tile starts with.
template <class T, int M, int N>
HWY_INLINE void StartTile(const PatchProduct<T>& given, hn::Vec<Lanes<T>> (&sum)[M][N]) {
  const Lanes<T> d;
  using V = hn::Vec<decltype(d)>;
  constexpr int kLanes = static_cast<int>(HWY_LANES(T));
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) {
    V start = hn::Zero(d);
    if (given.bias != nullptr) {
      const T* bias = given.bias + given.column + n * kLanes;
      start = given.width >= (n + 1) * kLanes ? hn::LoadU(d, bias)
                                              : LoadFirst(bias, given.width - n * kLanes);
    }
#pragma GCC unroll 32
    for (int m = 0; m < M; ++m) sum[m][n] = start;
  }
}

template <class T, int M, int N>
void PatchTile(const PatchProduct<T>& given) {
  const Lanes<T> d;
  using V = hn::Vec<decltype(d)>;
  constexpr int kLanes = static_cast<int>(HWY_LANES(T));
  V sum[M][N];
  StartTile<T, M, N>(given, sum);
  // Volatile keeps these two in memory: out of general registers, which the rows need, and out of
  // vector registers, where the compiler would put them and where reading them back waits for the
  // multiplications, so that no tile would start before the last one has ended.
  const PatchProduct<T>* volatile job = &given;
  volatile int64_t tap = 0;
  const T* HWY_RESTRICT weights = given.weights;
  Prefetcher prefetcher(given.ahead, given.taps * given.run);
  PrefetchResidual<T, M, N>(given);
  while (tap < job->taps) {
    const int64_t t = tap;
    tap = t + 1;
    const T* const* runs = job->runs + t * kMaxTileRows;
    const T* HWY_RESTRICT row[M];
#pragma GCC unroll 32
    for (int m = 0; m < M; ++m) row[m] = runs[m];
    int64_t r = 0;
    for (const int64_t end = job->run; r < end; ++r, weights += N * kLanes) {
      if constexpr (N == 2 * kHalf) prefetcher.Step();
      V weight[N];
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) weight[n] = hn::Load(d, weights + n * kLanes);
#pragma GCC unroll 32
      for (int m = 0; m < M; ++m) {
        const V value = hn::Set(d, row[m][r]);
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) sum[m][n] = hn::MulAdd(value, weight[n], sum[m][n]);
      }
    }
  }
  const PatchProduct<T>& same = *job;
  if (HWY_UNLIKELY(same.epilogue != nullptr)) FinishTile<T, M, N>(same, sum);
  StoreTile<T, M, N>(same, sum);
}

// One tap, and rows at one distance: four of them share a pointer. A tile starts sooner than with a
// pointer for each, and none is read back because it does not fit the registers.
template <class T, int M, int N>
void EvenPatchTile(const PatchProduct<T>& given) {
  const Lanes<T> d;
  using V = hn::Vec<decltype(d)>;
  constexpr int kLanes = static_cast<int>(HWY_LANES(T));
  constexpr int kShare = 4;
  V sum[M][N];
  StartTile<T, M, N>(given, sum);
  PrefetchResidual<T, M, N>(given);
  const PatchProduct<T>* volatile job = &given;  // out of the registers, as above
  const T* HWY_RESTRICT weights = given.weights;
  const int64_t step = given.row_step;
  const int64_t step3 = 3 * step;
  const T* HWY_RESTRICT row[(M + kShare - 1) / kShare];
#pragma GCC unroll 8
  for (int i = 0; i < (M + kShare - 1) / kShare; ++i) row[i] = given.runs[0] + i * kShare * step;
  Prefetcher prefetcher(given.ahead, given.run);
  for (const T* const end = row[0] + given.run; row[0] < end; weights += N * kLanes) {
    prefetcher.Step();
    V weight[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) weight[n] = hn::Load(d, weights + n * kLanes);
#pragma GCC unroll 32
    for (int m = 0; m < M; ++m) {
      const int64_t offset = m % kShare == 3 ? step3 : m % kShare * step;
      const V value = hn::Set(d, row[m / kShare][offset]);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sum[m][n] = hn::MulAdd(value, weight[n], sum[m][n]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < (M + kShare - 1) / kShare; ++i) ++row[i];
  }
  const PatchProduct<T>& same = *job;
  if (HWY_UNLIKELY(same.epilogue != nullptr)) FinishTile<T, M, N>(same, sum);
  StoreTile<T, M, N>(same, sum);
}

// Where a gradient product reads. kNeighbours: offsets[m] = offsets[0] + m, so that no register
// holds an offset; kEven: positions lie at one distance, too, and none is looked up.
enum class Positions { kAny, kNeighbours, kEven };

// kFull: every vector is full.
template <class T, int M, int N, bool kFull, Positions kPositions>
void GradientLoop(const GradientProduct<T>& job) {
  const Lanes<T> d;
  using V = hn::Vec<decltype(d)>;
  constexpr int kLanes = static_cast<int>(HWY_LANES(T));
  constexpr bool kEven = kPositions == Positions::kEven;
  const auto lanes_of = [&](int n) { return HWY_MAX(0, HWY_MIN(job.width - n * kLanes, kLanes)); };
  V sum[M][N];
  if (job.begins) {
#pragma GCC unroll 32
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sum[m][n] = hn::Zero(d);
    }
  } else {
#pragma GCC unroll 32
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) {
        const T* from = job.sum + m * job.sum_step + n * kLanes;
        sum[m][n] = kFull || n < N - kHalf ? hn::LoadU(d, from) : LoadUpTo(from, lanes_of(n));
      }
    }
  }
  // Volatile, or the compiler keeps the sum of this and each m in a register or worse.
  const volatile int64_t first = job.offsets[0];
  int64_t offsets[M];
#pragma GCC unroll 32
  for (int m = 0; m < M && kPositions == Positions::kAny; ++m) offsets[m] = job.offsets[m];
  const T* even_row = kEven ? job.runs[0] + first : nullptr;
  const T* even_from = kEven ? job.gradients[0] + job.column : nullptr;
  Prefetcher prefetcher(job.ahead, job.count);
  for (int64_t q = 0; q < job.count; ++q) {
    if constexpr (N == 2 * kHalf) prefetcher.Step();
    const T* HWY_RESTRICT row = even_row;
    const T* HWY_RESTRICT from = even_from;
    if constexpr (kEven) {
      even_row += job.run_step;
      even_from += job.gradient_step;
    } else {
      row = job.runs[q] + (kPositions == Positions::kNeighbours ? int64_t{first} : 0);
      from = job.gradients[q] + job.column;
    }
    V gradient[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      gradient[n] = kFull || n < N - kHalf ? hn::LoadU(d, from + n * kLanes)
                                           : LoadUpTo(from + n * kLanes, lanes_of(n));
    }
#pragma GCC unroll 32
    for (int m = 0; m < M; ++m) {
      const V value = hn::Set(d, row[kPositions == Positions::kAny ? offsets[m] : m]);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sum[m][n] = hn::MulAdd(value, gradient[n], sum[m][n]);
    }
  }
#pragma GCC unroll 32
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      T* to = job.sum + m * job.sum_step + n * kLanes;
      if (kFull || n < N - kHalf) {
        hn::StoreU(sum[m][n], d, to);
      } else {
        StoreFirst(sum[m][n], to, lanes_of(n));
      }
    }
  }
}

template <class T, int M, int N, bool kFull>
void GradientLoops(const GradientProduct<T>& job) {
  if (job.run_step != 0) return GradientLoop<T, M, N, kFull, Positions::kEven>(job);
  return job.offsets[M - 1] == job.offsets[0] + M - 1
             ? GradientLoop<T, M, N, kFull, Positions::kNeighbours>(job)
             : GradientLoop<T, M, N, kFull, Positions::kAny>(job);
}

template <class T, int M, int N>
void GradientTile(const GradientProduct<T>& job) {
  return job.width == N * static_cast<int>(HWY_LANES(T)) ? GradientLoops<T, M, N, true>(job)
                                                         : GradientLoops<T, M, N, false>(job);
}

// One function per number of rows, for blocks of one and of two vectors.
template <class Job>
using TileFunction = void (*)(const Job&);

template <class T, int N, int... M>
constexpr std::array<TileFunction<PatchProduct<T>>, kRows> PatchTiles(
    std::integer_sequence<int, M...>) {
  return {&PatchTile<T, M + 1, N>...};
}
template <class T, int N, int... M>
constexpr std::array<TileFunction<GradientProduct<T>>, kGradientRows> GradientTiles(
    std::integer_sequence<int, M...>) {
  return {&GradientTile<T, M + 1, N>...};
}

template <class T>
void RunPatchProduct(const PatchProduct<T>& job) {
  constexpr auto kRowCounts = std::make_integer_sequence<int, kRows>();
  static constexpr auto kOne = PatchTiles<T, kHalf>(kRowCounts);
  static constexpr auto kTwo = PatchTiles<T, 2 * kHalf>(kRowCounts);
  const bool two = job.width > kHalf * static_cast<int>(HWY_LANES(T));
  const bool even = job.row_step != 0;
  const auto& tiles = two ? kTwo : kOne;
  const int most = HWY_MIN(kRows, job.most_rows);
  const auto count = static_cast<unsigned>(job.rows + most - 1) / static_cast<unsigned>(most);
  const int64_t ahead =
      job.ahead.bytes == 0 ? 0 : static_cast<uint32_t>(job.ahead.bytes) / count + 1;
  PatchProduct<T> tile = job;
  for (int rest = job.rows; rest > 0; rest -= tile.rows) {
    // Of one vector there is room for twice as many rows, which share the loads of the weights.
    const int tiles_here = even && !two && 2 * kRows <= HWY_MIN(rest, job.most_rows) ? 2 : 1;
    tile.rows = HWY_MIN(rest, tiles_here * most);
    tile.ahead.bytes = tiles_here * ahead;
    if (tiles_here == 2) {
      EvenPatchTile<T, 2 * kRows, kHalf>(tile);
    } else if (even && tile.rows == kRows) {
      two ? EvenPatchTile<T, kRows, 2 * kHalf>(tile) : EvenPatchTile<T, kRows, kHalf>(tile);
    } else {
      tiles[static_cast<size_t>(tile.rows - 1)](tile);
    }
    tile.runs += tiles_here * job.tile_step;
    tile.out += tile.rows;
    tile.ahead.begin = static_cast<const char*>(tile.ahead.begin) + tile.ahead.bytes;
  }
}

template <class T>
void RunGradientProduct(const GradientProduct<T>& job) {
  constexpr auto kRowCounts = std::make_integer_sequence<int, kGradientRows>();
  static constexpr auto kOne = GradientTiles<T, kHalf>(kRowCounts);
  static constexpr auto kTwo = GradientTiles<T, 2 * kHalf>(kRowCounts);
  const auto& tiles = job.width > kHalf * static_cast<int>(HWY_LANES(T)) ? kTwo : kOne;
  tiles[static_cast<size_t>(job.rows - 1)](job);
}

void PatchProduct32(const PatchProduct<float>& job) {
  RunPatchProduct(job);
}
void PatchProduct64(const PatchProduct<double>& job) {
  RunPatchProduct(job);
}
void GradientProduct32(const GradientProduct<float>& job) {
  RunGradientProduct(job);
}
void GradientProduct64(const GradientProduct<double>& job) {
  RunGradientProduct(job);
}
TileSize TileSize32() {
  return {kRows, kGradientRows, kHalf * static_cast<int>(HWY_LANES(float))};
}
TileSize TileSize64() {
  return {kRows, kGradientRows, kHalf * static_cast<int>(HWY_LANES(double))};
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/simd.h"

namespace fovea::kernels {

HWY_EXPORT(PatchProduct32);
HWY_EXPORT(PatchProduct64);
HWY_EXPORT(GradientProduct32);
HWY_EXPORT(GradientProduct64);
HWY_EXPORT(TileSize32);
HWY_EXPORT(TileSize64);

template <>
TileSize tile_size<float>() {
  detect_simd();
  return HWY_DYNAMIC_DISPATCH(TileSize32)();
}
template <>
TileSize tile_size<double>() {
  detect_simd();
  return HWY_DYNAMIC_DISPATCH(TileSize64)();
}
template <>
void patch_product(const PatchProduct<float>& job) {
  HWY_DYNAMIC_DISPATCH(PatchProduct32)(job);
}
template <>
void patch_product(const PatchProduct<double>& job) {
  HWY_DYNAMIC_DISPATCH(PatchProduct64)(job);
}
template <>
void gradient_product(const GradientProduct<float>& job) {
  HWY_DYNAMIC_DISPATCH(GradientProduct32)(job);
}
template <>
void gradient_product(const GradientProduct<double>& job) {
  HWY_DYNAMIC_DISPATCH(GradientProduct64)(job);
}

}  // namespace fovea::kernels
#endif
