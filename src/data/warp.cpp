// See warp.h.
#include "data/warp.h"

#include <algorithm>
#include <cmath>

#include "fovea/data.h"

namespace fovea::data {
namespace {

// Calls body(offset) for each cell of all axes but `skip_a` and `skip_b`.
template <class Body>
void for_others(const SampleView& sample, int skip_a, int skip_b, const Body& body) {
  std::int64_t count = 1;
  for (int axis = 0; axis < sample.dims(); ++axis)
    if (axis != skip_a && axis != skip_b) count *= sample.size[axis];
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t rest = i;
    std::int64_t offset = 0;
    for (int axis = sample.dims() - 1; axis >= 0; --axis) {
      if (axis == skip_a || axis == skip_b) continue;
      offset += rest % sample.size[axis] * sample.stride(axis);
      rest /= sample.size[axis];
    }
    body(offset);
  }
}

// The values of a sample, or its mask: `width` of them for each cell.
template <class T>
struct Part {
  std::span<T> values;
  std::int64_t width;
  const T* outside;
};

template <class Body>
void for_parts(SampleView& sample, const Body& body) {
  body(Part<float>{
      .values = sample.values, .width = sample.channels, .outside = sample.background.data()});
  if (!sample.mask.empty())
    body(Part<std::int64_t>{.values = sample.mask, .width = 1, .outside = &kIgnored});
}

// One of the two cells between which a place lies, and its weight.
struct Tap {
  std::int64_t cell = 0;
  float weight = 0;
  bool inside = true;
};

Tap tap_at(double place, int side, std::int64_t size, Outside outside) {
  const double low = std::floor(place);
  const double part = place - low;
  Tap tap{.cell = static_cast<std::int64_t>(low) + side,
          .weight = static_cast<float>(side == 0 ? 1 - part : part)};
  if (outside == Outside::edge) tap.cell = std::clamp<std::int64_t>(tap.cell, 0, size - 1);
  tap.inside = tap.cell >= 0 && tap.cell < size;
  return tap;
}

}  // namespace

std::int64_t SampleView::stride(int axis) const {
  std::int64_t stride = channels;
  for (int i = axis + 1; i < size.rank(); ++i) stride *= size[i];
  return stride;
}

void mirror(SampleView& sample, int axis) {
  const std::int64_t size = sample.size[axis];
  for_parts(sample, [&](auto part) {
    const std::int64_t stride = sample.stride(axis) / sample.channels * part.width;
    for_others(sample, axis, axis, [&](std::int64_t offset) {
      auto* line = part.values.data() + offset / sample.channels * part.width;
      for (std::int64_t i = 0; i < size / 2; ++i) {
        auto* cell = line + i * stride;
        std::swap_ranges(cell, cell + part.width, line + (size - 1 - i) * stride);
      }
    });
  });
}

void translate(SampleView& sample, const Shape& offset) {
  const int last = sample.dims() - 1;
  const std::int64_t size = sample.size[last];
  const std::int64_t first = std::max<std::int64_t>(0, offset[last]);  // where it goes to
  const std::int64_t end = std::min(size, size + offset[last]);
  for_parts(sample, [&](auto part) {
    const std::vector before(part.values.begin(), part.values.end());
    for (std::size_t i = 0; i < before.size(); i += static_cast<std::size_t>(part.width))
      std::copy_n(part.outside, part.width, part.values.data() + i);
    if (first >= end) return;
    for_others(sample, last, last, [&](std::int64_t target) {
      std::int64_t source = target;
      for (int axis = 0; axis < last; ++axis) {
        const std::int64_t stride = sample.stride(axis);
        const std::int64_t place = target / stride % sample.size[axis] - offset[axis];
        if (place < 0 || place >= sample.size[axis]) return;
        source -= offset[axis] * stride;
      }
      const std::int64_t from = source / sample.channels + first - offset[last];
      const std::int64_t to = target / sample.channels + first;
      std::copy_n(before.data() + from * part.width, (end - first) * part.width,
                  part.values.data() + to * part.width);
    });
  });
}

void warp(SampleView& sample, int y_axis, int x_axis, const Affine& map, Outside outside) {
  const std::vector<float> before(sample.values.begin(), sample.values.end());
  const std::vector<std::int64_t> mask(sample.mask.begin(), sample.mask.end());
  const std::int64_t height = sample.size[y_axis];
  const std::int64_t width = sample.size[x_axis];
  const std::int64_t y_stride = sample.stride(y_axis);
  const std::int64_t x_stride = sample.stride(x_axis);
  const auto channels = static_cast<std::size_t>(sample.channels);
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      const auto row = static_cast<double>(y);
      const auto column = static_cast<double>(x);
      const double from_y = map.yy * row + map.yx * column + map.y0;
      const double from_x = map.xy * row + map.xx * column + map.x0;
      const Tap rows[] = {tap_at(from_y, 0, height, outside), tap_at(from_y, 1, height, outside)};
      const Tap columns[] = {tap_at(from_x, 0, width, outside), tap_at(from_x, 1, width, outside)};
      for_others(sample, y_axis, x_axis, [&](std::int64_t offset) {
        float* out = sample.values.data() + offset + y * y_stride + x * x_stride;
        std::fill_n(out, channels, 0.0F);
        for (const Tap& tap_y : rows) {
          for (const Tap& tap_x : columns) {
            const float weight = tap_y.weight * tap_x.weight;
            const float* in =
                tap_y.inside && tap_x.inside
                    ? before.data() + offset + tap_y.cell * y_stride + tap_x.cell * x_stride
                    : sample.background.data();
            for (std::size_t c = 0; c < channels; ++c) out[c] += weight * in[c];
          }
        }
      });
      if (mask.empty()) continue;
      const Tap& near_y = rows[rows[0].weight >= rows[1].weight ? 0 : 1];
      const Tap& near_x = columns[columns[0].weight >= columns[1].weight ? 0 : 1];
      for_others(sample, y_axis, x_axis, [&](std::int64_t offset) {
        const auto cell = [&](std::int64_t at_y, std::int64_t at_x) {
          return static_cast<std::size_t>((offset + at_y * y_stride + at_x * x_stride) /
                                          sample.channels);
        };
        sample.mask[cell(y, x)] =
            near_y.inside && near_x.inside ? mask[cell(near_y.cell, near_x.cell)] : kIgnored;
      });
    }
  }
}

}  // namespace fovea::data
