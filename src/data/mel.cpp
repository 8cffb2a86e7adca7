// Log-mel spectrograms. Frame t of a signal x is
//   X[t, k] = sum over j < F of w[j] x[t hop - F / 2 + j] e^(-2 pi i j k / F),
// w a periodic Hann window (zero beyond the window's length, in the middle of F), and band b is
//   ln(1e-6 + sum over k of m[b, k] |X[t, k]|^2),
// m[b] a triangle of height one whose corners lie at neighbouring points of the mel scale. F is a
// power of two of at least twice the window: low bands are narrower than what the window's own
// length tells apart, and each must see a frequency.
#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <vector>

#include "core/check.h"
#include "data/mel.h"
#include "fovea/readers.h"
#include "kernels/fft.h"

namespace fovea::data {
namespace {

constexpr std::int64_t kMostPoints = std::int64_t{1} << 20;  // of one transform
constexpr std::int64_t kMostBands = 4096;
constexpr std::int64_t kFrames = 16;  // transformed together, one per SIMD lane

double mel(double frequency) {
  return 2595 * std::log10(1 + frequency / 700);
}

double frequency(double mel) {
  return 700 * (std::pow(10.0, mel / 2595) - 1);
}

struct Band {
  std::int64_t first = 0;  // the first frequency of the transform that counts
  std::vector<float> weights;
};

struct Plan {
  std::int64_t window = 0;  // samples
  std::int64_t hop = 0;
  std::int64_t points = 0;
  std::vector<float> shape;  // of the window, over all points
  std::vector<Band> bands;
};

std::vector<Band> bands_of(double rate, std::int64_t points, const MelOptions& options) {
  const double high = options.high > 0 ? options.high : rate / 2;
  FOVEA_CHECK(
      options.low >= 0 && options.low < high && high <= rate / 2,
      "log_mel: the bands reach from {} to {} Hz, but must lie within 0 and {}, half the rate",
      options.low, high, rate / 2);
  const double step = (mel(high) - mel(options.low)) / static_cast<double>(options.bands + 1);
  const double spacing = rate / static_cast<double>(points);
  const auto corner = [&](std::int64_t i) {
    return frequency(mel(options.low) + step * static_cast<double>(i));
  };
  std::vector<Band> bands(static_cast<std::size_t>(options.bands));
  for (std::int64_t b = 0; b < options.bands; ++b) {
    Band& band = bands[static_cast<std::size_t>(b)];
    const double left = corner(b);
    const double centre = corner(b + 1);
    const double right = corner(b + 2);
    band.first = static_cast<std::int64_t>(std::ceil(left / spacing));
    for (std::int64_t k = band.first; k <= points / 2; ++k) {
      const double f = static_cast<double>(k) * spacing;
      if (f >= right) break;
      const double weight =
          f <= centre ? (f - left) / (centre - left) : (right - f) / (right - centre);
      band.weights.push_back(static_cast<float>(std::max(weight, 0.0)));
    }
    FOVEA_CHECK(!band.weights.empty(),
                "log_mel: band {} of {}, {:.4g} to {:.4g} Hz, lies between two frequencies of the "
                "transform, which are {:.4g} Hz apart; use fewer bands or a longer window",
                b, options.bands, left, right, spacing);
  }
  return bands;
}

Plan plan_of(double rate, const MelOptions& options) {
  FOVEA_CHECK(rate > 0 && std::isfinite(rate), "log_mel: the rate is {}, but must be above 0",
              rate);
  FOVEA_CHECK(options.bands >= 1 && options.bands <= kMostBands,
              "log_mel: {} bands are asked for, expected 1 to {}", options.bands, kMostBands);
  const double window = std::round(options.window * rate);
  const double hop = std::round(options.hop * rate);
  FOVEA_CHECK(
      window >= 2 && hop >= 1 && window <= static_cast<double>(kMostPoints) / 2 && hop <= 1e15,
      "log_mel: a window of {} s and a hop of {} s are {} and {} samples at {} per second; "
      "expected from 2 to {}, and at least 1",
      options.window, options.hop, window, hop, rate, kMostPoints / 2);
  Plan plan;
  plan.window = static_cast<std::int64_t>(window);
  plan.hop = static_cast<std::int64_t>(hop);
  plan.points =
      static_cast<std::int64_t>(std::bit_ceil(2 * static_cast<std::uint64_t>(plan.window)));
  plan.shape.assign(static_cast<std::size_t>(plan.points), 0);
  const std::int64_t before = (plan.points - plan.window) / 2;
  for (std::int64_t j = 0; j < plan.window; ++j) {
    plan.shape[static_cast<std::size_t>(before + j)] = static_cast<float>(
        0.5 - 0.5 * std::cos(2 * std::numbers::pi * static_cast<double>(j) / window));
  }
  plan.bands = bands_of(rate, plan.points, options);
  return plan;
}

// One channel: `samples` of it to [bands, frames].
class Transformer {
 public:
  explicit Transformer(const Plan& plan)
      : plan_(plan),
        fft_(kernels::fft_plan<float>(plan.points)),
        re_(static_cast<std::size_t>(plan.points * kFrames)),
        im_(re_.size()),
        work_(static_cast<std::size_t>(fft_->workspace(kFrames))) {}

  void run(const float* samples, std::int64_t count, float* out, std::int64_t frames) {
    for (std::int64_t first = 0; first < frames; first += kFrames) {
      load(samples, count, first);
      fft_->forward({re_.data(), im_.data()}, kFrames, work_.data());
      store(out, first, std::min(kFrames, frames - first), frames);
    }
  }

 private:
  // Point j of frame t is at [j * kFrames + t].
  void load(const float* samples, std::int64_t count, std::int64_t first) {
    std::fill(im_.begin(), im_.end(), 0.0F);
    for (std::int64_t j = 0; j < plan_.points; ++j) {
      for (std::int64_t t = 0; t < kFrames; ++t) {
        const std::int64_t place = (first + t) * plan_.hop - plan_.points / 2 + j;
        const bool inside = place >= 0 && place < count;
        re_[static_cast<std::size_t>(j * kFrames + t)] =
            inside ? plan_.shape[static_cast<std::size_t>(j)] * samples[place] : 0.0F;
      }
    }
  }

  void store(float* out, std::int64_t first, std::int64_t count, std::int64_t frames) const {
    for (const Band& band : plan_.bands) {
      for (std::int64_t t = 0; t < count; ++t) {
        float energy = 0;
        auto at = static_cast<std::size_t>(band.first * kFrames + t);
        for (const float weight : band.weights) {
          energy += weight * (re_[at] * re_[at] + im_[at] * im_[at]);
          at += static_cast<std::size_t>(kFrames);
        }
        out[first + t] = static_cast<float>(std::log(static_cast<double>(energy) + kLeastEnergy));
      }
      out += frames;
    }
  }

  const Plan& plan_;
  std::shared_ptr<const kernels::Fft<float>> fft_;
  std::vector<float> re_, im_, work_;
};

}  // namespace

Tensor log_mel(const Tensor& samples, double rate, const MelOptions& options) {
  FOVEA_CHECK(samples.defined() && samples.rank() == 2 && samples.dtype() == DType::float32,
              "log_mel: the samples are {}, expected float32 [channels, samples]",
              samples.describe());
  const Plan plan = plan_of(rate, options);
  const Tensor rows = samples.detach().contiguous();
  const std::int64_t channels = rows.size(0);
  const std::int64_t count = rows.size(1);
  const std::int64_t frames = 1 + count / plan.hop;
  Tensor result = Tensor::empty({channels, options.bands, frames});
  auto* out = result.mutable_data<float>();
  Transformer transformer(plan);
  for (std::int64_t c = 0; c < channels; ++c) {
    transformer.run(rows.data<float>() + c * count, count, out + c * options.bands * frames,
                    frames);
  }
  return result;
}

}  // namespace fovea::data
