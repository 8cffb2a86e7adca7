// The list of networks. To add one: its file, its declaration in fovea/models.h, and a line here.
#include "fovea/models.h"

#include <fmt/ranges.h>

#include <vector>

#include "core/abstract_scope.h"
#include "core/check.h"

namespace fovea::models {
namespace {

constexpr ModelDef kModels[] = {
    {"lenet5", "LeNet-5 as built today: ReLU and max pooling", lenet5},
    {"lenet5_1998", "LeNet-5 close to 1998: sigmoid and average pooling", lenet5_1998},
    {"alexnet", "AlexNet of 2014, one column", alexnet},
    {"alexnet_2012", "AlexNet of 2012: two columns, local response normalisation", alexnet_2012},
    {"vgg11", "VGG with 8 convolutions", vgg11},
    {"vgg11_bn", "VGG-11 with batch normalisation", vgg11_bn},
    {"vgg13", "VGG with 10 convolutions", vgg13},
    {"vgg13_bn", "VGG-13 with batch normalisation", vgg13_bn},
    {"vgg16", "VGG with 13 convolutions", vgg16},
    {"vgg16_bn", "VGG-16 with batch normalisation", vgg16_bn},
    {"vgg19", "VGG with 16 convolutions", vgg19},
    {"vgg19_bn", "VGG-19 with batch normalisation", vgg19_bn},
    {"googlenet", "GoogLeNet: inception blocks", googlenet},
    {"resnet18", "ResNet of 18 layers", resnet18},
    {"resnet34", "ResNet of 34 layers", resnet34},
    {"resnet50", "ResNet of 50 layers, with bottlenecks", resnet50},
    {"resnet20", "ResNet of 20 layers for CIFAR-10", resnet20},
    {"resnet32", "ResNet of 32 layers for CIFAR-10", resnet32},
    {"resnet56", "ResNet of 56 layers for CIFAR-10", resnet56},
    {"mobilenet_v1", "MobileNet: depthwise-separable convolutions", mobilenet_v1},
    {"mobilenet_v2", "MobileNetV2: inverted residuals", mobilenet_v2},
    {"unet", "U-Net: a class for each pixel", unet},
    {"audio1d", "sounds as waveforms", audio1d},
    {"audio2d", "sounds as spectrograms", audio2d},
    {"sensors1d", "series of several sensors", sensors1d},
    {"volume3d", "volumes: a small residual network", volume3d},
};

}  // namespace

std::span<const ModelDef> list() {
  return kModels;
}

nn::Model build(std::string_view name, const Options& options) {
  std::vector<std::string_view> names;
  for (const ModelDef& model : kModels) {
    if (model.name == name) return model.build(options);
    names.push_back(model.name);
  }
  throw_error(
      fmt::format("models: there is no network '{}'; known: {}", name, fmt::join(names, ", ")));
}

nn::Model sketch(std::string_view name, const Options& options) {
  const AbstractScope shapes_only;
  return build(name, options);
}

}  // namespace fovea::models
