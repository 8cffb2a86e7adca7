// The list of all operators. A new one gets a line here.

#include "core/check.h"
#include "ops/families.h"

namespace fovea {
namespace {

constexpr const OpDef* kOperators[] = {
    &ops::conv,
    &ops::conv_backward_data,
    &ops::conv_backward_weights,
    &ops::linear,
    &ops::matmul,
    &ops::max_pool,
    &ops::pool_scatter,
    &ops::pool_gather,
    &ops::avg_pool,
    &ops::avg_pool_backward,
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
    &ops::relu,
    &ops::relu_backward,
    &ops::sigmoid,
    &ops::sigmoid_backward,
    &ops::tanh,
    &ops::tanh_backward,
    &ops::sum,
    &ops::broadcast,
    &ops::reshape,
    &ops::permute,
    &ops::slice,
    &ops::slice_backward,
    &ops::contiguous,
    &ops::softmax,
    &ops::log_softmax,
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
