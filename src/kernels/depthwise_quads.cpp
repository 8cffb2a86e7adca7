// Depthwise quads, once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/depthwise_quads.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/depthwise_quads.h"
#include "kernels/stream-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// M quads from `quad` on, of which all cells and columns are there; or one, of which only some are
// (kEdge). Channels run innermost, as they lie in memory: four results are written for each cell
// that is read, and so the stores decide.
template <class T, int M, bool kEdge>
class QuadRun {
 public:
  HWY_INLINE QuadRun(const DepthwiseQuads<T>& job, std::int64_t row, std::int64_t quad)
      : job_(job), place_(2 * quad - job.skipped) {
    static_assert(!kEdge || M == 1);
    left_ = !kEdge || (quad > 0 && quad <= job.inputs);
    right_ = !kEdge || quad < job.inputs;
    first_ = (quad - 1) * job.cell_values;
    above_ = job.rows[row];
    below_ = job.rows[row + 1];
    top_ = job.results[2 * row];
    bottom_ = job.results[2 * row + 1];
  }

  template <bool kAbove, bool kBelow>
  HWY_INLINE void Run() const {
    for (std::int64_t b = 0; b < job_.block_count; ++b) {
      const ChannelBlock<T>& block = job_.blocks[b];
      const T* HWY_RESTRICT weights = job_.weights + block.weights;
      const V start =
          job_.bias == nullptr ? hn::Zero(D()) : hn::LoadU(D(), job_.bias + block.channel);
      Cells above;
      Cells below;
      if constexpr (kAbove) Load(above_, first_ + block.source, above);
      if constexpr (kBelow) Load(below_, first_ + block.source, below);
      if (top_ != nullptr) {
        T* HWY_RESTRICT out = top_ + place_ * job_.out_step + block.channel;
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) {
          V even = start;
          V odd = start;
          if constexpr (kAbove) AddRow(weights, 2, above[m], above[m + 1], even, odd);
          if constexpr (kBelow) AddRow(weights, 0, below[m], below[m + 1], even, odd);
          Put(even, odd, out);
        }
      }
      if (bottom_ != nullptr) {
        T* HWY_RESTRICT out = bottom_ + place_ * job_.out_step + block.channel;
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) {
          V even = start;
          V odd = start;
          if constexpr (kBelow) AddRow(weights, 1, below[m], below[m + 1], even, odd);
          Put(even, odd, out);
        }
      }
    }
  }

 private:
  using D = hn::ScalableTag<T>;
  using V = hn::Vec<D>;
  using Cells = V[M + 1];  // cell quad - 1 + m

  HWY_INLINE void Load(const T* HWY_RESTRICT row, std::int64_t at, Cells& cells) const {
#pragma GCC unroll 8
    for (int m = 0; m <= M; ++m, at += job_.cell_values) {
      const bool there = !kEdge || (m == 0 ? left_ : right_);
      cells[m] = there ? hn::LoadU(D(), row + at) : hn::Zero(D());
    }
  }

  // Adds what the cells left and right of an even place bring through row i of the kernel, to it
  // and to the odd place behind.
  HWY_INLINE void AddRow(const T* HWY_RESTRICT weights, int i, V left, V right, V& even,
                         V& odd) const {
    constexpr auto kLanes = static_cast<std::int64_t>(HWY_LANES(T));
    const T* HWY_RESTRICT row = weights + i * 3 * kLanes;
    if (left_) even = hn::MulAdd(left, hn::LoadU(D(), row + 2 * kLanes), even);
    if (!right_) return;
    even = hn::MulAdd(right, hn::LoadU(D(), row), even);
    odd = hn::MulAdd(right, hn::LoadU(D(), row + kLanes), odd);
  }

  HWY_INLINE void Put(V even, V odd, T* HWY_RESTRICT& out) const {
    if (!kEdge || place_ >= 0) put(job_.bypass, D(), even, out);
    out += job_.out_step;
    if (!kEdge || (place_ + 1 >= 0 && place_ + 1 < job_.outputs)) put(job_.bypass, D(), odd, out);
    out += job_.out_step;
  }

  const DepthwiseQuads<T>& job_;
  std::int64_t place_;  // of the first result
  bool left_;           // whether the cell left of the first quad's is there
  bool right_;          // and its own
  std::int64_t first_;  // of the values of a row: those of the first cell
  const T* above_;      // rows; none may be there
  const T* below_;
  T* top_;
  T* bottom_;
};

template <int M, bool kEdge, class T>
HWY_NOINLINE void RunQuads(const DepthwiseQuads<T>& job, std::int64_t row, std::int64_t quad) {
  const QuadRun<T, M, kEdge> run(job, row, quad);
  const bool above = job.rows[row] != nullptr;
  const bool below = job.rows[row + 1] != nullptr;
  if (above && below) return run.template Run<true, true>();
  if (above) return run.template Run<true, false>();
  if (below) return run.template Run<false, true>();
  run.template Run<false, false>();
}

constexpr int kQuads = 2;

template <class T>
void Run(const DepthwiseQuads<T>& job) {
  // Quads from..to - 1 have all cells and columns.
  const std::int64_t begin = job.skipped / 2;
  const std::int64_t end = (job.outputs + job.skipped + 1) / 2;
  const std::int64_t from = HWY_MAX((job.skipped + 1) / 2, 1);
  const std::int64_t to = HWY_MIN((job.outputs + job.skipped) / 2, job.inputs);
  for (std::int64_t row = 0; row < job.count; ++row) {
    std::int64_t quad = begin;
    for (; quad < HWY_MIN(from, end); ++quad) RunQuads<1, true>(job, row, quad);
    for (; quad + kQuads <= to; quad += kQuads) RunQuads<kQuads, false>(job, row, quad);
    for (; quad < to; ++quad) RunQuads<1, false>(job, row, quad);
    for (; quad < end; ++quad) RunQuads<1, true>(job, row, quad);
  }
}

void Quads32(const DepthwiseQuads<float>& job) {
  Run(job);
}
void Quads64(const DepthwiseQuads<double>& job) {
  Run(job);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {
namespace {
HWY_EXPORT(Quads32);
HWY_EXPORT(Quads64);
}  // namespace

template <>
void depthwise_quads(const DepthwiseQuads<float>& job) {
  HWY_DYNAMIC_DISPATCH(Quads32)(job);
}
template <>
void depthwise_quads(const DepthwiseQuads<double>& job) {
  HWY_DYNAMIC_DISPATCH(Quads64)(job);
}

}  // namespace fovea::kernels
#endif
