// Makes files of arrays, volumes, sounds and images for tests, byte by byte.
#pragma once

#include <zlib.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace fovea::testing {

template <class T>
std::string bytes_of(T value, bool big_endian = false) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return big_endian ? std::string(bytes.rbegin(), bytes.rend()) : bytes;
}

template <class T>
std::string bytes_of(const std::vector<T>& values, bool big_endian = false) {
  std::string bytes;
  for (const T value : values) bytes += bytes_of(value, big_endian);
  return bytes;
}

// `shape` as Python writes it: "(2, 3)".
inline std::string npy_of(const std::string& type, const std::string& shape,
                          const std::string& data, bool fortran = false) {
  std::string header = "{'descr': '" + type +
                       "', 'fortran_order': " + (fortran ? "True" : "False") +
                       ", 'shape': " + shape + ", }";
  while ((header.size() + 11) % 64 != 0) header += ' ';
  header += '\n';
  return std::string("\x93NUMPY\1\0", 8) + bytes_of(static_cast<std::uint16_t>(header.size())) +
         header + data;
}

using Members = std::vector<std::pair<std::string, std::string>>;

// A zip archive; deflated members are what numpy.savez_compressed writes.
inline std::string zip_of(const Members& members, bool deflated = false) {
  std::string file;
  std::string directory;
  for (const auto& [name, data] : members) {
    std::string packed = data;
    if (deflated) {
      z_stream zlib{};
      deflateInit2(&zlib, Z_BEST_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
      packed.resize(deflateBound(&zlib, data.size()));
      zlib.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
      zlib.avail_in = static_cast<uInt>(data.size());
      zlib.next_out = reinterpret_cast<Bytef*>(packed.data());
      zlib.avail_out = static_cast<uInt>(packed.size());
      deflate(&zlib, Z_FINISH);
      packed.resize(zlib.total_out);
      deflateEnd(&zlib);
    }
    const auto sum =
        crc32(0, reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(data.size()));
    const auto two = [](std::size_t value) { return bytes_of(static_cast<std::uint16_t>(value)); };
    const auto four = [](std::size_t value) { return bytes_of(static_cast<std::uint32_t>(value)); };
    const std::string common = two(20) + two(0) + two(deflated ? 8 : 0) + two(0) + two(0x21) +
                               four(sum) + four(packed.size()) + four(data.size()) +
                               two(name.size()) + two(0);
    directory +=
        "PK\1\2" + two(20) + common + two(0) + two(0) + two(0) + four(0) + four(file.size()) + name;
    file += "PK\3\4" + common + name + packed;
  }
  const auto count = bytes_of(static_cast<std::uint16_t>(members.size()));
  return file + directory + std::string("PK\5\6\0\0\0\0", 8) + count + count +
         bytes_of(static_cast<std::uint32_t>(directory.size())) +
         bytes_of(static_cast<std::uint32_t>(file.size())) + std::string(2, '\0');
}

struct Nifti {
  std::vector<std::int16_t> sizes = {1};  // the fastest axis first
  std::int16_t type = 16;                 // float32
  std::string voxels = {};
  bool big_endian = false;
  float offset = 352;
  float slope = 0;
  float intercept = 0;
};

inline std::string nifti_of(const Nifti& volume) {
  std::string header(348, '\0');
  const auto put = [&](std::size_t place, const auto value) {
    const std::string bytes = bytes_of(value, volume.big_endian);
    header.replace(place, bytes.size(), bytes);
  };
  put(0, std::int32_t{348});
  put(40, static_cast<std::int16_t>(volume.sizes.size()));
  for (std::size_t axis = 0; axis < volume.sizes.size(); ++axis)
    put(42 + 2 * axis, volume.sizes[axis]);
  put(70, volume.type);
  put(108, volume.offset);
  put(112, volume.slope);
  put(116, volume.intercept);
  header.replace(344, 4, std::string("n+1\0", 4));
  return header + std::string(4, '\0') + volume.voxels;
}

// 16-bit WAV; `samples` are interleaved. `claimed` bytes of samples, where the header lies.
inline std::string wav_of(const std::vector<std::int16_t>& samples, std::uint32_t rate = 8000,
                          std::uint16_t channels = 1, std::int64_t claimed = -1) {
  const std::string data = bytes_of(samples);
  const auto length =
      static_cast<std::uint32_t>(claimed < 0 ? data.size() : static_cast<std::size_t>(claimed));
  const auto block = static_cast<std::uint16_t>(2 * channels);
  return "RIFF" + bytes_of(length + 36) + "WAVEfmt " + bytes_of(std::uint32_t{16}) +
         bytes_of(std::uint16_t{1}) + bytes_of(channels) + bytes_of(rate) + bytes_of(rate * block) +
         bytes_of(block) + bytes_of(std::uint16_t{16}) + "data" + bytes_of(length) + data;
}

}  // namespace fovea::testing
