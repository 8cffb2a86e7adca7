// The constants of the model, and the cost of the plain sum.
#include "conv/cost.h"

#include <algorithm>

#include "conv/axes.h"
#include "core/dispatch.h"
#include "kernels/winograd.h"

namespace fovea::conv {

CoreModel core_model(DType dtype) {
  return dispatch_floating(dtype, [](auto tag) {
    CoreModel model;
    model.lanes = kernels::winograd_sizes<typename decltype(tag)::type>().lanes;
    model.multiply_adds = 2 * static_cast<double>(model.lanes);
    return model;
  });
}

double direct_cycles(const ConvProblem& problem, Pass pass) {
  const CoreModel model = core_model(problem.dtype);
  const std::int64_t results =
      (pass == Pass::backward_data ? problem.in_channels : problem.out_channels) / problem.groups;
  const std::int64_t whole = (results + model.lanes - 1) / model.lanes * model.lanes;
  // Few input channels do not waste all of that: backward_data joins their taps.
  const double wasted = std::min(static_cast<double>(whole) / static_cast<double>(results),
                                 pass == Pass::backward_data ? 2.0 : model.multiply_adds);
  const ConvCost least = least_cost(problem, pass);
  return std::max(least.multiply_adds * wasted / (model.multiply_adds * model.direct_share),
                  least.bytes / model.memory_bytes);
}

}  // namespace fovea::conv
