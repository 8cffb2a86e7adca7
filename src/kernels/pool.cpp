// Pooling loops: for each window, a vector of channels at a time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pool.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include <algorithm>
#include <type_traits>

#include "hwy/highway.h"
#include "kernels/lanes-inl.h"
#include "kernels/pool.h"
#include "kernels/pool_lines.h"
#include "kernels/pool_window.h"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Positions, relative to the base of the window, are tracked in integers as wide as T, so that one
// mask serves both; planes stay below 2^31 cells.
template <class D>
using Index = hwy::MakeSigned<hn::TFromD<D>>;

template <class D>
struct Maximum {
  hn::Vec<D> value;
  hn::Vec<hn::Rebind<Index<D>, D>> where;
};

// A NaN wins, too: each step waits for the comparison of the one before.
template <class D, class T = hn::TFromD<D>>
HWY_INLINE Maximum<D> maximum_or_nan(D d, const PoolWindow& window, std::int64_t channels,
                                     const T* base) {
  const hn::Rebind<Index<D>, D> di;
  Maximum<D> best{hn::LoadU(d, base + window.cells[0] * channels),
                  hn::Set(di, static_cast<Index<D>>(window.cells[0]))};
  for (std::int64_t k = 1; k < window.count; ++k) {
    const auto value = hn::LoadU(d, base + window.cells[k] * channels);
    const auto wins = hn::Or(hn::Gt(value, best.value), hn::IsNaN(value));
    best.value = hn::IfThenElse(wins, value, best.value);
    best.where = hn::IfThenElse(hn::RebindMask(di, wins),
                                hn::Set(di, static_cast<Index<D>>(window.cells[k])), best.where);
  }
  return best;
}

// The same for windows without NaN: a step waits for the larger value only.
template <class D, class T = hn::TFromD<D>>
HWY_INLINE Maximum<D> maximum_of(D d, const PoolWindow& window, std::int64_t channels,
                                 const T* base) {
  const hn::Rebind<Index<D>, D> di;
  Maximum<D> best{hn::LoadU(d, base + window.cells[0] * channels),
                  hn::Set(di, static_cast<Index<D>>(window.cells[0]))};
  auto nan = hn::IsNaN(best.value);
  for (std::int64_t k = 1; k < window.count; ++k) {
    const auto value = hn::LoadU(d, base + window.cells[k] * channels);
    nan = hn::Or(nan, hn::IsNaN(value));
    best.where = hn::IfThenElse(hn::RebindMask(di, hn::Gt(value, best.value)),
                                hn::Set(di, static_cast<Index<D>>(window.cells[k])), best.where);
    best.value = hn::Max(value, best.value);
  }
  return hn::AllFalse(d, nan) ? best : maximum_or_nan(d, window, channels, base);
}

template <class D, class T = hn::TFromD<D>>
HWY_INLINE void max_lanes(D d, const PoolWindow& window, std::int64_t channels, const T* x, T* y,
                          std::int64_t* positions) {
  const hn::Rebind<Index<D>, D> di;
  const Maximum<D> best = maximum_of(d, window, channels, x + window.base * channels);
  const auto where = hn::Add(best.where, hn::Set(di, static_cast<Index<D>>(window.base)));
  hn::StoreU(best.value, d, y);
  if (positions == nullptr) return;
  HWY_ALIGN Index<D> indices[hn::MaxLanes(di)];
  hn::Store(where, di, indices);
  for (std::size_t i = 0; i < hn::Lanes(di); ++i) positions[i] = indices[i];
}

template <class T>
HWY_INLINE void max_pool_cells(const PoolPlane& plane, std::int64_t first, std::int64_t last,
                               const T* x, T* y, std::int64_t* positions) {
  const std::int64_t channels = plane.channels;
  PoolWindows windows(plane, first % plane.outputs());
  for (std::int64_t cell = first; cell < last; ++cell, windows.advance()) {
    const PoolWindow window = windows.current();
    const T* sample = x + cell / plane.outputs() * plane.inputs() * channels;
    T* out = y + cell * channels;
    std::int64_t* where = positions == nullptr ? nullptr : positions + cell * channels;
    for_lanes<T>(0, static_cast<std::size_t>(channels), [&](auto d, std::size_t c) HWY_ATTR {
      max_lanes(d, window, channels, sample + c, out + c, where == nullptr ? where : where + c);
    });
  }
}

// Sums of blocks of cells, then the sum of those: rounding grows with the square root of a window's
// size.
template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> sum_lanes(D d, const PoolWindow& window, std::int64_t channels, const T* x) {
  constexpr std::int64_t kBlock = 64;
  const T* base = x + window.base * channels;
  auto total = hn::Zero(d);
  for (std::int64_t start = 0; start < window.count; start += kBlock) {
    const std::int64_t end = HWY_MIN(start + kBlock, window.count);
    auto sum = hn::Zero(d);
    for (std::int64_t k = start; k < end; ++k) {
      sum = hn::Add(sum, hn::LoadU(d, base + window.cells[k] * channels));
    }
    total = hn::Add(total, sum);
  }
  return total;
}

template <class T>
HWY_INLINE void avg_pool_cells(const PoolPlane& plane, std::int64_t first, std::int64_t last,
                               const T* x, T* y) {
  const std::int64_t channels = plane.channels;
  PoolWindows windows(plane, first % plane.outputs());
  for (std::int64_t cell = first; cell < last; ++cell, windows.advance()) {
    const PoolWindow window = windows.current();
    const T divisor = static_cast<T>(windows.divisor());
    const T* sample = x + cell / plane.outputs() * plane.inputs() * channels;
    T* out = y + cell * channels;
    for_lanes<T>(0, static_cast<std::size_t>(channels), [&](auto d, std::size_t c) HWY_ATTR {
      const auto sum = sum_lanes(d, window, channels, sample + c);
      hn::StoreU(hn::Div(sum, hn::Set(d, divisor)), d, out + c);
    });
  }
}

// Calls spread(disjoint, cell, window, windows) for each window, which adds to its cells or, where
// no other window has them, overwrites them.
template <class T, class Spread>
HWY_INLINE void for_spread_windows(const PoolPlane& plane, std::int64_t first, std::int64_t last,
                                   T* dx, const Spread& spread) {
  const std::int64_t channels = plane.channels;
  const PoolCoverage coverage(plane);
  // Cells become zero as the windows come to them, while their lines are in the cache for what is
  // added: up to the last cell of the window's row, and all of them in the end.
  std::int64_t zeros = coverage.disjoint && coverage.complete ? plane.inputs() : 0;
  const std::int64_t ahead = plane.axes[2].inputs;
  const auto clear_until = [&](std::int64_t last_cell) {
    for (; zeros < last_cell; ++zeros) {
      std::fill(dx + zeros * channels + first, dx + zeros * channels + last, T{0});
    }
  };
  const auto all = [&](auto disjoint) HWY_ATTR {
    PoolWindows windows(plane, 0);
    for (std::int64_t cell = 0; cell < plane.outputs(); ++cell, windows.advance()) {
      const PoolWindow window = windows.current();
      if (window.count > 0) {
        const std::int64_t last_cell = window.base + window.cells[window.count - 1];
        clear_until(std::min(plane.inputs(), (last_cell / ahead + 1) * ahead));
      }
      spread(disjoint, cell, window, windows);
    }
  };
  coverage.disjoint ? all(std::true_type()) : all(std::false_type());
  clear_until(plane.inputs());
}

template <bool kOverwrite, class D, class V, class T>
HWY_INLINE void put(D d, V value, T* target) {
  hn::StoreU(kOverwrite ? value : hn::Add(hn::LoadU(d, target), value), d, target);
}

template <class T>
HWY_INLINE void avg_pool_spread(const PoolPlane& plane, std::int64_t first, std::int64_t last,
                                const T* g, T* dx) {
  const std::int64_t channels = plane.channels;
  const auto spread = [&](auto disjoint, std::int64_t cell, const PoolWindow& window,
                          const PoolWindows& windows) HWY_ATTR {
    const T divisor = static_cast<T>(windows.divisor());
    const auto lanes = [&](auto d, std::size_t c) HWY_ATTR {
      const auto share = hn::Div(hn::LoadU(d, g + cell * channels + c), hn::Set(d, divisor));
      T* base = dx + window.base * channels + c;
      for (std::int64_t k = 0; k < window.count; ++k) {
        T* target = base + window.cells[k] * channels;
        put<decltype(disjoint)::value>(d, share, target);
      }
    };
    for_lanes<T>(static_cast<std::size_t>(first), static_cast<std::size_t>(last), lanes);
  };
  for_spread_windows(plane, first, last, dx, spread);
}

// As many positions as `d` has lanes, as integers of their width.
template <class D, class Narrow = hn::Rebind<Index<D>, D>>
HWY_INLINE hn::Vec<Narrow> load_positions(D, const std::int64_t* positions) {
  const Narrow narrow;
  HWY_ALIGN Index<D> indices[hn::MaxLanes(narrow)];
  for (std::size_t i = 0; i < hn::Lanes(narrow); ++i)
    indices[i] = static_cast<Index<D>>(positions[i]);
  return hn::Load(narrow, indices);
}

// Each cell of a window takes what belongs to it: faster than writing to the positions, one by one.
template <class T>
HWY_INLINE void max_pool_spread(const PoolPlane& plane, std::int64_t first, std::int64_t last,
                                const T* g, const std::int64_t* positions, T* dx) {
  const std::int64_t channels = plane.channels;
  const auto spread = [&](auto disjoint, std::int64_t cell, const PoolWindow& window,
                          const PoolWindows&) HWY_ATTR {
    const auto lanes = [&](auto d, std::size_t c) HWY_ATTR {
      using D = decltype(d);
      const auto value = hn::LoadU(d, g + cell * channels + c);
      const auto where = load_positions(d, positions + cell * channels + c);
      T* base = dx + window.base * channels + c;
      for (std::int64_t k = 0; k < window.count; ++k) {
        T* target = base + window.cells[k] * channels;
        const auto here = hn::Set(hn::Rebind<Index<D>, D>(),
                                  static_cast<Index<D>>(window.base + window.cells[k]));
        const auto part = hn::IfThenElseZero(hn::RebindMask(d, hn::Eq(where, here)), value);
        put<decltype(disjoint)::value>(d, part, target);
      }
    };
    for_lanes<T>(static_cast<std::size_t>(first), static_cast<std::size_t>(last), lanes);
  };
  for_spread_windows(plane, first, last, dx, spread);
}

// One name per type: HWY_EXPORT takes no templates.
void MaxPoolF32(const PoolPlane& plane, std::int64_t first, std::int64_t last, const float* x,
                float* y, std::int64_t* positions) {
  max_pool_cells(plane, first, last, x, y, positions);
}
void MaxPoolF64(const PoolPlane& plane, std::int64_t first, std::int64_t last, const double* x,
                double* y, std::int64_t* positions) {
  max_pool_cells(plane, first, last, x, y, positions);
}
void AvgPoolF32(const PoolPlane& plane, std::int64_t first, std::int64_t last, const float* x,
                float* y) {
  avg_pool_cells(plane, first, last, x, y);
}
void AvgPoolF64(const PoolPlane& plane, std::int64_t first, std::int64_t last, const double* x,
                double* y) {
  avg_pool_cells(plane, first, last, x, y);
}
void AvgPoolBackwardF32(const PoolPlane& plane, std::int64_t first, std::int64_t last,
                        const float* g, float* dx) {
  avg_pool_spread(plane, first, last, g, dx);
}
void AvgPoolBackwardF64(const PoolPlane& plane, std::int64_t first, std::int64_t last,
                        const double* g, double* dx) {
  avg_pool_spread(plane, first, last, g, dx);
}
void MaxPoolBackwardF32(const PoolPlane& plane, std::int64_t first, std::int64_t last,
                        const float* g, const std::int64_t* positions, float* dx) {
  max_pool_spread(plane, first, last, g, positions, dx);
}
void MaxPoolBackwardF64(const PoolPlane& plane, std::int64_t first, std::int64_t last,
                        const double* g, const std::int64_t* positions, double* dx) {
  max_pool_spread(plane, first, last, g, positions, dx);
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(MaxPoolF32);
HWY_EXPORT(MaxPoolF64);
HWY_EXPORT(AvgPoolF32);
HWY_EXPORT(AvgPoolF64);
HWY_EXPORT(AvgPoolBackwardF32);
HWY_EXPORT(AvgPoolBackwardF64);
HWY_EXPORT(MaxPoolBackwardF32);
HWY_EXPORT(MaxPoolBackwardF64);

template <>
void max_pool(const PoolPlane& plane, std::int64_t first, std::int64_t last, const float* x,
              float* y, std::int64_t* positions) {
  if (pools_by_lines<float>(plane)) return max_pool_lines(plane, first, last, x, y, positions);
  HWY_DYNAMIC_DISPATCH(MaxPoolF32)(plane, first, last, x, y, positions);
}
template <>
void max_pool(const PoolPlane& plane, std::int64_t first, std::int64_t last, const double* x,
              double* y, std::int64_t* positions) {
  if (pools_by_lines<double>(plane)) return max_pool_lines(plane, first, last, x, y, positions);
  HWY_DYNAMIC_DISPATCH(MaxPoolF64)(plane, first, last, x, y, positions);
}
template <>
void avg_pool(const PoolPlane& plane, std::int64_t first, std::int64_t last, const float* x,
              float* y) {
  if (pools_by_lines<float>(plane)) {
    return avg_pool_lines(plane, first, last, x, y);
  }
  HWY_DYNAMIC_DISPATCH(AvgPoolF32)(plane, first, last, x, y);
}
template <>
void avg_pool(const PoolPlane& plane, std::int64_t first, std::int64_t last, const double* x,
              double* y) {
  if (pools_by_lines<double>(plane)) {
    return avg_pool_lines(plane, first, last, x, y);
  }
  HWY_DYNAMIC_DISPATCH(AvgPoolF64)(plane, first, last, x, y);
}
template <>
void avg_pool_backward(const PoolPlane& plane, std::int64_t first, std::int64_t last,
                       const float* g, float* dx) {
  if (pools_by_lines<float>(plane) && first == 0 && last == plane.channels) {
    return avg_pool_lines_backward(plane, g, dx);
  }
  HWY_DYNAMIC_DISPATCH(AvgPoolBackwardF32)(plane, first, last, g, dx);
}
template <>
void avg_pool_backward(const PoolPlane& plane, std::int64_t first, std::int64_t last,
                       const double* g, double* dx) {
  if (pools_by_lines<double>(plane) && first == 0 && last == plane.channels) {
    return avg_pool_lines_backward(plane, g, dx);
  }
  HWY_DYNAMIC_DISPATCH(AvgPoolBackwardF64)(plane, first, last, g, dx);
}
template <>
void max_pool_backward(const PoolPlane& plane, std::int64_t first, std::int64_t last,
                       const float* g, const std::int64_t* positions, float* dx) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(MaxPoolBackwardF32)(plane, first, last, g, positions, dx);
}
template <>
void max_pool_backward(const PoolPlane& plane, std::int64_t first, std::int64_t last,
                       const double* g, const std::int64_t* positions, double* dx) {
  detect_simd();
  HWY_DYNAMIC_DISPATCH(MaxPoolBackwardF64)(plane, first, last, g, positions, dx);
}

}  // namespace fovea::kernels
#endif
