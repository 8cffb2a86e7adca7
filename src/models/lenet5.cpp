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
#include "models/build.h"

namespace fovea::models {
namespace {

template <class Activation, class Pool>
std::shared_ptr<nn::Sequential> build_layers(Builder& build) {
  // Behind a padded convolution, a pooling, an unpadded convolution and a pooling.
  const auto pooled = [](std::int64_t size) { return (size / 2 - 4) / 2; };
  const std::int64_t height = pooled(build.input()[1]);
  const std::int64_t width = pooled(build.input()[2]);
  FOVEA_CHECK(height > 0 && width > 0, "lenet5: needs samples of at least 12x12, but got {}x{}",
              build.input()[1], build.input()[2]);
  const std::int64_t maps1 = build.widened(6);
  const std::int64_t maps2 = build.widened(16);
  const std::int64_t hidden1 = build.widened(120);
  const std::int64_t hidden2 = build.widened(84);
  const std::int64_t features = maps2 * height * width;
  if (height != 5 || width != 5)
    build.adapted(fmt::format("its first linear layer takes {} features instead of 400", features));
  Generator& generator = build.generator;
  auto net = std::make_shared<nn::Sequential>();
  net->add<nn::Conv2d>("conv1", build.channels(), maps1, 5, nn::ConvLayerOptions{.padding = 2},
                       generator);
  net->add<Activation>("act1");
  net->add<Pool>("pool1", 2);
  net->add<nn::Conv2d>("conv2", maps1, maps2, 5, nn::ConvLayerOptions{}, generator);
  net->add<Activation>("act2");
  net->add<Pool>("pool2", 2);
  net->add<nn::Flatten>("flatten");
  net->add<nn::Linear>("fc1", features, hidden1, generator);
  net->add<Activation>("act3");
  net->add<nn::Linear>("fc2", hidden1, hidden2, generator);
  net->add<Activation>("act4");
  net->add<nn::Linear>("fc3", hidden2, build.classes(), generator);
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

}  // namespace

nn::Model lenet5(const Options& options) {
  Builder build("lenet5", {1, 28, 28}, 10, options);
  return build.finish(build_layers<nn::Relu, nn::MaxPool>(build));
}

nn::Model lenet5_1998(const Options& options) {
  Builder build("lenet5_1998", {1, 28, 28}, 10, options);
  auto net = build_layers<nn::Sigmoid, nn::AvgPool>(build);
  restart_for_sigmoid(*net, options.seed);
  return build.finish(std::move(net));
}

}  // namespace fovea::models
