// The gradient of the weights of narrow groups, once per SIMD target: sums over the places of a
// row.
//
// The sums of N sources (rows, or reduced channels of a group) by K taps stay in registers: enough
// of them that no addition waits for the one before. A window slides over the row: the gradients of
// the last few places stay in registers too, so that each cell is loaded, and permuted, once for
// the K taps that read it.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/group_gradient.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/group_product.h"
#include "kernels/group_source-inl.h"
#include "kernels/registers.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if FOVEA_MANY_REGISTERS
constexpr int kSources = 4;
#else
constexpr int kSources = 2;
#endif

// One of N sources that are added up together.
template <bool kSpread, class D>
struct SummedSource {
  using T = hn::TFromD<D>;
  const T* HWY_RESTRICT row;  // at the first channel of the vector
  T* HWY_RESTRICT sums;       // of tap 0
  Source<kSpread, D> load;
};

// The sums of K taps from `tap` on. S is what SharedStep() says; a tap by itself takes any steps.
template <int N, int S, int K, bool kSpread, class D>
class Window {
 public:
  using T = hn::TFromD<D>;
  using Vec = hn::Vec<D>;

  HWY_INLINE Window(D d, const GroupGradient<T>& job, int tap)
      : d_(d),
        job_(job),
        run_(job.inner, tap),
        tap_sums_(job.reduced * static_cast<std::int64_t>(hn::Lanes(d))) {}

  HWY_INLINE void Sum(const SummedSource<kSpread, D> (&sources)[N], bool asks) const {
    Vec sum[N][K];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
#pragma GCC unroll 4
      for (int k = 0; k < K; ++k)
        sum[n][k] = hn::LoadU(d_, sources[n].sums + run_.at(k) * tap_sums_);
    }
    const int outputs = job_.inner.outputs;
    const T* HWY_RESTRICT gradients = job_.gradient + job_.block.channel;
    Vec gradient[kPlaces];
    for (int w = 0; w < kPlaces; ++w) gradient[w] = hn::Zero(d_);
    // The places whose cells are all there and are read for places of the row by every tap.
    int begin = 0;
    int end = 0;
    if constexpr (S > 0) {
      const InnerAxis& inner = job_.inner;
      const std::int64_t first = inner.first + run_.entry;
      const std::int64_t least = HWY_MAX(kPlaces - 1, (S - 1 - first) / S);
      const std::int64_t most = HWY_MIN(outputs, HWY_MAX(inner.inputs - first, 0) / S);
      begin = static_cast<int>(HWY_MIN(least, outputs));
      end = static_cast<int>(HWY_MAX(most, begin));
    }
    int place = 0;
    for (; place < begin; ++place) {
      Slide(gradient, gradients + place * job_.gradient_step);
      AddSome(sources, place, gradient, sum);
    }
    if constexpr (S > 0) {
      const std::int64_t cells = job_.inner.first + run_.entry + begin * S;
      std::int64_t offset = cells * job_.inner.cell_values;
      const T* HWY_RESTRICT next = gradients + begin * job_.gradient_step;
      for (; place < end; ++place, Walk(next, job_.gradient_step)) {
        if (asks) Ask(place);
        Slide(gradient, next);
        offset = AddAll(sources, offset, gradient, sum);
      }
    }
    for (; place < outputs; ++place) {
      if (asks) Ask(place);
      Slide(gradient, gradients + place * job_.gradient_step);
      AddSome(sources, place, gradient, sum);
    }
    for (; place < outputs + kPlaces - 1; ++place) {
      Slide(gradient, gradients);  // beyond the row: not used
      AddSome(sources, place, gradient, sum);
    }
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
#pragma GCC unroll 4
      for (int k = 0; k < K; ++k)
        hn::StoreU(sum[n][k], d_, sources[n].sums + run_.at(k) * tap_sums_);
    }
  }

 private:
  static constexpr int kCells = S == 0 ? 1 : S;         // from place to place
  static constexpr int kRead = HWY_MIN(kCells, K);      // of these, by some tap
  static constexpr int kPlaces = (K - 1) / kCells + 1;  // of a window

  HWY_INLINE void Slide(Vec (&gradient)[kPlaces], const T* next) const {
#pragma GCC unroll 4
    for (int w = kPlaces - 1; w > 0; --w) gradient[w] = gradient[w - 1];
    gradient[0] = hn::LoadU(d_, next);
  }

  // Adds what the cells of one place contribute, to it and to the places before it: where all are
  // there, from this distance on in each source. Returns the next place's.
  HWY_INLINE std::int64_t AddAll(const SummedSource<kSpread, D> (&sources)[N], std::int64_t offset,
                                 const Vec (&gradient)[kPlaces], Vec (&sum)[N][K]) const {
#pragma GCC unroll 2
    for (int c = 0; c < kRead; ++c) {
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) {
        const Vec value = sources[n].load(d_, sources[n].row + offset + c * job_.inner.cell_values);
#pragma GCC unroll 4
        for (int k = c; k < K; k += kCells)
          sum[n][k] = hn::MulAdd(value, gradient[(k - c) / kCells], sum[n][k]);
      }
    }
    return offset + kCells * job_.inner.cell_values;
  }

  // The same where some are padding, or are read for places beyond the row.
  HWY_INLINE void AddSome(const SummedSource<kSpread, D> (&sources)[N], int place,
                          const Vec (&gradient)[kPlaces], Vec (&sum)[N][K]) const {
    const InnerAxis& inner = job_.inner;
    const std::int32_t* HWY_RESTRICT cells = inner.cells + run_.entry + place * inner.output_step;
#pragma GCC unroll 2
    for (int c = 0; c < kRead; ++c) {
      if (place - (K - 1 - c) / kCells >= inner.outputs) continue;
      const std::int32_t read = cells[c];
      if (read < 0) continue;
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) {
        const Vec value = sources[n].load(d_, sources[n].row + read * inner.cell_values);
#pragma GCC unroll 4
        for (int k = c; k < K; k += kCells) {
          const int w = (k - c) / kCells;
          if (place < w || place - w >= inner.outputs) continue;
          sum[n][k] = hn::MulAdd(value, gradient[w], sum[n][k]);
        }
      }
    }
  }

  HWY_INLINE void Ask(int place) const {
    __builtin_prefetch(
        job_.ahead + place * job_.inner.output_step * job_.inner.cell_values + job_.block.source, 0,
        2);
    __builtin_prefetch(job_.ahead_gradient + place * job_.gradient_step + job_.block.channel, 0, 2);
  }

  D d_;
  const GroupGradient<T>& job_;
  TapRun<K> run_;
  std::int64_t tap_sums_;
};

// N sources: reduced channels from `channel` on of one row, or N rows from `row` on.
template <int N, int S, bool kSpread, class D>
void SumSources(D d, const GroupGradient<hn::TFromD<D>>& job, std::int64_t row,
                std::int64_t channel) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t row_sums = job.inner.taps * job.reduced * lanes;
  const auto source = [&](int n) HWY_ATTR __attribute__((always_inline)) {
    const std::int64_t r = kSpread ? row : row + n;
    const std::int64_t i = kSpread ? channel + n : 0;
    return SummedSource<kSpread, D>{job.rows[r] + job.block.source,
                                    job.sums + job.row_taps[r] * row_sums + i * lanes,
                                    SourceOf<kSpread>(d, job.block, i)};
  };
  const auto sum = [&](const SummedSource<kSpread, D>(&sources)[N]) HWY_ATTR
      __attribute__((always_inline)) {
    const auto asks = [&](int tap) {
      return job.ahead != nullptr && row == 0 && channel == 0 && tap == 0;
    };
    if constexpr (S == 0) {
      for (int tap = 0; tap < job.inner.taps; ++tap)
        Window<N, S, 1, kSpread, D>(d, job, tap).Sum(sources, asks(tap));
    } else {
      ForTapRuns(
          job.inner.taps, [&]<int K>(int tap) HWY_ATTR __attribute__((always_inline)) {
            Window<N, S, K, kSpread, D>(d, job, tap).Sum(sources, asks(tap));
          });
    }
  };
  if constexpr (N == 1) {
    sum({source(0)});
  } else if constexpr (N == 2) {
    sum({source(0), source(1)});
  } else if constexpr (N == 3) {
    sum({source(0), source(1), source(2)});
  } else {
    sum({source(0), source(1), source(2), source(3)});
  }
}

// Calls f.operator()<N>(first) for counts N of at most kMost that cover `count`.
template <int kMost, class F>
HWY_INLINE void ForSources(std::int64_t count, const F& f) {
  std::int64_t first = 0;
  for (; first + kMost <= count; first += kMost) f.template operator()<kMost>(first);
  if constexpr (kMost > 2) {
    if (count - first == 3) return f.template operator()<3>(first);
    if (count - first == 2) return f.template operator()<2>(first);
  }
  if constexpr (kMost > 1) {
    if (count - first == 1) f.template operator()<1>(first);
  }
}

template <int S, bool kSpread, class D>
void AllSources(D d, const GroupGradient<hn::TFromD<D>>& job) {
  using T = hn::TFromD<D>;
  if constexpr (kSpread) {
    for (std::int64_t row = 0; row < job.row_count; ++row) {
      ForSources<kSources>(job.reduced, [&]<int N>(std::int64_t channel) {
        SumSources<N, S, kSpread>(d, job, row, channel);
      });
    }
  } else {
    // Narrow vectors are rare: one function is enough.
    constexpr int kMost = hn::MaxLanes(d) == HWY_LANES(T) ? kSources : 1;
    ForSources<kMost>(job.row_count,
                      [&]<int N>(std::int64_t row) { SumSources<N, S, kSpread>(d, job, row, 0); });
  }
}

template <bool kSpread, class D>
void AllSteps(D d, const GroupGradient<hn::TFromD<D>>& job) {
  switch (SharedStep(job.inner)) {
    case 1:
      return AllSources<1, kSpread>(d, job);
    case 2:
      return AllSources<2, kSpread>(d, job);
    default:
      return AllSources<0, kSpread>(d, job);
  }
}

template <class T>
void RunGroupGradient(const GroupGradient<T>& job) {
  const hn::ScalableTag<T> full;
  if (job.block.lanes == static_cast<int>(hn::Lanes(full)))
    return job.block.lookup != nullptr ? AllSteps<true>(full, job) : AllSteps<false>(full, job);
  switch (job.block.lanes) {
    case 8:
      return AllSources<0, false>(hn::CappedTag<T, 8>(), job);
    case 4:
      return AllSources<0, false>(hn::CappedTag<T, 4>(), job);
    case 2:
      return AllSources<0, false>(hn::CappedTag<T, 2>(), job);
    default:
      return AllSources<0, false>(hn::CappedTag<T, 1>(), job);
  }
}

void GroupGradient32(const GroupGradient<float>& job) {
  RunGroupGradient(job);
}
void GroupGradient64(const GroupGradient<double>& job) {
  RunGroupGradient(job);
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/simd.h"

namespace fovea::kernels {

HWY_EXPORT(GroupGradient32);
HWY_EXPORT(GroupGradient64);

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
