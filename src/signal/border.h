// Convolution of images whose borders are no zeros.
#pragma once

#include <string_view>
#include <vector>

#include "fovea/conv.h"
#include "fovea/filters.h"

namespace fovea::signal {

// Depthwise: image [N, C, H, W], weight [C, 1, h, w] -> [N, C, ...], after padding H and W with
// `sides` as `border` says. Throws Error, naming `op`, if the image is too small to be mirrored.
Tensor conv_with_border(std::string_view op, const Tensor& image, const Tensor& weight,
                        const std::vector<Sides>& sides, filters::Border border);

}  // namespace fovea::signal
