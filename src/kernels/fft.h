// The discrete Fourier transform of any length, on raw memory:
//   X[k] = sum over j < n of x[j] e^(-2 pi i j k / n).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/fft_lines.h"
#include "kernels/fft_stage.h"

namespace fovea::kernels {

// The transforms of one length: factors and twiddles, made once. Many sequences are transformed at
// once: element j of sequence c is at [j * count + c], so that channels-last data is vectorised
// over its channels. T is float or double.
template <class T>
class Fft {
 public:
  explicit Fft(std::int64_t length);

  std::int64_t length() const { return length_; }
  // Elements of T that `work` must have for `count` sequences.
  std::int64_t workspace(std::int64_t count) const;
  // In place.
  void forward(const Planes<T>& data, std::int64_t count, T* work) const;
  // In place, without the factor 1/n: inverse(forward(x)) = n x.
  void inverse(const Planes<T>& data, std::int64_t count, T* work) const {
    forward({data.im, data.re}, count, work);  // swap(FFT(swap(x)))
  }
  // Of sequences that are lanes of vectors; only for lengths of fast_fft_length. The inverse, again
  // without a factor, with the planes exchanged.
  void lines(const FftLines<T>& job) const;

 private:
  struct Stage {
    int radix;
    std::int64_t groups;
    std::vector<T> twiddles_re, twiddles_im, roots_re, roots_im;
    FftStage<T> view() const {
      return {.radix = radix,
              .groups = groups,
              .twiddles = {twiddles_re.data(), twiddles_im.data()},
              .roots = {roots_re.data(), roots_im.data()}};
    }
  };
  // A length with a large prime factor, as a convolution of a length that has none.
  struct Chirp {
    std::unique_ptr<const Fft> transform;
    std::vector<T> re, im;                    // e^(-pi i j^2 / n)
    std::vector<T> spectrum_re, spectrum_im;  // of its conjugate, over the transform's length
  };

  void add_stages();
  void make_chirp();
  void run_stages(const Planes<T>& data, std::int64_t count, T* work) const;
  void run_chirp(const Planes<T>& data, std::int64_t count, T* work) const;

  std::int64_t length_;
  std::vector<Stage> stages_;
  std::unique_ptr<const Chirp> chirp_;
};

extern template class Fft<float>;
extern template class Fft<double>;

// e^(-2 pi i k p / length) at [k][p], for k < rows and p < length / rows: what a long transform
// that is done as one of two axes multiplies with between them,
//   X[k + rows l] = sum over p of e^(-2 pi i p l / columns) [k][p]
//                   sum over q of e^(-2 pi i q k / rows) x[q columns + p].
template <class T>
struct TwiddleMatrix {
  TwiddleMatrix(std::int64_t length, std::int64_t rows);
  std::vector<T> re, im;
};
extern template struct TwiddleMatrix<float>;
extern template struct TwiddleMatrix<double>;

// The plan for one length; those used last are kept. Throws Error for lengths below 1 or above
// 2^40.
template <class T>
std::shared_ptr<const Fft<T>> fft_plan(std::int64_t length);

// Passes over the data of a transform of such a length.
std::int64_t fft_stage_count(std::int64_t length);
// The least product of 2s, 3s and 5s that is at least `length`: lengths that transform fast.
std::int64_t fast_fft_length(std::int64_t length);

}  // namespace fovea::kernels
