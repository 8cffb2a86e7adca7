// The normalising layers: weight and bias, and for batch normalisation the running statistics,
// under torchvision's names.
//
// In evaluation mode batch normalisation can be part of the convolution in front of it: with
// s = gamma / sqrt(variance + eps), (w * x + b - mean) s + beta = (w s) * x + (b - mean) s + beta.
#include <fmt/format.h>

#include <functional>
#include <mutex>
#include <utility>

#include "autograd/epilogue.h"
#include "autograd/trace.h"
#include "core/check.h"
#include "core/tensor_impl.h"
#include "fovea/autograd.h"
#include "fovea/nn.h"

namespace fovea::nn {
namespace {

void check_channels(std::string_view layer, std::int64_t channels) {
  FOVEA_CHECK(channels >= 1, "{}: needs at least one channel, not {}", layer, channels);
}

// ", eps=0.001" and ", affine=false" where they are not as usual.
template <class Options>
std::string unusual(const Options& options) {
  const Options usual;
  return (options.eps == usual.eps ? "" : fmt::format(", eps={}", options.eps)) +
         (options.affine ? "" : ", affine=false");
}

// activation(the layer of `input` + residual), in training, where it may be one operator; a mistake
// is the layer's.
Tensor normalized_in_training(BatchNorm& layer, const BatchNormLayerOptions& options,
                              const Tensor& input, const Epilogue& epilogue) {
  try {
    Tensor output = autograd::batch_norm_in_training(
        input, layer.running_mean, layer.running_var, layer.weight, layer.bias,
        {.training = true, .momentum = options.momentum, .eps = options.eps}, epilogue);
    if (!output.is_abstract())
      layer.num_batches_tracked.fill(layer.num_batches_tracked.item<double>() + 1);
    return output;
  } catch (const Error& error) {
    throw Error(layer.describe() + ": " + error.what());
  }
}

}  // namespace

void Norm::add_affine(const Shape& shape) {
  weight = Tensor::ones(shape);
  bias = Tensor::zeros(shape);
  add_parameter("weight", weight);
  add_parameter("bias", bias);
}

// The weights and bias of a convolution with a normalisation folded in, and what they were made
// from. Networks may be evaluated by several threads at once.
class BatchNorm::Folded {
 public:
  struct Layer {
    Tensor weight, bias;
  };

  Layer get(const std::vector<Tensor>& sources, const std::function<Layer()>& fold) {
    const std::lock_guard lock(mutex_);
    std::vector<Source> now;
    bool seen = true;  // whether every change of theirs would be
    for (const Tensor& source : sources) {
      if (!source.defined()) continue;
      const TensorImpl& impl = *source.impl();
      now.push_back({source.impl(), impl.storage, impl.storage->version()});
      seen = seen && impl.storage->derived() != nullptr;
    }
    if (!seen) return fold();
    if (now != sources_) {
      layer_ = fold();
      sources_ = std::move(now);
    }
    return layer_;
  }

  // Training has no use for them, and what evaluation derived from them may be large.
  void drop() {
    const std::lock_guard lock(mutex_);
    sources_.clear();
    layer_ = {};
  }

 private:
  // Held, so that no other tensor or storage can be at their place in memory.
  struct Source {
    std::shared_ptr<TensorImpl> tensor;
    std::shared_ptr<Storage> storage;
    std::uint64_t version;
    friend bool operator==(const Source&, const Source&) = default;
  };

  std::mutex mutex_;
  std::vector<Source> sources_;
  Layer layer_;
};

BatchNorm::~BatchNorm() = default;

BatchNorm::BatchNorm(int dims, std::int64_t channels, const BatchNormLayerOptions& options)
    : dims_(dims), options_(options), folded_(std::make_unique<Folded>()) {
  FOVEA_CHECK(dims >= 1 && dims <= 3, "BatchNorm: has 1, 2 or 3 dimensions, not {}", dims);
  check_channels("BatchNorm", channels);
  if (options.affine) add_affine({channels});
  running_mean = Tensor::zeros({channels});
  running_var = Tensor::ones({channels});
  num_batches_tracked = Tensor::zeros({}, DType::int64);
  add_buffer("running_mean", running_mean);
  add_buffer("running_var", running_var);
  add_buffer("num_batches_tracked", num_batches_tracked);
}

std::string BatchNorm::describe() const {
  const double usual = BatchNormLayerOptions{}.momentum;
  return fmt::format(
      "BatchNorm{}d({}{}{})", dims_, running_mean.size(0),
      options_.momentum == usual ? "" : fmt::format(", momentum={}", options_.momentum),
      unusual(options_));
}

Tensor BatchNorm::forward(const Tensor& input) {
  constexpr std::string_view kAxes[] = {"L", "H, W", "D, H, W"};
  const bool flat = dims_ == 1 && input.rank() == 2;  // [N, C], as from a linear layer
  FOVEA_CHECK(flat || input.rank() == dims_ + 2, "{}: input is {}, but needs {} axes: [N, {}, {}]",
              describe(), input.describe(), dims_ + 2, running_mean.size(0), kAxes[dims_ - 1]);
  if (is_training()) return normalized_in_training(*this, options_, input, {});
  return batch_norm(input, running_mean, running_var, weight, bias,
                    {.training = false, .momentum = options_.momentum, .eps = options_.eps});
}

bool BatchNorm::folds_into(const Conv& conv, const Tensor& input) const {
  return !is_training() && !grad_enabled() && !autograd::tracing() && input.defined() &&
         !input.is_abstract() && conv.weight.rank() == dims_ + 2 &&
         conv.weight.size(0) == running_mean.size(0) && conv.weight.dtype() == running_mean.dtype();
}

Tensor BatchNorm::after(Conv& conv, const Tensor& input, const Epilogue& epilogue) {
  if (!folds_into(conv, input)) {
    if (is_training()) folded_->drop();
    const Tensor sums = conv(input);
    const Tensor& residual = epilogue.residual;
    FOVEA_CHECK(!residual.defined() || residual.shape() == sums.shape(),
                "{}: the residual is {}, but it is added to the output, which is {}; both must "
                "have one shape",
                describe(), residual.shape(), sums.shape());
    // A trace describes the layers as they are.
    if (is_training() && !autograd::tracing() && sums.rank() == dims_ + 2)
      return normalized_in_training(*this, options_, sums, epilogue);
    const Tensor output = (*this)(sums);
    return activate(residual.defined() ? output + residual : output, epilogue.activation,
                    epilogue.slope);
  }
  const auto fold = [&]() -> Folded::Layer {
    Tensor scale = 1.0 / sqrt(running_var + options_.eps);
    if (weight.defined()) scale = scale * weight;
    Tensor shift = -1.0 * running_mean;
    if (conv.bias.defined()) shift = shift + conv.bias;
    shift = shift * scale;
    if (bias.defined()) shift = shift + bias;
    Shape each = Shape::filled(conv.weight.rank(), 1);
    each[0] = scale.size(0);
    return {conv.weight * scale.reshape(each), shift};
  };
  const Folded::Layer layer =
      folded_->get({conv.weight, conv.bias, weight, bias, running_mean, running_var}, fold);
  return conv.with_weights(input, layer.weight, layer.bias, epilogue);
}

GroupNorm::GroupNorm(std::int64_t groups, std::int64_t channels, const NormLayerOptions& options)
    : groups_(groups), channels_(channels), options_(options) {
  check_channels("GroupNorm", channels);
  FOVEA_CHECK(groups >= 1 && channels % groups == 0,
              "GroupNorm: {} channels cannot be cut into {} groups of equal size", channels,
              groups);
  if (options.affine) add_affine({channels});
}

std::string GroupNorm::describe() const {
  return fmt::format("GroupNorm({}, {}{})", groups_, channels_, unusual(options_));
}

Tensor GroupNorm::forward(const Tensor& input) {
  return group_norm(input, groups_, weight, bias, options_.eps);
}

InstanceNorm::InstanceNorm(std::int64_t channels, const NormLayerOptions& options)
    : channels_(channels), options_(options) {
  check_channels("InstanceNorm", channels);
  if (options.affine) add_affine({channels});
}

std::string InstanceNorm::describe() const {
  return fmt::format("InstanceNorm({}{})", channels_, unusual(options_));
}

Tensor InstanceNorm::forward(const Tensor& input) {
  return instance_norm(input, weight, bias, options_.eps);
}

LayerNorm::LayerNorm(const Shape& shape, const NormLayerOptions& options)
    : shape_(shape), options_(options) {
  FOVEA_CHECK(shape.rank() >= 1 && shape.numel() >= 1,
              "LayerNorm: needs the sizes of the axes to normalise over, not {}", shape);
  if (options.affine) add_affine(shape);
}

std::string LayerNorm::describe() const {
  return fmt::format("LayerNorm({}{})", shape_, unusual(options_));
}

Tensor LayerNorm::forward(const Tensor& input) {
  return layer_norm(input, shape_, weight, bias, options_.eps);
}

}  // namespace fovea::nn
