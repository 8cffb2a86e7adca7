// The recorder behind trace(), one per thread.
#include "autograd/trace.h"

#include <unordered_map>

#include "core/check.h"
#include "fovea/autograd.h"

namespace fovea::autograd {
namespace {

struct Recorder {
  Trace trace;
  std::unordered_map<const TensorImpl*, int> numbers;
  std::vector<int> open_scopes;

  int number_of(const Tensor& tensor) {
    if (!tensor.defined()) return -1;
    const auto [found, is_new] =
        numbers.try_emplace(tensor.impl().get(), static_cast<int>(trace.values.size()));
    if (is_new) {
      trace.values.push_back(spec_of(tensor));
      trace.tensors.push_back(tensor);  // also keeps the address from being used again
    }
    return found->second;
  }
};

thread_local Recorder* recorder = nullptr;

// Ends the trace of this thread however the traced code is left.
struct RecorderGuard {
  explicit RecorderGuard(Recorder& own) { recorder = &own; }
  ~RecorderGuard() { recorder = nullptr; }
};

Tensor without_data(const Tensor& tensor) {
  return allocate_tensor(spec_of(tensor), true);
}

}  // namespace

Trace trace(const std::vector<Tensor>& inputs, bool shapes_only,
            const std::function<std::vector<Tensor>(const std::vector<Tensor>&)>& body) {
  FOVEA_CHECK(recorder == nullptr, "trace: one is already running on this thread");
  Recorder own;
  const RecorderGuard guard(own);
  const NoGrad no_grad;
  std::vector<Tensor> seen;
  for (const Tensor& input : inputs) {
    seen.push_back(shapes_only ? without_data(input) : input);
    own.trace.inputs.push_back(own.number_of(seen.back()));
  }
  for (const Tensor& output : body(seen)) own.trace.outputs.push_back(own.number_of(output));
  return std::move(own.trace);
}

bool tracing() {
  return recorder != nullptr;
}

void record_trace(const OpDef& op, const std::vector<Tensor>& inputs, const Attributes& attributes,
                  const std::vector<Tensor>& outputs) {
  TracedCall call;
  call.op = &op;
  call.attributes = attributes;
  call.scope = recorder->open_scopes.empty() ? -1 : recorder->open_scopes.back();
  for (const Tensor& input : inputs) call.inputs.push_back(recorder->number_of(input));
  for (const Tensor& output : outputs) call.outputs.push_back(recorder->number_of(output));
  recorder->trace.calls.push_back(std::move(call));
}

LayerScope::LayerScope(const std::string& name, const void* module,
                       const std::function<std::string()>& describe) {
  if (recorder == nullptr) return;
  active_ = true;
  std::string path =
      recorder->open_scopes.empty()
          ? std::string()
          : recorder->trace.scopes[static_cast<std::size_t>(recorder->open_scopes.back())].path;
  if (!path.empty() && !name.empty()) path += '.';
  path += name;
  recorder->open_scopes.push_back(static_cast<int>(recorder->trace.scopes.size()));
  recorder->trace.scopes.push_back(
      {.path = std::move(path), .description = describe(), .module = module});
}

LayerScope::~LayerScope() {
  if (active_ && recorder != nullptr) recorder->open_scopes.pop_back();
}

}  // namespace fovea::autograd
