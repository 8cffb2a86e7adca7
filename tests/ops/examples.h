// Example calls of every operator: what the tests over the operator list run.
#pragma once

#include <string>
#include <vector>

#include "fovea/tensor.h"
#include "ops/op.h"

namespace fovea::testing {

struct Example {
  const OpDef* op = nullptr;
  std::string label;           // what is special about it
  std::vector<Tensor> inputs;  // floating ones in float64; small, and away from kinks
  Attributes attributes;
};

std::vector<Example> operator_examples();

}  // namespace fovea::testing
