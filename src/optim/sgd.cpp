// Stochastic gradient descent with momentum, Nesterov's variant and weight decay, in PyTorch's
// form: the velocity starts at zero, so the first step moves along the plain gradient.
#include <utility>

#include "core/dispatch.h"
#include "core/tensor_impl.h"
#include "fovea/executor.h"
#include "fovea/optim.h"
#include "kernels/update.h"
#include "optim/parameters.h"

namespace fovea::optim {

Sgd::Sgd(std::vector<Tensor> parameters, const SgdOptions& options)
    : Sgd(one_group(std::move(parameters)), options) {}

Sgd::Sgd(std::vector<ParameterGroup> groups, const SgdOptions& options)
    : Optimizer(std::move(groups), options.lr, options.weight_decay), options_(options) {
  require_number("sgd", "momentum", options.momentum, options.momentum >= 0, "at least 0");
  FOVEA_CHECK(!options.nesterov || options.momentum > 0,
              "sgd: nesterov needs a momentum above 0; 0.9 is usual");
  if (options.momentum > 0) velocity_ = add_state("velocity");
}

void Sgd::step() {
  ++steps_;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    Tensor& parameter = parameters_[i];
    const Tensor gradient = gradient_of(parameter);
    if (!gradient.defined()) continue;
    const kernels::SgdStep update = {.lr = lr_of(i),
                                     .momentum = options_.momentum,
                                     .weight_decay = weight_decay_of(i),
                                     .nesterov = options_.nesterov};
    dispatch_floating(parameter.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      const T* g = gradient.data<T>();
      T* v = velocity_.empty() ? nullptr : writable<T>(velocity_[i]);
      T* w = writable<T>(parameter);
      parallel_ranges(parameter.numel(), kParametersPerTask,
                      [&](std::int64_t first, std::int64_t last) {
                        kernels::sgd_update(update, last - first, g + first,
                                            v == nullptr ? v : v + first, w + first);
                      });
    });
  }
}

}  // namespace fovea::optim
