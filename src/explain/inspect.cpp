// inspect(): what every operator of a network costs and sees, from a trace on shapes alone.
//
// Receptive fields travel along the dataflow. The field of output cell p of a dimension covers
// input cells [start + p * stride, start + p * stride + size); an operator that reads windows of w
// cells at stride s after a padding of b makes it
//   size + (w - 1) stride,   stride * s,   start - b * stride.
// A transposed convolution of stride s is one over an input with s - 1 zeros between its cells,
// which first divides the stride by s. Where branches meet, the field is the hull of theirs. A new
// operator needs nothing here: its OpDef says it all.
#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "autograd/trace.h"
#include "core/check.h"
#include "core/tensor_impl.h"
#include "fovea/explain.h"

namespace fovea::explain {
namespace {

struct Field {
  Shape size;
  Shape stride;
  Shape start;
  bool global = false;
  Shape positions = {};  // where one spatial axis counts the cells of all: how many each has
};

using Fields =
    std::unordered_map<int, Field>;  // by value number; only what depends on the network's input

int spatial_dims(const Shape& shape) {
  return std::max(0, shape.rank() - 2);
}

// One cell each: the input seen from itself.
Field own_field(const Shape& input) {
  const int dims = spatial_dims(input);
  return {Shape::filled(dims, 1), Shape::filled(dims, 1), Shape::filled(dims, 0), false};
}

Field global_field(const Shape& input) {
  Field field = own_field(input);
  for (int d = 0; d < spatial_dims(input); ++d) {
    field.size[d] = input[d + 2];
    field.stride[d] = 0;
  }
  field.global = true;
  return field;
}

Field through_window(const Field& seen, const OpField& op) {
  Field out = seen;
  for (int d = 0; d < seen.size.rank(); ++d) {
    // Zeros between the cells bring neighbours nearer; what falls between cells is rounded up.
    const std::int64_t dilation = op.dilation.empty() ? 1 : op.dilation[d];
    const auto cells = [&](std::int64_t places) {
      const std::int64_t distance = places * seen.stride[d];
      return distance / dilation + (distance % dilation > 0 ? 1 : 0);
    };
    out.size[d] = seen.size[d] + cells(op.window[d] - 1);
    out.stride[d] = cells(op.stride[d]);
    out.start[d] = seen.start[d] - cells(op.before[d]);
  }
  return out;
}

Field hull(const Field& a, const Field& b) {
  Field out = a;
  for (int d = 0; d < a.size.rank(); ++d) {
    const std::int64_t end = std::max(a.start[d] + a.size[d], b.start[d] + b.size[d]);
    out.start[d] = std::min(a.start[d], b.start[d]);
    out.size[d] = end - out.start[d];
    out.stride[d] = std::max(a.stride[d], b.stride[d]);
  }
  return out;
}

// The same where the cells of an output with these spatial axes are counted in another way; global
// where its axes are not those of the field, so that positions are mixed.
Field counted(Field field, const Shape& output, const Shape& network_input) {
  const int dims = field.size.rank();
  const Shape space(std::span<const std::int64_t>(
      output.begin() + output.rank() - spatial_dims(output), output.end()));
  if (space == field.positions) field.positions = {};
  const bool in_one = !field.positions.empty();
  const bool fits =
      in_one ? space.rank() == 1 && space[0] == field.positions.numel() : space.rank() == dims;
  return fits ? field : global_field(network_input);
}

// What the call's output sees; nullopt if it does not depend on the network's input.
std::optional<Field> field_of(const autograd::TracedCall& call, const Fields& fields,
                              const std::vector<TensorSpec>& inputs, const Shape& output,
                              const Shape& network_input) {
  std::optional<Field> seen;
  for (const int value : call.inputs) {
    const auto found = fields.find(value);
    if (found == fields.end()) continue;
    if (found->second.global) return found->second;
    if (seen && seen->positions != found->second.positions) return global_field(network_input);
    seen = seen ? hull(*seen, found->second) : found->second;
  }
  if (!seen) return seen;
  const OpField op =
      call.op->field == nullptr ? OpField{} : call.op->field(inputs, call.attributes);
  const bool in_one = !seen->positions.empty();
  const bool foreign = (!op.window.empty() && op.window.rank() != seen->size.rank()) ||
                       (in_one && !(op.window.empty() && op.positions.empty()));
  if (op.global || foreign) return global_field(network_input);
  Field field = op.window.empty() ? *seen : through_window(*seen, op);
  if (!op.positions.empty()) field.positions = op.positions;
  return counted(field, output, network_input);
}

ReceptiveField report_of(const Field& field) {
  ReceptiveField report{field.size, field.stride, {}, field.global};
  for (int d = 0; d < field.size.rank(); ++d) {
    report.centre.push_back(static_cast<double>(field.start[d]) +
                            static_cast<double>(field.size[d] - 1) / 2);
  }
  return report;
}

// Counts each parameter at the first operator that reads it.
class ParameterCounter {
 public:
  explicit ParameterCounter(const nn::Module& network) {
    for (const Tensor& parameter : network.parameters()) open_.insert(parameter.impl().get());
  }
  std::int64_t take(const Tensor& tensor) {
    return tensor.defined() && open_.erase(tensor.impl().get()) > 0 ? tensor.numel() : 0;
  }

 private:
  std::unordered_set<const TensorImpl*> open_;
};

// Bytes that the call's outputs occupy: none where it only looks at memory in another way.
std::int64_t output_bytes(const autograd::Trace& trace, const autograd::TracedCall& call) {
  if (call.op->view != nullptr) {
    const Tensor& input = trace.tensors[static_cast<std::size_t>(call.inputs.front())];
    if (call.op->view(input, call.attributes).defined()) return 0;
  }
  std::int64_t bytes = 0;
  for (const int value : call.outputs) {
    bytes += static_cast<std::int64_t>(trace.values[static_cast<std::size_t>(value)].bytes());
  }
  return bytes;
}

std::vector<TensorSpec> specs_of(const autograd::Trace& trace, const std::vector<int>& values) {
  std::vector<TensorSpec> specs;
  specs.reserve(values.size());
  for (const int value : values) {
    specs.push_back(value < 0 ? TensorSpec{.shape = {}, .strides = {}, .defined = false}
                              : trace.values[static_cast<std::size_t>(value)]);
  }
  return specs;
}

// Evaluation mode for as long as it lives: a look inside draws no dropout masks.
class EvaluationMode {
 public:
  explicit EvaluationMode(nn::Module& network) : network_(network) {
    network.visit(
        [&](const std::string&, nn::Module& module) { was_.push_back(module.is_training()); });
    network.eval();
  }
  ~EvaluationMode() {
    std::size_t next = 0;
    network_.visit([&](const std::string&, nn::Module& module) { module.train(was_[next++]); });
  }
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  nn::Module& network_;
  std::vector<bool> was_;
};

autograd::Trace trace_of(nn::Module& network, const Shape& input) {
  FOVEA_CHECK(input.rank() >= 2 && *std::min_element(input.begin(), input.end()) > 0,
              "inspect: input {} must be [N, C, spatial...] with every size positive", input);
  const std::vector<Tensor> parameters = network.parameters();
  const DType dtype = parameters.empty() ? DType::float32 : parameters.front().dtype();
  const Layout layout = input.rank() > 2 ? Layout::channels_last : Layout::row_major;
  const Tensor shape_only = allocate_tensor(make_spec(input, dtype, layout), true);
  const EvaluationMode mode(network);
  return autograd::trace({shape_only}, true, [&](const std::vector<Tensor>& inputs) {
    return std::vector<Tensor>{network(inputs.front())};
  });
}

}  // namespace

NetworkReport inspect(nn::Module& network, const Shape& input) {
  const autograd::Trace trace = trace_of(network, input);
  NetworkReport report{.input = input, .layers = {}};
  ParameterCounter counter(network);
  std::unordered_map<int, int> makers = {{trace.inputs.front(), -1}};  // of values, as in inputs
  Fields fields = {{trace.inputs.front(), own_field(input)}};
  for (const autograd::TracedCall& call : trace.calls) {
    const std::vector<TensorSpec> inputs = specs_of(trace, call.inputs);
    const std::vector<TensorSpec> outputs = specs_of(trace, call.outputs);
    LayerReport layer;
    if (call.scope >= 0) {
      const auto& scope = trace.scopes[static_cast<std::size_t>(call.scope)];
      layer.path = scope.path;
      const auto* const module = static_cast<const nn::Module*>(scope.module);
      if (module->children().empty())
        layer.layer = scope.description;  // or it is not its doing alone
    }
    layer.operation = call.op->name;
    layer.output = outputs.front().shape;
    for (const int value : call.inputs) {
      if (const auto maker = makers.find(value); maker != makers.end())
        layer.inputs.push_back(maker->second);
      if (value >= 0)
        layer.parameters += counter.take(trace.tensors[static_cast<std::size_t>(value)]);
    }
    for (const int value : call.outputs) makers[value] = static_cast<int>(report.layers.size());
    layer.multiply_adds = cost_of(*call.op, inputs, outputs, call.attributes).multiply_adds;
    layer.output_bytes = output_bytes(trace, call);
    if (const auto field = field_of(call, fields, inputs, layer.output, input)) {
      for (const int value : call.outputs) fields[value] = *field;
      layer.field = report_of(*field);
    }
    report.multiply_adds += layer.multiply_adds;
    report.activation_bytes += layer.output_bytes;
    report.layers.push_back(std::move(layer));
  }
  report.parameters = network.parameter_count();
  for (const Tensor& parameter : network.parameters()) {
    report.parameter_bytes +=
        parameter.numel() * static_cast<std::int64_t>(size_of(parameter.dtype()));
  }
  return report;
}

}  // namespace fovea::explain
