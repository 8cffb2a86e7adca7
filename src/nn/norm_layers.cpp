// The normalising layers: weight and bias, and for batch normalisation the running statistics,
// under torchvision's names.
#include <fmt/format.h>

#include "core/check.h"
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

}  // namespace

void Norm::add_affine(const Shape& shape) {
  weight = Tensor::ones(shape);
  bias = Tensor::zeros(shape);
  add_parameter("weight", weight);
  add_parameter("bias", bias);
}

BatchNorm::BatchNorm(int dims, std::int64_t channels, const BatchNormLayerOptions& options)
    : dims_(dims), options_(options) {
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
  const Tensor output =
      batch_norm(input, running_mean, running_var, weight, bias,
                 {.training = is_training(), .momentum = options_.momentum, .eps = options_.eps});
  if (is_training() && !output.is_abstract()) {
    num_batches_tracked.fill(num_batches_tracked.item<double>() + 1);
  }
  return output;
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
