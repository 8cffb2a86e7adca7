// What an operator says that an output cell reads, against the places of its Jacobian that are not
// zero.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "fovea/autograd.h"
#include "fovea/conv.h"
#include "ops/checks.h"
#include "ops/examples.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

// The place of element `index` of a row-major array of `sizes`.
Shape place_of(std::int64_t index, const Shape& sizes) {
  Shape place = sizes;
  for (int axis = sizes.rank() - 1; axis >= 0; --axis) {
    place[axis] = index % sizes[axis];
    index /= sizes[axis];
  }
  return place;
}

// The window of one output place: the cells i of an axis for which i * dilation lies in
// [begin, begin + window).
struct Reach {
  std::int64_t begin;
  std::int64_t window;
  std::int64_t dilation;

  bool holds(std::int64_t cell) const {
    return cell * dilation >= begin && cell * dilation < begin + window;
  }
  bool leaves(std::int64_t cells) const {
    return begin < 0 || begin + window > (cells - 1) * dilation + 1;
  }
};

Reach reach_of(const OpField& field, int axis, std::int64_t place) {
  if (field.window.empty()) return {place, 1, 1};
  return {place * field.stride[axis] - field.before[axis], field.window[axis],
          field.dilation.empty() ? 1 : field.dilation[axis]};
}

class FieldCheck {
 public:
  FieldCheck(const Example& example, const OpField& field) : example_(example), field_(field) {
    inputs_ = example.inputs;
    inputs_[0] = inputs_[0].detach().set_requires_grad();
    output_ = apply(*example.op, inputs_, example.attributes).front();
    cells_ = ops::spatial_of(inputs_[0].shape());
    places_ = ops::spatial_of(output_.shape());
    if (!field.positions.empty()) places_ = field.positions;
  }

  // Whether the axes of the output are those of the input, and what it is cropped from does not
  // repeat.
  bool applies() const {
    const bool folded = example_.op->name == "conv_transpose" && repeats();
    return places_.rank() == cells_.rank() && output_.requires_grad() && !folded;
  }

  // Every cell that is read lies in the window; returns whether along every axis the first and the
  // last place of a window were read by some output.
  bool run() {
    const int dims = cells_.rank();
    std::vector<bool> first(static_cast<std::size_t>(dims));
    std::vector<bool> last(first);
    for (std::int64_t i = 0; i < output_.numel(); ++i) {
      const Shape place = place_of(i % places_.numel(), places_);
      if (repeats() && leaves(place)) continue;
      const std::vector<double> row = jacobian_row(i);
      for (std::size_t j = 0; j < row.size(); ++j) {
        if (row[j] == 0) continue;
        const Shape cell = place_of(static_cast<std::int64_t>(j) % cells_.numel(), cells_);
        for (int axis = 0; axis < dims; ++axis) {
          if (cells_[axis] == 1) continue;  // may be repeated
          const Reach reach = reach_of(field_, axis, place[axis]);
          EXPECT_TRUE(reach.holds(cell[axis]))
              << "output " << place << " reads cell " << cell << " of " << cells_;
          const std::int64_t at = cell[axis] * reach.dilation - reach.begin;
          const auto a = static_cast<std::size_t>(axis);
          if (at == 0) first[a] = true;
          if (at == reach.window - 1) last[a] = true;
        }
      }
    }
    const auto reached = [&](std::size_t a) {
      return (first[a] && last[a]) || cells_[static_cast<int>(a)] == 1;
    };
    for (std::size_t a = 0; a < first.size(); ++a) {
      if (!reached(a)) return false;
    }
    return true;
  }

 private:
  // Padding of these modes shows cells from elsewhere.
  bool repeats() const {
    if (!example_.attributes.has("padding_mode")) return false;
    const auto mode = static_cast<PaddingMode>(example_.attributes.integer("padding_mode"));
    return mode != PaddingMode::zeros && mode != PaddingMode::constant;
  }
  bool leaves(const Shape& place) const {
    for (int axis = 0; axis < cells_.rank(); ++axis) {
      if (reach_of(field_, axis, place[axis]).leaves(cells_[axis])) return true;
    }
    return false;
  }

  std::vector<double> jacobian_row(std::int64_t element) const {
    std::vector<double> one(static_cast<std::size_t>(output_.numel()));
    one[static_cast<std::size_t>(element)] = 1;
    return grad({output_}, {inputs_[0]},
                {.retain_graph = true, .grad_outputs = {Tensor::from(one, output_.shape())}})
        .front()
        .to_vector<double>();
  }

  const Example& example_;
  const OpField& field_;
  std::vector<Tensor> inputs_;
  Tensor output_;
  Shape cells_;
  Shape places_;
};

TEST(OperatorFields, HoldWhatTheJacobianReads) {
  std::set<std::string_view> windowed;
  std::set<std::string_view> tight;
  for (const Example& example : operator_examples()) {
    const Tensor& input = example.inputs[0];
    if (example.op->backward == nullptr || input.rank() < 3) continue;
    SCOPED_TRACE(std::string(example.op->name) + ": " + example.label);
    std::vector<TensorSpec> specs;
    for (const Tensor& each : example.inputs) specs.push_back(spec_of(each));
    const OpField field =
        example.op->field == nullptr ? OpField{} : example.op->field(specs, example.attributes);
    if (field.global) continue;
    const std::vector<TensorSpec> outputs = example.op->infer(specs, example.attributes);
    if (outputs.front().shape.rank() < 3) continue;  // no space is left
    FieldCheck check(example, field);
    if (!check.applies()) continue;
    windowed.insert(example.op->name);
    if (check.run()) tight.insert(example.op->name);
  }
  EXPECT_GT(windowed.size(), 30U);
  EXPECT_EQ(tight, windowed) << "windows are no larger than what is read";
}

}  // namespace
}  // namespace fovea::testing
