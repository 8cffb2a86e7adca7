// The measured search: what `fovea conv --search` adds.
#pragma once

#include <fovea/fovea.h>
#include <string>
#include <vector>

namespace cli {

// Times the algorithms for each pass, prints them, and adds the fastest to the plan file at `path`,
// which is made where there is none; an empty path: only prints.
void search_passes(const fovea::ConvProblem& problem, const std::vector<fovea::Pass>& passes,
                   const fovea::SearchOptions& options, const std::string& path, bool json);

}  // namespace cli
