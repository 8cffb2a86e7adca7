// Plan files. What is read must be written as a text that is read as the same. "HERE" stands for
// the SIMD target in use, so that the corpus is good on every machine.
#include <cstdlib>

#include "fovea/plan.h"
#include "fovea/version.h"
#include "target.h"

namespace fovea {
namespace {

void read_and_write(std::string text) {
  constexpr std::string_view kHere = "HERE";
  if (const std::size_t at = text.find(kHere); at != std::string::npos)
    text.replace(at, kHere.size(), simd_target());
  const PlanFile file = PlanFile::parse(text, "plan");
  const PlanFile again = PlanFile::parse(file.to_string(), "plan");
  if (again.entries != file.entries || again.processor != file.processor) std::abort();
}

}  // namespace
}  // namespace fovea

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fovea::fuzz::expect_refusal_or_success(
      [&] { fovea::read_and_write(fovea::fuzz::string_of(data, size)); }, "plan");
  return 0;
}
