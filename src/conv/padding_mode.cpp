// Putting the padding where the algorithm does not.
#include "conv/padding_mode.h"

#include "conv/cost.h"
#include "conv/padded_input.h"
#include "core/dispatch.h"

namespace fovea::conv {
namespace {

bool is_given_padding(const ConvAlgorithm& algorithm, const ConvProblem& problem, Pass pass) {
  if (problem.padding_mode == PaddingMode::zeros) return false;
  return algorithm.reads_padding == nullptr || !algorithm.reads_padding(problem, pass);
}

ConvProblem problem_for(const ConvAlgorithm& algorithm, const ConvProblem& problem, Pass pass) {
  return is_given_padding(algorithm, problem, pass) ? with_padding_inside(problem) : problem;
}

std::size_t padded_bytes(const ConvProblem& problem) {
  return static_cast<std::size_t>(padded_values(problem)) * size_of(problem.dtype);
}

template <class T>
void execute_padded(const ConvAlgorithm& algorithm, const ConvProblem& problem, Pass pass,
                    ConvArgs args) {
  const Workspace padded(padded_bytes(problem));
  if (pass == Pass::backward_data) {
    T* const result = static_cast<T*>(args.result);
    args.result = padded.as<T>();
    algorithm.run(with_padding_inside(problem), pass, args);
    fold_padding(problem, padded.as<T>(), result);
  } else {
    copy_padded(problem, static_cast<const T*>(args.first), padded.as<T>());
    args.first = padded.as<T>();
    algorithm.run(with_padding_inside(problem), pass, args);
  }
}

}  // namespace

std::optional<std::string> refusal(const ConvAlgorithm& algorithm, const ConvProblem& problem,
                                   Pass pass) {
  return algorithm.refuses(problem_for(algorithm, problem, pass), pass);
}

std::optional<std::string> kept_back(const ConvAlgorithm& algorithm, const ConvProblem& problem,
                                     Pass pass) {
  if (algorithm.kept_back == nullptr) return std::nullopt;
  return algorithm.kept_back(problem_for(algorithm, problem, pass), pass);
}

ConvCost predicted_cost(const ConvAlgorithm& algorithm, const ConvProblem& problem, Pass pass) {
  ConvCost cost = algorithm.predict(problem_for(algorithm, problem, pass), pass);
  if (is_given_padding(algorithm, problem, pass)) {
    const auto padded = static_cast<double>(padded_bytes(problem));
    cost.bytes += padded;
    cost.cycles += padding_cycles(padded, problem.dtype);
  }
  return cost;
}

double error_growth(const ConvAlgorithm& algorithm, const ConvProblem& problem, Pass pass) {
  if (algorithm.error_growth == nullptr) return 1;
  return algorithm.error_growth(problem_for(algorithm, problem, pass), pass);
}

std::size_t workspace_bytes(const ConvAlgorithm& algorithm, const ConvProblem& problem, Pass pass) {
  const std::size_t own = algorithm.workspace(problem_for(algorithm, problem, pass), pass);
  return is_given_padding(algorithm, problem, pass) ? own + padded_bytes(problem) : own;
}

void execute(const ConvAlgorithm& algorithm, const ConvProblem& problem, Pass pass,
             const ConvArgs& args) {
  if (!is_given_padding(algorithm, problem, pass)) {
    algorithm.run(problem, pass, args);
    return;
  }
  dispatch_floating(problem.dtype, [&](auto tag) {
    execute_padded<typename decltype(tag)::type>(algorithm, problem, pass, args);
  });
}

}  // namespace fovea::conv
