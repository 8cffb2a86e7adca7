// What an operator is. Written down once, in src/ops, and read by the tape, the tracer, inspect,
// the tests and the docs.
//
// To add one: an OpDef in the file of its family, a line in operators.cpp, its public function in
// include/fovea/functions.h and src/autograd/functions.cpp, and an example in
// tests/ops/examples.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/tensor_impl.h"
#include "fovea/shape.h"
#include "fovea/tensor.h"

namespace fovea {

using AttributeValue = std::variant<bool, std::int64_t, double, std::string, Shape>;

// Named options of one call of an operator. Names are string literals.
class Attributes {
 public:
  Attributes() = default;
  Attributes(std::initializer_list<std::pair<std::string_view, AttributeValue>> values)
      : values_(values) {}

  bool has(std::string_view name) const;
  bool flag(std::string_view name) const { return get<bool>(name); }
  std::int64_t integer(std::string_view name) const { return get<std::int64_t>(name); }
  double number(std::string_view name) const { return get<double>(name); }
  const std::string& text(std::string_view name) const { return get<std::string>(name); }
  const Shape& integers(std::string_view name) const { return get<Shape>(name); }
  // This list with `name` set to `value`.
  Attributes with(std::string_view name, AttributeValue value) const& {
    return Attributes(*this).with(name, std::move(value));
  }
  Attributes with(std::string_view name, AttributeValue value) &&;
  const std::vector<std::pair<std::string_view, AttributeValue>>& all() const { return values_; }

 private:
  const AttributeValue& find(std::string_view name) const;  // InternalError if there is none
  template <class T>
  const T& get(std::string_view name) const;

  std::vector<std::pair<std::string_view, AttributeValue>> values_;
};

using Specs = std::span<const TensorSpec>;
using Inputs = std::span<const Tensor>;
using Outputs = std::span<Tensor>;

// What a backward function is given. Inputs and outputs are there only where OpDef::saves asks for
// them.
struct BackwardCall {
  Inputs inputs;
  Inputs outputs;
  Specs input_specs;
  Inputs grads;                      // dL/d(output), undefined where nothing came back
  std::span<const bool> needs_grad;  // per input
  const Attributes& attributes;
};

// What backward reads, as bit masks over inputs and outputs; everything else is freed after the
// forward call.
struct Saves {
  std::uint32_t inputs = 0;
  std::uint32_t outputs = 0;
};

// Work of one call.
struct OpCost {
  std::int64_t multiply_adds = 0;
  std::int64_t bytes = 0;  // read and written at least once
};

// What one output cell reads of the input, per spatial dimension; `global`: all of it.
struct OpField {
  bool global = false;
  Shape window;  // cells spanned; empty: one cell
  Shape stride;
  Shape before;          // padding
  Shape dilation = {};   // of the input: the window moves over the input with zeros between its
                         // cells, as a transposed convolution's does; empty: none
  Shape positions = {};  // where the one spatial axis of the output counts output positions of
                         // several axes in row-major order: how many each has; else empty
};

struct OpDef {
  std::string_view name;
  // Shapes, types and memory order of the outputs. Every user error is raised here, before any
  // work.
  std::vector<TensorSpec> (*infer)(Specs inputs, const Attributes& attributes);
  // Writes into outputs it is given, which are as infer() said.
  void (*run)(Inputs inputs, const Attributes& attributes, Outputs outputs);
  // For operators that only look at memory in another way: the view, or undefined where a copy is
  // needed (then run).
  Tensor (*view)(const Tensor& input, const Attributes& attributes) = nullptr;
  // dL/d(input) for each input that needs one (others may stay undefined), written with operators;
  // null: no gradient.
  std::vector<Tensor> (*backward)(const BackwardCall& call) = nullptr;
  Saves saves = {};
  // Null: no multiply-adds, and each tensor is moved once.
  OpCost (*cost)(Specs inputs, Specs outputs, const Attributes& attributes) = nullptr;
  // Of the first input, and of others that are no weights. Null: each output cell reads the cell at
  // its own place. What padding repeats from elsewhere is not counted.
  OpField (*field)(Specs inputs, const Attributes& attributes) = nullptr;
};

// Every operator.
std::span<const OpDef* const> operators();
// Throws InternalError for an unknown name.
const OpDef& find_operator(std::string_view name);

// The field of operators whose output cells may read any place, or places that depend on more than
// a step from cell to cell.
OpField global_field(Specs inputs, const Attributes& attributes);

OpCost cost_of(const OpDef& op, Specs inputs, Specs outputs, const Attributes& attributes);

// Calls an operator, recorded for gradients and traces: how backward functions compute. Defined by
// the tape (src/autograd/apply.cpp), the one place where an operator is run.
std::vector<Tensor> apply(const OpDef& op, std::vector<Tensor> inputs, Attributes attributes = {});
// For operators with one output.
Tensor apply1(const OpDef& op, std::vector<Tensor> inputs, Attributes attributes = {});

// Whether apply() now records for gradients: inside a backward function, whether the derivative is
// going to be differentiated again. A fused backward operator without a derivative of its own gives
// way to a formula of operators then. Defined by the tape.
bool recording_enabled();

template <class T>
const T& Attributes::get(std::string_view name) const {
  return std::get<T>(find(name));
}

}  // namespace fovea
