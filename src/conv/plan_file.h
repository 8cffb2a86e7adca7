// The plan file in use, as the planner asks it.
#pragma once

#include <cstdint>
#include <memory>

#include "fovea/plan.h"

namespace fovea::conv {

// The file in use, or null.
std::shared_ptr<const PlanFile> plan_file_in_use();
// Changes whenever another file comes into use.
std::uint64_t plan_file_generation();

}  // namespace fovea::conv
