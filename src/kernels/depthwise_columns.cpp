// Depthwise 5x5 and 7x7, once per SIMD target that has 32 vector registers.
//
// A tile is a few places of one vector of channels. It walks down the rows: the sums of all rows of
// results that a source row belongs to stay in registers, and so do its cells, so that a weight is
// loaded once for all places and a cell once for all rows and columns of the kernel.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/depthwise_columns.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/depthwise_cells-inl.h"
#include "kernels/depthwise_rows.h"
#include "kernels/depthwise_store-inl.h"
#include "kernels/registers.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

#if FOVEA_MANY_REGISTERS
constexpr bool kFits = true;
#else
constexpr bool kFits = false;
#endif

// Places of a tile: K rows of sums, the cells of a row and a weight must fit the registers.
template <int K>
constexpr int kWidth = K == 5 ? 4 : 3;

// Or the compiler would load it anew for each multiplication.
template <class V>
HWY_INLINE void KeepInRegister([[maybe_unused]] V& value) {
#if HWY_ARCH_X86
  asm("" : "+v"(value.raw));
#endif
}

// M places of one vector of channels, down all rows of the window.
template <class T, int K, int M>
class Column {
 public:
  HWY_INLINE Column(const DepthwiseRows<T>& job, const ChannelBlock<T>& block, int place)
      : job_(job),
        range_(CellsFrom(job.window, block, place, kCells)),
        bias_(job.bias == nullptr ? nullptr : job.bias + block.channel) {
    out_ = job.out + place * job.out_step + block.channel;
    const T* weights = job.weights + block.weights;
    for (int t = 0; t < K * K; ++t) {
      const int from = job.flipped ? K * K - 1 - t : t;
      hn::Store(hn::LoadU(D(), weights + from * kLanes), D(), weights_ + t * kLanes);
    }
  }

  HWY_INLINE void Run() const {
    const std::int64_t count = job_.window.count;
    // sums[i] is of row j - i, which source row j meets through row i of the kernel. Sums of rows
    // that are not there are never stored; leaving them out would take branches that nothing
    // foretells.
    V sums[K][M];
    for (std::int64_t j = 0; j < count + K - 1; ++j) {
#pragma GCC unroll 8
      for (int i = K - 1; i > 0; --i) {
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) sums[i][m] = sums[i - 1][m];
      }
      const V start = bias_ == nullptr ? hn::Zero(D()) : hn::LoadU(D(), bias_);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) sums[0][m] = start;
      if (const T* row = job_.window.rows[j]; row != nullptr) {
        if (range_.inside == kAll) {
          AddInner(row + range_.offset, sums);
        } else {
          AddEdge(row + range_.offset, sums);
        }
      }
      if (j >= K - 1) Store(sums[K - 1], j - (K - 1));
    }
  }

 private:
  using D = hn::ScalableTag<T>;
  using V = hn::Vec<D>;
  static constexpr int kCells = M + K - 1;
  static constexpr std::uint32_t kAll = (std::uint32_t{1} << kCells) - 1;
  static constexpr auto kLanes = static_cast<std::int64_t>(HWY_LANES(T));

  // Adds what a source row contributes.
  HWY_INLINE void AddInner(const T* HWY_RESTRICT from, V (&sums)[K][M]) const {
    V cells[kCells];
#pragma GCC unroll 16
    for (int c = 0; c < kCells; ++c, Walk(from, job_.window.cell_values))
      cells[c] = hn::LoadU(D(), from);
#pragma GCC unroll 8
    for (int i = 0; i < K; ++i) {
#pragma GCC unroll 8
      for (int k = 0; k < K; ++k) {
        V weight = hn::Load(D(), weights_ + (i * K + k) * kLanes);
        KeepInRegister(weight);
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) sums[i][m] = hn::MulAdd(cells[m + k], weight, sums[i][m]);
      }
    }
  }

  // The same, in the same order, where cells are padding.
  HWY_INLINE void AddEdge(const T* HWY_RESTRICT from, V (&sums)[K][M]) const {
#pragma GCC unroll 16
    for (int c = 0; c < kCells; ++c, Walk(from, job_.window.cell_values)) {
      if ((range_.inside & (std::uint32_t{1} << c)) == 0) continue;
      const V cell = hn::LoadU(D(), from);
#pragma GCC unroll 8
      for (int i = 0; i < K; ++i) {
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) {
          const int k = c - m;
          if (k < 0 || k >= K) continue;
          sums[i][m] = hn::MulAdd(cell, hn::Load(D(), weights_ + (i * K + k) * kLanes), sums[i][m]);
        }
      }
    }
  }

  HWY_INLINE void Store(const V (&sums)[M], std::int64_t row) const {
    StoreSums<M>(job_, D(), sums, out_ + row * job_.out_row_step, job_.out_step);
  }

  const DepthwiseRows<T>& job_;
  CellRange range_;
  const T* bias_;
  const T* out_;
  HWY_ALIGN T weights_[K * K * HWY_LANES(T)];
};

template <class T, int K, int M>
HWY_NOINLINE void RunColumn(const DepthwiseRows<T>& job, const ChannelBlock<T>& block, int place) {
  Column<T, K, M>(job, block, place).Run();
}

// The last tile is moved back to end with the row: it computes some places again, to the same bits.
template <int K, int M, class T>
void RunColumns(const DepthwiseRows<T>& job) {
  const int outputs = job.window.outputs;
  for (int place = 0; place < outputs; place += M) {
    for (std::int64_t b = 0; b < job.block_count; ++b)
      RunColumn<T, K, M>(job, job.blocks[b], HWY_MIN(place, outputs - M));
  }
}

template <int K, class T>
void RunWindow(const DepthwiseRows<T>& job) {
  if (job.window.outputs >= kWidth<K>) return RunColumns<K, kWidth<K>>(job);
  RunColumns<K, 1>(job);
}

template <class T>
void Run(const DepthwiseRows<T>& job) {
  if constexpr (kFits) {
    if (job.window.taps == 5) return RunWindow<5>(job);
    RunWindow<7>(job);
  }
}

void Columns32(const DepthwiseRows<float>& job) {
  Run(job);
}
void Columns64(const DepthwiseRows<double>& job) {
  Run(job);
}
bool JoinsColumns() {
  return kFits;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {
namespace {
HWY_EXPORT(Columns32);
HWY_EXPORT(Columns64);
HWY_EXPORT(JoinsColumns);
}  // namespace

bool joins_columns() {
  return HWY_DYNAMIC_DISPATCH(JoinsColumns)();
}
template <>
void depthwise_columns(const DepthwiseRows<float>& job) {
  HWY_DYNAMIC_DISPATCH(Columns32)(job);
}
template <>
void depthwise_columns(const DepthwiseRows<double>& job) {
  HWY_DYNAMIC_DISPATCH(Columns64)(job);
}

}  // namespace fovea::kernels
#endif
