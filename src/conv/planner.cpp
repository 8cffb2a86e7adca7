// The planner: which algorithm computes a problem. Of those that accept it the one with the fewest
// predicted cycles, or what a plan file in use names, or the one forced by name.
#include <algorithm>
#include <iterator>
#include <memory>
#include <unordered_map>

#include "conv/algorithms.h"
#include "conv/padding_mode.h"
#include "conv/plan_file.h"
#include "core/dispatch.h"
#include "core/tensor_impl.h"
#include "kernels/simd.h"

namespace fovea {
namespace conv {
namespace {

thread_local std::string_view last;

const ConvAlgorithm& find(std::string_view wanted) {
  if (const ConvAlgorithm* const algorithm = find_algorithm(wanted)) return *algorithm;
  std::vector<std::string_view> names;
  for (const ConvAlgorithm* algorithm : kAlgorithms) names.push_back(algorithm->name);
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
                                   Pass pass, const PlanOptions& options) {
  std::optional<std::string> own = refusal(algorithm, problem, pass);
  if (own) return own;
  if (options.precision == Precision::exact) {
    const double growth = error_growth(algorithm, problem, pass);
    if (growth != 1) {
      return fmt::format(
          "its rounding errors may be {:.3g} times larger, and precision exact was asked for",
          growth);
    }
  }
  if (options.workspace_limit != kNoWorkspaceLimit) {
    const std::size_t needed = workspace_bytes(algorithm, problem, pass);
    if (needed > static_cast<std::size_t>(options.workspace_limit)) {
      return fmt::format("it needs {} bytes of workspace, and workspace_limit is {}", needed,
                         options.workspace_limit);
    }
  }
  return std::nullopt;
}

std::string cycles_text(double cycles) {
  return cycles < 1e6 ? fmt::format("{:.3g} thousand cycles", cycles * 1e-3)
                      : fmt::format("{:.3g} million cycles", cycles * 1e-6);
}

// Everything that a choice is made of: what each algorithm answers, and which one it is.
struct Choice {
  std::vector<Candidate> candidates;
  std::vector<std::optional<std::string>> kept_back;  // of those that do not refuse
  std::size_t chosen = 0;                             // place in both, and in kAlgorithms
  std::string reason;

  double cycles(std::size_t i) const { return candidates[i].predicted.cycles; }
  bool may_take(std::size_t i) const { return !candidates[i].refusal && !kept_back[i]; }
};

Choice ask_all(const ConvProblem& problem, Pass pass, const PlanOptions& options) {
  Choice choice;
  for (const ConvAlgorithm* asked : kAlgorithms) {
    Candidate candidate{.algorithm = asked->name,
                        .refusal = why_not(*asked, problem, pass, options),
                        .passed_over = {},
                        .predicted = {},
                        .workspace = 0,
                        .error_growth = 1};
    choice.kept_back.emplace_back();
    if (!candidate.refusal) {
      candidate.predicted = predicted_cost(*asked, problem, pass);
      candidate.workspace = workspace_bytes(*asked, problem, pass);
      candidate.error_growth = error_growth(*asked, problem, pass);
      choice.kept_back.back() = kept_back(*asked, problem, pass);
    }
    choice.candidates.push_back(std::move(candidate));
  }
  return choice;
}

std::size_t index_of(std::string_view name) {
  const ConvAlgorithm& wanted = find(name);
  return static_cast<std::size_t>(
      std::find(std::begin(kAlgorithms), std::end(kAlgorithms), &wanted) - std::begin(kAlgorithms));
}

void require_accepted(const std::optional<std::string>& refusal, const ConvProblem& problem,
                      Pass pass, const PlanOptions& options) {
  FOVEA_CHECK(!refusal, "conv: '{}' was asked for, but refuses {} of {}: {}", options.algorithm,
              name(pass), problem.to_string(), refusal.value_or(""));
}

void require_limit(const PlanOptions& options) {
  FOVEA_CHECK(options.workspace_limit >= 0,
              "conv: workspace_limit is {}, but must be at least 0 bytes", options.workspace_limit);
}

// The one asked for by name; the others are not asked.
const ConvAlgorithm& named(const ConvProblem& problem, Pass pass, const PlanOptions& options) {
  require_limit(options);
  const ConvAlgorithm& wanted = find(options.algorithm);
  require_accepted(why_not(wanted, problem, pass, options), problem, pass, options);
  return wanted;
}

void take_forced(Choice& choice, const ConvProblem& problem, Pass pass,
                 const PlanOptions& options) {
  choice.chosen = index_of(options.algorithm);
  require_accepted(choice.candidates[choice.chosen].refusal, problem, pass, options);
  choice.reason = "it was asked for by name";
}

// Whether a plan in use decides.
bool take_planned(Choice& choice, const ConvProblem& problem, Pass pass) {
  const std::shared_ptr<const PlanFile> file = plan_file_in_use();
  if (file == nullptr || file->simd != kernels::simd_name()) return false;
  const PlanEntry* entry = file->find(problem, pass);
  if (entry == nullptr) return false;
  const std::size_t place = index_of(entry->algorithm);
  if (choice.candidates[place].refusal) return false;
  choice.chosen = place;
  choice.reason = "the plan file in use names it";
  for (Candidate& candidate : choice.candidates)
    if (!candidate.refusal) candidate.passed_over = "the plan file in use names another";
  return true;
}

void take_predicted(Choice& choice, const ConvProblem& problem, Pass pass,
                    const PlanOptions& options) {
  std::optional<std::size_t> best;
  std::optional<std::size_t> next;
  for (std::size_t i = 0; i < choice.candidates.size(); ++i) {
    if (!choice.may_take(i)) continue;
    if (!best || choice.cycles(i) < choice.cycles(*best)) {
      next = best;
      best = i;
    } else if (!next || choice.cycles(i) < choice.cycles(*next)) {
      next = i;
    }
  }
  FOVEA_CHECK(best,
              "conv: no algorithm computes {} of {} within a workspace_limit of {} bytes; "
              "allow more, or name one by hand, such as 'reference'",
              name(pass), problem.to_string(), options.workspace_limit);
  choice.chosen = *best;
  choice.reason = fmt::format("fewest predicted: {}", cycles_text(choice.cycles(*best)));
  if (next) {
    choice.reason += fmt::format("; {} {}", choice.candidates[*next].algorithm,
                                 cycles_text(choice.cycles(*next)));
  }
  for (std::size_t i = 0; i < choice.candidates.size(); ++i) {
    if (choice.candidates[i].refusal) continue;
    choice.candidates[i].passed_over = choice.kept_back[i].value_or(fmt::format(
        "predicted to take {:.3g} times as long", choice.cycles(i) / choice.cycles(*best)));
  }
}

Choice make_choice(const ConvProblem& problem, Pass pass, const PlanOptions& options) {
  require_limit(options);
  Choice choice = ask_all(problem, pass, options);
  if (options.algorithm != "auto") {
    take_forced(choice, problem, pass, options);
  } else if (!take_planned(choice, problem, pass)) {
    take_predicted(choice, problem, pass, options);
  }
  choice.candidates[choice.chosen].passed_over.clear();
  return choice;
}

// ---- Choices that were made before. A choice takes some microseconds, as long as a small
// convolution; it is a pure function of what is compared here.

struct Question {
  ConvProblem problem;
  Pass pass = Pass::forward;
  Precision precision = Precision::fast;
  std::int64_t workspace_limit = 0;
  std::int64_t simd = 0;
  std::uint64_t plans = 0;
  friend bool operator==(const Question&, const Question&) = default;
};

std::size_t hash_of(const Question& question) {
  std::uint64_t hash = 14695981039346656037u;  // Fowler, Noll and Vo
  const auto mix = [&](std::int64_t value) {
    hash = (hash ^ static_cast<std::uint64_t>(value)) * 1099511628211u;
    hash ^= hash >> 29;
  };
  const ConvProblem& problem = question.problem;
  for (const std::int64_t value :
       {problem.batch, problem.in_channels, problem.out_channels, problem.groups,
        static_cast<std::int64_t>(problem.dtype), static_cast<std::int64_t>(problem.padding_mode),
        static_cast<std::int64_t>(question.pass)}) {
    mix(value);
  }
  for (const ConvAxis& axis : problem.axes) {
    for (const std::int64_t value : {axis.input, axis.kernel, axis.stride, axis.dilation,
                                     axis.padding.before, axis.padding.after}) {
      mix(value);
    }
  }
  return static_cast<std::size_t>(hash);
}

// The answers of this thread: a lock would take as long as the question.
class Remembered {
 public:
  template <class Decide>
  const ConvAlgorithm& answer(const Question& question, const Decide& decide) {
    constexpr std::size_t kMost = 4096;
    const auto found = answers_.find(question);
    if (found != answers_.end()) return *found->second;
    const ConvAlgorithm& decided = decide();
    if (answers_.size() >= kMost) answers_.clear();
    answers_.emplace(question, &decided);
    return decided;
  }

 private:
  struct Hash {
    std::size_t operator()(const Question& question) const { return hash_of(question); }
  };
  std::unordered_map<Question, const ConvAlgorithm*, Hash> answers_;
};

thread_local Remembered remembered;

}  // namespace

const ConvAlgorithm* find_algorithm(std::string_view name) {
  for (const ConvAlgorithm* algorithm : kAlgorithms)
    if (algorithm->name == name) return algorithm;
  return nullptr;
}

const ConvAlgorithm& choose(const ConvProblem& problem, Pass pass, const PlanOptions& options) {
  if (options.algorithm != "auto") return named(problem, pass, options);
  const auto decide = [&]() -> const ConvAlgorithm& {
    return *kAlgorithms[make_choice(problem, pass, options).chosen];
  };
  return remembered.answer({.problem = problem,
                            .pass = pass,
                            .precision = options.precision,
                            .workspace_limit = options.workspace_limit,
                            .simd = kernels::simd_number(),
                            .plans = plan_file_generation()},
                           decide);
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
  conv::Choice choice = conv::make_choice(problem, pass, options);
  return {.problem = problem,
          .pass = pass,
          .algorithm = choice.candidates[choice.chosen].algorithm,
          .reason = std::move(choice.reason),
          .candidates = std::move(choice.candidates)};
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
  for (const Tensor* operand : {&first, &second}) {
    FOVEA_CHECK(operand->impl()->storage != result.impl()->storage,
                "run_conv: the result shares its memory with the {} tensor, which is read while "
                "the result is written; give one of its own",
                operand == &first ? "first" : "second");
  }
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
