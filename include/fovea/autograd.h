// Gradients: a tape that records operators and runs their derivatives, which are operators again.
#pragma once

#include <vector>

#include "fovea/export.h"
#include "fovea/tensor.h"

namespace fovea {

// While one lives, this thread records nothing.
class FOVEA_API NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool previous_;
};

FOVEA_API bool grad_enabled();

struct GradOptions {
  bool create_graph = false;  // record the derivative itself, to differentiate it again
  bool retain_graph =
      false;  // keep what was saved for another backward pass; implied by create_graph
  // dL/d(output) for each output; empty: ones, which needs outputs of one element.
  std::vector<Tensor> grad_outputs = {};
};

// d(outputs)/d(inputs), one tensor of each input's shape; zeros where nothing leads there. Leaves'
// grad() is untouched.
FOVEA_API std::vector<Tensor> grad(const std::vector<Tensor>& outputs,
                                   const std::vector<Tensor>& inputs,
                                   const GradOptions& options = {});

// As Tensor::backward, with options: adds to the gradient of every leaf.
FOVEA_API void backward(const std::vector<Tensor>& outputs, const GradOptions& options = {});

}  // namespace fovea
