// Time series in .ts files: the input is the file.
#include "fovea/readers.h"
#include "target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fovea::fuzz::expect_refusal_or_success(
      fovea::fuzz::string_of(data, size),
      [](const std::string& path) { fovea::data::read_ts(path); });
  return 0;
}
