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
#include "kernels/depthwise_cells-inl.h"
#include "kernels/depthwise_rows.h"
#include "kernels/depthwise_store-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

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
    StoreSums<M>(job_, D(), sums, out_ + row * job_.out_row_step, job_.out_step);
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

template <class T, int M, int S>
HWY_NOINLINE void RunStrip(const DepthwiseRows<T>& job, const ChannelBlock<T>& block, int place) {
  Strip<T, M, S>(job, block, place).Run();
}

// All blocks of M places.
template <int M, class T>
void RunBlocks(const DepthwiseRows<T>& job, int place) {
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

constexpr std::int64_t kColumn = 8 << 10;
constexpr std::int64_t kWideColumn = 2 << 10;  // each row of results brings two of twice the cells

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

void DepthwiseRows32(const DepthwiseRows<float>& job) {
  RunRows(job);
}
void DepthwiseRows64(const DepthwiseRows<double>& job) {
  RunRows(job);
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
}  // namespace

template <>
void depthwise_rows(const DepthwiseRows<float>& job) {
  HWY_DYNAMIC_DISPATCH(DepthwiseRows32)(job);
}
template <>
void depthwise_rows(const DepthwiseRows<double>& job) {
  HWY_DYNAMIC_DISPATCH(DepthwiseRows64)(job);
}

}  // namespace fovea::kernels
#endif
