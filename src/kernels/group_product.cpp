// Group products, once per SIMD target.
//
// A tile of M places by one vector of channels stays in registers for the whole reduction. Each
// source vector is loaded (and, where groups are wider than one channel, permuted so that each lane
// meets a channel of its own group) once for all places that neighbouring taps bring it to, so the
// multipliers are the limit and not the loads. Each output is reduced in one fixed order whatever M
// is.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/group_product.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include <array>

#include "hwy/highway.h"
#include "kernels/epilogue-inl.h"
#include "kernels/group_product.h"
#include "kernels/group_source-inl.h"
#include "kernels/registers.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Heights of tiles: the sums, the weights of a run of taps, a source and its permutation must fit
// the registers.
#if FOVEA_MANY_REGISTERS
constexpr std::array<int, 4> kHeights = {14, 7, 4, 1};
#else
constexpr std::array<int, 3> kHeights = {7, 4, 1};
#endif
constexpr int kTallest = kHeights[0];

// Where one run of taps reads for a tile.
struct RunPlace {
  std::int64_t offset = 0;   // of its first cell in a source row, padding counted
  std::uint32_t inside = 0;  // bit c: cell c behind that is none of the padding
};
constexpr int kMaxRuns = 16;  // more taps are added one by one

// Tiles of one place: all that does not depend on the block or the source row.
template <class T>
struct TilePlace {
  const GroupProduct<T>* job;
  int place;
  int asked;  // cells of each row ahead to ask for per source row
  std::array<RunPlace, kMaxRuns> runs;
};

// Asks for what a block will read of the next rows, some cells from `first` on: memory is far away,
// and blocks lie too far apart for the CPU to see what comes next.
template <class T>
HWY_INLINE void AskAhead(const GroupProduct<T>& job, const ChannelBlock<T>& block, int first,
                         int cells) {
  for (std::int64_t a = 0; a < job.ahead_count; ++a) {
    const T* from = job.ahead[a] + first * job.inner.cell_values + block.source;
    for (int c = 0; c < cells; ++c, from += job.inner.cell_values) __builtin_prefetch(from, 0, 2);
  }
}

// Adds the products of tap `tap` of one source row to the sums of M places.
template <int M, bool kSpread, class D>
HWY_INLINE void AddTap(D d, const TilePlace<hn::TFromD<D>>& at,
                       const ChannelBlock<hn::TFromD<D>>& block, const hn::TFromD<D>* row,
                       const hn::TFromD<D>* weights, int tap, hn::Vec<D> (&sum)[M]) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const InnerAxis& inner = at.job->inner;
  const std::int64_t reduced = kSpread ? at.job->reduced : 1;
  for (std::int64_t i = 0; i < reduced; ++i) {
    const Source<kSpread, D> source = SourceOf<kSpread>(d, block, i);
    const hn::Vec<D> weight = hn::LoadU(d, weights + (tap * reduced + i) * lanes);
    const std::int32_t* HWY_RESTRICT cell =
        inner.cells + tap * inner.tap_step + at.place * inner.output_step;
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m, Walk(cell, inner.output_step)) {
      const std::int64_t read = *cell;
      if (read < 0) continue;
      sum[m] = hn::MulAdd(source(d, row + read * inner.cell_values), weight, sum[m]);
    }
  }
}

// The same for K taps from `tap` on; S is SharedStep().
template <int M, int S, int K, bool kSpread, class D>
HWY_INLINE void AddTaps(D d, const TilePlace<hn::TFromD<D>>& at,
                        const ChannelBlock<hn::TFromD<D>>& block, const hn::TFromD<D>* row,
                        const hn::TFromD<D>* weights, int tap, hn::Vec<D> (&sum)[M]) {
  using T = hn::TFromD<D>;
  using Vec = hn::Vec<D>;
  constexpr int kCells = (M - 1) * S + K;
  static_assert(kCells < 32);
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t reduced = kSpread ? at.job->reduced : 1;
  const TapRun<K> run(at.job->inner, tap);
  const RunPlace place = at.runs[static_cast<size_t>(tap / kSharedTaps)];
  const std::int64_t step = at.job->inner.cell_values;
  weights += run.first * reduced * lanes;
  const std::int64_t tap_weights = run.step * reduced * lanes;
  // Most tiles have padding, if any, in their first and last cells. A test for each cell costs more
  // than it may where few taps read a cell, and each is permuted.
  constexpr std::uint32_t kMiddle =
      kCells > 2 * K ? (std::uint32_t{1} << (kCells - K)) - (std::uint32_t{1} << K) : 0;
  const auto add = [&]<bool kTestsMiddle>() HWY_ATTR __attribute__((always_inline)) {
    for (std::int64_t i = 0; i < reduced; ++i, weights += lanes) {
      const Source<kSpread, D> source = SourceOf<kSpread>(d, block, i);
      Vec weight[K];
#pragma GCC unroll 4
      for (int k = 0; k < K; ++k) weight[k] = hn::LoadU(d, weights + k * tap_weights);
      const T* HWY_RESTRICT from = row + place.offset;
#pragma GCC unroll 32
      for (int c = 0; c < kCells; ++c, Walk(from, step)) {
        const std::uint32_t bit = std::uint32_t{1} << c;
        if ((kTestsMiddle || (kMiddle & bit) == 0) && (place.inside & bit) == 0) continue;
        const Vec value = source(d, from);
#pragma GCC unroll 4
        for (int k = 0; k < K; ++k) {
          const int m = (c - k) / S;
          if (c < k || (c - k) % S != 0 || m >= M) continue;
          sum[m] = hn::MulAdd(value, weight[k], sum[m]);
        }
      }
    }
  };
  if constexpr (kSpread && S == 2 && kMiddle != 0) {
    if ((place.inside & kMiddle) == kMiddle) return add.template operator()<false>();
  }
  add.template operator()<true>();
}

template <int M, int S, bool kSpread, class D>
void Tile(D d, const TilePlace<hn::TFromD<D>>& given, const ChannelBlock<hn::TFromD<D>>& block) {
  using T = hn::TFromD<D>;
  using Vec = hn::Vec<D>;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const T* bias = given.job->bias;
  const Vec start = bias == nullptr ? hn::Zero(d) : hn::LoadU(d, bias + block.channel);
  Vec sum[M];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) sum[m] = start;
  // Volatile keeps these two, and all that is found through them, in memory: out of vector
  // registers, where the compiler would put what it has no general registers for, and where reading
  // it back waits for the multiplications, so that no row would start before the last one has
  // ended.
  const TilePlace<T>* volatile kept = &given;
  const ChannelBlock<T>* volatile kept_block = &block;
  for (std::int64_t r = 0; r < kept->job->row_count; ++r) {
    const TilePlace<T>& at = *kept;
    const ChannelBlock<T>& channels = *kept_block;
    const GroupProduct<T>& job = *at.job;
    if (job.ahead_count > 0) {
      const int first = at.place * static_cast<int>(job.inner.output_step);
      AskAhead(job, channels, first + static_cast<int>(r) * at.asked, at.asked);
    }
    const int taps = job.inner.taps;
    const T* HWY_RESTRICT row = job.rows[r] + channels.source;
    const T* HWY_RESTRICT weights = job.weights + channels.weights +
                                    job.row_taps[r] * taps * (kSpread ? job.reduced : 1) * lanes;
    if constexpr (S == 0) {
      for (int tap = 0; tap < taps; ++tap)
        AddTap<M, kSpread>(d, at, channels, row, weights, tap, sum);
    } else {
      ForTapRuns(
          taps, [&]<int K>(int tap) HWY_ATTR __attribute__((always_inline)) {
            AddTaps<M, S, K, kSpread>(d, at, channels, row, weights, tap, sum);
          });
    }
  }
  const GroupProduct<T>& job = *kept->job;
  const T* HWY_RESTRICT out = job.out + kept->place * job.out_step + kept_block->channel;
  if (HWY_UNLIKELY(job.epilogue != nullptr)) {
    const Bounds<D> bounds(d, *job.epilogue);
    const T* residual =
        job.epilogue->residual == nullptr ? nullptr : residual_of<T>(*job.epilogue, out);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      if (residual != nullptr) sum[m] = hn::Add(sum[m], hn::LoadU(d, residual + m * job.out_step));
      sum[m] = bounds(sum[m]);
    }
  }
  const auto store = [&](auto put) HWY_ATTR __attribute__((always_inline)) {
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m, Walk(out, job.out_step)) put(sum[m], const_cast<T*>(out));
  };
  if (job.bypass) {
    store([&](Vec value, T* to) HWY_ATTR { hn::Stream(value, d, to); });
  } else {
    store([&](Vec value, T* to) HWY_ATTR { hn::StoreU(value, d, to); });
  }
}

// All blocks of one tile.
template <int M, int S, class T>
void Tiles(const TilePlace<T>& at) {
  const hn::ScalableTag<T> full;
  for (std::int64_t b = 0; b < at.job->block_count; ++b) {
    const ChannelBlock<T>& block = at.job->blocks[b];
    if (block.lanes == static_cast<int>(hn::Lanes(full))) {
      if (block.lookup != nullptr) {
        Tile<M, S, true>(full, at, block);
      } else {
        Tile<M, S, false>(full, at, block);
      }
      continue;
    }
    // Fewer channels than a vector has lanes.
    switch (block.lanes) {
      case 8:
        Tile<M, 0, false>(hn::CappedTag<T, 8>(), at, block);
        break;
      case 4:
        Tile<M, 0, false>(hn::CappedTag<T, 4>(), at, block);
        break;
      case 2:
        Tile<M, 0, false>(hn::CappedTag<T, 2>(), at, block);
        break;
      default:
        Tile<M, 0, false>(hn::CappedTag<T, 1>(), at, block);
    }
  }
}

template <int M, int S>
void FindRuns(const InnerAxis& inner, int place, std::array<RunPlace, kMaxRuns>& runs) {
  size_t index = 0;
  ForTapRuns(inner.taps, [&]<int K>(int tap) {
    constexpr std::int64_t kCells = (M - 1) * S + K;
    const std::int64_t first = inner.first + TapRun<K>(inner, tap).entry + place * S;
    const std::int64_t begin = HWY_MIN(HWY_MAX(-first, 0), kCells);
    const std::int64_t end = HWY_MAX(HWY_MIN(inner.inputs - first, kCells), begin);
    runs[index++] = {first * inner.cell_values,
                     (std::uint32_t{1} << end) - (std::uint32_t{1} << begin)};
  });
}

// All tiles of a row. The last one is moved back to end with the row: it computes some places
// again, to the same bits.
template <class T, int M>
void Row(const GroupProduct<T>& job) {
  const int shared = job.inner.taps <= kMaxRuns * kSharedTaps ? SharedStep(job.inner) : 0;
  const int rows = HWY_MAX(static_cast<int>(job.row_count), 1);
  TilePlace<T> at{.job = &job,
                  .place = 0,
                  .asked = M * static_cast<int>(job.inner.output_step) / rows + 1,
                  .runs = {}};
  for (int place = 0; place < job.inner.outputs; place += M) {
    at.place = HWY_MIN(place, job.inner.outputs - M);
    switch (shared) {
      case 1:
        FindRuns<M, 1>(job.inner, at.place, at.runs);
        Tiles<M, 1>(at);
        break;
      case 2:
        FindRuns<M, 2>(job.inner, at.place, at.runs);
        Tiles<M, 2>(at);
        break;
      default:
        Tiles<M, 0>(at);
    }
  }
}

template <class T, size_t kIndex = 0>
void RowOfHeight(const GroupProduct<T>& job, int height) {
  if constexpr (kIndex < kHeights.size()) {
    if (height == kHeights[kIndex]) return Row<T, kHeights[kIndex]>(job);
    RowOfHeight<T, kIndex + 1>(job, height);
  }
}

// The height that computes the fewest places; of equals the tallest.
inline int BestHeight(int outputs) {
  int best = 1;
  int least = outputs;
  for (const int height : kHeights) {
    const int computed = (outputs + height - 1) / height * height;
    if (height > outputs || computed > least || (computed == least && height < best)) continue;
    best = height;
    least = computed;
  }
  return best;
}

template <class T>
void RunGroupProduct(const GroupProduct<T>& job) {
  // A few places more cost less than short tiles do.
  const int outputs = job.inner.outputs;
  RowOfHeight<T>(job, outputs >= 2 * kTallest ? kTallest : BestHeight(outputs));
}

void GroupProduct32(const GroupProduct<float>& job) {
  RunGroupProduct(job);
}
void GroupProduct64(const GroupProduct<double>& job) {
  RunGroupProduct(job);
}
int VectorBytes() {
  return static_cast<int>(HWY_LANES(uint8_t));
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/simd.h"

namespace fovea::kernels {

HWY_EXPORT(VectorBytes);
HWY_EXPORT(GroupProduct32);
HWY_EXPORT(GroupProduct64);

int vector_bytes() {
  detect_simd();
  return HWY_DYNAMIC_DISPATCH(VectorBytes)();
}
template <>
void group_product(const GroupProduct<float>& job) {
  HWY_DYNAMIC_DISPATCH(GroupProduct32)(job);
}
template <>
void group_product(const GroupProduct<double>& job) {
  HWY_DYNAMIC_DISPATCH(GroupProduct64)(job);
}

}  // namespace fovea::kernels
#endif
