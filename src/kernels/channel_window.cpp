// Local response normalisation: each row's squares, with zeros on both sides, are added up over
// the window as shifted vectors, a block of rows at a time.
#include "kernels/channel_window.h"

#include <cstddef>
#include <limits>
#include <vector>

#include "kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/channel_window.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/highway.h"
#include "kernels/exponential-inl.h"
#include "kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET <= HWY_AVX3
// x^-3/4 to the last bits but one. AVX-512 defines its estimates to the bit (the older ones differ
// from CPU to CPU); one step of Newton's doubles their 14 bits.
template <class D, class V>
HWY_INLINE V inverse_three_quarters(D d, V x) {
  // Infinity, of which the step would make NaN, is taken for the largest number.
  const V bounded = hn::Min(hn::Set(d, std::numeric_limits<float>::max()), x);
  const V root = hn::ApproximateReciprocalSqrt(bounded);
  const V y = hn::Mul(hn::Mul(root, root), hn::ApproximateReciprocalSqrt(root));
  const V half = hn::Mul(y, hn::Mul(y, bounded));  // x^-1/2
  const V error = hn::NegMulAdd(half, hn::Mul(half, bounded), hn::Set(d, 1.0F));
  return hn::MulAdd(hn::Mul(y, hn::Set(d, 0.25F)), error, y);
}
#endif

// d^-beta for d > 0; the usual exponents need no logarithm.
struct InversePower {
  double beta;
  template <class D, class V, class T = hn::TFromD<D>>
  HWY_INLINE V operator()(D d, V x) const {
    const V one = hn::Set(d, static_cast<T>(1));
#if HWY_TARGET <= HWY_AVX3
    if constexpr (sizeof(T) == sizeof(float) && hn::MaxLanes(D()) == HWY_LANES(T)) {
      if (beta == 0.75) return inverse_three_quarters(d, x);
    }
#endif
    const V root = hn::Sqrt(x);
    if (beta == 0.75) return hn::Div(one, hn::Mul(root, hn::Sqrt(root)));
    if (beta == 0.5) return hn::Div(one, root);
    if (beta == 1) return hn::Div(one, x);
    return power(d, x, -beta);
  }
};

// The usual width of five as a constant.
template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> window_sum(D d, const T* padded, std::int64_t size) {
  if (size == 5) {
    const auto left = hn::Add(hn::LoadU(d, padded), hn::LoadU(d, padded + 1));
    const auto right = hn::Add(hn::LoadU(d, padded + 3), hn::LoadU(d, padded + 4));
    return hn::Add(hn::Add(left, hn::LoadU(d, padded + 2)), right);
  }
  auto sum = hn::LoadU(d, padded);
  for (std::int64_t i = 1; i < size; ++i) sum = hn::Add(sum, hn::LoadU(d, padded + i));
  return sum;
}

// A few rows at once, each with zeros on both sides: what is read as shifted vectors was written so
// long ago that no load waits for a store.
template <class T>
class PaddedRows {
 public:
  PaddedRows(std::int64_t channels, std::int64_t size, std::int64_t before)
      : stride_(channels + size - 1),
        before_(before),
        values_(static_cast<std::size_t>(rows(channels) * stride_)) {}

  static std::int64_t rows(std::int64_t channels) {
    return HWY_MAX(std::int64_t{1}, kElements / channels);
  }
  T* padded(std::int64_t row) { return values_.data() + row * stride_; }
  T* inside(std::int64_t row) { return padded(row) + before_; }

 private:
  static constexpr std::int64_t kElements = 1 << 11;
  std::int64_t stride_, before_;
  std::vector<T> values_;
};

template <class T>
void write_squares(std::int64_t rows, std::int64_t channels, const T* x, PaddedRows<T>& squares) {
  for (std::int64_t row = 0; row < rows; ++row) {
    const T* in = x + row * channels;
    T* out = squares.inside(row);
    for_lanes<T>(0, static_cast<std::size_t>(channels), [&](auto d, std::size_t c) HWY_ATTR {
      const auto value = hn::LoadU(d, in + c);
      hn::StoreU(hn::Mul(value, value), d, out + c);
    });
  }
}

#if HWY_TARGET <= HWY_AVX3
// The usual window of five over rows of whole vectors stays in registers: nothing is read again at
// shifted places.
using Lanes16 = hn::Full512<float>;
using Row16 = hn::Vec<Lanes16>;
constexpr std::int64_t kWidth = 16;
constexpr std::int64_t kLongest = 1024;  // channels, for which there is room on the stack

template <int kLanes>
HWY_INLINE Row16 shifted(Row16 high, Row16 low) {  // lanes kLanes ... of both in a row
  return Row16{_mm512_castsi512_ps(
      _mm512_alignr_epi32(_mm512_castps_si512(high.raw), _mm512_castps_si512(low.raw), kLanes))};
}

// The sums of five neighbours of a row of vectors, one vector after another, added in the order of
// window_sum().
class WindowOfFive {
 public:
  // The first two vectors.
  HWY_INLINE WindowOfFive(Row16 first, Row16 second) : here_(first), next_(second) {
    const Row16 none = hn::Zero(Lanes16());
    pairs_before_ = shifted<1>(first, none);
    pairs_ = hn::Add(first, shifted<1>(second, first));
  }
  // The sums around a vector, given the one that comes two after it.
  HWY_INLINE Row16 sum(Row16 coming) {
    const Row16 pairs_next = hn::Add(next_, shifted<1>(coming, next_));
    const Row16 total =
        hn::Add(hn::Add(shifted<14>(pairs_, pairs_before_), here_), shifted<1>(pairs_next, pairs_));
    here_ = next_;
    next_ = coming;
    pairs_before_ = pairs_;
    pairs_ = pairs_next;
    return total;
  }

 private:
  Row16 here_, next_, pairs_before_, pairs_;  // of neighbours, each with the one behind it
};

bool fits_registers(const ResponseNorm& norm, std::int64_t channels) {
  return norm.size == 5 && norm.beta == 0.75 && channels % kWidth == 0 && channels <= kLongest;
}

// Calls use(channel, sum) for each vector of a row, sums being over load(channel).
template <class Load, class Use>
HWY_INLINE void for_windows(std::int64_t channels, const Load& load, const Use& use) {
  const Row16 none = hn::Zero(Lanes16());
  WindowOfFive window(load(0), channels > kWidth ? load(kWidth) : none);
  for (std::int64_t c = 0; c < channels; c += kWidth)
    use(c, window.sum(c + 2 * kWidth < channels ? load(c + 2 * kWidth) : none));
}

void five_normalized(const ResponseNorm& norm, std::int64_t rows, std::int64_t channels,
                     const float* x, float* y) {
  const Lanes16 d;
  const Row16 share = hn::Set(d, static_cast<float>(norm.alpha / static_cast<double>(norm.size)));
  const Row16 k = hn::Set(d, static_cast<float>(norm.k));
  for (std::int64_t row = 0; row < rows; ++row, x += channels, y += channels) {
    for_windows(
        channels,
        [&](std::int64_t c) HWY_ATTR {
          const Row16 value = hn::LoadU(d, x + c);
          return hn::Mul(value, value);
        },
        [&](std::int64_t c, Row16 sum) HWY_ATTR {
          const Row16 power = inverse_three_quarters(d, hn::MulAdd(share, sum, k));
          hn::StoreU(hn::Mul(hn::LoadU(d, x + c), power), d, y + c);
        });
  }
}

void five_differentiated(const ResponseNorm& norm, std::int64_t rows, std::int64_t channels,
                         const float* g, const float* x, float* dx) {
  const Lanes16 d;
  const double part = norm.alpha / static_cast<double>(norm.size);
  const Row16 share = hn::Set(d, static_cast<float>(part));
  const Row16 k = hn::Set(d, static_cast<float>(norm.k));
  const Row16 factor = hn::Set(d, static_cast<float>(-2 * part * norm.beta));
  const Row16 largest = hn::Set(d, std::numeric_limits<float>::max());
  // A vector of what is direct, then one of the terms of what is not: in arrays of their own, their
  // addresses would agree in the low 12 bits, and loads wait for stores of which that is true. A
  // few rows together, so that those of the second loop do not wait for the first.
  alignas(64) float both[2 * kLongest];
  const std::int64_t block = kLongest / channels;
  for (std::int64_t first = 0; first < rows; first += block) {
    const std::int64_t count = HWY_MIN(block, rows - first);
    for (std::int64_t row = 0; row < count; ++row) {
      const float* in = x + (first + row) * channels;
      const float* gradient = g + (first + row) * channels;
      float* out = both + 2 * row * channels;
      for_windows(
          channels,
          [&](std::int64_t c) HWY_ATTR {
            const Row16 value = hn::LoadU(d, in + c);
            return hn::Mul(value, value);
          },
          [&](std::int64_t c, Row16 sum) HWY_ATTR {
            const Row16 base = hn::MulAdd(share, sum, k);
            const Row16 power = inverse_three_quarters(d, base);
            const Row16 root = hn::Mul(power, hn::Mul(power, hn::Min(largest, base)));  // base^-1/2
            const Row16 scaled = hn::Mul(hn::LoadU(d, gradient + c), power);
            hn::Store(scaled, d, out + 2 * c);
            hn::Store(hn::Mul(hn::Mul(scaled, hn::LoadU(d, in + c)), hn::Mul(root, root)), d,
                      out + 2 * c + kWidth);
          });
    }
    for (std::int64_t row = 0; row < count; ++row) {
      const float* in = x + (first + row) * channels;
      const float* from = both + 2 * row * channels;
      float* out = dx + (first + row) * channels;
      for_windows(
          channels, [&](std::int64_t c) HWY_ATTR { return hn::Load(d, from + 2 * c + kWidth); },
          [&](std::int64_t c, Row16 sum) HWY_ATTR {
            const Row16 indirect = hn::Mul(factor, hn::Mul(hn::LoadU(d, in + c), sum));
            hn::StoreU(hn::Add(hn::Load(d, from + 2 * c), indirect), d, out + c);
          });
    }
  }
}
#endif

template <class T>
void rows_normalized(const ResponseNorm& norm, std::int64_t rows, std::int64_t channels, const T* x,
                     T* y) {
  const InversePower power{norm.beta};
  const auto share = static_cast<T>(norm.alpha / static_cast<double>(norm.size));
  PaddedRows<T> squares(channels, norm.size, norm.size / 2);
  const std::int64_t block = squares.rows(channels);
  for (std::int64_t first = 0; first < rows; first += block) {
    const std::int64_t count = HWY_MIN(block, rows - first);
    write_squares(count, channels, x + first * channels, squares);
    for (std::int64_t row = 0; row < count; ++row) {
      const T* in = x + (first + row) * channels;
      T* out = y + (first + row) * channels;
      for_lanes<T>(0, static_cast<std::size_t>(channels), [&](auto d, std::size_t c) HWY_ATTR {
        const auto sum = window_sum(d, squares.padded(row) + c, norm.size);
        const auto base = hn::MulAdd(hn::Set(d, share), sum, hn::Set(d, static_cast<T>(norm.k)));
        hn::StoreU(hn::Mul(hn::LoadU(d, in + c), power(d, base)), d, out + c);
      });
    }
  }
}

template <class T>
void rows_differentiated(const ResponseNorm& norm, std::int64_t rows, std::int64_t channels,
                         const T* g, const T* x, T* dx) {
  const auto width = static_cast<std::size_t>(channels);
  const InversePower power{norm.beta};
  const double share = norm.alpha / static_cast<double>(norm.size);
  PaddedRows<T> squares(channels, norm.size, norm.size / 2);
  // The window of those that hold a channel is the mirrored one.
  PaddedRows<T> terms(channels, norm.size, (norm.size - 1) / 2);
  const std::int64_t block = squares.rows(channels);
  for (std::int64_t first = 0; first < rows; first += block) {
    const std::int64_t count = HWY_MIN(block, rows - first);
    write_squares(count, channels, x + first * channels, squares);
    for (std::int64_t row = 0; row < count; ++row) {
      const T* gradient = g + (first + row) * channels;
      const T* in = x + (first + row) * channels;
      T* out = dx + (first + row) * channels;
      for_lanes<T>(0, width, [&](auto d, std::size_t c) HWY_ATTR {
        const auto sum = window_sum(d, squares.padded(row) + c, norm.size);
        const auto base =
            hn::MulAdd(hn::Set(d, static_cast<T>(share)), sum, hn::Set(d, static_cast<T>(norm.k)));
        const auto direct = hn::Mul(hn::LoadU(d, gradient + c), power(d, base));
        hn::StoreU(direct, d, out + c);
        hn::StoreU(hn::Div(hn::Mul(direct, hn::LoadU(d, in + c)), base), d, terms.inside(row) + c);
      });
    }
    for (std::int64_t row = 0; row < count; ++row) {
      const T* in = x + (first + row) * channels;
      T* out = dx + (first + row) * channels;
      for_lanes<T>(0, width, [&](auto d, std::size_t c) HWY_ATTR {
        const auto sum = window_sum(d, terms.padded(row) + c, norm.size);
        const auto factor = hn::Set(d, static_cast<T>(-2 * share * norm.beta));
        const auto indirect = hn::Mul(factor, hn::Mul(hn::LoadU(d, in + c), sum));
        hn::StoreU(hn::Add(hn::LoadU(d, out + c), indirect), d, out + c);
      });
    }
  }
}

void ResponseNormF32(const ResponseNorm& norm, std::int64_t rows, std::int64_t channels,
                     const float* x, float* y) {
#if HWY_TARGET <= HWY_AVX3
  if (fits_registers(norm, channels)) return five_normalized(norm, rows, channels, x, y);
#endif
  rows_normalized(norm, rows, channels, x, y);
}
void ResponseNormF64(const ResponseNorm& norm, std::int64_t rows, std::int64_t channels,
                     const double* x, double* y) {
  rows_normalized(norm, rows, channels, x, y);
}
void ResponseNormBackwardF32(const ResponseNorm& norm, std::int64_t rows, std::int64_t channels,
                             const float* g, const float* x, float* dx) {
#if HWY_TARGET <= HWY_AVX3
  if (fits_registers(norm, channels)) return five_differentiated(norm, rows, channels, g, x, dx);
#endif
  rows_differentiated(norm, rows, channels, g, x, dx);
}
void ResponseNormBackwardF64(const ResponseNorm& norm, std::int64_t rows, std::int64_t channels,
                             const double* g, const double* x, double* dx) {
  rows_differentiated(norm, rows, channels, g, x, dx);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(ResponseNormF32);
HWY_EXPORT(ResponseNormF64);
HWY_EXPORT(ResponseNormBackwardF32);
HWY_EXPORT(ResponseNormBackwardF64);

template <>
void response_norm(const ResponseNorm& norm, std::int64_t rows, std::int64_t channels,
                   const float* x, float* y) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(ResponseNormF32)(norm, rows, channels, x, y);
}
template <>
void response_norm(const ResponseNorm& norm, std::int64_t rows, std::int64_t channels,
                   const double* x, double* y) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(ResponseNormF64)(norm, rows, channels, x, y);
}
template <>
void response_norm_backward(const ResponseNorm& norm, std::int64_t rows, std::int64_t channels,
                            const float* g, const float* x, float* dx) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(ResponseNormBackwardF32)(norm, rows, channels, g, x, dx);
}
template <>
void response_norm_backward(const ResponseNorm& norm, std::int64_t rows, std::int64_t channels,
                            const double* g, const double* x, double* dx) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(ResponseNormBackwardF64)(norm, rows, channels, g, x, dx);
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
