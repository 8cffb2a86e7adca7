// LeNet-5 (LeCun et al., "Gradient-based learning applied to document recognition", 1998) [D
// section 6]: two rounds of convolution and pooling, then three linear layers; 61,706 parameters
// for ten classes.
//
//   1x28x28 -conv 5x5, padding 2-> 6x28x28 -pool-> 6x14x14 -conv 5x5-> 16x10x10 -pool-> 16x5x5 =
//   400 -> 120 -> 84 -> classes
//
// The older form squashes with sigmoids, whose slope is at most 1/4. It trains from Xavier's
// weights and zero biases; from the uniform start of the layers its gradients fade on their way to
// the first layer.
#include <utility>

#include "core/check.h"
#include "fovea/models.h"

namespace fovea::models {
namespace {

template <class Activation, class Pool>
std::shared_ptr<nn::Sequential> build_layers(const Options& options) {
  FOVEA_CHECK(options.classes > 0, "lenet5: needs at least one class, but got classes={}",
              options.classes);
  Generator generator{.seed = options.seed};
  auto net = std::make_shared<nn::Sequential>();
  net->add<nn::Conv2d>("conv1", 1, 6, 5, nn::ConvLayerOptions{.padding = 2}, generator);
  net->add<Activation>("act1");
  net->add<Pool>("pool1", 2);
  net->add<nn::Conv2d>("conv2", 6, 16, 5, nn::ConvLayerOptions{}, generator);
  net->add<Activation>("act2");
  net->add<Pool>("pool2", 2);
  net->add<nn::Flatten>("flatten");
  net->add<nn::Linear>("fc1", 400, 120, generator);
  net->add<Activation>("act3");
  net->add<nn::Linear>("fc2", 120, 84, generator);
  net->add<Activation>("act4");
  net->add<nn::Linear>("fc3", 84, options.classes, generator);
  return net;
}

void restart_for_sigmoid(nn::Module& net, std::uint64_t seed) {
  Generator generator{.seed = seed};
  for (nn::NamedTensor& parameter : net.named_parameters()) {
    if (parameter.tensor.rank() == 1) {
      parameter.tensor.fill(0);
    } else {
      nn::init::xavier_uniform(parameter.tensor, generator);
    }
  }
}

nn::Model with_info(std::shared_ptr<nn::Module> net, std::string architecture,
                    const Options& options) {
  nn::ModelInfo info;
  info.architecture = std::move(architecture);
  info.options = {{"classes", std::to_string(options.classes)},
                  {"seed", std::to_string(options.seed)}};
  info.input = {1, 28, 28};
  return {std::move(net), std::move(info)};
}

}  // namespace

nn::Model lenet5(const Options& options) {
  return with_info(build_layers<nn::Relu, nn::MaxPool>(options), "lenet5", options);
}

nn::Model lenet5_1998(const Options& options) {
  auto net = build_layers<nn::Sigmoid, nn::AvgPool>(options);
  restart_for_sigmoid(*net, options.seed);
  return with_info(std::move(net), "lenet5_1998", options);
}

}  // namespace fovea::models
