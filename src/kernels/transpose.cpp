// Transposition in squares of a 128-bit block, several side by side in a vector; the last piece of
// a row or column is moved back to overlap its neighbour. Two or three dense rows or columns, too
// thin for a square, are interleaved instead.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/transpose.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include <algorithm>

#include "hwy/highway.h"
#include "kernels/simd.h"
#include "kernels/transpose.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// One 128-bit block of a vector holds a row of a square.
template <class T>
constexpr std::int64_t kSide = 16 / sizeof(T);

// Blocks that lie `step` apart, and the same for storing.
template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load_blocks(D d, const T* from, std::int64_t step) {
  if constexpr (hn::MaxLanes(D()) * sizeof(T) == 16) {
    return hn::LoadU(d, from);
  } else {
    const hn::Half<D> half;
    constexpr auto kBlocks = static_cast<std::int64_t>(hn::MaxLanes(D())) / kSide<T>;
    return hn::Combine(d, load_blocks(half, from + kBlocks / 2 * step, step),
                       load_blocks(half, from, step));
  }
}
template <class D, class T = hn::TFromD<D>>
HWY_INLINE void store_blocks(D d, hn::Vec<D> value, T* to, std::int64_t step) {
  if constexpr (hn::MaxLanes(D()) * sizeof(T) == 16) {
    hn::StoreU(value, d, to);
  } else {
    const hn::Half<D> half;
    constexpr auto kBlocks = static_cast<std::int64_t>(hn::MaxLanes(D())) / kSide<T>;
    store_blocks(half, hn::LowerHalf(half, value), to, step);
    store_blocks(half, hn::UpperHalf(half, value), to + kBlocks / 2 * step, step);
  }
}

// Turns each block-wide square of neighbouring blocks round.
template <class D, class V>
HWY_INLINE void turn_blocks(D d, V& a, V& b, V& c, V& e) {
  const hn::Repartition<double, D> pairs;
  const auto ab_low = hn::BitCast(pairs, hn::InterleaveLower(d, a, b));
  const auto ab_high = hn::BitCast(pairs, hn::InterleaveUpper(d, a, b));
  const auto ce_low = hn::BitCast(pairs, hn::InterleaveLower(d, c, e));
  const auto ce_high = hn::BitCast(pairs, hn::InterleaveUpper(d, c, e));
  a = hn::BitCast(d, hn::InterleaveLower(pairs, ab_low, ce_low));
  b = hn::BitCast(d, hn::InterleaveUpper(pairs, ab_low, ce_low));
  c = hn::BitCast(d, hn::InterleaveLower(pairs, ab_high, ce_high));
  e = hn::BitCast(d, hn::InterleaveUpper(pairs, ab_high, ce_high));
}

// kTall: a vector of rows by kSide columns; else kSide rows by a vector of columns.
template <bool kTall, class D>
HWY_INLINE void squares(D d, const float* from, std::int64_t from_stride, float* to,
                        std::int64_t to_stride) {
  const auto load = [&](std::int64_t i) HWY_ATTR {
    return kTall ? load_blocks(d, from + i * from_stride, 4 * from_stride)
                 : hn::LoadU(d, from + i * from_stride);
  };
  const auto store = [&](auto value, std::int64_t i) HWY_ATTR {
    if constexpr (kTall) {
      hn::StoreU(value, d, to + i * to_stride);
    } else {
      store_blocks(d, value, to + i * to_stride, 4 * to_stride);
    }
  };
  auto a = load(0);
  auto b = load(1);
  auto c = load(2);
  auto e = load(3);
  turn_blocks(d, a, b, c, e);
  store(a, 0);
  store(b, 1);
  store(c, 2);
  store(e, 3);
}

template <bool kTall, class D>
HWY_INLINE void squares(D d, const double* from, std::int64_t from_stride, double* to,
                        std::int64_t to_stride) {
  const auto load = [&](std::int64_t i) HWY_ATTR {
    return kTall ? load_blocks(d, from + i * from_stride, 2 * from_stride)
                 : hn::LoadU(d, from + i * from_stride);
  };
  const auto store = [&](auto value, std::int64_t i) HWY_ATTR {
    if constexpr (kTall) {
      hn::StoreU(value, d, to + i * to_stride);
    } else {
      store_blocks(d, value, to + i * to_stride, 2 * to_stride);
    }
  };
  const auto a = load(0);
  const auto b = load(1);
  store(hn::InterleaveLower(d, a, b), 0);
  store(hn::InterleaveUpper(d, a, b), 1);
}

// Pieces of kRows x kColumns, one of which is the length of vector `d`.
template <bool kTall, class D, class T = hn::TFromD<D>>
HWY_INLINE void in_pieces(D d, const TransposeShape& shape, const T* from, T* to) {
  constexpr auto kLanes = static_cast<std::int64_t>(hn::MaxLanes(D()));
  constexpr std::int64_t kRows = kTall ? kLanes : kSide<T>;
  constexpr std::int64_t kColumns = kTall ? kSide<T> : kLanes;
  for (std::int64_t r = 0; r < shape.rows; r += kRows) {
    const std::int64_t row = std::min(r, shape.rows - kRows);
    for (std::int64_t c = 0; c < shape.columns; c += kColumns) {
      const std::int64_t column = std::min(c, shape.columns - kColumns);
      squares<kTall>(d, from + row * shape.from_stride + column, shape.from_stride,
                     to + column * shape.to_stride + row, shape.to_stride);
    }
  }
}

// In pieces of the longest vectors that the matrix has room for.
template <class D, class T = hn::TFromD<D>>
HWY_INLINE void in_longest_pieces(D d, const TransposeShape& shape, const T* from, T* to) {
  constexpr auto kLanes = static_cast<std::int64_t>(hn::MaxLanes(D()));
  if (shape.rows >= kLanes) return in_pieces<true>(d, shape, from, to);
  if (shape.columns >= kLanes) return in_pieces<false>(d, shape, from, to);
  if constexpr (kLanes > kSide<T>) in_longest_pieces(hn::Half<D>(), shape, from, to);
}

// Two or three rows, whose columns are stored one behind the other; returns the columns done.
template <class T>
HWY_INLINE std::int64_t interleave(const TransposeShape& shape, const T* from, T* to) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t step = shape.from_stride;
  std::int64_t c = 0;
  for (; c + lanes <= shape.columns; c += lanes, from += lanes, to += shape.rows * lanes) {
    const auto first = hn::LoadU(d, from);
    const auto second = hn::LoadU(d, from + step);
    if (shape.rows == 2) {
      hn::StoreInterleaved2(first, second, d, to);
    } else {
      hn::StoreInterleaved3(first, second, hn::LoadU(d, from + 2 * step), d, to);
    }
  }
  return c;
}

// Two or three columns, one behind the other; returns the rows done.
template <class T>
HWY_INLINE std::int64_t deinterleave(const TransposeShape& shape, const T* from, T* to) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t step = shape.to_stride;
  std::int64_t r = 0;
  for (; r + lanes <= shape.rows; r += lanes, from += shape.columns * lanes, to += lanes) {
    hn::Vec<decltype(d)> first;
    hn::Vec<decltype(d)> second;
    if (shape.columns == 2) {
      hn::LoadInterleaved2(d, from, first, second);
    } else {
      hn::Vec<decltype(d)> third;
      hn::LoadInterleaved3(d, from, first, second, third);
      hn::StoreU(third, d, to + 2 * step);
    }
    hn::StoreU(first, d, to);
    hn::StoreU(second, d, to + step);
  }
  return r;
}

template <class T>
void one_by_one(const TransposeShape& shape, std::int64_t first_row, std::int64_t first_column,
                const T* from, T* to) {
  for (std::int64_t r = first_row; r < shape.rows; ++r) {
    for (std::int64_t c = first_column; c < shape.columns; ++c)
      to[c * shape.to_stride + r] = from[r * shape.from_stride + c];
  }
}

template <class T>
void transpose_any(const TransposeShape& shape, const T* from, T* to) {
  const auto thin = [](std::int64_t count) { return count == 2 || count == 3; };
  if (shape.rows == 1 && shape.to_stride == 1) {
    std::copy_n(from, shape.columns, to);
  } else if (shape.columns == 1 && shape.from_stride == 1) {
    std::copy_n(from, shape.rows, to);
  } else if (thin(shape.rows) && shape.to_stride == shape.rows) {
    one_by_one(shape, 0, interleave(shape, from, to), from, to);
  } else if (thin(shape.columns) && shape.from_stride == shape.columns) {
    one_by_one(shape, deinterleave(shape, from, to), 0, from, to);
  } else if (shape.rows < kSide<T> || shape.columns < kSide<T>) {
    one_by_one(shape, 0, 0, from, to);
  } else {
    in_longest_pieces(hn::ScalableTag<T>(), shape, from, to);
  }
}

void TransposeF32(const TransposeShape& shape, const float* from, float* to) {
  transpose_any(shape, from, to);
}
void TransposeF64(const TransposeShape& shape, const double* from, double* to) {
  transpose_any(shape, from, to);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {
namespace {
HWY_EXPORT(TransposeF32);
HWY_EXPORT(TransposeF64);
}  // namespace

template <>
void transpose(const TransposeShape& shape, const float* from, float* to) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(TransposeF32)(shape, from, to);
}
template <>
void transpose(const TransposeShape& shape, const double* from, double* to) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(TransposeF64)(shape, from, to);
}

}  // namespace fovea::kernels
#endif
