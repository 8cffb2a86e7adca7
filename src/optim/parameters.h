// Helpers of the optimisers.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "fovea/optim.h"
#include "fovea/tensor.h"

namespace fovea::optim {

inline constexpr std::int64_t kParametersPerTask = 1 << 15;

std::vector<ParameterGroup> one_group(std::vector<Tensor> parameters);

// The parameter's gradient in its own memory order; undefined where it has none.
Tensor gradient_of(const Tensor& parameter);

// Throws Error unless `valid` and finite: "sgd: momentum is -1, but must be finite and at least 0".
void require_number(std::string_view optimizer, std::string_view option, double value, bool valid,
                    std::string_view range);

}  // namespace fovea::optim
