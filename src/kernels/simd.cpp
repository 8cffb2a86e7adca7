// The choice of the SIMD target, over Highway's own.
//
// Highway keeps the set of usable targets in a global that every dispatch reads; restricting that
// set to one target is how FOVEA_SIMD and set_simd_target work.
#include "kernels/simd.h"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/check.h"
#include "fovea/version.h"
#include "hwy/highway.h"

namespace fovea::kernels {
namespace {

// The best target that may be used. Highway would ask the processor, which under a hypervisor takes
// some 30 us.
std::atomic<std::int64_t> in_use = 0;

// Zero lifts the restriction.
void restrict_to(std::int64_t target) {
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  in_use = hwy::SupportedAndGeneratedTargets().front();
}

std::int64_t find_target(std::string_view name, const std::vector<std::int64_t>& usable,
                         std::string_view source) {
  std::vector<std::string_view> names;
  for (const std::int64_t target : usable) {
    if (name == hwy::TargetName(target)) return target;
    names.emplace_back(hwy::TargetName(target));
  }
  throw_error(fmt::format("{}: there is no SIMD target '{}' here; this CPU and this build share {}",
                          source, name, fmt::join(names, ", ")));
}

// All that this CPU and this build share, best first, from before any restriction.
const std::vector<std::int64_t>& usable_targets() {
  static const std::vector<std::int64_t> targets = [] {
    std::vector<std::int64_t> all = hwy::SupportedAndGeneratedTargets();
    const char* wanted = std::getenv("FOVEA_SIMD");
    restrict_to(wanted == nullptr || *wanted == '\0' ? 0 : find_target(wanted, all, "FOVEA_SIMD"));
    return all;
  }();
  return targets;
}

}  // namespace

void detect_simd() {
  static_cast<void>(usable_targets());
}

std::int64_t simd_number() {
  detect_simd();
  return in_use;
}

std::string simd_name() {
  return hwy::TargetName(simd_number());
}

std::vector<std::string> simd_names() {
  std::vector<std::string> names;
  for (const std::int64_t target : usable_targets()) names.emplace_back(hwy::TargetName(target));
  return names;
}

}  // namespace fovea::kernels

namespace fovea {

std::string simd_target() {
  return kernels::simd_name();
}
std::vector<std::string> simd_targets() {
  return kernels::simd_names();
}

void set_simd_target(const std::string& name) {
  const std::vector<std::int64_t>& usable = kernels::usable_targets();
  kernels::restrict_to(name.empty() ? 0 : kernels::find_target(name, usable, "set_simd_target"));
}

}  // namespace fovea
