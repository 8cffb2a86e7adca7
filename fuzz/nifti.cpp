// NIfTI-1 volumes. If the first byte is not 0, the rest is packed into a gzip file first.
#include "fovea/readers.h"
#include "support/idx.h"
#include "target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string file = fovea::fuzz::string_of(data + 1, size - 1);
  if (data[0] != 0) file = fovea::testing::gzip_of(file);
  fovea::fuzz::expect_refusal_or_success(
      file, [](const std::string& path) { fovea::data::read_nifti(path); });
  return 0;
}
