// RMSprop in PyTorch's form: eps is added to the root of the mean square; no centring.
#include <utility>

#include "core/dispatch.h"
#include "core/tensor_impl.h"
#include "fovea/executor.h"
#include "fovea/optim.h"
#include "kernels/update.h"
#include "optim/parameters.h"

namespace fovea::optim {

RmsProp::RmsProp(std::vector<Tensor> parameters, const RmsPropOptions& options)
    : RmsProp(one_group(std::move(parameters)), options) {}

RmsProp::RmsProp(std::vector<ParameterGroup> groups, const RmsPropOptions& options)
    : Optimizer(std::move(groups), options.lr, options.weight_decay),
      options_(options),
      square_(add_state("square")) {
  require_number("rmsprop", "alpha", options.alpha, options.alpha >= 0 && options.alpha < 1,
                 "at least 0 and less than 1");
  require_number("rmsprop", "eps", options.eps, options.eps >= 0, "at least 0");
  require_number("rmsprop", "momentum", options.momentum, options.momentum >= 0, "at least 0");
  if (options.momentum > 0) velocity_ = add_state("velocity");
}

void RmsProp::step() {
  ++steps_;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    Tensor& parameter = parameters_[i];
    const Tensor gradient = gradient_of(parameter);
    if (!gradient.defined()) continue;
    const kernels::RmsPropStep update = {.lr = lr_of(i),
                                         .alpha = options_.alpha,
                                         .eps = options_.eps,
                                         .momentum = options_.momentum,
                                         .weight_decay = weight_decay_of(i)};
    dispatch_floating(parameter.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      const T* g = gradient.data<T>();
      T* s = writable<T>(square_[i]);
      T* v = velocity_.empty() ? nullptr : writable<T>(velocity_[i]);
      T* w = writable<T>(parameter);
      parallel_ranges(parameter.numel(), kParametersPerTask,
                      [&](std::int64_t first, std::int64_t last) {
                        kernels::rmsprop_update(update, last - first, g + first, s + first,
                                                v == nullptr ? v : v + first, w + first);
                      });
    });
  }
}

}  // namespace fovea::optim
