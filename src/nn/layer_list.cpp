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

// A layer that needs no arguments.
template <class Layer>
Example plain(Generator&) {
  return std::make_unique<Layer>();
}

template <class Pool>
Example pool(Generator&) {
  return std::make_unique<Pool>(Spatial{2, 3});
}

// A layer that unpools what another pools: both, described as the former.
class PooledAndUnpooled : public Module {
 public:
  PooledAndUnpooled() {
    add_module("pool", pool_);
    add_module("unpool", unpool_);
  }
  std::string describe() const override { return unpool_.describe(); }

 protected:
  Tensor forward(const Tensor& input) override { return unpool_(pool_(input) * 2); }

 private:
  MaxPool pool_{{2, 3}};
  MaxUnpool unpool_{pool_};
};

// With random weights: ones and zeros would hide what they do.
Example drawn(std::unique_ptr<Norm> norm, Generator& generator) {
  init::uniform(norm->weight, 0.5, 1.5, generator);
  init::uniform(norm->bias, -1, 1, generator);
  return norm;
}

template <int Dims>
Example batch_norm(Generator& generator) {
  auto norm = std::make_unique<BatchNormNd<Dims>>(3);
  init::uniform(norm->running_mean, -1, 1, generator);
  init::uniform(norm->running_var, 0.5, 2, generator);
  return drawn(std::move(norm), generator);
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
      {"Unfold",
       [](Generator&) -> Example {
         return std::make_unique<Unfold>(
             Spatial{2, 3}, WindowOptions{.padding = 1, .padding_mode = PaddingMode::replicate});
       },
       {2, 2, 3, 4}},
      {"Fold",
       [](Generator&) -> Example {
         return std::make_unique<Fold>(Spatial{3, 4}, 2, WindowOptions{.stride = {1, 2}});
       },
       {2, 8, 4}},
      {"Linear", [](Generator& g) -> Example { return std::make_unique<Linear>(5, 3, g); }, {4, 5}},
      {"MaxPool", pool<MaxPool>, {2, 3, 4, 4}},
      {"MaxUnpool", plain<PooledAndUnpooled>, {2, 3, 5, 6}},
      {"AvgPool", pool<AvgPool>, {2, 3, 4, 4}},
      {"LpPool",
       [](Generator&) -> Example { return std::make_unique<LpPool>(3, 2); },
       {2, 3, 4, 4}},
      {"AdaptiveMaxPool",
       [](Generator&) -> Example { return std::make_unique<AdaptiveMaxPool>(2); },
       {2, 3, 5}},
      {"AdaptiveAvgPool",
       [](Generator&) -> Example {
         return std::make_unique<AdaptiveAvgPool>(Spatial{2, 3, 1});
       },
       {1, 2, 3, 4, 2}},
      {"GlobalMaxPool", plain<GlobalMaxPool>, {2, 3, 4, 5}},
      {"GlobalAvgPool", plain<GlobalAvgPool>, {2, 3, 4, 5}},
      {"Upsample",
       [](Generator&) -> Example {
         return std::make_unique<Upsample>(UpsampleOptions{.mode = Interpolation::linear});
       },
       {2, 3, 3, 2}},
      {"Flatten", plain<Flatten>, {2, 3, 2, 4}},
      {"BatchNorm1d", batch_norm<1>, {4, 3, 5}},
      {"BatchNorm2d", batch_norm<2>, {2, 3, 4, 3}},
      {"BatchNorm3d", batch_norm<3>, {2, 3, 2, 3, 2}},
      {"GroupNorm",
       [](Generator& g) -> Example { return drawn(std::make_unique<GroupNorm>(2, 4), g); },
       {2, 4, 3, 2}},
      {"InstanceNorm",
       [](Generator& g) -> Example { return drawn(std::make_unique<InstanceNorm>(3), g); },
       {2, 3, 4, 3}},
      {"LayerNorm",
       [](Generator& g) -> Example {
         return drawn(std::make_unique<LayerNorm>(Shape{3, 4}), g);
       },
       {2, 3, 4}},
      {"LocalResponseNorm",
       [](Generator&) -> Example {
         return std::make_unique<LocalResponseNorm>(3, ResponseNormOptions{.alpha = 0.5});
       },
       {2, 5, 2, 3}},
      {"Relu", plain<Relu>, {2, 3, 4}},
      {"Relu6", plain<Relu6>, {2, 3, 4}},
      {"LeakyRelu", plain<LeakyRelu>, {2, 3, 4}},
      {"Elu", plain<Elu>, {2, 3, 4}},
      {"Sigmoid", plain<Sigmoid>, {2, 3, 4}},
      {"Tanh", plain<Tanh>, {2, 3, 4}},
      {"Gelu", plain<Gelu>, {2, 3, 4}},
      {"Silu", plain<Silu>, {2, 3, 4}},
      {"Hardswish", plain<Hardswish>, {2, 3, 4}},
      {"Softplus", plain<Softplus>, {2, 3, 4}},
      {"Softmax", plain<Softmax>, {3, 5}},
      {"LogSoftmax", plain<LogSoftmax>, {3, 5}},
      {"Dropout", [](Generator&) -> Example { return std::make_unique<Dropout>(0.5, 1); }, {4, 8}},
      {"Dropout2d",
       [](Generator&) -> Example { return std::make_unique<Dropout2d>(0.5, 1); },
       {4, 8, 2, 2}},
      {"Sequential", sequential_example, {2, 1, 4, 4}},
  };
  return list;
}

}  // namespace fovea::nn
