// Images of files, made one size.
#pragma once

#include <string>

#include "data/arguments.h"
#include "data/fit.h"
#include "fovea/readers.h"

namespace fovea::data {

// The options of image_options().
ImageOptions image_options_from(const Arguments& arguments);

// What to do where sizes differ.
inline constexpr const char* kImageAdvice =
    "; size=64 (or HxW) gives all of them one size, channels=1 or 3 the same channels";

}  // namespace fovea::data
