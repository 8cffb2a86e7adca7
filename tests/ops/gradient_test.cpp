// What every operator must satisfy, checked on the examples of all of them: shapes as inferred,
// derivatives of first and second order, float32 against float64, any memory order.
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <string>

#include "fovea/autograd.h"
#include "fovea/executor.h"
#include "fovea/functions.h"
#include "ops/examples.h"
#include "support/gradients.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

class Operator : public ::testing::TestWithParam<const OpDef*> {
 protected:
  // The examples are too small to be shared among threads, and there are many calls.
  Operator() : threads_(num_threads()) { set_num_threads(1); }
  ~Operator() override { set_num_threads(threads_); }

  // Calls f(example) for each example of the operator.
  template <class F>
  void for_each_example(const F& f) {
    for (const Example& example : operator_examples()) {
      if (example.op != GetParam()) continue;
      SCOPED_TRACE(std::string(example.op->name) + ": " + example.label);
      f(example);
    }
  }

 private:
  int threads_;
};

bool differentiable(const Tensor& tensor) {
  return tensor.defined() && is_floating(tensor.dtype());
}

// Copies without history, of which the floating ones require gradients.
std::vector<Tensor> leaves(const std::vector<Tensor>& inputs) {
  std::vector<Tensor> result;
  for (const Tensor& input : inputs) {
    result.push_back(input.defined() ? input.detach() : Tensor());
    if (differentiable(input)) result.back().set_requires_grad();
  }
  return result;
}

template <class Keep>
std::vector<Tensor> filter(const std::vector<Tensor>& tensors, const Keep& keep) {
  std::vector<Tensor> result;
  std::copy_if(tensors.begin(), tensors.end(), std::back_inserter(result), keep);
  return result;
}

template <class F>
std::vector<Tensor> transform(const std::vector<Tensor>& tensors, const F& f) {
  std::vector<Tensor> result(tensors.size());
  std::transform(tensors.begin(), tensors.end(), result.begin(), f);
  return result;
}

// Directions to differentiate along: one random tensor for each of `like`.
std::vector<Tensor> directions(const std::vector<Tensor>& like, std::uint64_t seed) {
  return transform(like, [&](const Tensor& tensor) {
    return random_tensor(tensor.shape(), ++seed, tensor.dtype());
  });
}

std::vector<Tensor> floating_outputs(const Example& example, const std::vector<Tensor>& inputs) {
  return filter(apply(*example.op, inputs, example.attributes), differentiable);
}

double total(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += inner_product(a[i], b[i]);
  return sum;
}

double largest(const std::vector<Tensor>& tensors) {
  double result = 0;
  for (const Tensor& tensor : tensors) result = std::max(result, max_abs(tensor));
  return result;
}

// d<outputs, v>/d(each floating input).
std::vector<Tensor> gradients(const Example& example, const std::vector<Tensor>& inputs,
                              const std::vector<Tensor>& v, bool create_graph) {
  return grad(floating_outputs(example, inputs), filter(inputs, differentiable),
              {.create_graph = create_graph, .grad_outputs = v});
}

class ViewOperator : public Operator {};
class DifferentiableOperator : public Operator {};

TEST_P(Operator, HasAnExample) {
  bool found = false;
  for_each_example([&](const Example&) { found = true; });
  EXPECT_TRUE(found) << "add one to tests/ops/examples.cpp";
}

TEST_P(Operator, InfersWhatItProduces) {
  for_each_example([](const Example& example) {
    std::vector<TensorSpec> specs;
    for (const Tensor& input : example.inputs) specs.push_back(spec_of(input));
    const std::vector<TensorSpec> inferred = example.op->infer(specs, example.attributes);
    const std::vector<Tensor> outputs = apply(*example.op, example.inputs, example.attributes);
    ASSERT_EQ(inferred.size(), outputs.size());
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      EXPECT_EQ(outputs[i].shape(), inferred[i].shape);
      EXPECT_EQ(outputs[i].dtype(), inferred[i].dtype);
      // A view lies where its input lies.
      const bool view = outputs[i].impl()->storage == example.inputs[0].impl()->storage;
      if (!view) {
        EXPECT_EQ(outputs[i].strides(), inferred[i].strides);
      }
    }
  });
}

// What is derived from a tensor, packed weights, is kept only where nobody can write unseen.
TEST_P(Operator, GivesNoPointersToItsOutputsAway) {
  for_each_example([](const Example& example) {
    const std::vector<Tensor> inputs = transform(example.inputs, [](const Tensor& input) {
      return input.defined() ? dense(scattered(input), Layout::row_major) : Tensor();
    });
    for (const Tensor& output : apply(*example.op, inputs, example.attributes)) {
      EXPECT_NE(output.impl()->storage->derived(), nullptr);
    }
  });
}

TEST_P(Operator, CountsItsBytes) {
  for_each_example([](const Example& example) {
    std::vector<TensorSpec> specs;
    std::size_t bytes = 0;
    for (const Tensor& input : example.inputs) specs.push_back(spec_of(input));
    const std::vector<TensorSpec> outputs = example.op->infer(specs, example.attributes);
    for (const TensorSpec& spec : specs) bytes += spec.defined ? spec.bytes() : 0;
    for (const TensorSpec& spec : outputs) bytes += spec.bytes();
    const OpCost cost = cost_of(*example.op, specs, outputs, example.attributes);
    EXPECT_EQ(cost.bytes, static_cast<std::int64_t>(bytes));
  });
}

TEST_P(ViewOperator, ShowsWhatACopyHolds) {
  for_each_example([](const Example& example) {
    const Tensor viewed = example.op->view(example.inputs.front(), example.attributes);
    if (!viewed.defined()) return;
    const std::vector<TensorSpec> inferred = example.op->infer(
        std::vector<TensorSpec>{spec_of(example.inputs.front())}, example.attributes);
    std::vector<Tensor> copy = {allocate_tensor(inferred.front())};
    example.op->run(example.inputs, example.attributes, copy);
    expect_identical(viewed, copy.front());
  });
}

TEST_P(DifferentiableOperator, FirstDerivativeIsTheNumericalOne) {
  for_each_example([](const Example& example) {
    const std::vector<Tensor> inputs = leaves(example.inputs);
    const std::vector<Tensor> outputs = floating_outputs(example, inputs);
    const std::vector<Tensor> v = directions(outputs, 1000);
    const std::vector<Tensor> analytic = gradients(example, inputs, v, false);
    const auto value = [&](const std::vector<Tensor>& x) {
      return total(floating_outputs(example, x), v);
    };
    std::size_t next = 0;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (!differentiable(inputs[i])) continue;
      SCOPED_TRACE("input " + std::to_string(i));
      const double scale = static_cast<double>(inputs[i].numel()) * std::max(1.0, largest(outputs));
      expect_close(analytic[next++], numeric_gradient(value, example.inputs, i),
                   numeric_tolerance(scale));
    }
  });
}

TEST_P(DifferentiableOperator, SecondDerivativeIsTheNumericalOne) {
  for_each_example([](const Example& example) {
    const std::vector<Tensor> inputs = leaves(example.inputs);
    const std::vector<Tensor> v = leaves(directions(floating_outputs(example, inputs), 2000));
    const std::vector<Tensor> first = gradients(example, inputs, v, true);
    const std::vector<Tensor> u = directions(first, 3000);
    // L = sum over inputs of <gradient, u>, a function of the inputs and of v.
    std::vector<Tensor> by = filter(inputs, differentiable);
    by.insert(by.end(), v.begin(), v.end());
    std::vector<Tensor> terms;
    std::vector<Tensor> weights;
    for (std::size_t i = 0; i < first.size(); ++i) {
      if (!first[i].requires_grad()) continue;  // zero everywhere
      terms.push_back(first[i]);
      weights.push_back(u[i]);
    }
    ASSERT_FALSE(terms.empty());
    const std::vector<Tensor> analytic = grad(terms, by, {.grad_outputs = weights});

    std::vector<Tensor> arguments = example.inputs;
    for (const Tensor& direction : v) arguments.push_back(direction.detach());
    const auto value = [&](const std::vector<Tensor>& x) {
      const auto split = x.begin() + static_cast<std::ptrdiff_t>(example.inputs.size());
      const std::vector<Tensor> at = leaves({x.begin(), split});
      return total(gradients(example, at, {split, x.end()}, false), u);
    };
    std::size_t next = 0;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      if (!differentiable(arguments[i])) continue;
      SCOPED_TRACE("argument " + std::to_string(i));
      const double scale =
          static_cast<double>(arguments[i].numel()) * std::max(1.0, largest(first));
      expect_close(analytic[next++], numeric_gradient(value, arguments, i),
                   numeric_tolerance(scale));
    }
  });
}

// The same with the floating tensors converted.
std::vector<Tensor> converted(const std::vector<Tensor>& tensors, DType dtype) {
  return transform(tensors, [&](const Tensor& tensor) {
    return differentiable(tensor) ? tensor.to(dtype) : tensor;
  });
}

// Sums inside these small examples have at most this many terms, each of order one.
constexpr double kTerms = 64;

TEST_P(Operator, Float32AgreesWithFloat64) {
  for_each_example([](const Example& example) {
    const std::vector<Tensor> single = converted(example.inputs, DType::float32);
    const std::vector<Tensor> actual = apply(*example.op, single, example.attributes);
    const std::vector<Tensor> expected =
        apply(*example.op, converted(single, DType::float64), example.attributes);
    for (std::size_t i = 0; i < actual.size(); ++i) {
      expect_close(actual[i], expected[i], kTerms * roundoff(DType::float32));
    }
    if (example.op->backward == nullptr) return;
    const std::vector<Tensor> x32 = leaves(single);
    const std::vector<Tensor> x64 = leaves(converted(single, DType::float64));
    const std::vector<Tensor> y32 = floating_outputs(example, x32);
    const std::vector<Tensor> v32 = directions(y32, 4000);
    const std::vector<Tensor> v64 = converted(v32, DType::float64);
    const std::vector<Tensor> g32 = gradients(example, x32, v32, false);
    const std::vector<Tensor> g64 = gradients(example, x64, v64, false);
    for (std::size_t i = 0; i < g32.size(); ++i) {
      EXPECT_EQ(g32[i].dtype(), DType::float32);
      expect_close(g32[i], g64[i], kTerms * roundoff(DType::float32));
    }
  });
}

TEST_P(Operator, TakesAnyMemoryOrder) {
  for_each_example([](const Example& example) {
    const std::vector<Tensor> expected = apply(*example.op, example.inputs, example.attributes);
    const std::vector<Tensor> inputs = transform(example.inputs, [](const Tensor& input) {
      return input.defined() ? scattered(input) : Tensor();
    });
    const std::vector<Tensor> actual = apply(*example.op, inputs, example.attributes);
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) {
      expect_close(actual[i], expected[i], kTerms * roundoff(DType::float64));
    }
  });
}

std::vector<const OpDef*> operators_with(bool (*wanted)(const OpDef&)) {
  std::vector<const OpDef*> found;
  for (const OpDef* op : operators()) {
    if (wanted(*op)) found.push_back(op);
  }
  return found;
}

std::string name_of(const ::testing::TestParamInfo<const OpDef*>& info) {
  return std::string(info.param->name);
}

INSTANTIATE_TEST_SUITE_P(All, Operator,
                         ::testing::ValuesIn(operators_with([](const OpDef&) { return true; })),
                         name_of);
INSTANTIATE_TEST_SUITE_P(All, ViewOperator, ::testing::ValuesIn(operators_with([](const OpDef& op) {
                           return op.view != nullptr;
                         })),
                         name_of);
INSTANTIATE_TEST_SUITE_P(All, DifferentiableOperator,
                         ::testing::ValuesIn(operators_with([](const OpDef& op) {
                           return op.backward != nullptr;
                         })),
                         name_of);

}  // namespace
}  // namespace fovea::testing
