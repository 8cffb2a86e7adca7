// Gradients of weights along rows, once per SIMD target.
//
// The sums of C channels by K taps stay in registers for all rows. A cell is broadcast once for the
// K taps that read it, whose gradients slide along in registers: with one vector of results there
// would else be a load for each multiplication. Where a row begins and ends some taps read padding,
// or for places beyond it; those are added one by one.
#include "kernels/row_gradient.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/row_gradient.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/group_source-inl.h"
#include "kernels/registers.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// The sums, the gradients of a window and a broadcast must fit the registers.
#if FOVEA_MANY_REGISTERS
constexpr int kChannels = 8;
#else
constexpr int kChannels = 4;
#endif
constexpr int kJoinedTaps = 3;

// The sums of C channels from `channel` on and K taps from `tap` on. S is what SharedStep() says; a
// tap by itself takes any steps.
template <class T, int C, int K, int S>
class Window {
 public:
  using D = hn::ScalableTag<T>;
  using V = hn::Vec<D>;

  HWY_INLINE Window(const RowGradient<T>& job, std::int64_t channel, int tap)
      : inner_(job.inner),
        gradient_step_(job.gradient_step),
        first_(inner_.first + tap * inner_.tap_step),
        step_(S == 0 ? inner_.output_step : S) {
    // The places whose cells are all there and are read for places of the row by every tap.
    const std::int64_t least = (step_ - 1 - first_) / step_;
    begin_ = HWY_MIN(HWY_MAX(least, kPlaces - 1), inner_.outputs);
    const std::int64_t most = (inner_.inputs - kRead - first_ + step_) / step_;
    end_ = HWY_MAX(HWY_MIN(most, inner_.outputs), begin_);
    source_ = job.source + channel;
    sums_ = job.sums + channel * job.channel_step + tap * kLanes;
    channel_step_ = job.channel_step;
  }

  HWY_INLINE void Sum(const RowGradient<T>& job) const {
    V sum[C][K];
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) {
#pragma GCC unroll 3
      for (int k = 0; k < K; ++k) sum[c][k] = hn::Load(D(), sums_ + c * channel_step_ + k * kLanes);
    }
    for (std::int64_t r = 0; r < job.row_count; ++r)
      AddRow(job.rows[r] + source_, job.gradients[r] + job.gradient, sum);
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) {
#pragma GCC unroll 3
      for (int k = 0; k < K; ++k) hn::Store(sum[c][k], D(), sums_ + c * channel_step_ + k * kLanes);
    }
  }

 private:
  static constexpr auto kLanes = static_cast<std::int64_t>(HWY_LANES(T));
  static constexpr int kCells = S == 0 ? 1 : S;         // from place to place
  static constexpr int kRead = HWY_MIN(kCells, K);      // of these, by some tap
  static constexpr int kPlaces = (K - 1) / kCells + 1;  // of a window

  HWY_INLINE void AddRow(const T* HWY_RESTRICT row, const T* HWY_RESTRICT gradients,
                         V (&sum)[C][K]) const {
    for (std::int64_t place = 0; place < inner_.outputs + kPlaces - 1;) {
      if (place == begin_ && begin_ < end_) {
        place = AddAll(row, gradients, sum);
      } else {
        AddSome(row, gradients, place++, sum);
      }
    }
  }

  // Adds what the cells of the places [begin, end) contribute, to these and to the places before
  // them. Returns the end.
  HWY_INLINE std::int64_t AddAll(const T* HWY_RESTRICT row, const T* HWY_RESTRICT gradients,
                                 V (&sum)[C][K]) const {
    const D d;
    V gradient[kPlaces];
#pragma GCC unroll 3
    for (int w = 1; w < kPlaces; ++w)
      gradient[w - 1] = hn::LoadU(d, gradients + (begin_ - w) * gradient_step_);
    const T* HWY_RESTRICT cell = row + (first_ + begin_ * step_) * inner_.cell_values;
    const T* HWY_RESTRICT next = gradients + begin_ * gradient_step_;
    const std::int64_t cell_step = step_ * inner_.cell_values;
    for (std::int64_t left = end_ - begin_; left > 0; --left) {
#pragma GCC unroll 3
      for (int w = kPlaces - 1; w > 0; --w) gradient[w] = gradient[w - 1];
      gradient[0] = hn::LoadU(d, next);
#pragma GCC unroll 2
      for (int i = 0; i < kRead; ++i) {
#pragma GCC unroll 16
        for (int c = 0; c < C; ++c) {
          const V value = hn::Set(d, cell[i * inner_.cell_values + c]);
#pragma GCC unroll 3
          for (int k = i; k < K; k += kCells)
            sum[c][k] = hn::MulAdd(value, gradient[(k - i) / kCells], sum[c][k]);
        }
      }
      cell += cell_step;
      next += gradient_step_;
    }
    return end_;
  }

  // The same for one place where some cells are padding, or are read for places beyond the row.
  HWY_INLINE void AddSome(const T* HWY_RESTRICT row, const T* HWY_RESTRICT gradients,
                          std::int64_t place, V (&sum)[C][K]) const {
    const D d;
#pragma GCC unroll 2
    for (int i = 0; i < kRead; ++i) {
      const std::int64_t read = first_ + place * step_ + i;
      if (read < 0 || read >= inner_.inputs) continue;
      const T* HWY_RESTRICT cell = row + read * inner_.cell_values;
#pragma GCC unroll 3
      for (int k = i; k < K; k += kCells) {
        const std::int64_t of = place - (k - i) / kCells;
        if (of < 0 || of >= inner_.outputs) continue;
        const V gradient = hn::LoadU(d, gradients + of * gradient_step_);
#pragma GCC unroll 16
        for (int c = 0; c < C; ++c)
          sum[c][k] = hn::MulAdd(hn::Set(d, cell[c]), gradient, sum[c][k]);
      }
    }
  }

  const InnerAxis& inner_;
  std::int64_t gradient_step_;
  std::int64_t first_;  // cell of the first place and tap
  std::int64_t step_;   // cells between places
  std::int64_t begin_;
  std::int64_t end_;
  std::int64_t source_;
  T* sums_;
  std::int64_t channel_step_;
};

template <class T, int C, int S>
void AllTaps(const RowGradient<T>& job, std::int64_t channel) {
  int tap = 0;
  if constexpr (S > 0) {
    for (; tap + kJoinedTaps <= job.inner.taps; tap += kJoinedTaps)
      Window<T, C, kJoinedTaps, S>(job, channel, tap).Sum(job);
  }
  for (; tap < job.inner.taps; ++tap) Window<T, C, 1, 0>(job, channel, tap).Sum(job);
}

template <class T, int S>
void AllChannels(const RowGradient<T>& job) {
  std::int64_t channel = 0;
  for (; channel + kChannels <= job.channels; channel += kChannels)
    AllTaps<T, kChannels, S>(job, channel);
  if constexpr (kChannels > kGradientChannels) {
    if (channel < job.channels) AllTaps<T, kGradientChannels, S>(job, channel);
  }
}

template <class T>
void RunRowGradient(const RowGradient<T>& job) {
  switch (SharedStep(job.inner)) {
    case 1:
      return AllChannels<T, 1>(job);
    case 2:
      return AllChannels<T, 2>(job);
    default:
      return AllChannels<T, 0>(job);
  }
}

void RowGradient32(const RowGradient<float>& job) {
  RunRowGradient(job);
}
void RowGradient64(const RowGradient<double>& job) {
  RunRowGradient(job);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {
namespace {
HWY_EXPORT(RowGradient32);
HWY_EXPORT(RowGradient64);
}  // namespace

template <>
void row_gradient(const RowGradient<float>& job) {
  HWY_DYNAMIC_DISPATCH(RowGradient32)(job);
}
template <>
void row_gradient(const RowGradient<double>& job) {
  HWY_DYNAMIC_DISPATCH(RowGradient64)(job);
}

}  // namespace fovea::kernels
#endif
