// Images of files, made one size.
#pragma once

#include <string>

#include "data/arguments.h"
#include "data/fit.h"
#include "fovea/tensor.h"

namespace fovea::data {

struct ImageOptions {
  Shape size;  // [height, width]; empty: as it is
  Fit resize = Fit::crop;
  std::int64_t channels = 0;  // 0: as it is
};
// The options of image_options().
ImageOptions image_options_from(const Arguments& arguments);
// PNG or JPEG: uint8 [C, H, W].
Tensor read_sized_image(const std::string& path, const ImageOptions& options);

// What to do where sizes differ.
inline constexpr const char* kImageAdvice =
    "; size=64 (or HxW) gives all of them one size, channels=1 or 3 the same channels";

}  // namespace fovea::data
