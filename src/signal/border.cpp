// Padding an image before it is convolved: every cell of the padded image is a copy of one pixel.
#include "signal/border.h"

#include <algorithm>

#include "core/check.h"
#include "core/dispatch.h"
#include "core/tensor_impl.h"
#include "fovea/executor.h"
#include "fovea/functions.h"

namespace fovea::signal {
namespace {

using filters::Border;

// The pixel that each cell of a padded axis repeats.
std::vector<std::int64_t> pixels(std::string_view op, std::int64_t size, const Sides& sides,
                                 Border border) {
  FOVEA_CHECK(
      border != Border::reflect || std::max(sides.before, sides.after) < size,
      "{}: an axis of {} pixels cannot be mirrored (reflect) {} pixels deep, only {}. Use a "
      "smaller kernel, or replicate.",
      op, size, std::max(sides.before, sides.after), size - 1);
  std::vector<std::int64_t> result;
  for (std::int64_t cell = -sides.before; cell < size + sides.after; ++cell) {
    std::int64_t pixel = std::clamp<std::int64_t>(cell, 0, size - 1);
    if (border == Border::reflect) pixel = size - 1 - std::abs(size - 1 - std::abs(cell));
    if (border == Border::circular) pixel = (cell % size + size) % size;
    result.push_back(pixel);
  }
  return result;
}

template <class T>
Tensor copy_padded(const Tensor& image, const std::vector<std::int64_t>& rows,
                   const std::vector<std::int64_t>& columns) {
  const Tensor source = dense(image, Layout::channels_last);
  const std::int64_t channels = image.size(1);
  const auto height = static_cast<std::int64_t>(rows.size());
  const auto width = static_cast<std::int64_t>(columns.size());
  Tensor result =
      Tensor::empty({image.size(0), channels, height, width}, image.dtype(), Layout::channels_last);
  const T* from = source.data<T>();
  T* to = writable<T>(result);
  const std::int64_t grain = std::max<std::int64_t>(1, (1 << 14) / (width * channels));
  parallel_ranges(image.size(0) * height, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const T* row =
          from + (i / height * image.size(2) + rows[static_cast<std::size_t>(i % height)]) *
                     image.size(3) * channels;
      T* out = to + i * width * channels;
      for (const std::int64_t column : columns)
        out = std::copy_n(row + column * channels, channels, out);
    }
  });
  return result;
}

}  // namespace

Tensor conv_with_border(std::string_view op, const Tensor& image, const Tensor& weight,
                        const std::vector<Sides>& sides, Border border) {
  const std::int64_t groups = weight.size(0);
  if (border == Border::zeros) {
    return conv2d(image, weight, {}, {.padding = Padding(sides), .groups = groups});
  }
  const auto rows = pixels(op, image.size(2), sides[0], border);
  const auto columns = pixels(op, image.size(3), sides[1], border);
  const Tensor padded = dispatch_floating(image.dtype(), [&](auto tag) {
    return copy_padded<typename decltype(tag)::type>(image, rows, columns);
  });
  return conv2d(padded, weight, {}, {.groups = groups});
}

}  // namespace fovea::signal
