// Recording, and the backward pass.
//
// dL/d(input) of each node is asked for in reverse order of recording, which is a topological
// order; contributions to one tensor add up in that order too, so that gradients are the same bits
// in every run. A node's backward function is written with operators: while create_graph is set,
// they are recorded like any other.
#include "autograd/tape.h"

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "core/check.h"
#include "fovea/autograd.h"
#include "ops/families.h"

namespace fovea {
namespace {

thread_local bool recording = true;

std::uint64_t next_order() {
  static std::atomic<std::uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

NoGrad::NoGrad() : previous_(std::exchange(recording, false)) {}
NoGrad::~NoGrad() {
  recording = previous_;
}
bool grad_enabled() {
  return recording;
}

namespace autograd {
namespace {

// Whether this thread records, for the rest of a scope.
class RecordingScope {
 public:
  explicit RecordingScope(bool on) : previous_(std::exchange(recording, on)) {}
  ~RecordingScope() { recording = previous_; }
  RecordingScope(const RecordingScope&) = delete;
  RecordingScope& operator=(const RecordingScope&) = delete;

 private:
  bool previous_;
};

AutogradMeta& meta_of(const Tensor& tensor) {
  std::unique_ptr<AutogradMeta>& meta = tensor.impl()->autograd;
  if (meta == nullptr) meta = std::make_unique<AutogradMeta>();
  return *meta;
}

SavedTensor save_input(const Tensor& tensor) {
  SavedTensor saved;
  saved.data = tensor.detach();
  saved.version = tensor.version();
  if (wants_grad(tensor)) {
    saved.requires_grad = true;
    saved.node = meta_of(tensor).node;
    saved.output = meta_of(tensor).output;
    if (saved.node == nullptr) saved.leaf = tensor;
  }
  return saved;
}

// The tensor as the backward function sees it: with its history, so that the derivative can be
// differentiated again.
Tensor restore(const SavedTensor& saved, const std::shared_ptr<TapeNode>& node, const OpDef& op) {
  if (!saved.data.defined()) return {};
  FOVEA_CHECK(saved.data.version() == saved.version,
              "backward: a tensor that '{}' saved for its gradient ({}) was changed in place since "
              "(version {} now, {} "
              "then). Change a clone() instead.",
              op.name, saved.data.describe(), saved.data.version(), saved.version);
  if (saved.leaf.defined()) return saved.leaf;
  Tensor tensor = saved.data.detach();
  if (saved.requires_grad) {
    AutogradMeta& meta = meta_of(tensor);
    meta.requires_grad = true;
    meta.node = node;
    meta.output = saved.output;
  }
  return tensor;
}

// Gradients that wait for their node, or have reached their tensor.
struct Pending {
  std::shared_ptr<Node> node;
  std::vector<Tensor> grads;  // per output of the node
};

class BackwardPass {
 public:
  // `wanted`: the tensors whose gradients are asked for; null: every leaf.
  BackwardPass(const GradOptions& options, const std::vector<Tensor>* wanted) {
    keep_ = options.retain_graph || options.create_graph;
    if (wanted == nullptr) return;
    wanted_.emplace(wanted->size());
    for (std::size_t i = 0; i < wanted->size(); ++i) {
      const AutogradMeta& meta = meta_of((*wanted)[i]);
      if (meta.node != nullptr) {
        by_output_[{meta.node.get(), meta.output}].push_back(i);
      } else {
        by_leaf_[(*wanted)[i].impl().get()].push_back(i);
      }
    }
  }

  void seed(const Tensor& output, const Tensor& gradient) {
    const AutogradMeta& meta = meta_of(output);
    if (meta.node != nullptr) {
      deliver({.node = meta.node, .output = meta.output, .leaf = {}}, gradient);
    } else {
      deliver({.node = nullptr, .output = 0, .leaf = output}, gradient);
    }
  }

  void run() {
    find_useful_nodes();
    while (!pending_.empty()) {
      auto last = std::prev(pending_.end());
      const Pending pending = std::move(last->second);
      pending_.erase(last);
      take_wanted(pending);
      if (!wanted_.has_value() || useful_.contains(pending.node.get())) step(pending);
    }
  }

  std::vector<Tensor>& results() { return *wanted_; }

 private:
  // Whether a gradient along this edge reaches anything that was asked for.
  bool leads_on(const Edge& edge) const {
    if (!edge.needed() || !wanted_.has_value()) return edge.needed();
    if (edge.node == nullptr) return by_leaf_.contains(edge.leaf.impl().get());
    return by_output_.contains({edge.node.get(), edge.output}) || useful_.contains(edge.node.get());
  }

  // The nodes from which a wanted tensor is reached: the others are not computed.
  void find_useful_nodes() {
    if (!wanted_.has_value()) return;
    std::map<std::uint64_t, const Node*> reached;  // inputs come before what is made of them
    std::vector<const Node*> open;
    for (const auto& [order, pending] : pending_) open.push_back(pending.node.get());
    while (!open.empty()) {
      const Node* node = open.back();
      open.pop_back();
      if (!reached.emplace(node->order, node).second) continue;
      for (const Edge& edge : node->edges) {
        if (edge.node != nullptr) open.push_back(static_cast<const Node*>(edge.node.get()));
      }
    }
    for (const auto& [order, node] : reached) {
      for (const Edge& edge : node->edges) {
        if (leads_on(edge)) useful_.insert(node);
      }
    }
  }

  void deliver(const Edge& edge, const Tensor& gradient) {
    if (edge.node == nullptr) return deliver_to_leaf(edge.leaf, gradient);
    auto node = std::static_pointer_cast<Node>(edge.node);
    Pending& pending = pending_[node->order];
    if (pending.node == nullptr) {
      pending.grads.resize(node->output_specs.size());
      pending.node = std::move(node);
    }
    accumulate(pending.grads[static_cast<std::size_t>(edge.output)], gradient);
  }

  void deliver_to_leaf(const Tensor& leaf, const Tensor& gradient) {
    if (!wanted_.has_value()) {
      Tensor& sum = meta_of(leaf).grad;
      // A leaf's gradient is its own and dense, so that it may be read and scaled in place.
      sum = sum.defined() ? apply1(ops::add, {sum, gradient}) : own(gradient);
      return;
    }
    const auto found = by_leaf_.find(leaf.impl().get());
    if (found == by_leaf_.end()) return;
    for (const std::size_t place : found->second) accumulate((*wanted_)[place], gradient);
  }

  void take_wanted(const Pending& pending) {
    for (std::size_t output = 0; output < pending.grads.size(); ++output) {
      const auto found = by_output_.find({pending.node.get(), static_cast<int>(output)});
      if (found == by_output_.end()) continue;
      for (const std::size_t place : found->second) (*wanted_)[place] = pending.grads[output];
    }
  }

  static Tensor own(const Tensor& gradient) {
    const bool alone = gradient.impl().use_count() == 1 &&
                       (gradient.is_abstract() || gradient.impl()->storage.use_count() == 1);
    return alone && is_dense(gradient.shape(), gradient.strides()) ? gradient : gradient.clone();
  }

  static void accumulate(Tensor& sum, const Tensor& gradient) {
    sum = sum.defined() ? apply1(ops::add, {sum, gradient}) : gradient;
  }

  void step(const Pending& pending) {
    Node& node = *pending.node;
    FOVEA_CHECK(
        !node.released,
        "backward: the graph of '{}' was freed by an earlier backward pass; let that one be "
        "fovea::backward({{output}}, {{.retain_graph = true}}), or compute the output again",
        node.op->name);
    FOVEA_CHECK(node.op->backward != nullptr, "backward: '{}' has no derivative", node.op->name);
    std::vector<Tensor> inputs;
    std::vector<Tensor> outputs;
    for (const SavedTensor& saved : node.inputs)
      inputs.push_back(restore(saved, saved.node, *node.op));
    for (const SavedTensor& saved : node.outputs)
      outputs.push_back(restore(saved, pending.node, *node.op));
    const std::size_t count = node.edges.size();
    const auto needs = std::make_unique<bool[]>(count);  // a vector of bool has no span
    for (std::size_t i = 0; i < count; ++i) needs[i] = leads_on(node.edges[i]);
    const BackwardCall call{.inputs = inputs,
                            .outputs = outputs,
                            .input_specs = node.input_specs,
                            .grads = pending.grads,
                            .needs_grad = std::span<const bool>(needs.get(), count),
                            .attributes = node.attributes};
    const std::vector<Tensor> grads = node.op->backward(call);
    FOVEA_ASSERT(grads.size() <= count);
    for (std::size_t i = 0; i < grads.size(); ++i) {
      if (!grads[i].defined() || !needs[i]) continue;
      FOVEA_ASSERT(grads[i].shape() == node.input_specs[i].shape,
                   "gradient {} of '{}' is {}, its input {}", i, node.op->name, grads[i].shape(),
                   node.input_specs[i].shape);
      deliver(node.edges[i], grads[i]);
    }
    if (!keep_) {
      node.released = true;
      node.inputs.clear();
      node.outputs.clear();
    }
  }

  bool keep_ = false;
  std::map<std::uint64_t, Pending> pending_;  // by order of recording: the last is next
  std::optional<std::vector<Tensor>> wanted_;
  std::map<std::pair<const TapeNode*, int>, std::vector<std::size_t>> by_output_;
  std::map<const TensorImpl*, std::vector<std::size_t>> by_leaf_;
  std::set<const TapeNode*> useful_;
};

void run_pass(BackwardPass& pass, const std::vector<Tensor>& outputs, const GradOptions& options) {
  FOVEA_CHECK(options.grad_outputs.empty() || options.grad_outputs.size() == outputs.size(),
              "backward: {} grad_outputs for {} outputs; give one for each, or none",
              options.grad_outputs.size(), outputs.size());
  const RecordingScope scope(options.create_graph);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Tensor& output = outputs[i];
    FOVEA_CHECK(
        wants_grad(output),
        "backward: output {} ({}) does not depend on any tensor that requires a gradient; call "
        "set_requires_grad() on what you differentiate by, before computing",
        i, output.describe());
    if (options.grad_outputs.empty()) {
      FOVEA_CHECK(output.numel() == 1,
                  "backward: output {} is {}, but only a single number has a gradient; sum() it, "
                  "or give grad_outputs",
                  i, output.describe());
      pass.seed(output, Tensor::full(output.shape(), 1, output.dtype()));
    } else {
      const Tensor& gradient = options.grad_outputs[i];
      FOVEA_CHECK(gradient.defined() && gradient.shape() == output.shape() &&
                      gradient.dtype() == output.dtype(),
                  "backward: grad_outputs[{}] is {}, but output {} is {}", i, gradient.describe(),
                  i, output.describe());
      pass.seed(output, gradient);
    }
  }
  pass.run();
}

// Whether a mask of operands has operand i, of which there may be more than bits.
bool named_in(std::uint32_t mask, std::size_t i) {
  return i < 32 && ((mask >> i) & 1) != 0;
}

}  // namespace

// Long chains are taken apart one node at a time: the default would recurse once per node.
Node::~Node() {
  std::vector<std::shared_ptr<TapeNode>> chain;
  const auto take = [&](std::shared_ptr<TapeNode>& node) {
    if (node != nullptr && node.use_count() == 1) chain.push_back(std::move(node));
    node.reset();
  };
  const auto take_all = [&](Node& node) {
    for (SavedTensor& saved : node.inputs) take(saved.node);
    for (Edge& edge : node.edges) take(edge.node);
  };
  take_all(*this);
  while (!chain.empty()) {
    const std::shared_ptr<TapeNode> node = std::move(chain.back());
    chain.pop_back();
    if (node.use_count() == 1) take_all(static_cast<Node&>(*node));
  }
}

bool wants_grad(const Tensor& tensor) {
  if (!tensor.defined()) return false;
  const AutogradMeta* meta = tensor.impl()->autograd.get();
  return meta != nullptr && (meta->requires_grad || meta->node != nullptr);
}

void record(const OpDef& op, const std::vector<Tensor>& inputs, const Attributes& attributes,
            std::vector<Tensor>& outputs) {
  bool wanted = false;
  for (const Tensor& input : inputs) wanted = wanted || wants_grad(input);
  if (!wanted || op.backward == nullptr) return;
  auto node = std::make_shared<Node>();
  node->op = &op;
  node->attributes = attributes;
  node->order = next_order();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    Edge edge;
    if (wants_grad(inputs[i])) {
      const AutogradMeta& meta = *inputs[i].impl()->autograd;
      edge.node = meta.node;
      edge.output = meta.output;
      if (meta.node == nullptr) edge.leaf = inputs[i];
    }
    node->edges.push_back(std::move(edge));
    node->input_specs.push_back(spec_of(inputs[i]));
    const bool saved = inputs[i].defined() && named_in(op.saves.inputs, i);
    node->inputs.push_back(saved ? save_input(inputs[i]) : SavedTensor());
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    node->output_specs.push_back(spec_of(outputs[i]));
    SavedTensor saved;
    if (named_in(op.saves.outputs, i)) {
      saved.data = outputs[i].detach();
      saved.version = outputs[i].version();
      saved.requires_grad = is_floating(outputs[i].dtype());
      saved.output = static_cast<int>(i);
    }
    node->outputs.push_back(std::move(saved));
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (!is_floating(outputs[i].dtype())) continue;
    // An operator that answers with its own input (contiguous where nothing is to be done) must not
    // tie it to itself.
    for (const Tensor& input : inputs) {
      if (input.impl() == outputs[i].impl()) outputs[i] = outputs[i].detach();
    }
    AutogradMeta& meta = meta_of(outputs[i]);
    meta.requires_grad = true;
    meta.node = node;
    meta.output = static_cast<int>(i);
  }
}

}  // namespace autograd

void backward(const std::vector<Tensor>& outputs, const GradOptions& options) {
  autograd::BackwardPass pass(options, nullptr);
  autograd::run_pass(pass, outputs, options);
}

std::vector<Tensor> grad(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
                         const GradOptions& options) {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    FOVEA_CHECK(autograd::wants_grad(inputs[i]), "grad: input {} ({}) does not require a gradient",
                i, inputs[i].describe());
  }
  autograd::BackwardPass pass(options, &inputs);
  autograd::run_pass(pass, outputs, options);
  std::vector<Tensor> results = std::move(pass.results());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!results[i].defined()) results[i] = Tensor::zeros(inputs[i].shape(), inputs[i].dtype());
  }
  return results;
}

}  // namespace fovea
