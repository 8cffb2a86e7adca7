// The networks, by name.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "fovea/export.h"
#include "fovea/nn.h"

namespace fovea::models {

struct Options {
  std::int64_t classes = 10;
  std::uint64_t seed = 1;  // of the initial weights
};

// LeNet-5 as it is built today [D section 6]: two 5x5 convolutions (6 and 16 channels), ReLU, max
// pooling, three linear layers. [N, 1, 28, 28] -> logits [N, classes].
FOVEA_API nn::Model lenet5(const Options& options = {});
// LeNet-5 close to LeCun et al., 1998: sigmoid and average pooling.
FOVEA_API nn::Model lenet5_1998(const Options& options = {});

struct ModelDef {
  std::string_view name;
  std::string_view summary;
  nn::Model (*build)(const Options& options);
};
FOVEA_API std::span<const ModelDef> list();
// Throws Error that lists the names if there is none called `name`.
FOVEA_API nn::Model build(std::string_view name, const Options& options = {});

}  // namespace fovea::models
