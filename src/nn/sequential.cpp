// Layers in a row, and which of them are computed as one.
#include <fmt/format.h>

#include "autograd/trace.h"
#include "core/check.h"
#include "fovea/nn.h"
#include "nn/blame.h"

namespace fovea::nn {

void Sequential::append(std::string name, std::unique_ptr<Module> layer) {
  FOVEA_CHECK(layer != nullptr, "Sequential: cannot append a null layer");
  if (name.empty()) name = std::to_string(layers_.size());
  add_module(std::move(name), *layer);
  plan(*layer);
  layers_.push_back(std::move(layer));
}

// Adds a layer to the last step, or begins another one.
void Sequential::plan(Module& layer) {
  auto* const conv = dynamic_cast<Conv*>(&layer);
  auto* const linear = dynamic_cast<Linear*>(&layer);
  auto* const norm = dynamic_cast<BatchNorm*>(&layer);
  const auto* const function = dynamic_cast<Function*>(&layer);
  Step* const last = steps_.empty() ? nullptr : &steps_.back();
  const bool sums = last != nullptr && (last->conv != nullptr || last->linear != nullptr) &&
                    last->epilogue.activation == Activation::none;
  if (norm != nullptr && sums && last->conv != nullptr && last->norm == nullptr) {
    last->norm = norm;
    ++last->layers;
  } else if (function != nullptr && sums && function->epilogue().activation != Activation::none) {
    last->epilogue = function->epilogue();
    ++last->layers;
  } else {
    steps_.push_back({.conv = conv, .linear = linear, .epilogue = {}});
  }
}

std::string Sequential::describe() const {
  return fmt::format("Sequential({} layers)", layers_.size());
}

Tensor Sequential::run(const Step& step, const Tensor& input) {
  if (step.linear != nullptr) {
    return blaming(*step.linear, [&] {
      return linear(input, step.linear->weight, step.linear->bias, step.epilogue);
    });
  }
  return blaming(*step.conv, [&] {
    if (step.norm != nullptr) return step.norm->after(*step.conv, input, step.epilogue);
    return step.conv->with_weights(input, step.conv->weight, step.conv->bias, step.epilogue);
  });
}

Tensor Sequential::forward(const Tensor& input) {
  Tensor value = input;
  if (autograd::tracing()) {  // which describes the layers as they are
    for (const auto& layer : layers_) value = (*layer)(value);
    return value;
  }
  std::size_t first = 0;
  for (const Step& step : steps_) {
    value = step.layers == 1 ? (*layers_[first])(value) : run(step, value);
    first += step.layers;
  }
  return value;
}

}  // namespace fovea::nn
