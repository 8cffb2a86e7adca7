// See fit.h. Scaling from I to O cells is done axis by axis with a triangle as the filter:
//   y[o] = sum over i of t((i + 1/2 - c) / r) x[i] / sum of t,  c = start + (o + 1/2) s,
// t(u) = max(0, 1 - |u|), s the source cells per new cell, r = max(s, 1).
#include "data/fit.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/check.h"
#include "core/dispatch.h"

namespace fovea::data {
namespace {

// The stretch of one axis that is scaled: from `start`, `length` cells long, to `size` cells.
struct Window {
  double start = 0;
  double length = 0;
  std::int64_t size = 0;
};

// What one new cell reads.
struct Reads {
  std::int64_t first = 0;
  std::vector<float> weights;
};

std::vector<Reads> reads_of(const Window& window, std::int64_t cells) {
  const double step = window.length / static_cast<double>(window.size);
  const double reach = std::max(step, 1.0);
  std::vector<Reads> all(static_cast<std::size_t>(window.size));
  for (std::int64_t o = 0; o < window.size; ++o) {
    Reads& reads = all[static_cast<std::size_t>(o)];
    const double centre = window.start + (static_cast<double>(o) + 0.5) * step;
    const auto first = static_cast<std::int64_t>(std::floor(centre - reach));
    const auto last = static_cast<std::int64_t>(std::ceil(centre + reach));
    reads.first = std::clamp<std::int64_t>(first, 0, cells - 1);
    const std::int64_t end = std::clamp<std::int64_t>(last, reads.first + 1, cells);
    std::vector<double> weights;
    double sum = 0;
    for (std::int64_t i = reads.first; i < end; ++i) {
      const double distance = std::abs(static_cast<double>(i) + 0.5 - centre) / reach;
      weights.push_back(std::max(0.0, 1 - distance));
      sum += weights.back();
    }
    for (const double weight : weights)
      reads.weights.push_back(
          static_cast<float>(sum > 0 ? weight / sum : 1.0 / static_cast<double>(weights.size())));
  }
  return all;
}

// in [outer, cells, inner] -> out [outer, window.size, inner]
template <class T>
void scale_axis(const T* in, float* out, std::int64_t outer, std::int64_t cells, std::int64_t inner,
                const Window& window) {
  const std::vector<Reads> all = reads_of(window, cells);
  for (std::int64_t block = 0; block < outer; ++block, in += cells * inner) {
    for (const Reads& reads : all) {
      std::fill(out, out + inner, 0.0F);
      const T* from = in + reads.first * inner;
      for (const float weight : reads.weights) {
        for (std::int64_t i = 0; i < inner; ++i) out[i] += weight * static_cast<float>(from[i]);
        from += inner;
      }
      out += inner;
    }
  }
}

// How much each axis is scaled, all alike, for crop (the least) and pad (the most).
double common_step(const Shape& from, const Shape& to, Fit how) {
  double step = 0;
  for (int axis = 0; axis < to.rank(); ++axis) {
    const double one = static_cast<double>(from[axis]) / static_cast<double>(to[axis]);
    if (axis == 0 || (how == Fit::crop ? one < step : one > step)) step = one;
  }
  return step;
}

std::vector<Window> windows_of(const Shape& from, const Shape& to, Fit how) {
  const double step = common_step(from, to, how);
  std::vector<Window> windows;
  for (int axis = 0; axis < to.rank(); ++axis) {
    const auto cells = static_cast<double>(from[axis]);
    Window window{.start = 0, .length = cells, .size = to[axis]};
    if (how == Fit::crop) {
      window.length = step * static_cast<double>(to[axis]);
      window.start = (cells - window.length) / 2;
    } else if (how == Fit::pad) {
      window.size = std::clamp<std::int64_t>(std::llround(cells / step), 1, to[axis]);
    } else if (how == Fit::none) {
      window.size = from[axis];
    }
    windows.push_back(window);
  }
  return windows;
}

// [spatial..., C] in memory; scales each axis that its window changes. Undefined: none is.
template <class T>
std::vector<float> scale(const T* cells, Shape& spatial, std::int64_t channels,
                         const std::vector<Window>& windows) {
  std::vector<float> values;
  for (int axis = 0; axis < spatial.rank(); ++axis) {
    const Window& window = windows[static_cast<std::size_t>(axis)];
    std::int64_t outer = 1;
    std::int64_t inner = channels;
    for (int other = 0; other < spatial.rank(); ++other)
      (other < axis ? outer : inner) *= other == axis ? 1 : spatial[other];
    std::vector<float> scaled(static_cast<std::size_t>(outer * window.size * inner));
    if (values.empty())
      scale_axis(cells, scaled.data(), outer, spatial[axis], inner, window);
    else
      scale_axis(values.data(), scaled.data(), outer, spatial[axis], inner, window);
    values = std::move(scaled);
    spatial[axis] = window.size;
  }
  return values;
}

// The same for one axis of a mask: the number that the middle of each new cell lies in.
std::vector<std::uint8_t> pick(const std::vector<std::uint8_t>& cells, Shape& spatial, int axis,
                               const Window& window) {
  std::int64_t outer = 1;
  std::int64_t inner = 1;
  for (int other = 0; other < spatial.rank(); ++other)
    (other < axis ? outer : inner) *= other == axis ? 1 : spatial[other];
  const double step = window.length / static_cast<double>(window.size);
  std::vector<std::uint8_t> picked;
  picked.reserve(static_cast<std::size_t>(outer * window.size * inner));
  for (std::int64_t block = 0; block < outer; ++block) {
    for (std::int64_t o = 0; o < window.size; ++o) {
      const double centre = window.start + (static_cast<double>(o) + 0.5) * step;
      const std::int64_t cell =
          std::clamp<std::int64_t>(static_cast<std::int64_t>(centre), 0, spatial[axis] - 1);
      const auto from = cells.begin() + (block * spatial[axis] + cell) * inner;
      picked.insert(picked.end(), from, from + inner);
    }
  }
  spatial[axis] = window.size;
  return picked;
}

template <class T>
T rounded(float value) {
  if constexpr (std::is_same_v<T, float>) return value;
  return static_cast<T>(std::clamp(std::lround(value), 0L, 255L));
}

// Puts [from..., C] into the middle of zeros [to..., C], or the middle of it where it is larger.
template <class In, class Out>
void place(const In* in, const Shape& from, Out* out, const Shape& to, std::int64_t channels,
           int axis) {
  if (axis == to.rank()) {
    for (std::int64_t c = 0; c < channels; ++c) {
      if constexpr (std::is_same_v<In, Out>)
        out[c] = in[c];
      else
        out[c] = rounded<Out>(in[c]);
    }
    return;
  }
  std::int64_t in_step = channels;
  std::int64_t out_step = channels;
  for (int other = axis + 1; other < to.rank(); ++other) {
    in_step *= from[other];
    out_step *= to[other];
  }
  const std::int64_t skipped = std::max<std::int64_t>((from[axis] - to[axis]) / 2, 0);
  const std::int64_t before = std::max<std::int64_t>((to[axis] - from[axis]) / 2, 0);
  for (std::int64_t i = 0; i < std::min(from[axis], to[axis]); ++i) {
    place(in + (skipped + i) * in_step, from, out + (before + i) * out_step, to, channels,
          axis + 1);
  }
}

}  // namespace

Tensor fit(const Tensor& sample, const Shape& size, Fit how) {
  const int rank = size.rank();
  FOVEA_ASSERT(sample.rank() == rank + 1 && rank >= 1);
  const std::int64_t channels = sample.size(0);
  Shape axes;  // to channels-last
  Shape back = {rank};
  Shape spatial;
  Shape shape;
  for (int axis = 0; axis < rank; ++axis) {
    axes.push_back(axis + 1);
    back.push_back(axis);
    spatial.push_back(sample.size(axis + 1));
    shape.push_back(size[axis]);
    FOVEA_CHECK(size[axis] >= 1 && spatial[axis] >= 1, "fit: cannot scale {} to {}", sample.shape(),
                size);
  }
  axes.push_back(0);
  shape.push_back(channels);
  const Tensor cells = sample.permute(axes).contiguous();
  if (spatial == size) return cells.permute(back);
  Tensor fitted = Tensor::zeros(shape, sample.dtype());
  const auto run = [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* out = fitted.mutable_data<T>();
    if (how == Fit::none) {
      place(cells.data<T>(), spatial, out, size, channels, 0);
    } else {
      const std::vector<float> scaled =
          scale(cells.data<T>(), spatial, channels, windows_of(spatial, size, how));
      place(scaled.data(), spatial, out, size, channels, 0);
    }
  };
  if (sample.dtype() == DType::uint8)
    run(TypeTag<std::uint8_t>{});
  else
    run(TypeTag<float>{});
  return fitted.permute(back);
}

Tensor fit_mask(const Tensor& mask, const Shape& size, Fit how, std::uint8_t outside) {
  FOVEA_ASSERT(mask.rank() == size.rank() && mask.dtype() == DType::uint8);
  Shape spatial = mask.shape();
  std::vector<std::uint8_t> cells = mask.to_vector<std::uint8_t>();
  if (spatial != size && how != Fit::none) {
    const std::vector<Window> windows = windows_of(spatial, size, how);
    for (int axis = 0; axis < size.rank(); ++axis)
      cells = pick(cells, spatial, axis, windows[static_cast<std::size_t>(axis)]);
  }
  const std::vector<std::uint8_t> blank(static_cast<std::size_t>(size.numel()), outside);
  Tensor fitted = Tensor::from(blank, size);
  place(cells.data(), spatial, fitted.mutable_data<std::uint8_t>(), size, 1, 0);
  return fitted;
}

}  // namespace fovea::data
