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
  std::int64_t classes = 0;  // 0: as published
  std::uint64_t seed = 1;    // of the initial weights
  Shape input = {};          // one sample, [C, spatial...]; empty: as published
  double width = 1;          // factor of the channels within the network, in steps of 8 channels
};

// LeNet-5 as it is built today [D section 6]: two 5x5 convolutions (6 and 16 channels), ReLU, max
// pooling, three linear layers. [N, 1, 28, 28] -> logits [N, classes].
FOVEA_API nn::Model lenet5(const Options& options = {});
// LeNet-5 close to LeCun et al., 1998: sigmoid and average pooling.
FOVEA_API nn::Model lenet5_1998(const Options& options = {});

// AlexNet as torchvision has it (Krizhevsky, "One weird trick", 2014), and as in 2012 with groups
// and local response normalisation [D section 6]. [N, 3, 224, 224] -> [N, classes].
FOVEA_API nn::Model alexnet(const Options& options = {});
FOVEA_API nn::Model alexnet_2012(const Options& options = {});

// VGG (Simonyan and Zisserman, 2014) [C]: repeated 3x3 blocks. [N, 3, 224, 224] -> [N, classes].
FOVEA_API nn::Model vgg11(const Options& options = {});
FOVEA_API nn::Model vgg11_bn(const Options& options = {});
FOVEA_API nn::Model vgg13(const Options& options = {});
FOVEA_API nn::Model vgg13_bn(const Options& options = {});
FOVEA_API nn::Model vgg16(const Options& options = {});
FOVEA_API nn::Model vgg16_bn(const Options& options = {});
FOVEA_API nn::Model vgg19(const Options& options = {});
FOVEA_API nn::Model vgg19_bn(const Options& options = {});

// GoogLeNet with batch normalisation (Szegedy et al., 2014) [C]: inception blocks; without the
// auxiliary classifiers. [N, 3, 224, 224] -> [N, classes].
FOVEA_API nn::Model googlenet(const Options& options = {});

// Residual networks (He et al., 2015) [D section 7]. [N, 3, 224, 224] -> [N, classes]; sides below
// 64 get a 3x3 stem without pooling.
FOVEA_API nn::Model resnet18(const Options& options = {});
FOVEA_API nn::Model resnet34(const Options& options = {});
FOVEA_API nn::Model resnet50(const Options& options = {});
// Those for CIFAR-10. [N, 3, 32, 32] -> [N, classes].
FOVEA_API nn::Model resnet20(const Options& options = {});
FOVEA_API nn::Model resnet32(const Options& options = {});
FOVEA_API nn::Model resnet56(const Options& options = {});

// MobileNet (Howard et al., 2017; Sandler et al., 2018) [C]: depthwise-separable blocks. [N, 3,
// 224, 224] -> [N, classes]; sides below 64 get a first stride of 1.
FOVEA_API nn::Model mobilenet_v1(const Options& options = {});
FOVEA_API nn::Model mobilenet_v2(const Options& options = {});

// U-Net (Ronneberger et al., 2015) [A] with padded convolutions: a class per pixel. [N, C, H, W] ->
// [N, classes, H, W], H and W multiples of 16.
FOVEA_API nn::Model unet(const Options& options = {});

// Sounds [A]: a waveform (M5 of Dai et al., 2016) [N, 1, samples], and a spectrogram [N, 1, bands,
// frames] -> [N, classes].
FOVEA_API nn::Model audio1d(const Options& options = {});
FOVEA_API nn::Model audio2d(const Options& options = {});
// Series of several sensors [A] (Wang, Yan and Oates, 2016). [N, C, steps] -> [N, classes].
FOVEA_API nn::Model sensors1d(const Options& options = {});
// Volumes [A]: a small residual network. [N, C, depth, height, width] -> [N, classes].
FOVEA_API nn::Model volume3d(const Options& options = {});

// A network from a text with a line per layer (docs/networks.md). Of the options, width is not
// known to it. `file` is what messages call the text, with the number of the line. Throws Error.
FOVEA_API nn::Model described(const std::string& text, const std::string& file,
                              const Options& options = {});
FOVEA_API nn::Model read_network(const std::string& path, const Options& options = {});
// The architecture of such a network; its text is the option "text".
inline constexpr std::string_view kDescribed = "described";

struct ModelDef {
  std::string_view name;
  std::string_view summary;
  nn::Model (*build)(const Options& options);
};
FOVEA_API std::span<const ModelDef> list();
// Throws Error that lists the names if there is none called `name`.
FOVEA_API nn::Model build(std::string_view name, const Options& options = {});
// The same without memory for weights: to look at its shapes.
FOVEA_API nn::Model sketch(std::string_view name, const Options& options = {});

}  // namespace fovea::models
