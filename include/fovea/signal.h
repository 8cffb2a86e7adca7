// Plain signals and images, as signal processing sees them: one channel, no batch; tensors [L],
// [H, W] or [D, H, W], real or complex. Names and conventions are SciPy's.
#pragma once

#include <complex>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "fovea/export.h"
#include "fovea/shape.h"
#include "fovea/tensor.h"

namespace fovea::signal {

// A complex array: two real tensors of one shape and type. All functions are recorded for
// gradients.
struct FOVEA_API Complex {
  Tensor re;
  Tensor im;

  // Copies `values`, in row-major order. T is float or double.
  template <class T>
  static Complex from(std::span<const std::complex<T>> values, const Shape& shape);
  template <class T>
  static Complex from(const std::vector<std::complex<T>>& values, const Shape& shape) {
    return from(std::span<const std::complex<T>>(values), shape);
  }
  // All elements in row-major order.
  template <class T>
  std::vector<std::complex<T>> to_vector() const;
};

FOVEA_API Complex conj(const Complex& x);
// Element by element: (a + ib)(c + id) = (ac - bd) + i(ad + bc) [A].
FOVEA_API Complex operator*(const Complex& x, const Complex& y);

// Which places of the result are kept, in every dimension: signal length L, kernel length K.
enum class Mode : std::uint8_t {
  full,     // L + K - 1: every place where the two overlap
  same,     // L: the middle of `full`, an odd place being left out at the end
  valid,    // L - K + 1: where the kernel lies inside of the signal
  circular  // L: the signal repeats itself [A, C]
};

struct Options {
  Mode mode = Mode::full;
  // direct: products and sums; fft: through the frequency domain, where every value has an error
  // relative to the largest ones; auto: the faster of the two, decided from the sizes alone.
  std::string_view method = "auto";
};

// z[p] = sum over j of x[p - j] w[j]: the kernel is read backwards [A; D section 2.5].
FOVEA_API Tensor convolve(const Tensor& x, const Tensor& w, const Options& options = {});
FOVEA_API Complex convolve(const Complex& x, const Complex& w, const Options& options = {});

// z[p] = sum over j of x[p + j] conj(w[j]): the second factor, the kernel, is conjugated, as in
// SciPy; place 0 of `valid` and `circular` is p = 0, that of `full` is p = 1 - K. In the frequency
// domain: FFT(x) conj(FFT(w)). (f * g of [A] conjugates its first factor: it is correlate(g, f).)
FOVEA_API Tensor correlate(const Tensor& x, const Tensor& w, const Options& options = {});
FOVEA_API Complex correlate(const Complex& x, const Complex& w, const Options& options = {});

// The discrete Fourier transform along `axes`, or along all where none is named; of any length:
//   X[k] = sum over j of x[j] e^(-2 pi i j k / n).
FOVEA_API Complex fft(const Complex& x, const Shape& axes = {});
FOVEA_API Complex fft(const Tensor& x, const Shape& axes = {});
// Its inverse, with the factor 1/n.
FOVEA_API Complex ifft(const Complex& x, const Shape& axes = {});

}  // namespace fovea::signal
