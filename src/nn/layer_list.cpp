// The layer registry: one line per layer type, with an example. The tests iterate it, and so can
// bindings and exporters.
#include "fovea/nn.h"

namespace fovea::nn {
namespace {

using Example = std::unique_ptr<Module>;

Example conv1d_example(Generator& generator) {
  return std::make_unique<Conv1d>(2, 3, 3,
                                  ConvLayerOptions{.stride = 2,
                                                   .padding = Padding::same(),
                                                   .padding_mode = PaddingMode::reflect,
                                                   .flip = true},
                                  generator);
}

Example conv2d_example(Generator& generator) {
  return std::make_unique<Conv2d>(4, 6, Spatial{3, 2}, ConvLayerOptions{.padding = 1, .groups = 2},
                                  generator);
}

Example conv3d_example(Generator& generator) {
  return std::make_unique<Conv3d>(2, 2, 2, ConvLayerOptions{.dilation = 2, .bias = false},
                                  generator);
}

template <class Layer>
Example transposed_example(Generator& generator) {
  return std::make_unique<Layer>(
      2, 4, 3,
      ConvTransposeLayerOptions{.stride = 2, .padding = 1, .output_padding = 1, .groups = 2},
      generator);
}

Example locally_connected_example(Generator& generator) {
  return std::make_unique<LocallyConnected>(
      Shape{5, 4}, 2, 4, 2,
      ConvLayerOptions{.stride = {2, 1}, .padding = {{1, 0}, {0, 0}}, .groups = 2}, generator);
}

Example sequential_example(Generator& generator) {
  auto layers = std::make_unique<Sequential>();
  layers->add<Conv2d>("conv", 1, 2, 3, ConvLayerOptions{}, generator);
  layers->add<Tanh>("");
  layers->add<Flatten>("");
  layers->add<Linear>("linear", 8, 3, generator);
  return layers;
}

}  // namespace

const std::vector<LayerDef>& layers() {
  static const std::vector<LayerDef> list = {
      {"Conv1d", conv1d_example, {2, 2, 7}},
      {"Conv2d", conv2d_example, {2, 4, 5, 4}},
      {"Conv3d", conv3d_example, {1, 2, 4, 3, 4}},
      {"ConvTranspose1d", transposed_example<ConvTranspose1d>, {2, 2, 5}},
      {"ConvTranspose2d", transposed_example<ConvTranspose2d>, {2, 2, 3, 4}},
      {"ConvTranspose3d", transposed_example<ConvTranspose3d>, {1, 2, 2, 3, 2}},
      {"LocallyConnected", locally_connected_example, {2, 2, 5, 4}},
      {"Pad",
       [](Generator&) -> Example {
         return std::make_unique<Pad>(Padding{{1, 0}, {2, 1}},
                                      PadOptions{.mode = PaddingMode::circular});
       },
       {2, 3, 3, 4}},
      {"Linear", [](Generator& g) -> Example { return std::make_unique<Linear>(5, 3, g); }, {4, 5}},
      {"MaxPool",
       [](Generator&) -> Example { return std::make_unique<MaxPool>(2, PoolOptions{.stride = 1}); },
       {2, 3, 4, 4}},
      {"AvgPool",
       [](Generator&) -> Example {
         return std::make_unique<AvgPool>(Spatial{2, 3});
       },
       {2, 3, 4, 6}},
      {"GlobalAvgPool",
       [](Generator&) -> Example { return std::make_unique<GlobalAvgPool>(); },
       {2, 3, 4, 5}},
      {"Flatten", [](Generator&) -> Example { return std::make_unique<Flatten>(); }, {2, 3, 2, 4}},
      {"Relu", [](Generator&) -> Example { return std::make_unique<Relu>(); }, {2, 3, 4}},
      {"Sigmoid", [](Generator&) -> Example { return std::make_unique<Sigmoid>(); }, {2, 3, 4}},
      {"Tanh", [](Generator&) -> Example { return std::make_unique<Tanh>(); }, {2, 3, 4}},
      {"Softmax", [](Generator&) -> Example { return std::make_unique<Softmax>(); }, {3, 5}},
      {"Dropout", [](Generator&) -> Example { return std::make_unique<Dropout>(0.5, 1); }, {4, 8}},
      {"Sequential", sequential_example, {2, 1, 4, 4}},
  };
  return list;
}

}  // namespace fovea::nn
