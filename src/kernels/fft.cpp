// Plans of the Fourier transform: Stockham's self-sorting algorithm over the prime factors of the
// length (2s as 4s and 8s), and Bluestein's chirp transform where a prime factor is large:
//   j k = (j^2 + k^2 - (k - j)^2) / 2, so X[k] = c[k] sum over j of (x[j] c[j]) conj(c[k - j])
// with c[j] = e^(-pi i j^2 / n), which is a convolution. Twiddles are computed in double, each from
// an angle of at most 45 degrees, so that they are exact to rounding.
#include "kernels/fft.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include "core/check.h"
#include "core/plan_cache.h"

namespace fovea::kernels {
namespace {

constexpr std::int64_t kMaxLength = std::int64_t{1} << 40;
// Above it a chirp transform is faster than radix^2 products.
constexpr int kMaxRadix = 31;

struct Root {
  double re;
  double im;
};

// e^(-2 pi i k / n) for 0 <= k < n, by symmetry from an angle within one octant.
Root root_of_unity(std::int64_t k, std::int64_t n) {
  const std::int64_t octant = 8 * k / n;
  const std::int64_t past = 8 * k - octant * n;
  const bool from_above = octant % 2 != 0;
  const double angle = std::numbers::pi / 4 * static_cast<double>(from_above ? n - past : past) /
                       static_cast<double>(n);
  const double c = std::cos(angle);
  const double s = std::sin(angle);
  const std::array<Root, 8> turned = {Root{c, -s}, {s, -c}, {-s, -c}, {-c, -s},
                                      {-c, s},     {-s, c}, {s, c},   {c, s}};
  return turned[static_cast<std::size_t>(octant)];
}

// 2s as 4s and 8s, the rest in rising order; the last one may be a product that has no small
// factors.
std::vector<std::int64_t> factors_of(std::int64_t n) {
  std::vector<std::int64_t> factors;
  const auto divide = [&](std::int64_t factor) {
    for (; n % factor == 0; n /= factor) factors.push_back(factor);
  };
  const int twos = std::countr_zero(static_cast<std::uint64_t>(n));
  for (int left = twos; left % 3 != 0 && left > 1; left -= 2, n /= 4) factors.push_back(4);
  divide(8);
  for (std::int64_t factor = 2; factor <= kMaxRadix; ++factor) divide(factor);
  if (n > 1) factors.push_back(n);
  return factors;
}

template <class T>
void add_root(std::int64_t k, std::int64_t n, std::vector<T>& re, std::vector<T>& im) {
  const Root root = root_of_unity(k, n);
  re.push_back(static_cast<T>(root.re));
  im.push_back(static_cast<T>(root.im));
}

}  // namespace

template <class T>
Fft<T>::Fft(std::int64_t length) : length_(length) {
  FOVEA_CHECK(length >= 1 && length <= kMaxLength,
              "fft: the length is {}, but must be from 1 to 2^40", length);
  const std::vector<std::int64_t> factors = factors_of(length);
  if (!factors.empty() && factors.back() > kMaxRadix) {
    make_chirp();
  } else {
    add_stages();
  }
}

template <class T>
void Fft<T>::add_stages() {
  std::int64_t points = length_;
  for (const std::int64_t factor : factors_of(length_)) {
    Stage stage{.radix = static_cast<int>(factor),
                .groups = points / factor,
                .twiddles_re = {},
                .twiddles_im = {},
                .roots_re = {},
                .roots_im = {}};
    for (std::int64_t k = 1; k < factor; ++k) {
      for (std::int64_t p = 0; p < stage.groups; ++p) {
        add_root(p * k, points, stage.twiddles_re, stage.twiddles_im);
      }
    }
    for (std::int64_t k = 0; k < factor; ++k) {
      add_root(k, factor, stage.roots_re, stage.roots_im);
    }
    points = stage.groups;
    stages_.push_back(std::move(stage));
  }
}

template <class T>
void Fft<T>::make_chirp() {
  auto chirp = std::make_unique<Chirp>();
  chirp->transform = std::make_unique<const Fft>(fast_fft_length(2 * length_ - 1));
  std::int64_t square = 0;  // j^2 mod 2n
  for (std::int64_t j = 0; j < length_; ++j) {
    add_root(square, 2 * length_, chirp->re, chirp->im);
    square = (square + 2 * j + 1) % (2 * length_);
  }
  const std::int64_t points = chirp->transform->length();
  const auto size = static_cast<std::size_t>(points);
  chirp->spectrum_re.assign(size, T(0));
  chirp->spectrum_im.assign(size, T(0));
  for (std::size_t j = 0; j < chirp->re.size(); ++j) {
    const std::size_t mirrored = j == 0 ? 0 : size - j;
    chirp->spectrum_re[j] = chirp->spectrum_re[mirrored] = chirp->re[j];
    chirp->spectrum_im[j] = chirp->spectrum_im[mirrored] = -chirp->im[j];
  }
  std::vector<T> work(static_cast<std::size_t>(chirp->transform->workspace(1)));
  chirp->transform->forward({chirp->spectrum_re.data(), chirp->spectrum_im.data()}, 1, work.data());
  // The factor of the inverse transform that follows is taken care of here.
  for (std::vector<T>* plane : {&chirp->spectrum_re, &chirp->spectrum_im}) {
    for (T& value : *plane) value /= static_cast<T>(points);
  }
  chirp_ = std::move(chirp);
}

template <class T>
std::int64_t Fft<T>::workspace(std::int64_t count) const {
  if (chirp_ == nullptr) return 2 * length_ * count;
  return 2 * chirp_->transform->length() * count + chirp_->transform->workspace(count);
}

template <class T>
void Fft<T>::forward(const Planes<T>& data, std::int64_t count, T* work) const {
  if (chirp_ == nullptr) {
    run_stages(data, count, work);
  } else {
    run_chirp(data, count, work);
  }
}

template <class T>
void Fft<T>::run_stages(const Planes<T>& data, std::int64_t count, T* work) const {
  Planes<T> from = data;
  Planes<T> to{work, work + length_ * count};
  std::int64_t stride = count;
  for (const Stage& stage : stages_) {
    fft_stage<T>(stage.view(), stride, {from.re, from.im}, to);
    stride *= stage.radix;
    std::swap(from, to);
  }
  if (from.re == data.re) return;
  std::copy_n(from.re, length_ * count, data.re);
  std::copy_n(from.im, length_ * count, data.im);
}

template <class T>
void Fft<T>::run_chirp(const Planes<T>& data, std::int64_t count, T* work) const {
  const std::int64_t points = chirp_->transform->length();
  const Planes<T> padded{work, work + points * count};
  T* rest = work + 2 * points * count;
  // Row j of `to` is row j of `from` times the number (re[j], im[j]).
  const auto multiply_rows = [count](std::int64_t rows, const Planes<T>& from, const T* re,
                                     const T* im, const Planes<T>& to) {
    for (std::int64_t j = 0; j < rows; ++j) {
      for (std::int64_t at = j * count; at < (j + 1) * count; ++at) {
        const T x = from.re[at];
        const T y = from.im[at];
        to.re[at] = x * re[j] - y * im[j];
        to.im[at] = x * im[j] + y * re[j];
      }
    }
  };
  multiply_rows(length_, data, chirp_->re.data(), chirp_->im.data(), padded);
  for (T* plane : {padded.re, padded.im}) {
    std::fill(plane + length_ * count, plane + points * count, T(0));
  }
  chirp_->transform->forward(padded, count, rest);
  multiply_rows(points, padded, chirp_->spectrum_re.data(), chirp_->spectrum_im.data(), padded);
  chirp_->transform->inverse(padded, count, rest);
  multiply_rows(length_, padded, chirp_->re.data(), chirp_->im.data(), data);
}

template <class T>
void Fft<T>::lines(const FftLines<T>& job) const {
  FOVEA_ASSERT(chirp_ == nullptr, "lines of {} points", length_);
  std::array<FftStage<T>, 40> stages;  // 2^40 is the longest
  std::transform(stages_.begin(), stages_.end(), stages.begin(),
                 [](const Stage& stage) { return stage.view(); });
  fft_lines<T>({stages.data(), stages_.size()}, length_, job);
}

template <class T>
TwiddleMatrix<T>::TwiddleMatrix(std::int64_t length, std::int64_t rows) {
  for (std::int64_t k = 0; k < rows; ++k) {
    for (std::int64_t p = 0; p < length / rows; ++p) add_root(k * p, length, re, im);
  }
}
template struct TwiddleMatrix<float>;
template struct TwiddleMatrix<double>;

template class Fft<float>;
template class Fft<double>;

template <class T>
std::shared_ptr<const Fft<T>> fft_plan(std::int64_t length) {
  static PlanCache<std::int64_t, Fft<T>> cache(std::int64_t{1} << 21);
  return cache.get(length, length, [&] { return std::make_shared<const Fft<T>>(length); });
}
template std::shared_ptr<const Fft<float>> fft_plan(std::int64_t);
template std::shared_ptr<const Fft<double>> fft_plan(std::int64_t);

std::int64_t fft_stage_count(std::int64_t length) {
  return std::ssize(factors_of(length));
}

std::int64_t fast_fft_length(std::int64_t length) {
  FOVEA_CHECK(length <= kMaxLength, "fft: the length is {}, but must be at most 2^40", length);
  std::int64_t best = std::numeric_limits<std::int64_t>::max();
  for (std::int64_t fives = 1; fives < 5 * length; fives *= 5) {
    for (std::int64_t threes = fives; threes < 3 * length; threes *= 3) {
      std::int64_t product = threes;
      while (product < length) product *= 2;
      best = std::min(best, product);
    }
  }
  return best;
}

}  // namespace fovea::kernels
