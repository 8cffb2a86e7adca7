// Geometry of one sample in channels-last memory [spatial..., C].
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fovea/shape.h"

namespace fovea::data {

// A sample that augmentations change in place, with its mask, where it has one: what comes in from
// outside is the background, and belongs to no class.
struct SampleView {
  Shape size;  // spatial
  std::int64_t channels = 1;
  std::span<float> values;
  std::span<const float> background;  // of each channel
  std::span<std::int64_t> mask = {};  // of each cell

  int dims() const { return size.rank(); }
  // Elements from one cell to the next along `axis`.
  std::int64_t stride(int axis) const;
};

void mirror(SampleView& sample, int axis);

// Moves the content by so many cells along each axis; the background comes in.
void translate(SampleView& sample, const Shape& offset);

// Where output cell (y, x) of a plane reads: (yy y + yx x + y0, xy y + xx x + x0).
struct Affine {
  double yy = 1, yx = 0, y0 = 0;
  double xy = 0, xx = 1, x0 = 0;
};
enum class Outside : std::uint8_t { background, edge };
// Reads every plane of the axes `y` and `x` through the map, with bilinear interpolation; of a mask
// the nearest cell.
void warp(SampleView& sample, int y, int x, const Affine& map, Outside outside);

}  // namespace fovea::data
