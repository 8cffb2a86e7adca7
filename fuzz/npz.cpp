// Archives of NumPy's arrays. The first byte says what the rest is: 0, the archive itself; 1 or
// another number, an array that is stored or deflated in one whose check sum is right.
#include "fovea/readers.h"
#include "support/formats.h"
#include "target.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string file = fovea::fuzz::string_of(data + 1, size - 1);
  if (data[0] != 0) file = fovea::testing::zip_of({{"a.npy", file}}, data[0] != 1);
  fovea::fuzz::expect_refusal_or_success(
      file, [](const std::string& path) { fovea::data::read_npz(path); });
  return 0;
}
