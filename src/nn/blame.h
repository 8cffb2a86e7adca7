// Errors of a layer begin with what the layer is.
#pragma once

#include <string>
#include <string_view>

#include "core/check.h"
#include "fovea/nn.h"

namespace fovea::nn {

// body(); an error in it names `layer`, unless the layer has done so itself.
template <class Body>
Tensor blaming(const Module& layer, const Body& body) {
  try {
    return body();
  } catch (const Error& error) {
    const std::string name = layer.describe() + ": ";
    if (std::string_view(error.what()).starts_with(name)) throw;
    throw_error(name + error.what());
  }
}

}  // namespace fovea::nn
