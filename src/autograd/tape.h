// The tape: nodes that remember how a tensor was made.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/tensor_impl.h"
#include "ops/op.h"

namespace fovea::autograd {

// A value kept for the backward pass, without its history, so that a node never owns itself through
// its own output.
struct SavedTensor {
  Tensor data;                // undefined where nothing was saved
  std::uint64_t version = 0;  // of the data when it was saved
  bool requires_grad = false;
  std::shared_ptr<TapeNode> node;  // of a saved input
  Tensor leaf;                     // a saved input without a node: the tensor itself
  int output = 0;
};

// Where the gradient of an input goes on: to the node that made it, or into a leaf.
struct Edge {
  std::shared_ptr<TapeNode> node;
  int output = 0;
  Tensor leaf;
  bool needed() const { return node != nullptr || leaf.defined(); }
};

// One recorded call. What was saved is freed when a backward pass has used it.
struct Node final : TapeNode {
  const OpDef* op = nullptr;
  Attributes attributes;
  std::uint64_t order = 0;  // grows with time: a topological order
  std::vector<Edge> edges;  // per input
  std::vector<TensorSpec> input_specs;
  std::vector<TensorSpec> output_specs;
  std::vector<SavedTensor> inputs;
  std::vector<SavedTensor> outputs;
  bool released = false;

  ~Node() override;
};

// Records a call whose outputs have been computed, if any input wants a gradient.
void record(const OpDef& op, const std::vector<Tensor>& inputs, const Attributes& attributes,
            std::vector<Tensor>& outputs);

// Whether a gradient flows back to this tensor.
bool wants_grad(const Tensor& tensor);

}  // namespace fovea::autograd
