// Checkpoints, loaded into one training run; target.h says how they lie in the input.
#include "fovea/checkpoint.h"

#include "checkpointed.h"
#include "target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static fovea::fuzz::Checkpointed run;
  const std::string file = fovea::fuzz::safetensors_of(fovea::fuzz::string_of(data, size));
  fovea::fuzz::expect_refusal_or_success(
      file, [](const std::string& path) { fovea::load_checkpoint(path, run.state()); });
  return 0;
}
