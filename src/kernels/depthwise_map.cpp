// Depthwise products of small maps, once per SIMD target.
//
// A map is W columns of one vector of channels: of a row of results all sums stay in registers, and
// so do the cells of a source row, each weight is loaded once for all pairs of them that it joins,
// and nothing is multiplied that lies in the padding: of a 13x13 kernel on a map of 7x7 that would
// be two thirds. The map is copied first, because its lines may share a few sets of the first-level
// cache.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/depthwise_map.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/depthwise_rows.h"
#include "kernels/depthwise_store-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

template <class T, int W>
class Map {
 public:
  HWY_INLINE Map(const DepthwiseRows<T>& job, const ChannelBlock<T>& block)
      : job_(job),
        block_(block),
        weights_(job.weights + block.weights),
        step_(job.flipped ? -kLanes : kLanes) {
    if (job.flipped) weights_ += (job.window.taps * job.window.taps - 1) * kLanes;
  }

  HWY_INLINE void Run() const {
    const RowWindow<T>& window = job_.window;
    HWY_ALIGN T cells[kMapRows * W * kLanes];
    // Source rows top..bottom - 1 are no padding.
    std::int64_t top = 0;
    const std::int64_t end = window.count + window.taps - 1;
    while (top < end && window.rows[top] == nullptr) ++top;
    std::int64_t bottom = top;
    for (; bottom < end && window.rows[bottom] != nullptr; ++bottom)
      Copy(window.rows[bottom], cells + (bottom - top) * W * kLanes);

    const V start =
        job_.bias == nullptr ? hn::Zero(D()) : hn::LoadU(D(), job_.bias + block_.channel);
    const T* out = job_.out + block_.channel;
    for (std::int64_t r = 0; r < window.count; ++r, out += job_.out_row_step) {
      V sums[W];
#pragma GCC unroll 8
      for (int p = 0; p < W; ++p) sums[p] = start;
      const std::int64_t first = HWY_MAX(top - r, 0);
      const std::int64_t last = HWY_MIN(bottom - r, window.taps);
      for (std::int64_t i = first; i < last; ++i) {
        AddRow(cells + (r + i - top) * W * kLanes, weights_ + i * window.taps * step_, sums);
      }
      StoreSums<W>(job_, D(), sums, out, job_.out_step);
    }
  }

 private:
  using D = hn::ScalableTag<T>;
  using V = hn::Vec<D>;
  static constexpr auto kLanes = static_cast<std::int64_t>(HWY_LANES(T));

  HWY_INLINE void Copy(const T* HWY_RESTRICT from, T* HWY_RESTRICT to) const {
    from += block_.source;
#pragma GCC unroll 8
    for (int c = 0; c < W; ++c, Walk(from, job_.window.cell_values))
      hn::Store(hn::LoadU(D(), from), D(), to + c * kLanes);
  }

  // Adds what a source row brings through a row of the kernel: cell c meets place p through tap
  // c - p - first.
  HWY_INLINE void AddRow(const T* HWY_RESTRICT row, const T* HWY_RESTRICT weights,
                         V (&sums)[W]) const {
    V cells[W];
#pragma GCC unroll 8
    for (int c = 0; c < W; ++c) cells[c] = hn::Load(D(), row + c * kLanes);
#pragma GCC unroll 16
    for (int distance = 1 - W; distance < W; ++distance) {
      const std::int64_t tap = distance - job_.window.first;
      if (tap < 0 || tap >= job_.window.taps) continue;
      const V weight = hn::LoadU(D(), weights + tap * step_);
#pragma GCC unroll 8
      for (int p = 0; p < W; ++p) {
        const int c = p + distance;
        if (c >= 0 && c < W) sums[p] = hn::MulAdd(cells[c], weight, sums[p]);
      }
    }
  }

  const DepthwiseRows<T>& job_;
  const ChannelBlock<T>& block_;
  const T* weights_;   // of tap 0
  std::int64_t step_;  // from tap to tap
};

template <int W, class T>
HWY_NOINLINE void RunMap(const DepthwiseRows<T>& job, const ChannelBlock<T>& block) {
  Map<T, W>(job, block).Run();
}

template <class T>
void Run(const DepthwiseRows<T>& job) {
  for (std::int64_t b = 0; b < job.block_count; ++b) {
    switch (job.window.outputs) {
      case 4:
        RunMap<4>(job, job.blocks[b]);
        break;
      case 5:
        RunMap<5>(job, job.blocks[b]);
        break;
      case 6:
        RunMap<6>(job, job.blocks[b]);
        break;
      case 7:
        RunMap<7>(job, job.blocks[b]);
        break;
      default:  // kMapColumns
        RunMap<kMapColumns>(job, job.blocks[b]);
    }
  }
}

void Map32(const DepthwiseRows<float>& job) {
  Run(job);
}
void Map64(const DepthwiseRows<double>& job) {
  Run(job);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {
namespace {
HWY_EXPORT(Map32);
HWY_EXPORT(Map64);
}  // namespace

template <>
void depthwise_map(const DepthwiseRows<float>& job) {
  HWY_DYNAMIC_DISPATCH(Map32)(job);
}
template <>
void depthwise_map(const DepthwiseRows<double>& job) {
  HWY_DYNAMIC_DISPATCH(Map64)(job);
}

}  // namespace fovea::kernels
#endif
