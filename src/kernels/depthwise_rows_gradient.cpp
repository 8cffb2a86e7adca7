// The gradient of the weights of depthwise 3x3, once per SIMD target.
//
// A strip is M places of one vector of channels. It walks down the rows: the nine sums and the rows
// of gradients that a source row belongs to stay in registers, and each source vector is loaded
// once for up to nine multiplications.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/depthwise_rows_gradient.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include <utility>

#include "hwy/highway.h"
#include "kernels/depthwise_cells-inl.h"
#include "kernels/depthwise_rows.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

template <class T, int M, int S>
class GradientStrip {
 public:
  HWY_INLINE GradientStrip(const DepthwiseRowsGradient<T>& job, const ChannelBlock<T>& block,
                           int place)
      : job_(job),
        cells_(job.window, block, place),
        gradient_(job.gradient + place * job.gradient_step + block.channel) {}

  HWY_INLINE void Run(T* HWY_RESTRICT sums) const {
    constexpr auto kLanes = static_cast<std::int64_t>(HWY_LANES(T));
    V sum[kTaps][kTaps];
#pragma GCC unroll 9
    for (int t = 0; t < kTaps * kTaps; ++t)
      sum[t / kTaps][t % kTaps] = job_.fresh ? hn::Zero(D()) : hn::LoadU(D(), sums + t * kLanes);
    if constexpr (S == 1) {
      RunDense(sum);
    } else {
      RunStrided(sum);
    }
#pragma GCC unroll 9
    for (int t = 0; t < kTaps * kTaps; ++t)
      hn::StoreU(sum[t / kTaps][t % kTaps], D(), sums + t * kLanes);
  }

 private:
  using Rows = Cells<T, M, S>;
  using D = typename Rows::D;
  using V = typename Rows::V;
  using Gradients = typename Rows::Places;
  using Sums = V[kTaps][kTaps];

  HWY_INLINE void Load(std::int64_t row, Gradients& gradients) const {
    const T* HWY_RESTRICT from = gradient_ + row * job_.gradient_row_step;
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m, Walk(from, job_.gradient_step)) gradients[m] = hn::LoadU(D(), from);
  }

  template <int kRow>
  static HWY_INLINE void AddCell(int c, V value, const Gradients& gradients, Sums& sum) {
    Rows::ForTaps(c, [&](int m, int k) HWY_ATTR {
      sum[kRow][k] = hn::MulAdd(value, gradients[m], sum[kRow][k]);
    });
  }
  template <int kRow>
  HWY_INLINE void AddRow(std::int64_t row, const Gradients& gradients, Sums& sum) const {
    cells_(row, [&](int c, V value) HWY_ATTR { AddCell<kRow>(c, value, gradients, sum); });
  }

  // Source row j is row 0 of the kernel for gradient row j, row 1 for j - 1 and row 2 for j - 2.
  HWY_INLINE void RunDense(Sums& sum) const {
    const std::int64_t count = job_.window.count;
    Gradients zero;
    Gradients one;
    Gradients two;
    Load(0, zero);
    Rows::Move(zero, one);
    for (std::int64_t j = 0; j < count + 2; ++j) {
      Rows::Move(one, two);
      Rows::Move(zero, one);
      if (j < count) Load(j, zero);
      if (j >= 2 && j < count) {
        cells_(j, [&](int c, V value) HWY_ATTR {
          AddCell<2>(c, value, two, sum);
          AddCell<1>(c, value, one, sum);
          AddCell<0>(c, value, zero, sum);
        });
        continue;
      }
      if (j >= 2) AddRow<2>(j, two, sum);
      if (j >= 1 && j <= count) AddRow<1>(j, one, sum);
      if (j < count) AddRow<0>(j, zero, sum);
    }
  }

  HWY_INLINE void RunStrided(Sums& sum) const {
    const std::int64_t count = job_.window.count;
    Gradients before;
    Gradients own;
    Load(0, own);
    AddRow<0>(0, own, sum);
    for (std::int64_t r = 0;; ++r) {
      AddRow<1>(2 * r + 1, own, sum);
      if (r + 1 == count) break;
      Rows::Move(own, before);
      Load(r + 1, own);
      cells_(2 * r + 2, [&](int c, V value) HWY_ATTR {
        AddCell<2>(c, value, before, sum);
        AddCell<0>(c, value, own, sum);
      });
    }
    AddRow<2>(2 * count, own, sum);
  }

  const DepthwiseRowsGradient<T>& job_;
  Rows cells_;
  const T* gradient_;
};

// The sums of two neighbouring vectors of channels over a strip with a stride of 2. One vector's
// cells share few sets of the first-level cache where they lie a multiple of 512 bytes apart, and
// the next line of a set must wait for the last; of two vectors, two lines come at a time. Their
// sums fill the registers, so gradients are read from memory, in which they lie side by side.
template <class T, int M>
class GradientPair {
 public:
  HWY_INLINE GradientPair(const DepthwiseRowsGradient<T>& job, const ChannelBlock<T>& block,
                          int place)
      : job_(job),
        range_(CellsFrom(job.window, block, place, kCells)),
        gradient_(job.gradient + place * job.gradient_step + block.channel) {}

  HWY_INLINE void Run(T* HWY_RESTRICT sums) const {
    Sums sum;
    ForSums([&](int v, int t) HWY_ATTR {
      const T* HWY_RESTRICT from = sums + (v * kTaps * kTaps + t) * kLanes;
      sum[v][t / kTaps][t % kTaps] = job_.fresh ? hn::Zero(D()) : hn::LoadU(D(), from);
    });
    HWY_ALIGN T own[M * 2 * kLanes];
    HWY_ALIGN T before[M * 2 * kLanes];
    // Source row 2r is row 0 of the kernel for gradient row r and row 2 for r - 1; 2r + 1 is row 1.
    Gradients now = own;
    Gradients last = before;
    Load(0, own);
    ForCells(0, [&](int c, V low, V high) HWY_ATTR { Add<0>(c, low, high, now, sum); });
    for (std::int64_t r = 0;; ++r) {
      ForCells(2 * r + 1, [&](int c, V low, V high) HWY_ATTR { Add<1>(c, low, high, now, sum); });
      if (r + 1 == job_.window.count) break;
      std::swap(now, last);
      Load(r + 1, now);
      ForCells(2 * r + 2, [&](int c, V low, V high) HWY_ATTR {
        Add<2>(c, low, high, last, sum);
        Add<0>(c, low, high, now, sum);
      });
    }
    ForCells(2 * job_.window.count,
             [&](int c, V low, V high) HWY_ATTR { Add<2>(c, low, high, now, sum); });
    ForSums([&](int v, int t) HWY_ATTR {
      hn::StoreU(sum[v][t / kTaps][t % kTaps], D(), sums + (v * kTaps * kTaps + t) * kLanes);
    });
  }

 private:
  using D = hn::ScalableTag<T>;
  using V = hn::Vec<D>;
  using Sums = V[2][kTaps][kTaps];
  using Gradients = T*;  // [place][vector][lane]
  static constexpr int kCells = (M - 1) * 2 + kTaps;
  static constexpr auto kLanes = static_cast<std::int64_t>(HWY_LANES(T));

  template <class F>
  static HWY_INLINE void ForSums(const F& f) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
#pragma GCC unroll 9
      for (int t = 0; t < kTaps * kTaps; ++t) f(v, t);
    }
  }

  // Calls f(cell, value of the first vector, and of the second) for the cells that are there.
  template <class F>
  HWY_INLINE void ForCells(std::int64_t row, const F& f) const {
    const T* HWY_RESTRICT from = job_.window.rows[row];
    if (from == nullptr) return;
    from += range_.offset;
#pragma GCC unroll 16
    for (int c = 0; c < kCells; ++c, Walk(from, job_.window.cell_values)) {
      if ((range_.inside & (std::uint32_t{1} << c)) != 0)
        f(c, hn::LoadU(D(), from), hn::LoadU(D(), from + kLanes));
    }
  }

  HWY_INLINE void Load(std::int64_t row, T* HWY_RESTRICT to) const {
    const T* HWY_RESTRICT from = gradient_ + row * job_.gradient_row_step;
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m, Walk(from, job_.gradient_step)) {
      hn::Store(hn::LoadU(D(), from), D(), to + m * 2 * kLanes);
      hn::Store(hn::LoadU(D(), from + kLanes), D(), to + (m * 2 + 1) * kLanes);
    }
  }

  template <int kRow>
  static HWY_INLINE void Add(int c, V low, V high, const T* HWY_RESTRICT gradients, Sums& sum) {
    Cells<T, M, 2>::ForTaps(c, [&](int m, int k) HWY_ATTR {
      const T* HWY_RESTRICT from = gradients + m * 2 * kLanes;
      sum[0][kRow][k] = hn::MulAdd(low, hn::Load(D(), from), sum[0][kRow][k]);
      sum[1][kRow][k] = hn::MulAdd(high, hn::Load(D(), from + kLanes), sum[1][kRow][k]);
    });
  }

  const DepthwiseRowsGradient<T>& job_;
  CellRange range_;
  const T* gradient_;
};

template <int M, int S, class T>
HWY_NOINLINE void RunStrip(const DepthwiseRowsGradient<T>& job, const ChannelBlock<T>& block,
                           int place) {
  GradientStrip<T, M, S>(job, block, place).Run(job.sums + block.weights);
}
template <int M, class T>
HWY_NOINLINE void RunPair(const DepthwiseRowsGradient<T>& job, const ChannelBlock<T>& block,
                          int place) {
  GradientPair<T, M>(job, block, place).Run(job.sums + block.weights);
}

// All blocks of M places.
template <int M, class T>
void RunBlocks(const DepthwiseRowsGradient<T>& job, int place) {
  if (job.window.stride == 1) {
    for (std::int64_t b = 0; b < job.block_count; ++b) RunStrip<M, 1>(job, job.blocks[b], place);
    return;
  }
  std::int64_t b = 0;
  if constexpr (kVectorIsLine) {
    const std::int64_t paired = SharesSets(job.window) ? NeighboursOf(job) / 2 * 2 : 0;
    for (; b < paired; b += 2) RunPair<M>(job, job.blocks[b], place);
  }
  for (; b < job.block_count; ++b) RunStrip<M, 2>(job, job.blocks[b], place);
}

template <class T>
void RunBand(DepthwiseRowsGradient<T> job) {
  const int outputs = job.window.outputs;
  for (int place = 0; place < outputs; job.fresh = false) {
    const int left = outputs - place;
    if (left >= kPlaces) {
      RunBlocks<kPlaces>(job, place);
      place += kPlaces;
    } else if (left >= kFewPlaces) {
      RunBlocks<kFewPlaces>(job, place);
      place += kFewPlaces;
    } else {
      RunBlocks<1>(job, place++);
    }
  }
}

constexpr std::int64_t kColumn = 8 << 10;
constexpr std::int64_t kLongColumn = 16 << 10;  // dense cells, and nothing is written

template <class T>
void RunGradient(const DepthwiseRowsGradient<T>& given) {
  const std::int64_t column = given.window.stride == 1 ? kLongColumn : kColumn;
  ForBands(given.window, column, [&](const RowWindow<T>& band, std::int64_t row) {
    DepthwiseRowsGradient<T> job = given;
    job.window = band;
    job.gradient += row * given.gradient_row_step;
    job.fresh = given.fresh && row == 0;
    RunBand(job);
  });
}

void Gradient32(const DepthwiseRowsGradient<float>& job) {
  RunGradient(job);
}
void Gradient64(const DepthwiseRowsGradient<double>& job) {
  RunGradient(job);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {
namespace {
HWY_EXPORT(Gradient32);
HWY_EXPORT(Gradient64);
}  // namespace

template <>
void depthwise_rows_gradient(const DepthwiseRowsGradient<float>& job) {
  HWY_DYNAMIC_DISPATCH(Gradient32)(job);
}
template <>
void depthwise_rows_gradient(const DepthwiseRowsGradient<double>& job) {
  HWY_DYNAMIC_DISPATCH(Gradient64)(job);
}

}  // namespace fovea::kernels
#endif
