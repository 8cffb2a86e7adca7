// The classic image filters [B, E], as convolutions with weights that are known beforehand. Images
// are [H, W] or [N, C, H, W], float32 or float64; every channel is filtered alone, and results have
// the image's size: `border` says what lies beyond the edges.
#pragma once

#include <cstdint>

#include "fovea/conv.h"
#include "fovea/export.h"
#include "fovea/tensor.h"

namespace fovea::filters {

struct GaussianOptions {
  double sigma = 1;       // standard deviation, in pixels
  std::int64_t size = 0;  // of the kernel; 0: as far as four sigma on each side
  PaddingMode border = PaddingMode::reflect;
};
// Blur with weights e^(-d^2 / (2 sigma^2)) that sum to one [B]; one dimension at a time.
FOVEA_API Tensor gaussian(const Tensor& image, const GaussianOptions& options = {});

struct BoxOptions {
  std::int64_t size = 3;
  PaddingMode border = PaddingMode::reflect;
};
// The mean over squares of size x size pixels [E]. An even square reaches one pixel further right
// and down than left and up.
FOVEA_API Tensor box(const Tensor& image, const BoxOptions& options = {});

// How fast the image gets brighter to the right or downwards, eight times the slope, with Sobel's
// weights [B]: 1 2 1 across, -1 0 1 along.
FOVEA_API Tensor sobel_x(const Tensor& image, PaddingMode border = PaddingMode::reflect);
FOVEA_API Tensor sobel_y(const Tensor& image, PaddingMode border = PaddingMode::reflect);
// sqrt(sobel_x^2 + sobel_y^2): large at edges [B].
FOVEA_API Tensor gradient_magnitude(const Tensor& image, PaddingMode border = PaddingMode::reflect);
// The sum of the second differences along both axes: the four neighbours less four times the pixel.
// (The kernel of [E] is its negative.)
FOVEA_API Tensor laplacian(const Tensor& image, PaddingMode border = PaddingMode::reflect);

// How well a template fits at every place where it lies inside of the image: the correlation
// coefficient of the two, from -1 to 1 (J. P. Lewis, "Fast normalized cross-correlation", 1995);
// 0 where the image is flat. image [H, W], pattern [h, w] -> [H-h+1, W-w+1], or image [N, C, H, W],
// pattern [C, h, w] -> [N, 1, H-h+1, W-w+1] over all channels together.
FOVEA_API Tensor match_template(const Tensor& image, const Tensor& pattern);

}  // namespace fovea::filters
