// Adam and AdamW with bias correction, in PyTorch's form: eps is added to the corrected deviation;
// Adam adds weight decay to the gradient, AdamW shrinks the weight by it.
#include <cmath>
#include <utility>

#include "core/dispatch.h"
#include "core/tensor_impl.h"
#include "fovea/executor.h"
#include "fovea/optim.h"
#include "kernels/update.h"
#include "optim/parameters.h"

namespace fovea::optim {

Adam::Adam(std::vector<Tensor> parameters, const AdamOptions& options)
    : Adam(one_group(std::move(parameters)), options) {}

Adam::Adam(std::vector<ParameterGroup> groups, const AdamOptions& options)
    : Adam(std::move(groups), options, Decay::in_gradient) {}

Adam::Adam(std::vector<ParameterGroup> groups, const AdamOptions& options, Decay decay)
    : Optimizer(std::move(groups), options.lr, options.weight_decay),
      options_(options),
      decay_(decay),
      first_(add_state("first")),
      second_(add_state("second")) {
  const auto fraction = [](double value) { return value >= 0 && value < 1; };
  require_number("adam", "beta1", options.beta1, fraction(options.beta1),
                 "at least 0 and less than 1");
  require_number("adam", "beta2", options.beta2, fraction(options.beta2),
                 "at least 0 and less than 1");
  require_number("adam", "eps", options.eps, options.eps >= 0, "at least 0");
}

AdamW::AdamW(std::vector<Tensor> parameters, const AdamOptions& options)
    : AdamW(one_group(std::move(parameters)), options) {}

AdamW::AdamW(std::vector<ParameterGroup> groups, const AdamOptions& options)
    : Adam(std::move(groups), options, Decay::of_weight) {}

void Adam::step() {
  ++steps_;
  const double t = static_cast<double>(steps_);
  kernels::AdamStep update = {.beta1 = options_.beta1,
                              .beta2 = options_.beta2,
                              .eps = options_.eps,
                              .correction1 = 1 - std::pow(options_.beta1, t),
                              .correction2 = 1 - std::pow(options_.beta2, t)};
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    Tensor& parameter = parameters_[i];
    const Tensor gradient = gradient_of(parameter);
    if (!gradient.defined()) continue;
    update.lr = lr_of(i);
    if (decay_ == Decay::of_weight)
      update.shrink = 1 - lr_of(i) * weight_decay_of(i);
    else
      update.weight_decay = weight_decay_of(i);
    dispatch_floating(parameter.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      const T* g = gradient.data<T>();
      T* first = writable<T>(first_[i]);
      T* second = writable<T>(second_[i]);
      T* w = writable<T>(parameter);
      parallel_ranges(parameter.numel(), kParametersPerTask,
                      [&](std::int64_t begin, std::int64_t end) {
                        kernels::adam_update(update, end - begin, g + begin, first + begin,
                                             second + begin, w + begin);
                      });
    });
  }
}

}  // namespace fovea::optim
