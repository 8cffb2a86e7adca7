// apply(): the one place where an operator is run. Checks, allocates, computes, records.
#include <algorithm>

#include "autograd/tape.h"
#include "autograd/trace.h"
#include "core/check.h"
#include "fovea/autograd.h"
#include "kernels/simd.h"
#include "ops/op.h"

namespace fovea {
namespace {

// A view of an abstract tensor is computed by infer() alone, as everything is then.
bool any_abstract(const std::vector<Tensor>& inputs) {
  for (const Tensor& input : inputs) {
    if (input.defined() && input.is_abstract()) return true;
  }
  return false;
}

std::vector<Tensor> compute(const OpDef& op, const std::vector<Tensor>& inputs,
                            const Attributes& attributes, const std::vector<TensorSpec>& specs,
                            bool abstract) {
  if (!abstract && op.view != nullptr) {
    if (Tensor result = op.view(inputs.front(), attributes); result.defined()) return {result};
  }
  std::vector<Tensor> outputs;
  outputs.reserve(specs.size());
  for (const TensorSpec& spec : specs) outputs.push_back(allocate_tensor(spec, abstract));
  // Operators need not know of empty batches whose results are all empty.
  const bool empty = std::all_of(outputs.begin(), outputs.end(),
                                 [](const Tensor& output) { return output.numel() == 0; });
  if (!abstract && !empty) op.run(inputs, attributes, outputs);
  return outputs;
}

}  // namespace

std::vector<Tensor> apply(const OpDef& op, std::vector<Tensor> inputs, Attributes attributes) {
  kernels::detect_simd();
  std::vector<TensorSpec> specs;
  specs.reserve(inputs.size());
  for (const Tensor& input : inputs) specs.push_back(spec_of(input));
  const std::vector<TensorSpec> output_specs = op.infer(specs, attributes);
  std::vector<Tensor> outputs = compute(op, inputs, attributes, output_specs, any_abstract(inputs));
  if (grad_enabled()) autograd::record(op, inputs, attributes, outputs);
  if (autograd::tracing()) autograd::record_trace(op, inputs, attributes, outputs);
  return outputs;
}

bool recording_enabled() {
  return grad_enabled();
}

Tensor apply1(const OpDef& op, std::vector<Tensor> inputs, Attributes attributes) {
  return std::move(apply(op, std::move(inputs), std::move(attributes)).front());
}

}  // namespace fovea
