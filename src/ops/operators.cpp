// The list of all operators. A new one gets a line here.

#include "core/check.h"
#include "ops/families.h"

namespace fovea {
namespace {

constexpr const OpDef* kOperators[] = {
    &ops::conv,
    &ops::conv_fused,
    &ops::conv_backward_data,
    &ops::conv_backward_weights,
    &ops::conv_transpose,
    &ops::unfold,
    &ops::fold,
    &ops::local_product,
    &ops::local_product_columns,
    &ops::local_product_weights,
    &ops::pad,
    &ops::pad_backward,
    &ops::linear,
    &ops::linear_fused,
    &ops::matmul,
    &ops::max_pool,
    &ops::adaptive_max_pool,
    &ops::pool_scatter,
    &ops::pool_gather,
    &ops::max_unpool,
    &ops::max_unpool_gradient,
    &ops::avg_pool,
    &ops::avg_pool_backward,
    &ops::adaptive_avg_pool,
    &ops::adaptive_avg_pool_backward,
    &ops::lp_pool,
    &ops::lp_pool_backward,
    &ops::batch_norm,
    &ops::batch_norm_backward,
    &ops::batch_norm_training,
    &ops::batch_norm_training_backward,
    &ops::group_norm,
    &ops::group_norm_backward,
    &ops::layer_norm,
    &ops::layer_norm_backward,
    &ops::local_response_norm,
    &ops::local_response_norm_backward,
    &ops::add,
    &ops::sub,
    &ops::mul,
    &ops::div,
    &ops::neg,
    &ops::exp,
    &ops::log,
    &ops::sqrt,
    &ops::add_scalar,
    &ops::mul_scalar,
    &ops::cast,
    &ops::maximum,
    &ops::above,
    &ops::equal,
    &ops::relu,
    &ops::relu_backward,
    &ops::sigmoid,
    &ops::sigmoid_backward,
    &ops::tanh,
    &ops::tanh_backward,
    &ops::abs,
    &ops::abs_backward,
    &ops::clamp,
    &ops::clamp_backward,
    &ops::pow,
    &ops::pow_backward,
    &ops::erf,
    &ops::erf_backward,
    &ops::leaky_relu,
    &ops::leaky_relu_backward,
    &ops::elu,
    &ops::elu_backward,
    &ops::gelu,
    &ops::gelu_backward,
    &ops::silu,
    &ops::silu_backward,
    &ops::hardswish,
    &ops::hardswish_backward,
    &ops::relu6,
    &ops::relu6_backward,
    &ops::softplus,
    &ops::softplus_backward,
    &ops::upsample,
    &ops::upsample_backward,
    &ops::concat,
    &ops::sum,
    &ops::max,
    &ops::broadcast,
    &ops::reshape,
    &ops::permute,
    &ops::slice,
    &ops::slice_backward,
    &ops::contiguous,
    &ops::flip,
    &ops::mirror,
    &ops::softmax,
    &ops::softmax_backward,
    &ops::log_softmax,
    &ops::log_softmax_backward,
    &ops::nll_loss,
    &ops::nll_loss_backward,
    &ops::dropout,
    &ops::fft,
    &ops::correlate,
    &ops::convolve,
};

}  // namespace

std::span<const OpDef* const> operators() {
  return kOperators;
}

const OpDef& find_operator(std::string_view name) {
  for (const OpDef* op : kOperators) {
    if (op->name == name) return *op;
  }
  throw_internal("find_operator", __FILE__, __LINE__,
                 fmt::format("there is no operator '{}'", name));
}

}  // namespace fovea
