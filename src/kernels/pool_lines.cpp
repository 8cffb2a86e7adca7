// See pool_lines.h. A line is one row of the input plane, all its cells and channels in one run.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pool_lines.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include <algorithm>
#include <memory>
#include <vector>

#include "hwy/highway.h"
#include "kernels/lanes-inl.h"
#include "kernels/pool_lines.h"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// The input cells that each output of the innermost axis reads.
class Columns {
 public:
  explicit Columns(const PoolAxis& axis) {
    cells_.reserve(static_cast<std::size_t>(axis.outputs * axis.taps));
    for (std::int64_t output = 0; output < axis.outputs; ++output) {
      begins_.push_back(cells_.size());
      for (std::int64_t tap = 0; tap < axis.taps; ++tap) {
        if (axis.at(tap, output) >= 0) cells_.push_back(axis.at(tap, output));
      }
    }
    begins_.push_back(cells_.size());
    for (std::int64_t output = 1; output < axis.outputs; ++output)
      overlap_ = overlap_ || *begin(output) <= *(end(output - 1) - 1);
  }
  bool overlap() const { return overlap_; }  // whether some cell may be read twice
  const std::int64_t* begin(std::int64_t output) const {
    return cells_.data() + begins_[static_cast<std::size_t>(output)];
  }
  const std::int64_t* end(std::int64_t output) const { return begin(output + 1); }

 private:
  std::vector<std::int64_t> cells_;
  std::vector<std::size_t> begins_;
  bool overlap_ = false;
};

// The input rows that row `row` of the windows reads, counted over the outer two axes.
void list_rows(const PoolPlane& plane, std::int64_t row, std::vector<std::int64_t>& rows) {
  const auto& [outer, middle, inner] = plane.axes;
  rows.clear();
  for (std::int64_t i = 0; i < outer.taps; ++i) {
    const std::int64_t a = outer.at(i, row / middle.outputs);
    for (std::int64_t j = 0; a >= 0 && j < middle.taps; ++j) {
      const std::int64_t b = middle.at(j, row % middle.outputs);
      if (b >= 0) rows.push_back(a * middle.inputs + b);
    }
  }
}

// Stores as many positions as `v` has lanes, `count` at most.
template <class Vector, class V>
HWY_INLINE void store_positions(const Vector& v, std::size_t count, V where,
                                std::int64_t* positions) {
  const hn::RebindToSigned<decltype(v.d)> d;
#if HWY_TARGET <= HWY_AVX2
  if constexpr (sizeof(hn::TFromD<decltype(d)>) == sizeof(std::int64_t)) {
    hn::BlendedStore(where, hn::FirstN(d, HWY_MIN(count, hn::Lanes(d))), d, positions);
  } else {
    const hn::Half<decltype(d)> half;
    const hn::Rebind<std::int64_t, decltype(half)> wide;
    const std::size_t lanes = hn::Lanes(wide);
    hn::BlendedStore(hn::PromoteTo(wide, hn::LowerHalf(half, where)),
                     hn::FirstN(wide, HWY_MIN(count, lanes)), wide, positions);
    if (count <= lanes) return;
    hn::BlendedStore(hn::PromoteTo(wide, hn::UpperHalf(half, where)),
                     hn::FirstN(wide, HWY_MIN(count - lanes, lanes)), wide, positions + lanes);
  }
#else
  HWY_ALIGN hn::TFromD<decltype(d)> lanes[hn::MaxLanes(d)];
  hn::Store(where, d, lanes);
  for (std::size_t i = 0; i < HWY_MIN(count, hn::Lanes(d)); ++i) positions[i] = lanes[i];
#endif
}

// A later maximum of the same value does not win, a later NaN does, as in PyTorch.
template <class T>
void max_lines(const PoolPlane& plane, std::int64_t first, std::int64_t last, const T* x, T* y,
               std::int64_t* positions) {
  using Index = hwy::MakeSigned<T>;
  const PoolAxis& inner = plane.axes[2];
  const std::int64_t channels = plane.channels;
  const auto count = static_cast<std::size_t>(channels);
  const Columns columns(inner);
  std::vector<std::int64_t> rows;
  while (first < last) {
    const std::int64_t begin = first % inner.outputs;
    const std::int64_t end = std::min(inner.outputs, begin + last - first);
    list_rows(plane, first % plane.outputs() / inner.outputs, rows);
    const T* sample = x + first / plane.outputs() * plane.inputs() * channels;
    for (std::int64_t output = begin; output < end; ++output, ++first) {
      const std::int64_t* cells = columns.begin(output);
      const std::int64_t* cells_end = columns.end(output);
      for_vectors<T>(0, count, [&](auto v, std::size_t c) HWY_ATTR {
        const hn::RebindToSigned<decltype(v.d)> di;
        const std::int64_t start = rows[0] * inner.inputs + *cells;
        auto best = v.load(sample + start * channels + c);
        auto where = hn::Set(di, static_cast<Index>(start));
        const std::int64_t* cell = cells + 1;
        for (const std::int64_t row : rows) {
          for (; cell < cells_end; ++cell) {
            const std::int64_t place = row * inner.inputs + *cell;
            const auto value = v.load(sample + place * channels + c);
            const auto wins = hn::Or(hn::Gt(value, best), hn::IsNaN(value));
            best = hn::IfThenElse(wins, value, best);
            where = hn::IfThenElse(hn::RebindMask(di, wins), hn::Set(di, static_cast<Index>(place)),
                                   where);
          }
          cell = cells;
        }
        v.store(best, y + first * channels + c);
        if (positions != nullptr)
          store_positions(v, count - c, where, positions + first * channels + c);
      });
    }
  }
}

// Division by the number of cells, as a multiplication where that gives the same bits.
template <class T>
class Divisor {
 public:
  void set(std::int64_t cells) {
    if (cells == cells_) return;
    cells_ = cells;
    value_ = static_cast<T>(cells);
    inverse_ = 1 / value_;
    exact_ = (cells & (cells - 1)) == 0;
  }
  template <class D, class V>
  HWY_INLINE V apply(D d, V x) const {
    return exact_ ? hn::Mul(x, hn::Set(d, inverse_)) : hn::Div(x, hn::Set(d, value_));
  }

 private:
  std::int64_t cells_ = 0;
  T value_ = 1;
  T inverse_ = 1;
  bool exact_ = true;
};

template <class T>
HWY_INLINE void sum_down(const std::vector<std::int64_t>& rows, std::int64_t line,
                         std::int64_t begin, std::int64_t end, const T* plane, T* sums) {
  for_lanes<T>(static_cast<std::size_t>(begin), static_cast<std::size_t>(end),
               [&](auto d, std::size_t i) HWY_ATTR {
                 auto sum = hn::LoadU(d, plane + rows[0] * line + i);
                 for (std::size_t r = 1; r < rows.size(); ++r)
                   sum = hn::Add(sum, hn::LoadU(d, plane + rows[r] * line + i));
                 hn::StoreU(sum, d, sums + i);
               });
}

// Sums of blocks of cells, then the sum of those: rounding grows with the square root of their
// number.
template <class Vector, class T>
HWY_INLINE auto sum_along(const Vector& v, const std::int64_t* cell, const std::int64_t* end,
                          std::int64_t channels, const T* sums) {
  constexpr std::int64_t kBlock = 64;
  auto total = v.load(sums + *cell++ * channels);
  for (const std::int64_t* stop = std::min(end, cell + kBlock - 1); cell < stop; ++cell)
    total = hn::Add(total, v.load(sums + *cell * channels));
  while (cell < end) {
    auto sum = hn::Zero(v.d);
    for (const std::int64_t* stop = std::min(end, cell + kBlock); cell < stop; ++cell)
      sum = hn::Add(sum, v.load(sums + *cell * channels));
    total = hn::Add(total, sum);
  }
  return total;
}

template <class T>
void pool_lines(const PoolPlane& plane, std::int64_t first, std::int64_t last, const T* x, T* y) {
  const PoolAxis& inner = plane.axes[2];
  const std::int64_t channels = plane.channels;
  const std::int64_t line = inner.inputs * channels;
  const Columns columns(inner);
  const std::unique_ptr<T[]> buffer(new T[static_cast<std::size_t>(line)]);
  std::vector<std::int64_t> rows;
  Divisor<T> divisor;
  while (first < last) {
    const std::int64_t begin = first % inner.outputs;
    const std::int64_t end = std::min(inner.outputs, begin + last - first);
    const std::int64_t row = first % plane.outputs() / inner.outputs;
    list_rows(plane, row, rows);
    const T* sample = x + first / plane.outputs() * plane.inputs() * channels;
    const T* sums = sample + rows[0] * line;
    if (rows.size() > 1) {
      sum_down(rows, line, *columns.begin(begin) * channels,
               (*(columns.end(end - 1) - 1) + 1) * channels, sample, buffer.get());
      sums = buffer.get();
    }
    for (std::int64_t output = begin; output < end; ++output, ++first) {
      const std::int64_t* cells = columns.begin(output);
      const std::int64_t* cells_end = columns.end(output);
      divisor.set(plane.divisor(row, output));
      T* out = y + first * channels;
      for_vectors<T>(0, static_cast<std::size_t>(channels), [&](auto v, std::size_t c) HWY_ATTR {
        v.store(divisor.apply(v.d, sum_along(v, cells, cells_end, channels, sums + c)), out + c);
      });
    }
  }
}

// Copies a line to each of its rows, or adds it where another row of windows has been before.
template <class T>
HWY_INLINE void spread_down(const std::vector<std::int64_t>& rows, std::int64_t line,
                            std::vector<bool>& written, const T* shares, T* plane) {
  for (const std::int64_t row : rows) {
    T* to = plane + row * line;
    if (written[static_cast<std::size_t>(row)]) {
      for_lanes<T>(0, static_cast<std::size_t>(line), [&](auto d, std::size_t i) HWY_ATTR {
        hn::StoreU(hn::Add(hn::LoadU(d, to + i), hn::LoadU(d, shares + i)), d, to + i);
      });
    } else {
      for_lanes<T>(0, static_cast<std::size_t>(line), [&](auto d, std::size_t i) HWY_ATTR {
        hn::StoreU(hn::LoadU(d, shares + i), d, to + i);
      });
    }
    written[static_cast<std::size_t>(row)] = true;
  }
}

template <class T>
void pool_lines_backward(const PoolPlane& plane, const T* g, T* dx) {
  const PoolAxis& inner = plane.axes[2];
  const std::int64_t channels = plane.channels;
  const std::int64_t line = inner.inputs * channels;
  const Columns columns(inner);
  const bool overlap = columns.overlap();
  const std::unique_ptr<T[]> shares(new T[static_cast<std::size_t>(line)]);
  std::fill_n(shares.get(), line, T{0});
  const std::int64_t input_rows = plane.axes[0].inputs * plane.axes[1].inputs;
  std::vector<bool> written(static_cast<std::size_t>(input_rows));
  std::vector<std::int64_t> rows;
  Divisor<T> divisor;
  for (std::int64_t row = 0; row < plane.axes[0].outputs * plane.axes[1].outputs; ++row) {
    list_rows(plane, row, rows);
    // Where no cell is read twice, the same cells are overwritten in every row.
    if (overlap) std::fill_n(shares.get(), line, T{0});
    for (std::int64_t output = 0; output < inner.outputs; ++output) {
      const std::int64_t* cells = columns.begin(output);
      const std::int64_t* cells_end = columns.end(output);
      divisor.set(plane.divisor(row, output));
      const T* from = g + (row * inner.outputs + output) * channels;
      for_vectors<T>(0, static_cast<std::size_t>(channels), [&](auto v, std::size_t c) HWY_ATTR {
        const auto share = divisor.apply(v.d, v.load(from + c));
        for (const std::int64_t* cell = cells; cell < cells_end; ++cell) {
          T* to = shares.get() + *cell * channels + c;
          v.store(overlap ? hn::Add(v.load(to), share) : share, to);
        }
      });
    }
    spread_down(rows, line, written, shares.get(), dx);
  }
  for (std::int64_t row = 0; row < input_rows; ++row) {
    if (!written[static_cast<std::size_t>(row)]) std::fill_n(dx + row * line, line, T{0});
  }
}

bool ThinF32(const PoolPlane& plane) {
  return plane.channels <= static_cast<std::int64_t>(HWY_LANES(float));
}
bool ThinF64(const PoolPlane& plane) {
  return plane.channels <= static_cast<std::int64_t>(HWY_LANES(double));
}
void MaxLinesF32(const PoolPlane& plane, std::int64_t first, std::int64_t last, const float* x,
                 float* y, std::int64_t* positions) {
  max_lines(plane, first, last, x, y, positions);
}
void MaxLinesF64(const PoolPlane& plane, std::int64_t first, std::int64_t last, const double* x,
                 double* y, std::int64_t* positions) {
  max_lines(plane, first, last, x, y, positions);
}
void PoolLinesF32(const PoolPlane& plane, std::int64_t first, std::int64_t last, const float* x,
                  float* y) {
  pool_lines(plane, first, last, x, y);
}
void PoolLinesF64(const PoolPlane& plane, std::int64_t first, std::int64_t last, const double* x,
                  double* y) {
  pool_lines(plane, first, last, x, y);
}
void PoolLinesBackwardF32(const PoolPlane& plane, const float* g, float* dx) {
  pool_lines_backward(plane, g, dx);
}
void PoolLinesBackwardF64(const PoolPlane& plane, const double* g, double* dx) {
  pool_lines_backward(plane, g, dx);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {
namespace {
HWY_EXPORT(ThinF32);
HWY_EXPORT(ThinF64);
HWY_EXPORT(MaxLinesF32);
HWY_EXPORT(MaxLinesF64);
HWY_EXPORT(PoolLinesF32);
HWY_EXPORT(PoolLinesF64);
HWY_EXPORT(PoolLinesBackwardF32);
HWY_EXPORT(PoolLinesBackwardF64);
}  // namespace

template <>
bool pools_by_lines<float>(const PoolPlane& plane) {
  detect_simd();
  return HWY_DYNAMIC_DISPATCH(ThinF32)(plane);
}
template <>
bool pools_by_lines<double>(const PoolPlane& plane) {
  detect_simd();
  return HWY_DYNAMIC_DISPATCH(ThinF64)(plane);
}
template <>
void max_pool_lines(const PoolPlane& plane, std::int64_t first, std::int64_t last, const float* x,
                    float* y, std::int64_t* positions) {
  HWY_DYNAMIC_DISPATCH(MaxLinesF32)(plane, first, last, x, y, positions);
}
template <>
void max_pool_lines(const PoolPlane& plane, std::int64_t first, std::int64_t last, const double* x,
                    double* y, std::int64_t* positions) {
  HWY_DYNAMIC_DISPATCH(MaxLinesF64)(plane, first, last, x, y, positions);
}
template <>
void avg_pool_lines(const PoolPlane& plane, std::int64_t first, std::int64_t last, const float* x,
                    float* y) {
  HWY_DYNAMIC_DISPATCH(PoolLinesF32)(plane, first, last, x, y);
}
template <>
void avg_pool_lines(const PoolPlane& plane, std::int64_t first, std::int64_t last, const double* x,
                    double* y) {
  HWY_DYNAMIC_DISPATCH(PoolLinesF64)(plane, first, last, x, y);
}
template <>
void avg_pool_lines_backward(const PoolPlane& plane, const float* g, float* dx) {
  HWY_DYNAMIC_DISPATCH(PoolLinesBackwardF32)(plane, g, dx);
}
template <>
void avg_pool_lines_backward(const PoolPlane& plane, const double* g, double* dx) {
  HWY_DYNAMIC_DISPATCH(PoolLinesBackwardF64)(plane, g, dx);
}

}  // namespace fovea::kernels
#endif
