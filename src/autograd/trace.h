// The trace hook: writes down which operators a piece of code calls, on which values.
//
// A network is described by what it does, not by what it is made of, so branches and free-form
// forward() functions come out right. Inspection reads the list.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fovea/shape.h"
#include "fovea/tensor.h"
#include "ops/op.h"

namespace fovea::autograd {

// One operator that was called. Values are numbered in the order in which they appear; -1 is an
// absent input.
struct TracedCall {
  const OpDef* op = nullptr;
  Attributes attributes;
  std::vector<int> inputs;
  std::vector<int> outputs;
  int scope =
      -1;  // index into Trace::scopes, of the innermost layer that called it; -1 outside any
};

// A layer that spoke during the trace, once per call.
struct TracedScope {
  std::string path;         // "features.conv1"
  std::string description;  // Module::describe()
  const void* module = nullptr;
};

struct Trace {
  std::vector<TracedCall> calls;
  std::vector<TensorSpec> values;  // by number
  std::vector<Tensor> tensors;     // the same values themselves; abstract ones have no data
  std::vector<TracedScope> scopes;
  std::vector<int> inputs;
  std::vector<int> outputs;
};

// Runs `body` on `inputs` and lists the operators it calls. With `shapes_only` nothing is computed:
// `body` sees tensors that have a shape and no data. Throws Error if a trace is already running on
// this thread.
Trace trace(const std::vector<Tensor>& inputs, bool shapes_only,
            const std::function<std::vector<Tensor>(const std::vector<Tensor>&)>& body);

// Names the layer that calls operators, for as long as it lives. Costs nothing outside a trace.
class LayerScope {
 public:
  LayerScope(const std::string& name, const void* module,
             const std::function<std::string()>& describe);
  ~LayerScope();
  LayerScope(const LayerScope&) = delete;
  LayerScope& operator=(const LayerScope&) = delete;

 private:
  bool active_ = false;
};

// Called by apply() for each operator.
void record_trace(const OpDef& op, const std::vector<Tensor>& inputs, const Attributes& attributes,
                  const std::vector<Tensor>& outputs);
bool tracing();

}  // namespace fovea::autograd
