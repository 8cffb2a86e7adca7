// The constants of the model.
#include "conv/cost.h"

#include <algorithm>

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

double pass_cycles(const CoreModel& model, double arithmetic, double bytes) {
  constexpr double kApart = 0.25;  // of the shorter of both, which does not hide behind the longer
  const double memory = model.read_cycles(bytes);
  return model.start_cycles + std::max(arithmetic, memory) + kApart * std::min(arithmetic, memory);
}

double padding_cycles(double bytes, DType dtype) {
  const CoreModel model = core_model(dtype);
  return model.start_cycles + 2 * model.read_cycles(bytes);
}

}  // namespace fovea::conv
