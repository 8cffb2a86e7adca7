// Makes IDX and gzip files for tests.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>
#include <vector>

#include "support/files.h"

namespace fovea::testing {

inline std::string idx_of(const std::vector<std::int64_t>& sizes, const std::string& elements) {
  std::string bytes = {0, 0, 8, static_cast<char>(sizes.size())};
  for (const std::int64_t size : sizes) {
    for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>((size >> shift) & 0xff);
  }
  return bytes + elements;
}

inline std::string gzip_of(const std::string& bytes) {
  z_stream zlib{};
  deflateInit2(&zlib, Z_BEST_COMPRESSION, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string result(deflateBound(&zlib, bytes.size()), '\0');
  zlib.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  zlib.avail_in = static_cast<uInt>(bytes.size());
  zlib.next_out = reinterpret_cast<Bytef*>(result.data());
  zlib.avail_out = static_cast<uInt>(result.size());
  deflate(&zlib, Z_FINISH);
  result.resize(zlib.total_out);
  deflateEnd(&zlib);
  return result;
}

// A folder in MNIST's format: `count` 4x3 images per split, where pixel p of image i has the value
// 10 i + p (mod 256) and the label i mod 10.
inline void write_small_mnist(const std::string& folder, int count) {
  std::string pixels;
  std::string labels;
  for (int i = 0; i < count; ++i) {
    for (int p = 0; p < 12; ++p) pixels += static_cast<char>((10 * i + p) & 0xff);
    labels += static_cast<char>(i % 10);
  }
  for (const std::string stem : {"/train", "/t10k"}) {
    write_file(folder + stem + "-images-idx3-ubyte", idx_of({count, 4, 3}, pixels));
    write_file(folder + stem + "-labels-idx1-ubyte.gz", gzip_of(idx_of({count}, labels)));
  }
}

// Ten classes of 28x28 images in MNIST's format: a bright square whose place tells the class, on
// noise.
inline void write_squares(const std::string& folder, int count) {
  for (const std::string stem : {"/train", "/t10k"}) {
    std::string pixels;
    std::string labels;
    unsigned noise = stem == "/train" ? 1 : 2;
    for (int i = 0; i < count; ++i) {
      const int label = i % 10;
      const int top = 2 + 12 * (label / 5);
      const int left = 1 + 5 * (label % 5);
      for (int y = 0; y < 28; ++y) {
        for (int x = 0; x < 28; ++x) {
          noise = noise * 1664525 + 1013904223;
          const bool inside = y >= top && y < top + 10 && x >= left && x < left + 6;
          pixels += static_cast<char>((noise >> 24) % 64 + (inside ? 160 : 0));
        }
      }
      labels += static_cast<char>(label);
    }
    write_file(folder + stem + "-images-idx3-ubyte", idx_of({count, 28, 28}, pixels));
    write_file(folder + stem + "-labels-idx1-ubyte", idx_of({count}, labels));
  }
}

}  // namespace fovea::testing
