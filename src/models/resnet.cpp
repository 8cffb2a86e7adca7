// Residual networks (He et al., "Deep residual learning for image recognition", 2015) [D section 7,
// equation 19]: y = relu(F(x) + x), with a 1x1 convolution on the shortcut where the shape changes.
//
// ResNet-18, 34 and 50 have torchvision's names and shapes; in the bottleneck of ResNet-50 the 3x3
// convolution carries the stride. For CIFAR the stem is a 3x3 convolution, there are three stages
// of 16, 32 and 64 channels, and the shortcut has no weights where the shape changes: every second
// cell of x, among channels of zeros (the paper's option A). Their names are those of the weights
// that are around (Idelbayev, "Proper ResNet implementation for CIFAR10/CIFAR100 in PyTorch").
#include <memory>
#include <vector>

#include "models/build.h"

namespace fovea::models {
namespace {

constexpr Activation kRelu = Activation::relu;

enum class Shortcut : std::uint8_t { convolution, zeros };  // where the shape changes

// Every `stride`-th cell of x, in the middle of zero channels.
Tensor among_zeros(const Tensor& x, std::int64_t channels, std::int64_t stride) {
  const Tensor cells = x.slice(2, 0, x.size(2), stride).slice(3, 0, x.size(3), stride);
  Shape before = cells.shape();
  Shape after = cells.shape();
  before[1] = (channels - x.size(1)) / 2;
  after[1] = channels - x.size(1) - before[1];
  return concat({Tensor::zeros(before, x.dtype()), cells, Tensor::zeros(after, x.dtype())});
}

// relu(F(x) + shortcut(x)); what F is, the blocks below say.
class Residual : public Block {
 protected:
  Tensor forward(const Tensor& x) final {
    return branch(x, {.residual = shortcut(x), .activation = kRelu});
  }
  // F(x), and `last` at its end.
  virtual Tensor branch(const Tensor& x, const Epilogue& last) = 0;

  // Behind the branch, for the order of the parameters.
  void add_shortcut(Shortcut kind, std::int64_t in, std::int64_t out, std::int64_t stride,
                    Generator& generator) {
    if (in == out && stride == 1) return;
    if (kind == Shortcut::zeros) {
      channels_ = out;
      stride_ = stride;
      return;
    }
    shortcut_ = &add<nn::Sequential>("downsample");
    shortcut_->add<nn::Conv2d>("", in, out, 1, without_bias(stride, 0), generator);
    shortcut_->add<nn::BatchNorm2d>("", out);
  }

 private:
  Tensor shortcut(const Tensor& x) {
    if (channels_ > 0) return among_zeros(x, channels_, stride_);
    return shortcut_ == nullptr ? x : (*shortcut_)(x);
  }

  nn::Sequential* shortcut_ = nullptr;
  std::int64_t channels_ = 0;  // of a shortcut of zeros
  std::int64_t stride_ = 1;
};

class BasicBlock final : public Residual {
 public:
  static constexpr std::int64_t kExpansion = 1;

  BasicBlock(Shortcut kind, std::int64_t in, std::int64_t channels, std::int64_t stride,
             Generator& generator)
      : conv1_(add<nn::Conv2d>("conv1", in, channels, 3, without_bias(stride, 1), generator)),
        bn1_(add<nn::BatchNorm2d>("bn1", channels)),
        conv2_(add<nn::Conv2d>("conv2", channels, channels, 3, without_bias(1, 1), generator)),
        bn2_(add<nn::BatchNorm2d>("bn2", channels)) {
    add_shortcut(kind, in, channels, stride, generator);
  }

  std::string describe() const override { return "BasicBlock()"; }

 protected:
  Tensor branch(const Tensor& x, const Epilogue& last) override {
    return bn2_.after(conv2_, bn1_.after(conv1_, x, {.activation = kRelu}), last);
  }

 private:
  nn::Conv2d& conv1_;
  nn::BatchNorm2d& bn1_;
  nn::Conv2d& conv2_;
  nn::BatchNorm2d& bn2_;
};

class Bottleneck final : public Residual {
 public:
  static constexpr std::int64_t kExpansion = 4;

  Bottleneck(Shortcut kind, std::int64_t in, std::int64_t channels, std::int64_t stride,
             Generator& generator)
      : conv1_(add<nn::Conv2d>("conv1", in, channels, 1, without_bias(1, 0), generator)),
        bn1_(add<nn::BatchNorm2d>("bn1", channels)),
        conv2_(add<nn::Conv2d>("conv2", channels, channels, 3, without_bias(stride, 1), generator)),
        bn2_(add<nn::BatchNorm2d>("bn2", channels)),
        conv3_(add<nn::Conv2d>("conv3", channels, kExpansion * channels, 1, without_bias(1, 0),
                               generator)),
        bn3_(add<nn::BatchNorm2d>("bn3", kExpansion * channels)) {
    add_shortcut(kind, in, kExpansion * channels, stride, generator);
  }

  std::string describe() const override { return "Bottleneck()"; }

 protected:
  Tensor branch(const Tensor& x, const Epilogue& last) override {
    const Tensor narrow = bn1_.after(conv1_, x, {.activation = kRelu});
    return bn3_.after(conv3_, bn2_.after(conv2_, narrow, {.activation = kRelu}), last);
  }

 private:
  nn::Conv2d& conv1_;
  nn::BatchNorm2d& bn1_;
  nn::Conv2d& conv2_;
  nn::BatchNorm2d& bn2_;
  nn::Conv2d& conv3_;
  nn::BatchNorm2d& bn3_;
};

struct Stem {
  std::int64_t kernel = 3;
  std::int64_t stride = 1;
  bool pool = false;
};
constexpr Stem kLargeStem = {.kernel = 7, .stride = 2, .pool = true};
constexpr Stem kSmallStem = {};

// How often a stage's block stands in a row; each stage doubles the channels and, but for the
// first, halves the map.
using Stages = std::vector<int>;

struct Plan {
  Stem stem;
  Shortcut shortcut = Shortcut::convolution;
  std::int64_t channels = 64;  // of the first stage
  Stages stages;
  const char* last = "fc";  // the name of the last layer
};

template <class BlockType>
class ResNet final : public Block {
 public:
  ResNet(Builder& build, const Plan& plan)
      : conv1_(add<nn::Conv2d>(
            "conv1", build.channels(), build.widened(plan.channels), plan.stem.kernel,
            without_bias(plan.stem.stride, plan.stem.kernel / 2), build.generator)),
        bn1_(add<nn::BatchNorm2d>("bn1", build.widened(plan.channels))),
        pool_(plan.stem.pool) {
    std::int64_t channels = build.widened(plan.channels);
    std::int64_t in = channels;
    for (std::size_t stage = 0; stage < plan.stages.size(); ++stage) {
      auto& layer = add<nn::Sequential>("layer" + std::to_string(stage + 1));
      for (int i = 0; i < plan.stages[stage]; ++i) {
        const std::int64_t stride = i == 0 && stage > 0 ? 2 : 1;
        layer.template add<BlockType>("", plan.shortcut, in, channels, stride, build.generator);
        in = BlockType::kExpansion * channels;
      }
      stages_.push_back(&layer);
      channels *= 2;
    }
    last_ = &add<nn::Linear>(plan.last, in, build.classes(), build.generator);
  }

  std::string describe() const override { return "ResNet()"; }

 protected:
  Tensor forward(const Tensor& input) override {
    Tensor x = bn1_.after(conv1_, input, {.activation = kRelu});
    if (pool_) x = max_pool(x, 3, {.stride = 2, .padding = 1});
    for (nn::Sequential* stage : stages_) x = (*stage)(x);
    return (*last_)(flatten(global_avg_pool(x)));
  }

 private:
  nn::Conv2d& conv1_;
  nn::BatchNorm2d& bn1_;
  bool pool_;
  std::vector<nn::Sequential*> stages_;
  nn::Linear* last_ = nullptr;
};

template <class BlockType>
nn::Model build_resnet(Builder build, const Plan& plan) {
  auto net = std::make_shared<ResNet<BlockType>>(build, plan);
  start_for_relu(*net, build.generator);
  return build.finish(std::move(net));
}

// 7x7 with stride 2 and a pooling would leave little of a small picture.
template <class BlockType>
nn::Model build_large(const char* name, const Stages& stages, const Options& options) {
  Builder build(name, {3, 224, 224}, 1000, options);
  const bool small = build.side() < 64;
  if (small) build.adapted("its stem is 3x3 with stride 1 and no pooling, for small pictures");
  return build_resnet<BlockType>(std::move(build),
                                 {.stem = small ? kSmallStem : kLargeStem, .stages = stages});
}

nn::Model build_small(const char* name, int blocks, const Options& options) {
  return build_resnet<BasicBlock>(Builder(name, {3, 32, 32}, 10, options),
                                  {.stem = kSmallStem,
                                   .shortcut = Shortcut::zeros,
                                   .channels = 16,
                                   .stages = {blocks, blocks, blocks},
                                   .last = "linear"});
}

}  // namespace

nn::Model resnet18(const Options& options) {
  return build_large<BasicBlock>("resnet18", {2, 2, 2, 2}, options);
}
nn::Model resnet34(const Options& options) {
  return build_large<BasicBlock>("resnet34", {3, 4, 6, 3}, options);
}
nn::Model resnet50(const Options& options) {
  return build_large<Bottleneck>("resnet50", {3, 4, 6, 3}, options);
}

nn::Model resnet20(const Options& options) {
  return build_small("resnet20", 3, options);
}
nn::Model resnet32(const Options& options) {
  return build_small("resnet32", 5, options);
}
nn::Model resnet56(const Options& options) {
  return build_small("resnet56", 9, options);
}

}  // namespace fovea::models
