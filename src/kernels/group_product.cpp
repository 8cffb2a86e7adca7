// Group products, once per SIMD target.
//
// A tile of M places by V vectors of channels stays in registers for the whole reduction; each
// source vector is an operand in memory, so a multiplication costs one load, which the CPU does
// beside it. Where groups are wider than one channel, a permutation spreads the i-th channel of
// each group over the group's lanes. Each output is reduced in one fixed order whatever M is.
#include "kernels/group_product.h"

#include <array>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/group_product.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/epilogue-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Heights of tiles: with V vectors, the accumulators, weights and a source must fit the registers.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_ARCH_ARM_A64
constexpr std::array<int, 5> kHeights = {14, 7, 4, 2, 1};
#else
constexpr std::array<int, 4> kHeights = {6, 4, 2, 1};
#endif
constexpr int kTallest = kHeights[0];

// Loads a source vector: as it is, or with the i-th channel of each group spread over the lanes of
// the group.
template <bool kSpread, class D>
class Source {
 public:
  using T = hn::TFromD<D>;
  HWY_INLINE Source(D /*d*/, const LaneIndex<T>* /*lookup*/) {}
  HWY_INLINE hn::Vec<D> operator()(D d, const T* values) const { return hn::LoadU(d, values); }
};
template <class D>
class Source<true, D> {
 public:
  using T = hn::TFromD<D>;
  HWY_INLINE Source(D d, const LaneIndex<T>* lookup) : indices_(hn::SetTableIndices(d, lookup)) {}
  HWY_INLINE hn::Vec<D> operator()(D d, const T* values) const {
    return hn::TableLookupLanes(hn::LoadU(d, values), indices_);
  }

 private:
  decltype(hn::SetTableIndices(D(), static_cast<const LaneIndex<T>*>(nullptr))) indices_;
};

// The sources of the V vectors of a block for reduced channel i.
template <bool kSpread, class D>
HWY_INLINE Source<kSpread, D> SourceOf(D d, const ChannelBlock<hn::TFromD<D>>& block,
                                       std::int64_t i, int v) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  return Source<kSpread, D>(d, kSpread ? block.lookup + (i * block.vectors + v) * lanes : nullptr);
}

// Whether `count` cells, `step` entries of the table apart, lie as far apart in the source, none
// of them padding. (Neighbouring entries never ascend by more than one.)
HWY_INLINE bool InLine(const std::int32_t* first, std::int64_t step, int count) {
  const std::int32_t begin = first[0];
  return begin >= 0 && first[(count - 1) * step] - begin == (count - 1) * step;
}

// Asks for what a block will read of the next rows, a little at each of `steps`: memory is far
// away, and blocks lie too far apart for the CPU to see what comes next.
template <class T>
class RowsAhead {
 public:
  RowsAhead(const GroupProduct<T>& job, const ChannelBlock<T>& block, int place, int places,
            std::int64_t steps)
      : job_(job),
        first_(place * job.inner.output_step * job.inner.cell_values + block.source[0]),
        bytes_(block.lanes * block.vectors * static_cast<std::int64_t>(sizeof(T))),
        pace_(job.ahead_count == 0
                  ? 0
                  : (places * job.inner.output_step << kFraction) / HWY_MAX(steps, 1) + 1) {}
  HWY_INLINE void Step() {
    if (pace_ == 0) return;
    const std::int64_t end = (place_ += pace_) >> kFraction;
    for (; cell_ < end; ++cell_) {
      for (std::int64_t a = 0; a < job_.ahead_count; ++a) {
        const auto* at =
            reinterpret_cast<const char*>(job_.ahead[a] + first_ + cell_ * job_.inner.cell_values);
        for (std::int64_t byte = 0; byte < bytes_; byte += 64) __builtin_prefetch(at + byte, 0, 2);
      }
    }
  }

 private:
  static constexpr int kFraction = 8;  // bits behind the point of a place, in cells
  const GroupProduct<T>& job_;
  std::int64_t first_;
  std::int64_t bytes_;
  std::int64_t pace_;
  std::int64_t place_ = 0;
  std::int64_t cell_ = 0;
};

template <int M, int V, bool kSpread, class D>
void Tile(D d, const GroupProduct<hn::TFromD<D>>& job, const ChannelBlock<hn::TFromD<D>>& block,
          int place) {
  using T = hn::TFromD<D>;
  using Vec = hn::Vec<D>;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const InnerAxis& inner = job.inner;
  Vec sum[M][V];
  for (int v = 0; v < V; ++v) {
    const Vec start =
        job.bias == nullptr ? hn::Zero(d) : hn::LoadU(d, job.bias + block.channel + v * lanes);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) sum[m][v] = start;
  }
  const std::int64_t between = block.source[V - 1] - block.source[0];
  const std::int64_t reduced = kSpread ? job.reduced : 1;
  const std::int64_t tap_weights = reduced * V * lanes;
  const std::int64_t step = inner.output_step * inner.cell_values;
  RowsAhead<T> ahead(job, block, place, M, job.row_count * inner.taps);
  for (std::int64_t r = 0; r < job.row_count; ++r) {
    const T* HWY_RESTRICT row = job.rows[r];
    const T* HWY_RESTRICT weights =
        job.weights + block.weights + job.row_taps[r] * inner.taps * tap_weights;
    const std::int32_t* cell = inner.cells + place * inner.output_step;
    for (int t = 0; t < inner.taps; ++t, cell += inner.tap_step, weights += tap_weights) {
      ahead.Step();
      const bool in_line = InLine(cell, inner.output_step, M);
      const T* HWY_RESTRICT lined = row + cell[0] * inner.cell_values;
      for (std::int64_t i = 0; i < reduced; ++i) {
        Vec weight[V];
        for (int v = 0; v < V; ++v) weight[v] = hn::LoadU(d, weights + (i * V + v) * lanes);
        const Source<kSpread, D> source[2] = {SourceOf<kSpread>(d, block, i, 0),
                                              SourceOf<kSpread>(d, block, i, V - 1)};
        if (in_line) {
          const T* HWY_RESTRICT from = lined + block.source[0];
#pragma GCC unroll 16
          for (int m = 0; m < M; ++m, from += step) {
            for (int v = 0; v < V; ++v) {
              const Vec value = source[v](d, from + (kSpread ? v * between : v * lanes));
              sum[m][v] = hn::MulAdd(value, weight[v], sum[m][v]);
            }
          }
        } else {
#pragma GCC unroll 16
          for (int m = 0; m < M; ++m) {
            const std::int32_t read = cell[m * inner.output_step];
            const T* from = read < 0 ? job.padding : row + read * inner.cell_values;
            for (int v = 0; v < V; ++v) {
              const Vec value = source[v](d, from + (read < 0 ? 0 : block.source[v]));
              sum[m][v] = hn::MulAdd(value, weight[v], sum[m][v]);
            }
          }
        }
      }
    }
  }
  T* out = job.out + place * job.out_step + block.channel;
  if (job.epilogue != nullptr) {
    const Bounds<D> bounds(d, *job.epilogue);
    const T* residual =
        job.epilogue->residual == nullptr ? nullptr : residual_of<T>(*job.epilogue, out);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      for (int v = 0; v < V; ++v) {
        if (residual != nullptr)
          sum[m][v] = hn::Add(sum[m][v], hn::LoadU(d, residual + m * job.out_step + v * lanes));
        sum[m][v] = bounds(sum[m][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
    for (int v = 0; v < V; ++v) {
      T* to = out + m * job.out_step + v * lanes;
      if (job.bypass) {
        hn::Stream(sum[m][v], d, to);
      } else {
        hn::StoreU(sum[m][v], d, to);
      }
    }
  }
}

template <class T, int M>
void TileOf(const GroupProduct<T>& job, const ChannelBlock<T>& block, int place) {
  const hn::ScalableTag<T> full;
  if (block.lanes == static_cast<int>(hn::Lanes(full))) {
    // Permutations need registers of their own.
    constexpr int kSpreadHeight = M > kTallest / 2 ? M / 2 : M;
    if (block.lookup != nullptr) {
      for (int m = 0; m < M; m += kSpreadHeight) {
        if (block.vectors == 2) {
          Tile<kSpreadHeight, 2, true>(full, job, block, place + m);
        } else {
          Tile<kSpreadHeight, 1, true>(full, job, block, place + m);
        }
      }
    } else if (block.vectors == 2) {
      Tile<M, 2, false>(full, job, block, place);
    } else {
      Tile<M, 1, false>(full, job, block, place);
    }
    return;
  }
  // Fewer channels than a vector has lanes.
  for (int m = 0; m < M; ++m) {
    switch (block.lanes) {
      case 8:
        Tile<1, 1, false>(hn::CappedTag<T, 8>(), job, block, place + m);
        break;
      case 4:
        Tile<1, 1, false>(hn::CappedTag<T, 4>(), job, block, place + m);
        break;
      case 2:
        Tile<1, 1, false>(hn::CappedTag<T, 2>(), job, block, place + m);
        break;
      default:
        Tile<1, 1, false>(hn::CappedTag<T, 1>(), job, block, place + m);
    }
  }
}

// All tiles of a row. The last one is moved back to end with the row: it computes some places
// again, to the same bits.
template <class T, int M>
void Row(const GroupProduct<T>& job) {
  for (int place = 0; place < job.inner.outputs; place += M) {
    const int first = HWY_MIN(place, job.inner.outputs - M);
    for (std::int64_t b = 0; b < job.block_count; ++b) TileOf<T, M>(job, job.blocks[b], first);
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

// Sums of K neighbouring taps for reduced channel i.
template <int K, int V, bool kSpread, class D>
void TapSums(D d, const GroupGradient<hn::TFromD<D>>& job, int tap, std::int64_t i) {
  using T = hn::TFromD<D>;
  using Vec = hn::Vec<D>;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const InnerAxis& inner = job.inner;
  const std::int64_t between = job.block.source[V - 1] - job.block.source[0];
  T* HWY_RESTRICT sums = job.sums + (tap * job.reduced + i) * V * lanes;
  const std::int64_t sum_step = job.reduced * V * lanes;
  const Source<kSpread, D> source[2] = {SourceOf<kSpread>(d, job.block, i, 0),
                                        SourceOf<kSpread>(d, job.block, i, V - 1)};
  Vec sum[K][V];
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) {
    for (int v = 0; v < V; ++v) sum[k][v] = hn::LoadU(d, sums + k * sum_step + v * lanes);
  }
  const T* HWY_RESTRICT gradients = job.gradient + job.block.channel;
  const std::int32_t* cell = inner.cells + tap * inner.tap_step;
  const std::int64_t step = inner.tap_step * inner.cell_values;
  const bool asks = job.ahead != nullptr && tap == 0 && i == 0;
  for (int place = 0; place < inner.outputs;
       ++place, cell += inner.output_step, gradients += job.gradient_step) {
    if (asks) {
      for (int v = 0; v < V; ++v) {
        __builtin_prefetch(
            job.ahead + place * inner.output_step * inner.cell_values + job.block.source[v], 0, 2);
        __builtin_prefetch(
            job.ahead_gradient + place * job.gradient_step + job.block.channel + v * lanes, 0, 2);
      }
    }
    Vec gradient[V];
    for (int v = 0; v < V; ++v) gradient[v] = hn::LoadU(d, gradients + v * lanes);
    if (InLine(cell, inner.tap_step, K)) {
      const T* HWY_RESTRICT from = job.row + cell[0] * inner.cell_values + job.block.source[0];
#pragma GCC unroll 8
      for (int k = 0; k < K; ++k, from += step) {
        for (int v = 0; v < V; ++v) {
          const Vec value = source[v](d, from + (kSpread ? v * between : v * lanes));
          sum[k][v] = hn::MulAdd(value, gradient[v], sum[k][v]);
        }
      }
    } else {
#pragma GCC unroll 8
      for (int k = 0; k < K; ++k) {
        const std::int32_t read = cell[k * inner.tap_step];
        if (read < 0) continue;
        const T* from = job.row + read * inner.cell_values;
        for (int v = 0; v < V; ++v) {
          const Vec value = source[v](d, from + job.block.source[v]);
          sum[k][v] = hn::MulAdd(value, gradient[v], sum[k][v]);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int k = 0; k < K; ++k) {
    for (int v = 0; v < V; ++v) hn::StoreU(sum[k][v], d, sums + k * sum_step + v * lanes);
  }
}

template <int V, bool kSpread, class D>
void AllTaps(D d, const GroupGradient<hn::TFromD<D>>& job) {
  for (std::int64_t i = 0; i < job.reduced; ++i) {
    int tap = 0;
    for (; tap + 7 <= job.inner.taps; tap += 7) TapSums<7, V, kSpread>(d, job, tap, i);
    for (; tap + 3 <= job.inner.taps; tap += 3) TapSums<3, V, kSpread>(d, job, tap, i);
    for (; tap < job.inner.taps; ++tap) TapSums<1, V, kSpread>(d, job, tap, i);
  }
}

template <class T>
void RunGroupGradient(const GroupGradient<T>& job) {
  const hn::ScalableTag<T> full;
  if (job.block.lanes == static_cast<int>(hn::Lanes(full))) {
    if (job.block.lookup != nullptr) {
      return job.block.vectors == 2 ? AllTaps<2, true>(full, job) : AllTaps<1, true>(full, job);
    }
    return job.block.vectors == 2 ? AllTaps<2, false>(full, job) : AllTaps<1, false>(full, job);
  }
  switch (job.block.lanes) {
    case 8:
      return AllTaps<1, false>(hn::CappedTag<T, 8>(), job);
    case 4:
      return AllTaps<1, false>(hn::CappedTag<T, 4>(), job);
    case 2:
      return AllTaps<1, false>(hn::CappedTag<T, 2>(), job);
    default:
      return AllTaps<1, false>(hn::CappedTag<T, 1>(), job);
  }
}

void GroupProduct32(const GroupProduct<float>& job) {
  RunGroupProduct(job);
}
void GroupProduct64(const GroupProduct<double>& job) {
  RunGroupProduct(job);
}
void GroupGradient32(const GroupGradient<float>& job) {
  RunGroupGradient(job);
}
void GroupGradient64(const GroupGradient<double>& job) {
  RunGroupGradient(job);
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
HWY_EXPORT(GroupGradient32);
HWY_EXPORT(GroupGradient64);

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
template <>
void group_gradient(const GroupGradient<float>& job) {
  HWY_DYNAMIC_DISPATCH(GroupGradient32)(job);
}
template <>
void group_gradient(const GroupGradient<double>& job) {
  HWY_DYNAMIC_DISPATCH(GroupGradient64)(job);
}

}  // namespace fovea::kernels
#endif
