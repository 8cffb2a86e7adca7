// Run-time choice of the SIMD target, in one place.
//
// Each kernel file is compiled once per target (Highway's foreach_target) and called through
// HWY_DYNAMIC_DISPATCH at every call. Never keep a pointer from the dispatch table: taken before
// the CPU was detected it is the detecting stub, and every call through it pays for a CPUID.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fovea::kernels {

// Detects the CPU once; cheap afterwards.
void detect_simd();
// The target in use, as Highway numbers it.
std::int64_t simd_number();
// Name of the target in use; names of all usable ones, best first.
std::string simd_name();
std::vector<std::string> simd_names();

}  // namespace fovea::kernels
