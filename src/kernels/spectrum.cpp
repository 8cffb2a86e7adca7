// Sums, products and matrix products of spectra, once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/spectrum.cpp"
#include "kernels/spectrum.h"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include <array>
#include <utility>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/butterfly-inl.h"
#include "kernels/epilogue-inl.h"
#include "kernels/lanes-inl.h"
#include "kernels/registers.h"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Rows of a register tile: two sums per row, a vector and a broadcast of two parts each must fit
// the register file.
#if FOVEA_MANY_REGISTERS
constexpr int kRows = 12;
#else
constexpr int kRows = 5;
#endif

template <class D>
HWY_INLINE Complex<hn::Vec<D>> load(D d, const hn::TFromD<D>* at, std::int64_t imaginary) {
  return {hn::Load(d, at), hn::Load(d, at + imaginary)};
}
template <class D>
HWY_INLINE void store(D d, const Complex<hn::Vec<D>>& value, hn::TFromD<D>* at,
                      std::int64_t imaginary) {
  hn::Store(value.re, d, at);
  hn::Store(value.im, d, at + imaginary);
}
template <class V>
HWY_INLINE Complex<V> conj(const Complex<V>& a) {
  return {a.re, hn::Neg(a.im)};
}
// a conj(b)
template <class V>
HWY_INLINE Complex<V> times_conj(const Complex<V>& a, const Complex<V>& b) {
  return {hn::MulAdd(a.re, b.re, hn::Mul(a.im, b.im)), hn::MulSub(a.im, b.re, hn::Mul(a.re, b.im))};
}
template <class V>
HWY_INLINE Complex<V> scaled(V factor, const Complex<V>& a) {
  return {hn::Mul(factor, a.re), hn::Mul(factor, a.im)};
}

template <class V>
struct Couple {
  Complex<V> a, b;
};
// 2 A and 2 B of Z at a frequency and at its mirror image.
template <class V>
HWY_INLINE Couple<V> told_apart(const Complex<V>& z, const Complex<V>& mirror) {
  return {{hn::Add(z.re, mirror.re), hn::Sub(z.im, mirror.im)},
          {hn::Add(z.im, mirror.im), hn::Sub(mirror.re, z.re)}};
}

template <class T>
struct Places {
  const T* re;
  const T* im;
  template <class D>
  HWY_INLINE Complex<hn::Vec<D>> at(D d, std::int64_t place) const {
    return {hn::Load(d, re + place), hn::Load(d, im + place)};
  }
};

template <class D>
HWY_INLINE Couple<hn::Vec<D>> couple_at(D d, const Planes<const hn::TFromD<D>>& z,
                                        const MirrorPair& pair) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const Places<hn::TFromD<D>> places{z.re, z.im};
  return told_apart(places.at(d, pair.point * lanes), places.at(d, pair.mirror * lanes));
}

// Z = A + i B at a frequency, conj A + i conj B at its mirror image.
template <class D, class V>
HWY_INLINE void put_together(D d, const Complex<V>& a, const Complex<V>& b, const MirrorPair& pair,
                             const Planes<hn::TFromD<D>>& z) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t mirror = pair.mirror * lanes;
  hn::Store(hn::Add(a.re, b.im), d, z.re + mirror);
  hn::Store(hn::Sub(b.re, a.im), d, z.im + mirror);
  const std::int64_t point = pair.point * lanes;
  hn::Store(hn::Sub(a.re, b.im), d, z.re + point);
  hn::Store(hn::Add(a.im, b.re), d, z.im + point);
}

template <class T>
void Split(Frequencies at, const Planes<const T>& z, T scale, const HalfSpectra<T>& out) {
  const hn::ScalableTag<T> d;
  const auto factor = hn::Set(d, scale);
  std::int64_t to = 0;
  for (const MirrorPair& pair : at) {
    const auto couple = couple_at(d, z, pair);
    store(d, scaled(factor, couple.a), out.a + to, out.imaginary);
    if (out.b != nullptr) store(d, scaled(factor, couple.b), out.b + to, out.imaginary);
    to += out.step;
  }
}

template <class T>
void Join(Frequencies at, const HalfSpectra<const T>& in, T scale, const Planes<T>& z) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const V factor = hn::Set(d, scale);
  std::int64_t from = 0;
  for (const MirrorPair& pair : at) {
    const Complex<V> a = scaled(factor, load(d, in.a + from, in.imaginary));
    Complex<V> b{hn::Zero(d), hn::Zero(d)};
    if (in.b != nullptr) b = scaled(factor, load(d, in.b + from, in.imaginary));
    put_together(d, a, b, pair, z);
    from += in.step;
  }
}

// Factors come from the last-level cache, in an order that may break off at every page.
constexpr std::int64_t kFactorsAhead = 16;

template <class T, bool kConjugate>
void MultiplySpectra(Frequencies at, const HalfSpectra<const T>& w, const Planes<T>& z) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  std::int64_t from = 0;
  const std::int64_t lines = w.step / w.imaginary;
  for (const MirrorPair& pair : at) {
    for (std::int64_t line = 0; line < lines; ++line)
      hwy::Prefetch(w.a + from + kFactorsAhead * w.step + line * w.imaginary);
    const Couple<V> couple = couple_at(d, Planes<const T>{z.re, z.im}, pair);
    const Complex<V> u = load(d, w.a + from, w.imaginary);
    const Complex<V> v = load(d, w.b + from, w.imaginary);
    put_together(d, kConjugate ? times_conj(couple.a, u) : couple.a * u,
                 kConjugate ? times_conj(couple.b, v) : couple.b * v, pair, z);
    from += w.step;
  }
}

template <class T>
void AddProducts(Frequencies at, const Planes<const T>& x, const Planes<const T>& g, bool first,
                 const HalfSpectra<T>& sum) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  std::int64_t to = 0;
  for (const MirrorPair& pair : at) {
    const Couple<V> of_x = couple_at(d, x, pair);
    const Couple<V> of_g = couple_at(d, g, pair);
    Complex<V> a = times_conj(of_x.a, of_g.a);
    Complex<V> b = times_conj(of_x.b, of_g.b);
    if (!first) {
      a = a + load(d, sum.a + to, sum.imaginary);
      b = b + load(d, sum.b + to, sum.imaginary);
    }
    store(d, a, sum.a + to, sum.imaginary);
    store(d, b, sum.b + to, sum.imaginary);
    to += sum.step;
  }
}

// M rows from job.a and job.out on.
template <class T, bool kConjugate, int M>
void ProductRows(const ComplexProduct<T>& job) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  Complex<V> sum[M];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
    sum[m] = job.adds ? load(d, job.out + m * job.out_row, job.out_imaginary)
                      : Complex<V>{hn::Zero(d), hn::Zero(d)};
  }
  const T* HWY_RESTRICT a = job.a;
  const T* HWY_RESTRICT b = job.b;
  const T* ahead = job.ahead;
  const std::int64_t ahead_step = ahead == nullptr ? 0 : static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t k = 0; k < job.reduced; ++k, a += job.a_reduced, b += job.b_reduced) {
    hwy::Prefetch(ahead + k * ahead_step);
    hwy::Prefetch(b + kFactorsAhead * job.b_reduced);
    hwy::Prefetch(b + kFactorsAhead * job.b_reduced + job.b_imaginary);
    const Complex<V> factor = load(d, b, job.b_imaginary);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const V re = hn::Set(d, a[m * job.a_row]);
      const V im = hn::Set(d, a[m * job.a_row + job.a_imaginary]);
      sum[m].re = hn::MulAdd(re, factor.re, sum[m].re);
      sum[m].im = hn::MulAdd(im, factor.re, sum[m].im);
      if constexpr (kConjugate) {
        sum[m].re = hn::MulAdd(im, factor.im, sum[m].re);
        sum[m].im = hn::NegMulAdd(re, factor.im, sum[m].im);
      } else {
        sum[m].re = hn::NegMulAdd(im, factor.im, sum[m].re);
        sum[m].im = hn::MulAdd(re, factor.im, sum[m].im);
      }
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) store(d, sum[m], job.out + m * job.out_row, job.out_imaginary);
}

template <class T>
using RowsFunction = void (*)(const ComplexProduct<T>&);
template <class T, bool kConjugate, int... I>
constexpr std::array<RowsFunction<T>, sizeof...(I)> RowsFunctions(
    std::integer_sequence<int, I...>) {
  return {&ProductRows<T, kConjugate, I + 1>...};
}

// Cuts the rows into register tiles of nearly the same size.
template <class T>
void Product(const ComplexProduct<T>& job) {
  using AllRows = std::make_integer_sequence<int, kRows>;
  static constexpr auto kPlain = RowsFunctions<T, false>(AllRows());
  static constexpr auto kConjugated = RowsFunctions<T, true>(AllRows());
  const auto& functions = job.conjugate ? kConjugated : kPlain;
  const std::int64_t tiles = (job.rows + kRows - 1) / kRows;
  ComplexProduct<T> part = job;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t first = tile * job.rows / tiles;
    part.rows = (tile + 1) * job.rows / tiles - first;
    part.a = job.a + first * job.a_row;
    part.out = job.out + first * job.out_row;
    if (job.ahead != nullptr)
      part.ahead = job.ahead + tile * job.reduced * static_cast<std::int64_t>(HWY_LANES(T));
    functions[static_cast<std::size_t>(part.rows - 1)](part);
  }
}

// Cells of one tensor lie further apart than a prefetcher follows.
constexpr std::int64_t kCellsAhead = 12;

template <class T>
void Load(const CellMove<const T, T>& job) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const T* from = job.cells;
  if (job.width == 2 * lanes) {
    for (std::int64_t i = 0; i < job.count; ++i, from += job.cell_step) {
      hwy::Prefetch(from + kCellsAhead * job.cell_step);
      hwy::Prefetch(from + kCellsAhead * job.cell_step + lanes);
      hn::Store(hn::LoadU(d, from), d, job.first + i * lanes);
      hn::Store(hn::LoadU(d, from + lanes), d, job.second + i * lanes);
    }
    return;
  }
  const auto move = [&](const T* cells, T* to, std::int64_t width) HWY_ATTR {
    for_vectors<T>(0, static_cast<std::size_t>(width), [&](auto v, std::size_t lane) HWY_ATTR {
      for (std::int64_t i = 0; i < job.count; ++i)
        v.store(v.load(cells + i * job.cell_step + lane), to + i * lanes + lane);
    });
  };
  move(job.cells, job.first, HWY_MIN(job.width, lanes));
  if (job.width > lanes) move(job.cells + lanes, job.second, job.width - lanes);
}

template <class T, bool kFinishes>
void StoreCells(const CellMove<T, const T>& job, const CellEnd<T>& end) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  // One vector of every cell, of which v loads and stores a part.
  const auto move = [&](auto v, const T* from, const T* bias, T* to) HWY_ATTR {
    const auto add = bias == nullptr ? hn::Zero(v.d) : v.load(bias);
    for (std::int64_t i = 0; i < job.count; ++i, from += lanes, to += job.cell_step) {
      auto value = hn::Add(v.load(from), add);
      if constexpr (kFinishes) {
        if (end.epilogue->residual != nullptr)
          value = hn::Add(value, v.load(residual_of(*end.epilogue, to)));
        value = Bounds<decltype(v.d)>(v.d, *end.epilogue)(value);
      }
      v.store(value, to);
    }
  };
  if (job.width == 2 * lanes && !kFinishes) {
    T* to = job.cells;
    const V bias0 = end.bias == nullptr ? hn::Zero(d) : hn::LoadU(d, end.bias);
    const V bias1 = end.bias == nullptr ? hn::Zero(d) : hn::LoadU(d, end.bias + lanes);
    for (std::int64_t i = 0; i < job.count; ++i, to += job.cell_step) {
      const V value0 = hn::Add(hn::Load(d, job.first + i * lanes), bias0);
      const V value1 = hn::Add(hn::Load(d, job.second + i * lanes), bias1);
      if (end.bypass) {
        hn::Stream(value0, d, to);
        hn::Stream(value1, d, to + lanes);
      } else {
        hn::StoreU(value0, d, to);
        hn::StoreU(value1, d, to + lanes);
      }
    }
    return;
  }
  const auto move_plane = [&](const T* from, std::int64_t first, std::int64_t width) HWY_ATTR {
    for_vectors<T>(0, static_cast<std::size_t>(width), [&](auto v, std::size_t lane) HWY_ATTR {
      const std::int64_t channel = first + static_cast<std::int64_t>(lane);
      move(v, from + lane, end.bias == nullptr ? nullptr : end.bias + channel, job.cells + channel);
    });
  };
  move_plane(job.first, 0, HWY_MIN(job.width, lanes));
  if (job.width > lanes) move_plane(job.second, lanes, job.width - lanes);
}

template <class T>
void Store(const CellMove<T, const T>& job, const CellEnd<T>& end) {
  return end.epilogue == nullptr ? StoreCells<T, false>(job, end) : StoreCells<T, true>(job, end);
}

#define FOVEA_SPECTRUM_FUNCTIONS(T, SUFFIX)                                                        \
  void Split##SUFFIX(Frequencies at, const Planes<const T>& z, T scale,                            \
                     const HalfSpectra<T>& out) {                                                  \
    Split(at, z, scale, out);                                                                      \
  }                                                                                                \
  void Join##SUFFIX(Frequencies at, const HalfSpectra<const T>& in, T scale, const Planes<T>& z) { \
    Join(at, in, scale, z);                                                                        \
  }                                                                                                \
  void MultiplySpectra##SUFFIX(Frequencies at, const HalfSpectra<const T>& w, bool conjugate,      \
                               const Planes<T>& z) {                                               \
    conjugate ? MultiplySpectra<T, true>(at, w, z) : MultiplySpectra<T, false>(at, w, z);          \
  }                                                                                                \
  void AddProducts##SUFFIX(Frequencies at, const Planes<const T>& x, const Planes<const T>& g,     \
                           bool first, const HalfSpectra<T>& sum) {                                \
    AddProducts(at, x, g, first, sum);                                                             \
  }                                                                                                \
  void Product##SUFFIX(const ComplexProduct<T>& job) {                                             \
    Product(job);                                                                                  \
  }                                                                                                \
  void Load##SUFFIX(const CellMove<const T, T>& job) {                                             \
    Load(job);                                                                                     \
  }                                                                                                \
  void Store##SUFFIX(const CellMove<T, const T>& job, const CellEnd<T>& end) {                     \
    Store(job, end);                                                                               \
  }
FOVEA_SPECTRUM_FUNCTIONS(float, F32)
FOVEA_SPECTRUM_FUNCTIONS(double, F64)
#undef FOVEA_SPECTRUM_FUNCTIONS

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

#define FOVEA_SPECTRUM_FUNCTIONS(T, SUFFIX)                                                        \
  HWY_EXPORT(Split##SUFFIX);                                                                       \
  HWY_EXPORT(Join##SUFFIX);                                                                        \
  HWY_EXPORT(MultiplySpectra##SUFFIX);                                                             \
  HWY_EXPORT(AddProducts##SUFFIX);                                                                 \
  HWY_EXPORT(Product##SUFFIX);                                                                     \
  HWY_EXPORT(Load##SUFFIX);                                                                        \
  HWY_EXPORT(Store##SUFFIX);                                                                       \
  template <>                                                                                      \
  void split_spectra(Frequencies at, const Planes<const T>& z, T scale,                            \
                     const HalfSpectra<T>& out) {                                                  \
    HWY_DYNAMIC_DISPATCH(Split##SUFFIX)(at, z, scale, out);                                        \
  }                                                                                                \
  template <>                                                                                      \
  void join_spectra(Frequencies at, const HalfSpectra<const T>& in, T scale, const Planes<T>& z) { \
    HWY_DYNAMIC_DISPATCH(Join##SUFFIX)(at, in, scale, z);                                          \
  }                                                                                                \
  template <>                                                                                      \
  void multiply_spectra(Frequencies at, const HalfSpectra<const T>& w, bool conjugate,             \
                        const Planes<T>& z) {                                                      \
    HWY_DYNAMIC_DISPATCH(MultiplySpectra##SUFFIX)(at, w, conjugate, z);                            \
  }                                                                                                \
  template <>                                                                                      \
  void add_products(Frequencies at, const Planes<const T>& x, const Planes<const T>& g,            \
                    bool first, const HalfSpectra<T>& sum) {                                       \
    HWY_DYNAMIC_DISPATCH(AddProducts##SUFFIX)(at, x, g, first, sum);                               \
  }                                                                                                \
  template <>                                                                                      \
  void complex_product(const ComplexProduct<T>& job) {                                             \
    HWY_DYNAMIC_DISPATCH(Product##SUFFIX)(job);                                                    \
  }                                                                                                \
  template <>                                                                                      \
  void load_cells(const CellMove<const T, T>& job) {                                               \
    HWY_DYNAMIC_DISPATCH(Load##SUFFIX)(job);                                                       \
  }                                                                                                \
  template <>                                                                                      \
  void store_cells(const CellMove<T, const T>& job, const CellEnd<T>& end) {                       \
    HWY_DYNAMIC_DISPATCH(Store##SUFFIX)(job, end);                                                 \
  }
FOVEA_SPECTRUM_FUNCTIONS(float, F32)
FOVEA_SPECTRUM_FUNCTIONS(double, F64)
#undef FOVEA_SPECTRUM_FUNCTIONS

}  // namespace fovea::kernels
#endif
