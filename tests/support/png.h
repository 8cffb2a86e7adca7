// Makes PNG files for tests, chunk by chunk.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>

namespace fovea::testing::png {

inline std::string big_endian(std::uint64_t value) {
  std::string bytes;
  for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>((value >> shift) & 0xff);
  return bytes;
}

inline std::string chunk(const std::string& type, const std::string& data) {
  const std::string body = type + data;
  const auto sum =
      crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return big_endian(data.size()) + body + big_endian(sum);
}

enum Color : char { kGrey = 0, kRgb = 2, kPalette = 3, kGreyAlpha = 4, kRgba = 6 };

struct Pixels {
  std::uint32_t width = 1;
  std::uint32_t height = 1;
  char depth = 8;
  Color color = kGrey;
  char interlaced = 0;
};

// `rows`: each scan line with its filter byte. `before`: chunks between header and data.
inline std::string png_of(const Pixels& pixels, const std::string& rows,
                          const std::string& before = "") {
  std::string packed(compressBound(rows.size()), '\0');
  uLongf size = packed.size();
  compress(reinterpret_cast<Bytef*>(packed.data()), &size,
           reinterpret_cast<const Bytef*>(rows.data()), rows.size());
  packed.resize(size);
  const std::string header = big_endian(pixels.width) + big_endian(pixels.height) +
                             std::string{pixels.depth, pixels.color, 0, 0, pixels.interlaced};
  return "\x89PNG\r\n\x1a\n" + chunk("IHDR", header) + before + chunk("IDAT", packed) +
         chunk("IEND", "");
}

}  // namespace fovea::testing::png
