// The weights of a module by name, compared with those of a file.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "fovea/nn.h"
#include "fovea/save.h"

namespace fovea {

// Parameters, then buffers.
std::vector<nn::NamedTensor> weights_of(const nn::Module& module);

LoadReport compare(const std::vector<nn::NamedTensor>& weights,
                   const std::map<std::string, Tensor>& tensors);

}  // namespace fovea
