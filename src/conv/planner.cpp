// The planner: which algorithm computes a problem. The first of the list that accepts it and suits
// it, or the one forced by name.
#include <algorithm>
#include <iterator>

#include "conv/algorithms.h"
#include "conv/padding_mode.h"
#include "core/dispatch.h"
#include "core/tensor_impl.h"
#include "kernels/simd.h"

namespace fovea {
namespace conv {
namespace {

thread_local std::string_view last;

const ConvAlgorithm& find(std::string_view wanted) {
  std::vector<std::string_view> names;
  for (const ConvAlgorithm* algorithm : kAlgorithms) {
    if (algorithm->name == wanted) return *algorithm;
    names.push_back(algorithm->name);
  }
  throw_error(fmt::format("conv: there is no algorithm '{}'; the names are auto, {}", wanted,
                          fmt::join(names, ", ")));
}

void require_operand(const Plan& plan, const Tensor& tensor, std::string_view role,
                     const Shape& shape, Layout layout) {
  FOVEA_CHECK(tensor.defined() && !tensor.is_abstract() && tensor.shape() == shape &&
                  tensor.dtype() == plan.problem.dtype && tensor.is_contiguous(layout),
              "run_conv: the {} tensor is {}, but {} of {} needs {} {}, dense in {} order; "
              "contiguous() makes it so",
              role, tensor.defined() ? tensor.describe() : "undefined", name(plan.pass),
              plan.problem.to_string(), name(plan.problem.dtype), shape,
              layout == Layout::row_major ? "row-major" : "channels-last");
}

// Why the algorithm is not to compute the problem: its own reason, or what was asked for.
std::optional<std::string> why_not(const ConvAlgorithm& algorithm, const ConvProblem& problem,
                                   Pass pass, Precision precision) {
  std::optional<std::string> own = refusal(algorithm, problem, pass);
  if (own || precision == Precision::fast) return own;
  const double growth = error_growth(algorithm, problem, pass);
  if (growth == 1) return std::nullopt;
  return fmt::format(
      "its terms cancel, which may make rounding errors {:.3g} times larger, and "
      "precision exact was asked for",
      growth);
}

}  // namespace

const ConvAlgorithm& choose(const ConvProblem& problem, Pass pass, const PlanOptions& options) {
  if (options.algorithm != "auto") {
    const ConvAlgorithm& forced = find(options.algorithm);
    const std::optional<std::string> reason = why_not(forced, problem, pass, options.precision);
    FOVEA_CHECK(!reason, "conv: '{}' was asked for, but refuses {} of {}: {}", options.algorithm,
                name(pass), problem.to_string(), reason.value_or(""));
    return forced;
  }
  for (const ConvAlgorithm* algorithm : kAlgorithms) {
    if (suits(*algorithm, problem, pass) &&
        !why_not(*algorithm, problem, pass, options.precision)) {
      return *algorithm;
    }
  }
  FOVEA_ASSERT(false, "no algorithm accepts {} of {}", name(pass), problem.to_string());
}

void run(const ConvProblem& problem, Pass pass, const PlanOptions& options, const ConvArgs& args) {
  kernels::detect_simd();
  const ConvAlgorithm& chosen = choose(problem, pass, options);
  execute(chosen, problem, pass, args);
  last = chosen.name;
}

Storage* weight_storage(const Tensor& weights) {
  const TensorImpl& impl = *weights.impl();
  const bool alone = impl.offset == 0 && spec_of(weights).bytes() == impl.storage->bytes();
  return alone ? impl.storage.get() : nullptr;
}

}  // namespace conv

std::span<const ConvAlgorithmInfo> algorithms() {
  static const std::vector<ConvAlgorithmInfo> list = [] {
    std::vector<ConvAlgorithmInfo> infos;
    for (const conv::ConvAlgorithm* algorithm : conv::kAlgorithms)
      infos.push_back({algorithm->name, algorithm->summary});
    return infos;
  }();
  return list;
}

Plan make_plan(const ConvProblem& problem, Pass pass, const PlanOptions& options) {
  problem.validate();
  const conv::ConvAlgorithm& chosen = conv::choose(problem, pass, options);
  Plan plan;
  plan.problem = problem;
  plan.pass = pass;
  plan.algorithm = chosen.name;
  plan.reason =
      options.algorithm == "auto"
          ? fmt::format("the first in the list that accepts and suits: {}", chosen.summary)
          : "it was asked for by name";
  for (const conv::ConvAlgorithm* asked : conv::kAlgorithms) {
    Candidate candidate{.algorithm = asked->name,
                        .refusal = conv::why_not(*asked, problem, pass, options.precision),
                        .predicted = {},
                        .workspace = 0,
                        .error_growth = 1};
    if (!candidate.refusal) {
      candidate.predicted = conv::predicted_cost(*asked, problem, pass);
      candidate.workspace = conv::workspace_bytes(*asked, problem, pass);
      candidate.error_growth = conv::error_growth(*asked, problem, pass);
    }
    plan.candidates.push_back(std::move(candidate));
  }
  return plan;
}

std::string_view last_algorithm() {
  return conv::last;
}

void run_conv(const Plan& plan, const void* first, const void* second, void* result) {
  FOVEA_CHECK(first != nullptr && second != nullptr && result != nullptr,
              "run_conv: a pointer is null");
  plan.problem.validate("run_conv");
  conv::run(plan.problem, plan.pass, {.algorithm = plan.algorithm},
            {.first = first, .second = second, .result = result});
}

void run_conv(const Plan& plan, const Tensor& first, const Tensor& second, Tensor& result) {
  const ConvProblem& problem = plan.problem;
  problem.validate("run_conv");
  const Shape x = problem.input_shape();
  const Shape w = problem.weight_shape();
  const Shape y = problem.output_shape();
  constexpr Layout kCells = Layout::channels_last;
  constexpr Layout kWeights = Layout::row_major;
  const bool to_weights = plan.pass == Pass::backward_weights;
  if (plan.pass == Pass::backward_data) {
    conv::require_operand(plan, first, "first", y, kCells);
    conv::require_operand(plan, result, "result", x, kCells);
  } else {
    conv::require_operand(plan, first, "first", x, kCells);
    conv::require_operand(plan, result, "result", to_weights ? w : y,
                          to_weights ? kWeights : kCells);
  }
  conv::require_operand(plan, second, "second", to_weights ? y : w, to_weights ? kCells : kWeights);
  dispatch_floating(problem.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    conv::run(problem, plan.pass, {.algorithm = plan.algorithm},
              {.first = first.data<T>(),
               .second = second.data<T>(),
               .result = result.mutable_data<T>(),
               .weights = to_weights ? nullptr : conv::weight_storage(second)});
  });
}

}  // namespace fovea
