// Pictures of samples (PNG) and of a training (SVG).
#pragma once

#include <fovea/fovea.h>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "scoring.h"
#include "support.h"

namespace cli {

// A sample in channels-last order, normalised with mean and stddev, as an image: uint8 [1 or 3, H,
// W]. Of volumes the middle slice, of other channels the first, of signals a plot of the first.
fovea::Tensor picture_of(std::span<const float> values, const fovea::Shape& shape,
                         const std::vector<double>& mean, const std::vector<double>& stddev);
// The same of a sample of a data set, with its mask, where it has one, in colours.
fovea::Tensor picture_of(const fovea::data::Dataset& dataset, std::int64_t index);

// A picture as `picture_of` gives it, with the classes of its pixels in colours over it: none for
// the first class, grey where there is none.
fovea::Tensor with_mask(const fovea::Tensor& picture, std::span<const std::int64_t> mask);
// Which colours those are, for people.
std::string mask_colours(const std::vector<std::string>& classes);

// Pictures of one size in rows of `columns`, small ones enlarged, with white between them: uint8
// [1 or 3, H, W].
fovea::Tensor sheet_of(const std::vector<fovea::Tensor>& pictures, std::int64_t columns);

// Loss and accuracy over the epochs of a log: one object per line.
std::string curves_svg(const std::string& log);
// Rows are labels, columns predictions; shades are shares of the row.
std::string confusion_svg(const Confusion& confusion, const std::vector<std::string>& classes);

}  // namespace cli
