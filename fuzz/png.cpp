// PNG images, read as pictures and as masks. If the first byte is not 0, the check sums of the
// chunks in the rest are made right, or hardly a change would get past them.
#include <zlib.h>

#include "fovea/data.h"
#include "target.h"

namespace {

std::size_t big_endian_at(const std::string& bytes, std::size_t place) {
  std::size_t value = 0;
  for (std::size_t i = 0; i < 4; ++i)
    value = value << 8 | static_cast<unsigned char>(bytes[place + i]);
  return value;
}

// Behind the signature of 8 bytes, each chunk is: its length, four letters, data, check sum.
void mend_check_sums(std::string& file) {
  for (std::size_t place = 8; place + 12 <= file.size();) {
    const std::size_t length = big_endian_at(file, place);
    if (length > file.size() - place - 12) return;
    const auto* covered = reinterpret_cast<const Bytef*>(file.data() + place + 4);
    const uLong sum = crc32(0, covered, static_cast<uInt>(length + 4));
    for (std::size_t i = 0; i < 4; ++i)
      file[place + 8 + length + i] = static_cast<char>(sum >> (24 - 8 * i) & 0xff);
    place += length + 12;
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string file = fovea::fuzz::string_of(data + 1, size - 1);
  if (data[0] != 0) mend_check_sums(file);
  fovea::fuzz::expect_refusal_or_success(
      file, [](const std::string& path) { fovea::data::read_png(path); });
  fovea::fuzz::expect_refusal_or_success(
      file, [](const std::string& path) { fovea::data::read_png_mask(path); });
  return 0;
}
