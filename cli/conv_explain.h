// Every algorithm's answer to one pass, side by side: what `fovea conv --explain` prints.
#pragma once

#include <fovea/fovea.h>

namespace cli {

// `speed`: what the machine can do at most, by which cycles are told as seconds.
void explain_pass(const fovea::ConvProblem& problem, fovea::Pass pass,
                  const fovea::PlanOptions& options, const fovea::MachineSpeed& speed, bool json);

}  // namespace cli
