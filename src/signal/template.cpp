// Template matching by normalised cross-correlation (J. P. Lewis, 1995). With t the template less
// its mean and n its number of values,
//   r[p] = sum over j of x[p + j] t[j] / (|t| sqrt(n var(x around p))),
// where the numerator is a plain correlation, because t sums to zero, and the variances come from
// tables of running sums, four reads each. Everything is added up in double. Where a gradient is
// wanted, the same is computed with operators.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/check.h"
#include "fovea/autograd.h"
#include "fovea/filters.h"
#include "fovea/functions.h"
#include "fovea/signal.h"

namespace fovea::filters {
namespace {

// Sums over any rectangle of an image: entry (y, x) is the sum of all values above and to the left.
class SumTable {
 public:
  SumTable(std::int64_t height, std::int64_t width)
      : columns_(width + 1), sums_(static_cast<std::size_t>((height + 1) * (width + 1)), 0.0) {}

  // Adds value(y, x) everywhere, from the first row down.
  template <class F>
  void add(const F& value) {
    const auto rows = static_cast<std::int64_t>(sums_.size()) / columns_;
    for (std::int64_t y = 1; y < rows; ++y) {
      double row = 0;
      for (std::int64_t x = 1; x < columns_; ++x) {
        row += value(y - 1, x - 1);
        at(y, x) = at(y - 1, x) + row;
      }
    }
  }
  double sum(std::int64_t y, std::int64_t x, std::int64_t height, std::int64_t width) const {
    return at(y + height, x + width) - at(y, x + width) - at(y + height, x) + at(y, x);
  }
  double total() const { return sums_.back(); }

 private:
  double& at(std::int64_t y, std::int64_t x) {
    return sums_[static_cast<std::size_t>(y * columns_ + x)];
  }
  double at(std::int64_t y, std::int64_t x) const {
    return sums_[static_cast<std::size_t>(y * columns_ + x)];
  }

  std::int64_t columns_;
  std::vector<double> sums_;
};

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

// [C, H, W] as float64, less its mean: the coefficient does not change, and sums stay small.
Tensor centred(const Tensor& tensor) {
  std::vector<double> values = tensor.to_vector<double>();
  const double mean = mean_of(values);
  for (double& value : values) value -= mean;
  return Tensor::from(values, tensor.shape());
}

// One channel of [C, H, W] as [H, W].
Tensor channel_of(const Tensor& tensor, std::int64_t channel) {
  return tensor.slice(0, channel, channel + 1).reshape({tensor.size(1), tensor.size(2)});
}

// sum over j of x[p + j] t[j], over all channels, row by row.
std::vector<double> correlation(const Tensor& x, const Tensor& t) {
  Tensor sum;
  for (std::int64_t c = 0; c < x.size(0); ++c) {
    const Tensor part =
        signal::correlate(channel_of(x, c), channel_of(t, c), {.mode = signal::Mode::valid});
    sum = sum.defined() ? sum + part : part;
  }
  return sum.to_vector<double>();
}

// Running sums of f(value) over all channels of x [C, H, W].
template <class F>
SumTable sum_table(const Tensor& x, const F& f) {
  const std::int64_t plane = x.size(1) * x.size(2);
  const std::vector<double> values = x.to_vector<double>();
  SumTable table(x.size(1), x.size(2));
  table.add([&](std::int64_t row, std::int64_t column) {
    double sum = 0;
    for (std::int64_t c = 0; c < x.size(0); ++c) {
      sum += f(values[static_cast<std::size_t>(c * plane + row * x.size(2) + column)]);
    }
    return sum;
  });
  return table;
}

// image and pattern [C, ...] -> coefficients, row by row.
std::vector<double> match(const Tensor& image, const Tensor& pattern) {
  const Tensor x = centred(image);
  const Tensor t = centred(pattern);
  const std::int64_t height = t.size(1);
  const std::int64_t width = t.size(2);
  const SumTable sums = sum_table(x, [](double value) { return value; });
  const SumTable squares = sum_table(x, [](double value) { return value * value; });
  const double pattern_energy = fovea::sum(t * t).item<double>();
  // A window is flat where its variance is no more than the rounding of the table.
  const double flat = 64 * std::numeric_limits<double>::epsilon() * squares.total();
  const auto count = static_cast<double>(t.numel());
  std::vector<double> result = correlation(x, t);
  std::size_t place = 0;
  for (std::int64_t top = 0; top <= x.size(1) - height; ++top) {
    for (std::int64_t left = 0; left <= x.size(2) - width; ++left, ++place) {
      const double sum = sums.sum(top, left, height, width);
      const double energy = squares.sum(top, left, height, width) - sum * sum / count;
      const double value = result[place] / std::sqrt(energy * pattern_energy);
      result[place] = energy <= flat ? 0 : std::clamp(value, -1.0, 1.0);
    }
  }
  return result;
}

// The same for [N, C, H, W] and [1, C, h, w] from operators that are recorded. The image's mean is
// taken away as a constant, for the coefficient does not depend on it.
Tensor recorded_match(const Tensor& image, const Tensor& pattern) {
  const Tensor wide = image.to(DType::float64);
  const Tensor x = wide - mean(wide.detach());
  const Tensor given = pattern.to(DType::float64);
  const Tensor t = given - mean(given);
  const Tensor ones = Tensor::ones(t.shape(), t.dtype());
  const Tensor sums = conv2d(x, ones);
  const Tensor energy =
      conv2d(x * x, ones) - sums * sums * (1 / static_cast<double>(pattern.numel()));
  std::vector<double> structured = energy.to_vector<double>();  // 1, and 0 where it is flat
  const double flat =
      64 * std::numeric_limits<double>::epsilon() * sum(x.detach() * x.detach()).item<double>();
  for (double& value : structured) value = value > flat ? 1 : 0;
  const Tensor kept = Tensor::from(structured, energy.shape());
  // Where it is flat, the root of one is taken instead.
  const Tensor safe = energy * kept + (1.0 - kept);
  return (kept * conv2d(x, t) / sqrt(safe * sum(t * t))).to(image.dtype());
}

}  // namespace

Tensor match_template(const Tensor& image, const Tensor& pattern) {
  FOVEA_CHECK(image.defined() && pattern.defined(), "match_template: {} is undefined",
              image.defined() ? "the template" : "the image");
  const bool plain = image.rank() == 2 && pattern.rank() == 2;
  FOVEA_CHECK(
      plain || (image.rank() == 4 && pattern.rank() == 3 && image.size(1) == pattern.size(0)),
      "match_template: image {} and template {}: they must be [H, W] and [h, w], or "
      "[N, C, H, W] and [C, h, w] with one number of channels",
      image.describe(), pattern.describe());
  FOVEA_CHECK(is_floating(image.dtype()) && image.dtype() == pattern.dtype(),
              "match_template: image {} and template {} must both be float32, or both float64",
              image.describe(), pattern.describe());
  FOVEA_CHECK(pattern.numel() > 0 && image.numel() > 0 && pattern.size(-2) <= image.size(-2) &&
                  pattern.size(-1) <= image.size(-1),
              "match_template: the template ({} x {}) must fit into the image ({} x {})",
              pattern.size(-2), pattern.size(-1), image.size(-2), image.size(-1));
  const std::vector<double> values = pattern.to_vector<double>();
  FOVEA_CHECK(*std::min_element(values.begin(), values.end()) <
                  *std::max_element(values.begin(), values.end()),
              "match_template: all values of the template are {}: there is nothing to find",
              values.front());
  if (grad_enabled() && (image.requires_grad() || pattern.requires_grad())) {
    const Tensor batch = plain ? image.reshape({1, 1, image.size(0), image.size(1)}) : image;
    const Tensor scores = recorded_match(
        batch, pattern.reshape({1, batch.size(1), pattern.size(-2), pattern.size(-1)}));
    return plain ? scores.reshape({scores.size(2), scores.size(3)}) : scores;
  }
  const NoGrad no_grad;
  const std::int64_t batch = plain ? 1 : image.size(0);
  const std::int64_t channels = plain ? 1 : image.size(1);
  const Tensor kernel = pattern.reshape({channels, pattern.size(-2), pattern.size(-1)});
  std::vector<double> all;
  for (std::int64_t n = 0; n < batch; ++n) {
    const Tensor one = plain ? image : image.slice(0, n, n + 1);
    const auto part = match(one.reshape({channels, image.size(-2), image.size(-1)}), kernel);
    all.insert(all.end(), part.begin(), part.end());
  }
  const std::int64_t rows = image.size(-2) - pattern.size(-2) + 1;
  const std::int64_t columns = image.size(-1) - pattern.size(-1) + 1;
  const Shape shape = plain ? Shape{rows, columns} : Shape{batch, 1, rows, columns};
  return Tensor::from(all, shape).to(image.dtype());
}

}  // namespace fovea::filters
