// Depthwise 3x3 over runs of neighbouring vectors of channels, once per SIMD target.
//
// A tile is M places of four vectors of channels, each a line of the caches, one row of results at
// a time. Where cells lie a multiple of 512 bytes apart, one vector's cells share few sets of the
// first-level cache, and lines that come into one set come one after the other: from the
// second-level cache 3 to 6 cycles each where others take 2. Four lines side by side lie in four
// sets. What it costs: a source row is loaded for each row of results that it belongs to, but from
// the first-level cache, since the tile walks down the rows.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/depthwise_runs.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/depthwise_cells-inl.h"
#include "kernels/depthwise_rows.h"
#include "kernels/depthwise_store-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kRun = 4;  // the sums of kPlaces places and kRun weights fill 32 registers

template <class T, int S>
class Run {
 public:
  HWY_INLINE Run(const DepthwiseRows<T>& job, const ChannelBlock<T>& first, int place)
      : job_(job),
        range_(CellsFrom(job.window, first, place, kCells)),
        out_(job.out + place * job.out_step + first.channel),
        bias_(job.bias == nullptr ? nullptr : job.bias + first.channel) {
    const T* weights = job.weights + first.weights;
    for (int v = 0; v < kRun; ++v) {
      for (int t = 0; t < kTaps * kTaps; ++t, weights += kLanes) {
        const int tap = job.flipped ? kTaps * kTaps - 1 - t : t;
        hn::Store(hn::LoadU(D(), weights), D(), weights_ + (tap * kRun + v) * kLanes);
      }
    }
  }

  HWY_INLINE void operator()() const {
    const T* out = out_;
    for (std::int64_t r = 0; r < job_.window.count; ++r, out += job_.out_row_step) {
      Sums sums;
      Begin(sums);
      for (int i = 0; i < kTaps; ++i) {
        const T* row = job_.window.rows[r * S + i];
        if (row == nullptr) continue;
        const T* weights = weights_ + i * kTaps * kRun * kLanes;
        if (range_.inside == kAll) {
          AddRow<false>(row + range_.offset, weights, sums);
        } else {
          AddRow<true>(row + range_.offset, weights, sums);
        }
      }
#pragma GCC unroll 8
      for (int m = 0; m < kPlaces; ++m)
        StoreSums<kRun>(job_, D(), sums[m], out + m * job_.out_step, kLanes);
    }
  }

 private:
  using D = hn::ScalableTag<T>;
  using V = hn::Vec<D>;
  using Sums = V[kPlaces][kRun];
  static constexpr int kCells = (kPlaces - 1) * S + kTaps;
  static constexpr std::uint32_t kAll = (std::uint32_t{1} << kCells) - 1;
  static constexpr auto kLanes = static_cast<std::int64_t>(HWY_LANES(T));

  HWY_INLINE void Begin(Sums& sums) const {
#pragma GCC unroll 4
    for (int v = 0; v < kRun; ++v) {
      const V start = bias_ == nullptr ? hn::Zero(D()) : hn::LoadU(D(), bias_ + v * kLanes);
#pragma GCC unroll 8
      for (int m = 0; m < kPlaces; ++m) sums[m][v] = start;
    }
  }

  // Adds what a source row brings through a row of the kernel. kEdge: not all cells are there.
  template <bool kEdge>
  HWY_INLINE void AddRow(const T* HWY_RESTRICT row, const T* HWY_RESTRICT weights,
                         Sums& sums) const {
    const std::int64_t step = job_.window.cell_values;
#pragma GCC unroll 3
    for (int k = 0; k < kTaps; ++k, weights += kRun * kLanes) {
      V weight[kRun];
#pragma GCC unroll 4
      for (int v = 0; v < kRun; ++v) weight[v] = hn::Load(D(), weights + v * kLanes);
      const T* HWY_RESTRICT cell = row + k * step;
#pragma GCC unroll 8
      for (int m = 0; m < kPlaces; ++m, Walk(cell, S * step)) {
        if (kEdge && (range_.inside & (std::uint32_t{1} << (m * S + k))) == 0) continue;
#pragma GCC unroll 4
        for (int v = 0; v < kRun; ++v)
          sums[m][v] = hn::MulAdd(hn::LoadU(D(), cell + v * kLanes), weight[v], sums[m][v]);
      }
    }
  }

  const DepthwiseRows<T>& job_;
  CellRange range_;
  const T* out_;
  const T* bias_;
  HWY_ALIGN T weights_[kTaps * kTaps * kRun * HWY_LANES(T)];  // [tap][vector][lane]
};

template <int S, class T>
HWY_NOINLINE void RunTile(const DepthwiseRows<T>& job, const ChannelBlock<T>& first, int place) {
  Run<T, S>(job, first, place)();
}

// With a stride of 1 a strip, which loads each cell once, is ahead unless three rows of a run's
// cells stay in the first-level cache although they share sets.
template <class T>
bool IsWorthIt(const RowWindow<T>& window) {
  const auto bytes = static_cast<std::int64_t>(sizeof(T)) * window.cell_values;
  return window.stride == 2 || (SharesSets(window) && bytes <= 1024);
}

template <class T>
std::int64_t RunTiles(const DepthwiseRows<T>& job) {
  const int outputs = job.window.outputs;
  const std::int64_t blocks = NeighboursOf(job) / kRun * kRun;
  for (int place = 0; place < outputs; place += kPlaces) {
    // The last tile is moved back to end with the row.
    const int first = HWY_MIN(place, outputs - kPlaces);
    for (std::int64_t b = 0; b < blocks; b += kRun) {
      if (job.window.stride == 1) {
        RunTile<1>(job, job.blocks[b], first);
      } else {
        RunTile<2>(job, job.blocks[b], first);
      }
    }
  }
  return blocks;
}

template <class T>
std::int64_t RunRuns(const DepthwiseRows<T>& job) {
  if constexpr (kVectorIsLine) {
    if (job.window.outputs >= kPlaces && IsWorthIt(job.window)) return RunTiles(job);
  }
  return 0;
}

std::int64_t Runs32(const DepthwiseRows<float>& job) {
  return RunRuns(job);
}
std::int64_t Runs64(const DepthwiseRows<double>& job) {
  return RunRuns(job);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {
namespace {
HWY_EXPORT(Runs32);
HWY_EXPORT(Runs64);
}  // namespace

template <>
std::int64_t depthwise_runs(const DepthwiseRows<float>& job) {
  return HWY_DYNAMIC_DISPATCH(Runs32)(job);
}
template <>
std::int64_t depthwise_runs(const DepthwiseRows<double>& job) {
  return HWY_DYNAMIC_DISPATCH(Runs64)(job);
}

}  // namespace fovea::kernels
#endif
