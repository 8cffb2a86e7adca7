// Work at the frequencies of real sequences, two vectors of which are transformed as one vector of
// complex ones, z = a + i b. T is float or double.
//
// A real sequence has the same spectrum, conjugated, at f and at its mirror image -f, so a and b
// can be told apart: 2 A[f] = Z[f] + conj Z[-f] and 2 i B[f] = Z[f] - conj Z[-f], and half of the
// frequencies say it all.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/fft_stage.h"

namespace fovea::kernels {

// A frequency and its mirror image, as vectors from the beginning of a plane; the same one where a
// frequency is its own.
struct MirrorPair {
  std::int32_t point;
  std::int32_t mirror;
};
using Frequencies = std::span<const MirrorPair>;

// Two half spectra: vectors at frequency h begin at a + h * step, and their imaginary parts at
// `imaginary` from there. `b` may be null, and be the same as `a` where it is read.
template <class T>
struct HalfSpectra {
  T* a = nullptr;
  T* b = nullptr;
  std::int64_t step = 0;
  std::int64_t imaginary = 0;
};

// a = 2 scale A, b = 2 scale B.
template <class T>
void split_spectra(Frequencies at, const Planes<const T>& z, T scale, const HalfSpectra<T>& out);
// Z = scale (A + i B).
template <class T>
void join_spectra(Frequencies at, const HalfSpectra<const T>& in, T scale, const Planes<T>& z);
// Z = 2 (A U + i B V) with the factors U = w.a and V = w.b, or their conjugates.
template <class T>
void multiply_spectra(Frequencies at, const HalfSpectra<const T>& w, bool conjugate,
                      const Planes<T>& z);
// sum.a (+)= 4 A conj(G), sum.b (+)= 4 B conj(H), with A and B from x, G and H from g.
template <class T>
void add_products(Frequencies at, const Planes<const T>& x, const Planes<const T>& g, bool first,
                  const HalfSpectra<T>& sum);

// out(row) = sum over k of a(row, k) b(k), or of a(row, k) conj b(k); b and out are vectors.
// Imaginary parts lie at a constant distance from real ones.
template <class T>
struct ComplexProduct {
  std::int64_t rows = 0;
  std::int64_t reduced = 0;
  const T* a = nullptr;
  std::int64_t a_imaginary = 0;
  std::int64_t a_row = 0;
  std::int64_t a_reduced = 0;
  const T* b = nullptr;
  std::int64_t b_imaginary = 0;
  std::int64_t b_reduced = 0;
  T* out = nullptr;
  std::int64_t out_imaginary = 0;
  std::int64_t out_row = 0;
  bool conjugate = false;
  bool adds = false;  // to what is there
};
template <class T>
void complex_product(const ComplexProduct<T>& job);

// to[i * to_step + lane] = from[i * from_step + lane] + (add ? add[lane] : 0) for i <
// count and lane < width, at most one vector.
template <class T>
struct CellCopy {
  const T* from = nullptr;
  std::int64_t from_step = 0;
  T* to = nullptr;
  std::int64_t to_step = 0;
  std::int64_t count = 0;
  std::int64_t width = 0;
  const T* add = nullptr;
};
template <class T>
void copy_cells(const CellCopy<T>& job);

}  // namespace fovea::kernels
