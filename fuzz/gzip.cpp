// gzip'd IDX files. The first byte says what the rest is: 0, the gzip file itself; n, bytes that
// are packed into a file of n members, whose check sums are right.
#include <algorithm>

#include "fovea/data.h"
#include "support/idx.h"
#include "target.h"

namespace {

std::string file_of(const std::string& input) {
  if (input.empty()) return input;
  const auto members = static_cast<unsigned char>(input[0]);
  std::string rest = input.substr(1);
  if (members == 0) return rest;
  std::string file;
  const std::size_t share = rest.size() / members + 1;
  for (std::size_t i = 0; i < rest.size(); i += share)
    file += fovea::testing::gzip_of(rest.substr(i, share));
  return file;
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fovea::fuzz::expect_refusal_or_success(
      file_of(fovea::fuzz::string_of(data, size)),
      [](const std::string& path) { fovea::data::read_idx(path); });
  return 0;
}
