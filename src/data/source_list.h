// How each source is opened, and the options that it has; sources.cpp lists them.
#pragma once

#include <memory>
#include <vector>

#include "data/arguments.h"
#include "data/fit.h"
#include "data/split_source.h"
#include "fovea/data.h"

namespace fovea::data {

std::shared_ptr<const Source> open_fashion_mnist(const Arguments& arguments);
std::shared_ptr<const Source> open_mnist(const Arguments& arguments);
std::shared_ptr<const Source> open_cifar10(const Arguments& arguments);
std::shared_ptr<const Source> open_cifar100(const Arguments& arguments);
std::shared_ptr<const Source> open_images(const Arguments& arguments);
std::shared_ptr<const Source> open_masks(const Arguments& arguments);
std::shared_ptr<const Source> open_sounds(const Arguments& arguments);
std::shared_ptr<const Source> open_volumes(const Arguments& arguments);
std::shared_ptr<const Source> open_series(const Arguments& arguments);

std::vector<SourceOption> image_options();
std::vector<SourceOption> mask_options();
std::vector<SourceOption> sound_options();
std::vector<SourceOption> volume_options();
std::vector<SourceOption> series_options();

// The option "resize", of sources that give their samples a size.
SourceOption fit_option();
Fit fit_from(const Arguments& arguments);

}  // namespace fovea::data
