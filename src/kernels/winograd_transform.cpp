// Winograd's transforms, vectorised over channels, once per SIMD target.
//
// Three linear maps of one axis are enough, for G^T and A^T are the transposes of G and A:
//   Input      B^T: the coefficients of the Lagrange polynomials of the points, applied to cells;
//   Evaluate   the polynomial with these coefficients at each point: A and, scaled, G;
//   Collect    its transpose: A^T and, scaled, G^T.
// Points are in the order 0, +p, -p, ..., infinity. To add a size: its points in
// winograd_points.h, and a line in with_to_points and with_from_points.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/winograd_transform.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The target's own headers follow.
#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/epilogue-inl.h"
#include "kernels/winograd.h"
#include "kernels/winograd_points.h"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class T>
using Lanes = hn::ScalableTag<T>;
template <class T>
using Vector = hn::Vec<Lanes<T>>;

template <class T>
HWY_INLINE Vector<T> constant(double value) {
  return hn::Set(Lanes<T>(), static_cast<T>(value));
}

template <int kPoints>
struct Input;

template <>
struct Input<4> {
  static constexpr int kFrom = 4;
  static constexpr int kTo = 4;
  template <class T, class V = Vector<T>>
  static HWY_INLINE void apply(const V* d, V* out) {
    out[0] = hn::Sub(d[2], d[0]);
    out[1] = hn::Add(d[2], d[1]);
    out[2] = hn::Sub(d[2], d[1]);
    out[3] = hn::Sub(d[3], d[1]);
  }
};

template <>
struct Input<6> {
  static constexpr int kFrom = 6;
  static constexpr int kTo = 6;
  template <class T, class V = Vector<T>>
  static HWY_INLINE void apply(const V* d, V* out) {
    constexpr double kA = WinogradPoints<6>::kA;
    constexpr double kB = WinogradPoints<6>::kB;
    const V sum = constant<T>(kA * kA + kB * kB);
    const V product = constant<T>(kA * kA * kB * kB);
    out[0] = hn::MulAdd(product, d[0], hn::NegMulAdd(sum, d[2], d[4]));
    const V even_a = hn::NegMulAdd(constant<T>(kB * kB), d[2], d[4]);
    const V odd_a = hn::NegMulAdd(constant<T>(kB * kB), d[1], d[3]);
    out[1] = hn::MulAdd(constant<T>(kA), odd_a, even_a);
    out[2] = hn::NegMulAdd(constant<T>(kA), odd_a, even_a);
    const V even_b = hn::NegMulAdd(constant<T>(kA * kA), d[2], d[4]);
    const V odd_b = hn::NegMulAdd(constant<T>(kA * kA), d[1], d[3]);
    out[3] = hn::MulAdd(constant<T>(kB), odd_b, even_b);
    out[4] = hn::NegMulAdd(constant<T>(kB), odd_b, even_b);
    out[5] = hn::MulAdd(product, d[1], hn::NegMulAdd(sum, d[3], d[5]));
  }
};

template <int kPoints, int kCount, bool kScaled>
struct Evaluate {
  static constexpr int kFrom = kCount;
  static constexpr int kTo = kPoints;
  using Points = WinogradPoints<kPoints>;
  template <class T, class V = Vector<T>>
  static HWY_INLINE void apply(const V* w, V* out) {
    out[0] = kScaled ? hn::Mul(w[0], constant<T>(Points::kZeroScale)) : w[0];
#pragma GCC unroll 2
    for (int i = 0; i < Points::kPairs; ++i) {
      const double p = Points::kPair[static_cast<size_t>(i)];
      const double scale = kScaled ? Points::kPairScale[static_cast<size_t>(i)] : 1.0;
      V even = kScaled ? hn::Mul(w[0], constant<T>(scale)) : w[0];
      V odd = hn::Mul(w[1], constant<T>(p * scale));
#pragma GCC unroll 8
      for (int k = 2; k < kCount; ++k) {
        V& part = k % 2 == 0 ? even : odd;
        part = hn::MulAdd(w[k], constant<T>(power(p, k) * scale), part);
      }
      out[1 + 2 * i] = hn::Add(even, odd);
      out[2 + 2 * i] = hn::Sub(even, odd);
    }
    out[kPoints - 1] = w[kCount - 1];
  }
};

template <int kPoints, int kCount, bool kScaled>
struct Collect {
  static constexpr int kFrom = kPoints;
  static constexpr int kTo = kCount;
  using Points = WinogradPoints<kPoints>;
  template <class T, class V = Vector<T>>
  static HWY_INLINE void apply(const V* u, V* out) {
    V even[Points::kPairs];
    V odd[Points::kPairs];
#pragma GCC unroll 2
    for (int i = 0; i < Points::kPairs; ++i) {
      even[i] = hn::Add(u[1 + 2 * i], u[2 + 2 * i]);
      odd[i] = hn::Sub(u[1 + 2 * i], u[2 + 2 * i]);
    }
#pragma GCC unroll 8
    for (int k = 0; k < kCount; ++k) {
      V sum = k == 0            ? (kScaled ? hn::Mul(u[0], constant<T>(Points::kZeroScale)) : u[0])
              : k == kCount - 1 ? u[kPoints - 1]
                                : hn::Zero(Lanes<T>());
#pragma GCC unroll 2
      for (int i = 0; i < Points::kPairs; ++i) {
        const double scale = kScaled ? Points::kPairScale[static_cast<size_t>(i)] : 1.0;
        const double factor = power(Points::kPair[static_cast<size_t>(i)], k) * scale;
        const V& part = k % 2 == 0 ? even[i] : odd[i];
        sum = factor == 1.0 ? hn::Add(part, sum) : hn::MulAdd(part, constant<T>(factor), sum);
      }
      out[k] = sum;
    }
  }
};

// Calls f with the map of one axis.
template <class F>
HWY_INLINE void with_to_points(ToPoints map, const WinogradAxis& axis, const F& f) {
  const bool four = axis.points() == 4;
  switch (map) {
    case ToPoints::input:
      return four ? f(Input<4>()) : f(Input<6>());
    case ToPoints::gradient:
      return four                ? f(Evaluate<4, 2, false>())
             : axis.outputs == 4 ? f(Evaluate<6, 4, false>())
                                 : f(Evaluate<6, 2, false>());
    case ToPoints::weights:
      return four             ? f(Evaluate<4, 3, true>())
             : axis.taps == 3 ? f(Evaluate<6, 3, true>())
                              : f(Evaluate<6, 5, true>());
  }
}

template <class F>
HWY_INLINE void with_from_points(FromPoints map, const WinogradAxis& axis, const F& f) {
  const bool four = axis.points() == 4;
  switch (map) {
    case FromPoints::output:
      return four                ? f(Collect<4, 2, false>())
             : axis.outputs == 4 ? f(Collect<6, 4, false>())
                                 : f(Collect<6, 2, false>());
    case FromPoints::weights:
      return four             ? f(Collect<4, 3, true>())
             : axis.taps == 3 ? f(Collect<6, 3, true>())
                              : f(Collect<6, 5, true>());
  }
}

// Applies the map to the middle index of an array [outer][kFrom][inner].
template <class T, class Map, class Load, class Store>
HWY_INLINE void map_axis(int outer, int inner, const Load& load, const Store& store) {
  for (int o = 0; o < outer; ++o) {
    for (int i = 0; i < inner; ++i) {
      Vector<T> from[Map::kFrom];
      Vector<T> to[Map::kTo];
#pragma GCC unroll 8
      for (int k = 0; k < Map::kFrom; ++k) from[k] = load((o * Map::kFrom + k) * inner + i);
      Map::template apply<T>(from, to);
#pragma GCC unroll 8
      for (int k = 0; k < Map::kTo; ++k) store((o * Map::kTo + k) * inner + i, to[k]);
    }
  }
}

template <class T>
HWY_INLINE Vector<T> load_some(const T* from, int count) {
  const Lanes<T> d;
  if (count >= static_cast<int>(hn::Lanes(d))) return hn::LoadU(d, from);
  HWY_ALIGN T lanes[HWY_LANES(T)] = {};
  for (int i = 0; i < count; ++i) lanes[i] = from[i];
  return hn::Load(d, lanes);
}

template <class T>
HWY_INLINE void store_some(Vector<T> value, T* to, int count) {
  const Lanes<T> d;
  if (count >= static_cast<int>(hn::Lanes(d))) return hn::StoreU(value, d, to);
  HWY_ALIGN T lanes[HWY_LANES(T)];
  hn::Store(value, d, lanes);
  for (int i = 0; i < count; ++i) to[i] = lanes[i];
}

template <class T>
HWY_INLINE Vector<T> finished(const Epilogue<T>& epilogue, Vector<T> value, const T* cell,
                              int count) {
  if (epilogue.residual != nullptr)
    value = hn::Add(value, load_some(residual_of(epilogue, cell), count));
  return Bounds<Lanes<T>>(Lanes<T>(), epilogue)(value);
}

// The axes that are transformed, outermost first.
struct ActiveAxes {
  int count = 0;
  int axis[3] = {};
  explicit ActiveAxes(const WinogradTile& tile) {
    for (int a = 0; a < 3; ++a) {
      if (tile.axes[static_cast<size_t>(a)].points() > 1) axis[count++] = a;
    }
  }
};

// Runs one map after the other over the active axes: the first loads with `load`, the last stores
// with `store`, between them are two buffers. sizes: cells along each axis, before any map.
template <class T, class With, class Load, class Store>
HWY_INLINE void map_axes(const WinogradTile& tile, const ActiveAxes& active,
                         std::array<int, 3> size, const With& with, const Load& load,
                         const Store& store) {
  const Lanes<T> d;
  constexpr int kLanes = static_cast<int>(HWY_LANES(T));
  HWY_ALIGN T buffers[2][kMaxWinogradPoints * HWY_LANES(T)];
  for (int step = 0; step < active.count; ++step) {
    const auto axis = static_cast<size_t>(active.axis[step]);
    const int outer = axis == 0 ? 1 : axis == 1 ? size[0] : size[0] * size[1];
    const int inner = axis == 2 ? 1 : axis == 1 ? size[2] : size[1] * size[2];
    const T* from = buffers[step % 2];
    T* to = buffers[(step + 1) % 2];
    const auto load_buffer = [&](int i) HWY_ATTR { return hn::Load(d, from + i * kLanes); };
    const auto store_buffer = [&](int i, Vector<T> value)
                                  HWY_ATTR { hn::Store(value, d, to + i * kLanes); };
    with(tile.axes[axis], [&](auto map) HWY_ATTR {
      using Map = decltype(map);
      const bool first = step == 0;
      const bool last = step == active.count - 1;
      if (first && last) {
        map_axis<T, Map>(outer, inner, load, store);
      } else if (first) {
        map_axis<T, Map>(outer, inner, load, store_buffer);
      } else if (last) {
        map_axis<T, Map>(outer, inner, load_buffer, store);
      } else {
        map_axis<T, Map>(outer, inner, load_buffer, store_buffer);
      }
      size[axis] = Map::kTo;
    });
  }
}

// Whether a tile is a plane of 6x6 points, as F(4x4, 3x3) has and F(2x2, 5x5): with sizes that the
// compiler knows a vector takes a third of the time.
constexpr int kSide = 6;
HWY_INLINE bool is_plane(const WinogradTile& tile) {
  return tile.axes[0].points() == 1 && tile.axes[1].points() == kSide &&
         tile.axes[2].points() == kSide;
}

// B^T of one vector of channels of a plane, as Spread does it.
template <class T, bool kAsks>
HWY_INLINE void SpreadPlane(const T* const* HWY_RESTRICT cells, const T* const* HWY_RESTRICT next,
                            std::int64_t offset, T* HWY_RESTRICT points, std::int64_t step) {
  const Lanes<T> d;
  constexpr int kLanes = static_cast<int>(HWY_LANES(T));
  HWY_ALIGN T buffer[kSide * kSide * HWY_LANES(T)];
  for (int i = 0; i < kSide; ++i) {
    Vector<T> from[kSide];
    Vector<T> to[kSide];
#pragma GCC unroll 6
    for (int k = 0; k < kSide; ++k) {
      if constexpr (kAsks) hwy::Prefetch(next[k * kSide + i] + offset);
      from[k] = hn::LoadU(d, cells[k * kSide + i] + offset);
    }
    Input<kSide>::template apply<T>(from, to);
#pragma GCC unroll 6
    for (int k = 0; k < kSide; ++k) hn::Store(to[k], d, buffer + (k * kSide + i) * kLanes);
  }
  for (int o = 0; o < kSide; ++o) {
    Vector<T> from[kSide];
    Vector<T> to[kSide];
#pragma GCC unroll 6
    for (int k = 0; k < kSide; ++k) from[k] = hn::Load(d, buffer + (o * kSide + k) * kLanes);
    Input<kSide>::template apply<T>(from, to);
#pragma GCC unroll 6
    for (int k = 0; k < kSide; ++k, points += step) hn::Store(to[k], d, points);
  }
}

// A^T of one vector of channels of a plane to kCount x kCount cells, which `store` takes.
template <class T, int kCount, class StoreCell>
HWY_INLINE void CollectPlane(const T* HWY_RESTRICT points, std::int64_t step,
                             const StoreCell& store) {
  using Map = Collect<kSide, kCount, false>;
  const Lanes<T> d;
  constexpr int kLanes = static_cast<int>(HWY_LANES(T));
  HWY_ALIGN T buffer[kCount * kSide * HWY_LANES(T)];
  for (int i = 0; i < kSide; ++i, points += step) {
    Vector<T> from[kSide];
    Vector<T> to[kCount];
    const T* point = points;
#pragma GCC unroll 6
    for (int k = 0; k < kSide; ++k, point += kSide * step) from[k] = hn::Load(d, point);
    Map::template apply<T>(from, to);
#pragma GCC unroll 4
    for (int k = 0; k < kCount; ++k) hn::Store(to[k], d, buffer + (k * kSide + i) * kLanes);
  }
  for (int o = 0; o < kCount; ++o) {
    Vector<T> from[kSide];
    Vector<T> to[kCount];
#pragma GCC unroll 6
    for (int k = 0; k < kSide; ++k) from[k] = hn::Load(d, buffer + (o * kSide + k) * kLanes);
    Map::template apply<T>(from, to);
#pragma GCC unroll 4
    for (int k = 0; k < kCount; ++k) store(o * kCount + k, to[k]);
  }
}

template <class T>
void Spread(const SpreadJob<T>& job) {
  const Lanes<T> d;
  constexpr int kLanes = static_cast<int>(HWY_LANES(T));
  const ActiveAxes active(job.tile);
  std::array<int, 3> size{};
  for (size_t a = 0; a < 3; ++a) {
    const WinogradAxis& axis = job.tile.axes[a];
    size[a] = job.map == ToPoints::input      ? axis.points()
              : job.map == ToPoints::gradient ? axis.outputs
                                              : axis.taps;
  }
  const auto with = [&](const WinogradAxis& axis, const auto& f)
                        HWY_ATTR { with_to_points(job.map, axis, f); };
  T* points = job.points;
  const T* const* next = job.next == nullptr ? job.cells : job.next;
  const auto store = [&](int i, Vector<T> value)
                         HWY_ATTR { hn::Store(value, d, points + i * job.point_step); };
  int channel = 0;
  if (job.map == ToPoints::input && is_plane(job.tile)) {
    for (; channel + kLanes <= job.channels; channel += kLanes, points += job.vector_step) {
      if (job.next == nullptr) {
        SpreadPlane<T, false>(job.cells, next, job.offset + channel, points, job.point_step);
      } else {
        SpreadPlane<T, true>(job.cells, next, job.offset + channel, points, job.point_step);
      }
    }
  }
  for (; channel + kLanes <= job.channels; channel += kLanes, points += job.vector_step) {
    const std::int64_t offset = job.offset + channel;
    const auto load = [&](int i) HWY_ATTR {
      hwy::Prefetch(next[i] + offset);
      return hn::LoadU(d, job.cells[i] + offset);
    };
    map_axes<T>(job.tile, active, size, with, load, store);
  }
  if (channel == job.channels) return;
  const auto load = [&](int i) HWY_ATTR {
    return load_some(job.cells[i] + job.offset + channel, job.channels - channel);
  };
  map_axes<T>(job.tile, active, size, with, load, store);
}

template <class T, bool kFinishes>
void CollectCells(const CollectJob<T>& job) {
  const Lanes<T> d;
  constexpr int kLanes = static_cast<int>(HWY_LANES(T));
  const ActiveAxes active(job.tile);
  std::array<int, 3> size{};
  for (size_t a = 0; a < 3; ++a) size[a] = job.tile.axes[a].points();
  const auto with = [&](const WinogradAxis& axis, const auto& f)
                        HWY_ATTR { with_from_points(job.map, axis, f); };
  const T* points = job.points;
  for (int channel = 0; channel < job.channels; channel += kLanes, points += job.vector_step) {
    const int count = HWY_MIN(kLanes, job.channels - channel);
    const Vector<T> bias = job.bias == nullptr ? hn::Zero(d) : load_some(job.bias + channel, count);
    const auto load = [&](int i) HWY_ATTR { return hn::Load(d, points + i * job.point_step); };
    const auto store = [&](int i, Vector<T> value) HWY_ATTR {
      if (job.cells[i] == nullptr) return;
      T* const cell = job.cells[i] + job.offset + channel;
      value = hn::Add(value, bias);
      if constexpr (kFinishes) value = finished(*job.epilogue, value, cell, count);
      store_some(value, cell, count);
    };
    if (job.map == FromPoints::output && is_plane(job.tile)) {
      if (job.tile.axes[1].outputs == 4 && job.tile.axes[2].outputs == 4) {
        CollectPlane<T, 4>(points, job.point_step, store);
        continue;
      }
      if (job.tile.axes[1].outputs == 2 && job.tile.axes[2].outputs == 2) {
        CollectPlane<T, 2>(points, job.point_step, store);
        continue;
      }
    }
    map_axes<T>(job.tile, active, size, with, load, store);
  }
}

template <class T>
void CollectAny(const CollectJob<T>& job) {
  return job.epilogue == nullptr ? CollectCells<T, false>(job) : CollectCells<T, true>(job);
}

void Spread32(const SpreadJob<float>& job) {
  Spread(job);
}
void Spread64(const SpreadJob<double>& job) {
  Spread(job);
}
void Collect32(const CollectJob<float>& job) {
  CollectAny(job);
}
void Collect64(const CollectJob<double>& job) {
  CollectAny(job);
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fovea::kernels {

HWY_EXPORT(Spread32);
HWY_EXPORT(Spread64);
HWY_EXPORT(Collect32);
HWY_EXPORT(Collect64);

template <>
void winograd_spread(const SpreadJob<float>& job) {
  HWY_DYNAMIC_DISPATCH(Spread32)(job);
}
template <>
void winograd_spread(const SpreadJob<double>& job) {
  HWY_DYNAMIC_DISPATCH(Spread64)(job);
}
template <>
void winograd_collect(const CollectJob<float>& job) {
  HWY_DYNAMIC_DISPATCH(Collect32)(job);
}
template <>
void winograd_collect(const CollectJob<double>& job) {
  HWY_DYNAMIC_DISPATCH(Collect64)(job);
}

}  // namespace fovea::kernels
#endif
