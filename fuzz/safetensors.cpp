// Safetensors files; target.h says how they lie in the input.
#include "fovea/save.h"
#include "target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string file = fovea::fuzz::safetensors_of(fovea::fuzz::string_of(data, size));
  fovea::fuzz::expect_refusal_or_success(
      file, [](const std::string& path) { fovea::read_safetensors(path); });
  return 0;
}
