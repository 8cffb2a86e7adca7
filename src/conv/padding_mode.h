// An algorithm as the planner asks and runs it: in every padding mode, whether it knows of them or
// not.
//
// One that does not read the padding of a problem by itself is given an input that holds its
// padding; its gradient of such an input is folded back onto the input.
#pragma once

#include "conv/algorithms.h"

namespace fovea::conv {

std::optional<std::string> refusal(const ConvAlgorithm& algorithm, const ConvProblem& problem,
                                   Pass pass);
std::optional<std::string> kept_back(const ConvAlgorithm& algorithm, const ConvProblem& problem,
                                     Pass pass);
ConvCost predicted_cost(const ConvAlgorithm& algorithm, const ConvProblem& problem, Pass pass);
double error_growth(const ConvAlgorithm& algorithm, const ConvProblem& problem, Pass pass);
std::size_t workspace_bytes(const ConvAlgorithm& algorithm, const ConvProblem& problem, Pass pass);
void execute(const ConvAlgorithm& algorithm, const ConvProblem& problem, Pass pass,
             const ConvArgs& args);

}  // namespace fovea::conv
