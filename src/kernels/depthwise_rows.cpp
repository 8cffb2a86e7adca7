// Depthwise 3x3, once per SIMD target.
//
// A tile is M places of one vector of channels. It walks down the rows: the sums of the two or
// three rows of results that a source row belongs to stay in registers, so each source vector is
// loaded once for up to nine multiplications, and the caches move little more than every value
// once.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/depthwise_rows.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/depthwise_rows.h"
#include "kernels/depthwise_store-inl.h"
#include "kernels/group_source-inl.h"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Three rows of sums, the weights and a source must fit the registers; where there are 16, weights
// are read from memory.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_ARCH_ARM_A64
constexpr int kPlaces = 7;
#else
constexpr int kPlaces = 4;
#endif

constexpr int kFewPlaces = 3;
constexpr int kTaps = 3;

// The cells that M places of one vector of channels read.
template <class T, int M, int S>
class Cells {
 public:
  using D = hn::ScalableTag<T>;
  using V = hn::Vec<D>;
  using Places = V[M];  // a vector per place

  HWY_INLINE Cells(const RowWindow<T>& window, const ChannelBlock<T>& block, int place)
      : rows_(window.rows), step_(window.cell_values) {
    const std::int64_t first = window.first + place * S;
    const std::int64_t begin = HWY_MIN(HWY_MAX(-first, 0), kCells);
    const std::int64_t end = HWY_MAX(HWY_MIN(window.inputs - first, kCells), begin);
    inside_ = (std::uint32_t{1} << end) - (std::uint32_t{1} << begin);
    offset_ = first * step_ + block.source;
  }

  // Calls f(cell, value) for the cells of a source row that are there.
  template <class F>
  HWY_INLINE void operator()(std::int64_t row, const F& f) const {
    const T* HWY_RESTRICT from = rows_[row];
    if (from == nullptr) return;
    from += offset_;
#pragma GCC unroll 16
    for (int c = 0; c < kCells; ++c, Walk(from, step_)) {
      if ((inside_ & (std::uint32_t{1} << c)) != 0) f(c, hn::LoadU(D(), from));
    }
  }

  // Calls f(m, k) for the places m that meet cell c through tap k.
  template <class F>
  static HWY_INLINE void ForTaps(int c, const F& f) {
#pragma GCC unroll 3
    for (int k = 0; k < kTaps; ++k) {
      const int m = (c - k) / S;
      if (c < k || (c - k) % S != 0 || m >= M) continue;
      f(m, k);
    }
  }

  static HWY_INLINE void Move(const Places& from, Places& to) {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) to[m] = from[m];
  }

 private:
  static constexpr int kCells = (M - 1) * S + kTaps;
  const T* const* rows_;
  std::int64_t step_;
  std::int64_t offset_;   // of the first cell in a source row
  std::uint32_t inside_;  // bit c: cell c is none of the padding
};

template <class T, int M, int S>
class Strip {
 public:
  HWY_INLINE Strip(const DepthwiseRows<T>& job, const ChannelBlock<T>& block, int place)
      : job_(job), cells_(job.window, block, place) {
    out_ = job.out + place * job.out_step + block.channel;
    const T* weights = job.weights + block.weights;
    constexpr auto kLanes = static_cast<std::int64_t>(HWY_LANES(T));
#pragma GCC unroll 9
    for (int t = 0; t < kTaps * kTaps; ++t) {
      weights_[t / kTaps][t % kTaps] =
          hn::LoadU(D(), weights + (job.flipped ? kTaps * kTaps - 1 - t : t) * kLanes);
    }
    start_ = job.bias == nullptr ? hn::Zero(D()) : hn::LoadU(D(), job.bias + block.channel);
  }

  HWY_INLINE void Run() const {
    if constexpr (S == 1) {
      RunDense();
    } else {
      RunStrided();
    }
  }

 private:
  using Rows = Cells<T, M, S>;
  using D = typename Rows::D;
  using V = typename Rows::V;
  using Sums = typename Rows::Places;

  HWY_INLINE void Begin(Sums& sums) const {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) sums[m] = start_;
  }

  HWY_INLINE void Store(const Sums& sums, std::int64_t row) const {
    StorePlaces<M>(job_, D(), sums, out_ + row * job_.out_row_step);
  }

  // Adds what a cell contributes through one row of the kernel.
  template <int kRow>
  HWY_INLINE void AddCell(int c, V value, Sums& sums) const {
    Rows::ForTaps(
        c, [&](int m, int k) HWY_ATTR { sums[m] = hn::MulAdd(value, weights_[kRow][k], sums[m]); });
  }

  // Source row j is row 0 of the kernel for result row j, row 1 for j - 1 and row 2 for j - 2.
  HWY_INLINE void RunDense() const {
    const std::int64_t count = job_.window.count;
    Sums two;   // of row j - 2
    Sums one;   // of row j - 1
    Sums zero;  // of row j
    Begin(two);
    Begin(one);
    Begin(zero);
    cells_(0, [&](int c, V value) HWY_ATTR { AddCell<0>(c, value, zero); });
    for (std::int64_t j = 1; j <= count; ++j) {
      Rows::Move(one, two);
      Rows::Move(zero, one);
      Begin(zero);
      if (j == 1) {
        cells_(j, [&](int c, V value) HWY_ATTR {
          AddCell<1>(c, value, one);
          AddCell<0>(c, value, zero);
        });
        continue;
      }
      cells_(j, [&](int c, V value) HWY_ATTR {
        AddCell<2>(c, value, two);
        AddCell<1>(c, value, one);
        AddCell<0>(c, value, zero);
      });
      Store(two, j - 2);
    }
    cells_(count + 1, [&](int c, V value) HWY_ATTR { AddCell<2>(c, value, one); });
    Store(one, count - 1);
  }

  // Source row 2r is row 0 of the kernel for result row r and row 2 for r - 1; 2r + 1 is row 1.
  HWY_INLINE void RunStrided() const {
    const std::int64_t count = job_.window.count;
    Sums before;
    Sums sums;
    Begin(sums);
    cells_(0, [&](int c, V value) HWY_ATTR { AddCell<0>(c, value, sums); });
    for (std::int64_t r = 0;; ++r) {
      cells_(2 * r + 1, [&](int c, V value) HWY_ATTR { AddCell<1>(c, value, sums); });
      if (r + 1 == count) break;
      Rows::Move(sums, before);
      Begin(sums);
      cells_(2 * r + 2, [&](int c, V value) HWY_ATTR {
        AddCell<2>(c, value, before);
        AddCell<0>(c, value, sums);
      });
      Store(before, r);
    }
    cells_(2 * count, [&](int c, V value) HWY_ATTR { AddCell<2>(c, value, sums); });
    Store(sums, count - 1);
  }

  const DepthwiseRows<T>& job_;
  Rows cells_;
  const T* out_;
  V weights_[kTaps][kTaps];
  V start_;
};

// The sums over a strip. The rows of gradients that a source row belongs to stay in registers.
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
      sum[t / kTaps][t % kTaps] = hn::LoadU(D(), sums + t * kLanes);
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

  // As in Strip.
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

template <class T, int M, int S>
HWY_NOINLINE void RunStrip(const DepthwiseRows<T>& job, const ChannelBlock<T>& block, int place) {
  Strip<T, M, S>(job, block, place).Run();
}
template <class T, int M, int S>
HWY_NOINLINE void RunStrip(const DepthwiseRowsGradient<T>& job, const ChannelBlock<T>& block,
                           int place) {
  GradientStrip<T, M, S>(job, block, place).Run(job.sums + block.weights);
}

// All blocks of M places.
template <int M, template <class> class Job, class T>
void RunBlocks(const Job<T>& job, int place) {
  for (std::int64_t b = 0; b < job.block_count; ++b) {
    if (job.window.stride == 1) {
      RunStrip<T, M, 1>(job, job.blocks[b], place);
    } else {
      RunStrip<T, M, 2>(job, job.blocks[b], place);
    }
  }
}

// The last tile is moved back to end with the row: it computes some places again, to the same bits.
template <int M, class T>
void RunTiles(const DepthwiseRows<T>& job) {
  const int outputs = job.window.outputs;
  for (int place = 0; place < outputs; place += M) RunBlocks<M>(job, HWY_MIN(place, outputs - M));
}

template <class T>
void RunBand(const DepthwiseRows<T>& job) {
  if (job.window.outputs >= kPlaces) return RunTiles<kPlaces>(job);
  if (job.window.outputs >= kFewPlaces) return RunTiles<kFewPlaces>(job);
  RunTiles<1>(job);
}
template <class T>
void RunBand(const DepthwiseRowsGradient<T>& job) {
  const int outputs = job.window.outputs;
  int place = 0;
  for (; place + kPlaces <= outputs; place += kPlaces) RunBlocks<kPlaces>(job, place);
  for (; place + kFewPlaces <= outputs; place += kFewPlaces) RunBlocks<kFewPlaces>(job, place);
  for (; place < outputs; ++place) RunBlocks<1>(job, place);
}

// Rows that a strip walks down at a time. Where cells lie a multiple of 512 bytes apart, the lines
// of a strip share few sets of the first-level cache: the lines beside them, which the CPU fetches
// too, are gone before their turn comes unless that is soon. A column of these rows is `most`
// bytes.
template <class T>
std::int64_t RowsAtOnce(const RowWindow<T>& window, std::int64_t most) {
  const auto bytes = static_cast<std::int64_t>(sizeof(T)) * window.cell_values;
  return bytes % 512 == 0 ? HWY_MAX(most / (bytes * window.stride), 1) : window.count;
}
constexpr std::int64_t kColumn = 8 << 10;
constexpr std::int64_t kLongColumn = 16 << 10;  // for sums over dense cells: nothing is written
constexpr std::int64_t kWideColumn = 2 << 10;   // each row of results brings two of twice the cells

// Calls f(band, first row) for bands of the window.
template <class T, class F>
void ForBands(const RowWindow<T>& window, std::int64_t column, const F& f) {
  const std::int64_t most = RowsAtOnce(window, column);
  for (std::int64_t row = 0; row < window.count; row += most) {
    RowWindow<T> band = window;
    band.rows += row * window.stride;
    band.count = HWY_MIN(most, window.count - row);
    f(band, row);
  }
}

template <class T>
void RunRows(const DepthwiseRows<T>& given) {
  const std::int64_t column = given.window.stride == 1 ? kColumn : kWideColumn;
  ForBands(given.window, column, [&](const RowWindow<T>& band, std::int64_t row) {
    DepthwiseRows<T> job = given;
    job.window = band;
    job.out += row * given.out_row_step;
    RunBand(job);
  });
}
template <class T>
void RunGradient(const DepthwiseRowsGradient<T>& given) {
  const std::int64_t column = given.window.stride == 1 ? kLongColumn : kColumn;
  ForBands(given.window, column, [&](const RowWindow<T>& band, std::int64_t row) {
    DepthwiseRowsGradient<T> job = given;
    job.window = band;
    job.gradient += row * given.gradient_row_step;
    RunBand(job);
  });
}

void DepthwiseRows32(const DepthwiseRows<float>& job) {
  RunRows(job);
}
void DepthwiseRows64(const DepthwiseRows<double>& job) {
  RunRows(job);
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
HWY_EXPORT(DepthwiseRows32);
HWY_EXPORT(DepthwiseRows64);
HWY_EXPORT(Gradient32);
HWY_EXPORT(Gradient64);
}  // namespace

template <>
void depthwise_rows(const DepthwiseRows<float>& job) {
  HWY_DYNAMIC_DISPATCH(DepthwiseRows32)(job);
}
template <>
void depthwise_rows(const DepthwiseRows<double>& job) {
  HWY_DYNAMIC_DISPATCH(DepthwiseRows64)(job);
}
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
