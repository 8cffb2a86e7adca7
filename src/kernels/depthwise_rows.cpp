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

constexpr int kTaps = 3;

template <class T, int M, int S>
class Strip {
 public:
  using D = hn::ScalableTag<T>;
  using V = hn::Vec<D>;

  HWY_INLINE Strip(const DepthwiseRows<T>& job, const ChannelBlock<T>& block, int place)
      : job_(job), step_(job.cell_values) {
    const std::int64_t first = job.first + place * S;
    const std::int64_t begin = HWY_MIN(HWY_MAX(-first, 0), kCells);
    const std::int64_t end = HWY_MAX(HWY_MIN(job.inputs - first, kCells), begin);
    inside_ = (std::uint32_t{1} << end) - (std::uint32_t{1} << begin);
    offset_ = first * step_ + block.source;
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
  static constexpr int kCells = (M - 1) * S + kTaps;
  using Sums = V[M];

  HWY_INLINE void Begin(Sums& sums) const {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) sums[m] = start_;
  }

  static HWY_INLINE void Move(const Sums& from, Sums& to) {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) to[m] = from[m];
  }

  HWY_INLINE void Store(const Sums& sums, std::int64_t row) const {
    const T* HWY_RESTRICT out = out_ + row * job_.out_row_step;
    if (job_.bypass) {
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m, Walk(out, job_.out_step))
        hn::Stream(sums[m], D(), const_cast<T*>(out));
    } else {
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m, Walk(out, job_.out_step))
        hn::StoreU(sums[m], D(), const_cast<T*>(out));
    }
  }

  // Adds what a cell contributes through one row of the kernel.
  template <int kRow>
  HWY_INLINE void AddCell(int c, V value, Sums& sums) const {
#pragma GCC unroll 3
    for (int k = 0; k < kTaps; ++k) {
      const int m = (c - k) / S;
      if (c < k || (c - k) % S != 0 || m >= M) continue;
      sums[m] = hn::MulAdd(value, weights_[kRow][k], sums[m]);
    }
  }

  // Calls f(cell, value) for the cells of a source row that are there.
  template <class F>
  HWY_INLINE void ForCells(std::int64_t row, const F& f) const {
    const T* HWY_RESTRICT from = job_.rows[row];
    if (from == nullptr) return;
    from += offset_;
#pragma GCC unroll 16
    for (int c = 0; c < kCells; ++c, Walk(from, step_)) {
      if ((inside_ & (std::uint32_t{1} << c)) != 0) f(c, hn::LoadU(D(), from));
    }
  }

  // Source row j is row 0 of the kernel for result row j, row 1 for j - 1 and row 2 for j - 2.
  HWY_INLINE void RunDense() const {
    Sums two;   // of row j - 2
    Sums one;   // of row j - 1
    Sums zero;  // of row j
    Begin(two);
    Begin(one);
    Begin(zero);
    ForCells(0, [&](int c, V value) HWY_ATTR { AddCell<0>(c, value, zero); });
    for (std::int64_t j = 1; j <= job_.count; ++j) {
      Move(one, two);
      Move(zero, one);
      Begin(zero);
      if (j == 1) {
        ForCells(j, [&](int c, V value) HWY_ATTR {
          AddCell<1>(c, value, one);
          AddCell<0>(c, value, zero);
        });
        continue;
      }
      ForCells(j, [&](int c, V value) HWY_ATTR {
        AddCell<2>(c, value, two);
        AddCell<1>(c, value, one);
        AddCell<0>(c, value, zero);
      });
      Store(two, j - 2);
    }
    ForCells(job_.count + 1, [&](int c, V value) HWY_ATTR { AddCell<2>(c, value, one); });
    Store(one, job_.count - 1);
  }

  // Source row 2r is row 0 of the kernel for result row r and row 2 for r - 1; 2r + 1 is row 1.
  HWY_INLINE void RunStrided() const {
    Sums before;
    Sums sums;
    Begin(sums);
    ForCells(0, [&](int c, V value) HWY_ATTR { AddCell<0>(c, value, sums); });
    for (std::int64_t r = 0;; ++r) {
      ForCells(2 * r + 1, [&](int c, V value) HWY_ATTR { AddCell<1>(c, value, sums); });
      if (r + 1 == job_.count) break;
      Move(sums, before);
      Begin(sums);
      ForCells(2 * r + 2, [&](int c, V value) HWY_ATTR {
        AddCell<2>(c, value, before);
        AddCell<0>(c, value, sums);
      });
      Store(before, r);
    }
    ForCells(2 * job_.count, [&](int c, V value) HWY_ATTR { AddCell<2>(c, value, sums); });
    Store(sums, job_.count - 1);
  }

  const DepthwiseRows<T>& job_;
  std::int64_t step_;
  std::int64_t offset_;  // of the first cell in a source row
  const T* out_;
  std::uint32_t inside_;  // bit c: cell c is none of the padding
  V weights_[kTaps][kTaps];
  V start_;
};

template <class T, int M, int S>
HWY_NOINLINE void RunStrip(const DepthwiseRows<T>& job, const ChannelBlock<T>& block, int place) {
  Strip<T, M, S>(job, block, place).Run();
}

// The last tile is moved back to end with the row: it computes some places again, to the same bits.
template <class T, int M>
void RunTiles(const DepthwiseRows<T>& job) {
  for (int place = 0; place < job.outputs; place += M) {
    const int first = HWY_MIN(place, job.outputs - M);
    for (std::int64_t b = 0; b < job.block_count; ++b) {
      if (job.stride == 1) {
        RunStrip<T, M, 1>(job, job.blocks[b], first);
      } else {
        RunStrip<T, M, 2>(job, job.blocks[b], first);
      }
    }
  }
}

// Rows that a strip walks down at a time. Where cells lie a multiple of 512 bytes apart, the lines
// of a strip share few sets of the first-level cache: the lines beside them, which the CPU fetches
// too, are gone before their turn comes unless that is soon.
template <class T>
std::int64_t RowsAtOnce(const DepthwiseRows<T>& job) {
  const auto bytes = static_cast<std::int64_t>(sizeof(T)) * job.cell_values;
  return bytes % 512 == 0 ? HWY_MAX(8192 / (bytes * job.stride), 1) : job.count;
}

template <class T>
void RunRows(const DepthwiseRows<T>& given) {
  const std::int64_t most = RowsAtOnce(given);
  DepthwiseRows<T> job = given;
  for (std::int64_t row = 0; row < given.count; row += most) {
    job.rows = given.rows + row * given.stride;
    job.count = HWY_MIN(most, given.count - row);
    job.out = given.out + row * given.out_row_step;
    if (job.outputs >= kPlaces) {
      RunTiles<T, kPlaces>(job);
    } else if (job.outputs >= 3) {
      RunTiles<T, 3>(job);
    } else {
      RunTiles<T, 1>(job);
    }
  }
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
