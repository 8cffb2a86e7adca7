// Work at the frequencies of real sequences, two vectors of which are transformed as one vector of
// complex ones, z = a + i b. T is float or double.
//
// A real sequence has the same spectrum, conjugated, at f and at its mirror image -f, so a and b
// can be told apart: 2 A[f] = Z[f] + conj Z[-f] and 2 i B[f] = Z[f] - conj Z[-f], and half of the
// frequencies say it all.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/epilogue.h"
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
  // What is read soon: from here on, as many vectors as k's are asked for by each tile of rows.
  const T* ahead = nullptr;
};
template <class T>
void complex_product(const ComplexProduct<T>& job);

// Moves the channels of `count` cells of a tensor into planes of a transform or back: up to two
// vectors of them, of which the second lies in another plane.
template <class C, class P>
struct CellMove {
  C* cells = nullptr;  // cell i begins at cells + i * cell_step
  std::int64_t cell_step = 0;
  P* first = nullptr;   // and its first vector at first + i * lanes
  P* second = nullptr;  // only for a width of more than one vector
  std::int64_t count = 0;
  std::int64_t width = 0;
};
template <class T>
void load_cells(const CellMove<const T, T>& job);
// What happens to cells as they are stored.
template <class T>
struct CellEnd {
  const T* bias = nullptr;                // per channel, or null
  const Epilogue<T>* epilogue = nullptr;  // or null
  bool bypass = false;                    // of the caches; only whole, aligned vectors
};
template <class T>
void store_cells(const CellMove<T, const T>& job, const CellEnd<T>& end);

}  // namespace fovea::kernels
