// Attributes by name, and the cost of one call.
#include "ops/op.h"

#include <algorithm>

#include "core/check.h"

namespace fovea {

bool Attributes::has(std::string_view name) const {
  return std::any_of(values_.begin(), values_.end(),
                     [&](const auto& entry) { return entry.first == name; });
}

const AttributeValue& Attributes::find(std::string_view name) const {
  const auto found = std::find_if(values_.begin(), values_.end(),
                                  [&](const auto& entry) { return entry.first == name; });
  FOVEA_ASSERT(found != values_.end(), "there is no attribute '{}'", name);
  return found->second;
}

Attributes Attributes::with(std::string_view name, AttributeValue value) && {
  for (auto& entry : values_) {
    if (entry.first == name) {
      entry.second = std::move(value);
      return std::move(*this);
    }
  }
  values_.emplace_back(name, std::move(value));
  return std::move(*this);
}

OpField global_field(Specs, const Attributes&) {
  return {.global = true, .window = {}, .stride = {}, .before = {}};
}

OpCost cost_of(const OpDef& op, Specs inputs, Specs outputs, const Attributes& attributes) {
  if (op.cost != nullptr) return op.cost(inputs, outputs, attributes);
  OpCost cost;
  const auto move = [&](Specs specs) {
    for (const TensorSpec& spec : specs) {
      if (spec.defined) cost.bytes += static_cast<std::int64_t>(spec.bytes());
    }
  };
  move(inputs);
  move(outputs);
  return cost;
}

}  // namespace fovea
