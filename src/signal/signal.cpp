// Correlation, convolution and Fourier transforms as signal processing writes them. The modes
// become ranges of places, which the operators compute (src/ops/correlate.cpp); complex arithmetic
// becomes four real calls.
#include "fovea/signal.h"

#include "core/check.h"
#include "fovea/functions.h"
#include "ops/families.h"

namespace fovea::signal {
namespace {

void require_defined(std::string_view op, const Complex& x) {
  FOVEA_CHECK(x.re.defined() && x.im.defined(), "{}: {} part is undefined", op,
              x.re.defined() ? "the imaginary" : "the real");
  FOVEA_CHECK(x.re.shape() == x.im.shape() && x.re.dtype() == x.im.dtype(),
              "{}: the real part is {}, the imaginary part {}; they must be alike", op,
              x.re.describe(), x.im.describe());
}

// The first place and the number of places in one dimension.
struct Range {
  std::int64_t first;
  std::int64_t count;
};

Range range_of(Mode mode, std::int64_t signal, std::int64_t kernel, bool reversed) {
  // Places of `full`, from its first on.
  const std::int64_t begin = reversed ? 0 : 1 - kernel;
  switch (mode) {
    case Mode::full:
      return {begin, signal + kernel - 1};
    case Mode::same:
      return {begin + (kernel - 1) / 2, signal};
    case Mode::valid:
      return {begin + kernel - 1, signal - kernel + 1};
    case Mode::circular:
      return {0, signal};
  }
  FOVEA_ASSERT(false);
}

Tensor run(const OpDef& op, const Tensor& x, const Tensor& w, const Options& options) {
  FOVEA_CHECK(x.defined() && w.defined(), "{}: {} is undefined", op.name,
              x.defined() ? "the kernel" : "the signal");
  FOVEA_CHECK(x.rank() == w.rank() && x.rank() > 0,
              "{}: the signal is {} and the kernel {}; both need one axis (a sequence), two (an "
              "image) or three (a volume)",
              op.name, x.describe(), w.describe());
  const bool reversed = op.name == ops::convolve.name;
  Shape first;
  Shape count;
  for (int axis = 0; axis < x.rank(); ++axis) {
    FOVEA_CHECK(options.mode != Mode::valid || x.size(axis) >= w.size(axis),
                "{}: the kernel is longer than the signal along axis {}, so no place is valid: "
                "{} - {} + 1 = {}. Swap the two, or use another mode.",
                op.name, axis, x.size(axis), w.size(axis), x.size(axis) - w.size(axis) + 1);
    const Range range = range_of(options.mode, x.size(axis), w.size(axis), reversed);
    first.push_back(range.first);
    count.push_back(range.count);
  }
  return apply1(op, {x, w},
                {{"first", first},
                 {"count", count},
                 {"period", options.mode == Mode::circular ? x.shape() : Shape()},
                 {"method", std::string(options.method)}});
}

Complex transform(const Complex& x, const Shape& axes, bool inverse) {
  require_defined(inverse ? "ifft" : "fft", x);
  Shape along;
  for (int i = 0; i < (axes.empty() ? x.re.rank() : axes.rank()); ++i) {
    along.push_back(axes.empty() ? i : normalize_axis(axes[i], x.re.rank(), "fft"));
  }
  const auto parts = apply(ops::fft, {x.re, x.im}, {{"axes", along}, {"inverse", inverse}});
  if (!inverse) return {parts[0], parts[1]};
  double points = 1;
  for (const std::int64_t axis : along) {
    points *= static_cast<double>(x.re.size(static_cast<int>(axis)));
  }
  return {parts[0] * (1 / points), parts[1] * (1 / points)};
}

}  // namespace

template <class T>
Complex Complex::from(std::span<const std::complex<T>> values, const Shape& shape) {
  std::vector<T> re;
  std::vector<T> im;
  re.reserve(values.size());
  im.reserve(values.size());
  for (const std::complex<T>& value : values) {
    re.push_back(value.real());
    im.push_back(value.imag());
  }
  return {Tensor::from(re, shape), Tensor::from(im, shape)};
}
template FOVEA_API Complex Complex::from(std::span<const std::complex<float>>, const Shape&);
template FOVEA_API Complex Complex::from(std::span<const std::complex<double>>, const Shape&);

template <class T>
std::vector<std::complex<T>> Complex::to_vector() const {
  require_defined("to_vector", *this);
  const std::vector<T> reals = re.to_vector<T>();
  const std::vector<T> imaginaries = im.to_vector<T>();
  std::vector<std::complex<T>> values;
  values.reserve(reals.size());
  for (std::size_t i = 0; i < reals.size(); ++i) values.emplace_back(reals[i], imaginaries[i]);
  return values;
}
template FOVEA_API std::vector<std::complex<float>> Complex::to_vector() const;
template FOVEA_API std::vector<std::complex<double>> Complex::to_vector() const;

Complex conj(const Complex& x) {
  require_defined("conj", x);
  return {x.re, neg(x.im)};
}

Complex operator*(const Complex& x, const Complex& y) {
  require_defined("operator*", x);
  require_defined("operator*", y);
  return {x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re};
}

Tensor convolve(const Tensor& x, const Tensor& w, const Options& options) {
  return run(ops::convolve, x, w, options);
}
Tensor correlate(const Tensor& x, const Tensor& w, const Options& options) {
  return run(ops::correlate, x, w, options);
}

Complex convolve(const Complex& x, const Complex& w, const Options& options) {
  require_defined("convolve", x);
  require_defined("convolve", w);
  const auto product = [&](const Tensor& a, const Tensor& b) { return convolve(a, b, options); };
  return {product(x.re, w.re) - product(x.im, w.im), product(x.re, w.im) + product(x.im, w.re)};
}
Complex correlate(const Complex& x, const Complex& w, const Options& options) {
  require_defined("correlate", x);
  require_defined("correlate", w);
  const auto product = [&](const Tensor& a, const Tensor& b) { return correlate(a, b, options); };
  return {product(x.re, w.re) + product(x.im, w.im), product(x.im, w.re) - product(x.re, w.im)};
}

Complex fft(const Complex& x, const Shape& axes) {
  return transform(x, axes, false);
}
Complex fft(const Tensor& x, const Shape& axes) {
  FOVEA_CHECK(x.defined(), "fft: the input is undefined");
  return fft(Complex{x, Tensor::zeros(x.shape(), x.dtype())}, axes);
}
Complex ifft(const Complex& x, const Shape& axes) {
  return transform(x, axes, true);
}

}  // namespace fovea::signal
