// The library's version and what it runs on.
#pragma once

#include <string>
#include <vector>

#include "fovea/export.h"

namespace fovea {

FOVEA_API std::string version();  // "0.1.0"
// The SIMD target in use, such as "AVX3", and all that this CPU and this build share, best first.
FOVEA_API std::string simd_target();
FOVEA_API std::vector<std::string> simd_targets();
// Restricts the library to one of simd_targets(); an empty name brings the best one back. Throws
// Error for an unknown name. Also read from the environment: FOVEA_SIMD.
FOVEA_API void set_simd_target(const std::string& name);

}  // namespace fovea
