// See torch_models.h. Activations and sums overwrite what they can, as torchvision's do.
#include "torch_models.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string_view>

namespace peers {
namespace {

using torch::Tensor;
using torch::nn::BatchNorm2d;
using torch::nn::Conv2d;
using torch::nn::Conv2dOptions;
using torch::nn::Linear;
using torch::nn::Sequential;

constexpr std::int64_t kSmallSide = 64;  // below it, networks for large pictures have other stems

Conv2d conv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride,
            std::int64_t groups = 1) {
  return Conv2d(
      Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).groups(groups).bias(false));
}

struct LeNetStyle {
  Tensor (*activation)(const Tensor&);
  Tensor (*pool)(const Tensor&);
};

struct LeNet : TorchModule {
  LeNet(const LeNetStyle& how, const TorchInput& input) : style(how) {
    conv1 = register_module("conv1", Conv2d(Conv2dOptions(input.channels, 6, 5).padding(2)));
    conv2 = register_module("conv2", Conv2d(Conv2dOptions(6, 16, 5)));
    fc1 = register_module("fc1", Linear(400, 120));
    fc2 = register_module("fc2", Linear(120, 84));
    fc3 = register_module("fc3", Linear(84, input.classes));
  }
  Tensor forward(Tensor x) override {
    x = style.pool(style.activation(conv1(x)));
    x = style.pool(style.activation(conv2(x)));
    x = style.activation(fc1(x.flatten(1)));
    return fc3(style.activation(fc2(x)));
  }

  LeNetStyle style;
  Conv2d conv1{nullptr}, conv2{nullptr};
  Linear fc1{nullptr}, fc2{nullptr}, fc3{nullptr};
};

struct BasicBlock : torch::nn::Module {
  BasicBlock(std::int64_t in, std::int64_t out, std::int64_t stride) {
    conv1 = register_module("conv1", conv(in, out, 3, stride));
    bn1 = register_module("bn1", BatchNorm2d(out));
    conv2 = register_module("conv2", conv(out, out, 3, 1));
    bn2 = register_module("bn2", BatchNorm2d(out));
    if (in != out || stride != 1) {
      downsample =
          register_module("downsample", Sequential(conv(in, out, 1, stride), BatchNorm2d(out)));
    }
  }
  Tensor forward(const Tensor& x) {
    Tensor y = bn1(conv1(x)).relu_();
    y = bn2(conv2(y));
    y += downsample.is_empty() ? x : downsample->forward(x);
    return y.relu_();
  }

  Conv2d conv1{nullptr}, conv2{nullptr};
  BatchNorm2d bn1{nullptr}, bn2{nullptr};
  Sequential downsample{nullptr};
};

struct ResNet18 : TorchModule {
  explicit ResNet18(const TorchInput& input) : small(input.side < kSmallSide) {
    conv1 = register_module("conv1", conv(input.channels, 64, small ? 3 : 7, small ? 1 : 2));
    bn1 = register_module("bn1", BatchNorm2d(64));
    std::int64_t in = 64;
    for (std::size_t stage = 0; stage < stages.size(); ++stage) {
      const std::int64_t out = std::int64_t{64} << stage;
      Sequential blocks;
      blocks->push_back(std::make_shared<BasicBlock>(in, out, stage == 0 ? 1 : 2));
      blocks->push_back(std::make_shared<BasicBlock>(out, out, 1));
      stages[stage] = register_module("layer" + std::to_string(stage + 1), blocks);
      in = out;
    }
    fc = register_module("fc", Linear(in, input.classes));
  }
  Tensor forward(Tensor x) override {
    x = bn1(conv1(x)).relu_();
    if (!small) x = torch::max_pool2d(x, 3, 2, 1);
    for (Sequential& stage : stages) x = stage->forward(x);
    return fc(torch::adaptive_avg_pool2d(x, {1, 1}).flatten(1));
  }

  bool small;
  Conv2d conv1{nullptr};
  BatchNorm2d bn1{nullptr};
  std::array<Sequential, 4> stages{{nullptr, nullptr, nullptr, nullptr}};
  Linear fc{nullptr};
};

// Convolution, batch normalisation, ReLU6.
struct Unit : torch::nn::Module {
  Unit(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride,
       std::int64_t groups) {
    layer = register_module("0", conv(in, out, kernel, stride, groups));
    norm = register_module("1", BatchNorm2d(out));
  }
  Tensor forward(const Tensor& x) {
    Tensor y = norm(layer(x));
    return torch::hardtanh_(y, 0, 6);
  }

  Conv2d layer{nullptr};
  BatchNorm2d norm{nullptr};
};

struct InvertedResidual : torch::nn::Module {
  InvertedResidual(std::int64_t in, std::int64_t out, std::int64_t stride, std::int64_t expansion)
      : shortcut(stride == 1 && in == out) {
    const std::int64_t wide = expansion * in;
    if (expansion != 1) layers->push_back(std::make_shared<Unit>(in, wide, 1, 1, 1));
    layers->push_back(std::make_shared<Unit>(wide, wide, 3, stride, wide));
    layers->push_back(conv(wide, out, 1, 1));
    layers->push_back(BatchNorm2d(out));
    register_module("conv", layers);
  }
  Tensor forward(const Tensor& x) {
    const Tensor y = layers->forward(x);
    return shortcut ? x + y : y;
  }

  bool shortcut;
  Sequential layers;
};

struct MobileNetV2 : TorchModule {
  explicit MobileNetV2(const TorchInput& input) {
    struct Row {
      std::int64_t expansion, channels;
      int blocks;
      std::int64_t stride;
    };
    constexpr std::array<Row, 7> kRows = {{{1, 16, 1, 1},
                                           {6, 24, 2, 2},
                                           {6, 32, 3, 2},
                                           {6, 64, 4, 2},
                                           {6, 96, 3, 1},
                                           {6, 160, 3, 2},
                                           {6, 320, 1, 1}}};
    constexpr std::int64_t kLast = 1280;
    std::int64_t in = 32;
    features->push_back(
        std::make_shared<Unit>(input.channels, in, 3, input.side < kSmallSide ? 1 : 2, 1));
    for (const Row& row : kRows) {
      for (int i = 0; i < row.blocks; ++i) {
        features->push_back(std::make_shared<InvertedResidual>(
            in, row.channels, i == 0 ? row.stride : 1, row.expansion));
        in = row.channels;
      }
    }
    features->push_back(std::make_shared<Unit>(in, kLast, 1, 1, 1));
    classifier->push_back(torch::nn::Dropout(0.2));
    classifier->push_back(Linear(kLast, input.classes));
    register_module("features", features);
    register_module("classifier", classifier);
  }
  Tensor forward(Tensor x) override {
    return classifier->forward(torch::adaptive_avg_pool2d(features->forward(x), {1, 1}).flatten(1));
  }

  Sequential features;
  Sequential classifier;
};

struct Architecture {
  std::string_view name;
  std::shared_ptr<TorchModule> (*build)(const TorchInput& input);
};

template <class Net>
std::shared_ptr<TorchModule> build_one(const TorchInput& input) {
  return std::make_shared<Net>(input);
}

const std::array<Architecture, 4> kArchitectures = {{
    {"lenet5",
     [](const TorchInput& input) -> std::shared_ptr<TorchModule> {
       return std::make_shared<LeNet>(
           LeNetStyle{[](const Tensor& x) { return torch::relu(x); },
                      [](const Tensor& x) { return torch::max_pool2d(x, 2); }},
           input);
     }},
    {"lenet5_1998",
     [](const TorchInput& input) -> std::shared_ptr<TorchModule> {
       return std::make_shared<LeNet>(
           LeNetStyle{[](const Tensor& x) { return torch::sigmoid(x); },
                      [](const Tensor& x) { return torch::avg_pool2d(x, 2); }},
           input);
     }},
    {"resnet18", build_one<ResNet18>},
    {"mobilenet_v2", build_one<MobileNetV2>},
}};

}  // namespace

bool has_torch_module(const std::string& architecture) {
  return std::any_of(kArchitectures.begin(), kArchitectures.end(),
                     [&](const Architecture& one) { return one.name == architecture; });
}

std::shared_ptr<TorchModule> build_torch_module(const std::string& architecture,
                                                const TorchInput& input) {
  for (const Architecture& one : kArchitectures) {
    if (one.name == architecture) return one.build(input);
  }
  throw std::runtime_error("fovea-peers has no '" + architecture + "' in libtorch");
}

}  // namespace peers
