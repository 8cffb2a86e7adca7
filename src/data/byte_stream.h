// The bytes of a file one after the other, inflated if it is a gzip file; and numbers of either
// byte order.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>

#include "core/input_file.h"

namespace fovea::data {

// Deflate packs at most 258 bytes into two bits: no honest file claims to hold more.
inline constexpr std::int64_t kMostInflation = 1032;

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Reads up to `count` bytes; fewer only at the end. Throws Error, naming the file, if it is
  // damaged.
  virtual std::size_t read(void* out, std::size_t count) = 0;
};

// Over the whole of `file`, from its beginning; `op` starts the messages. The file must outlive it.
std::unique_ptr<ByteStream> open_plain(InputFile& file);
std::unique_ptr<ByteStream> open_gzip(std::string op, InputFile& file);

// By its first two bytes; leaves the file at its beginning.
bool is_gzip(InputFile& file);

// The T at `bytes`, stored with the big or the little end first.
template <class T>
T number_at(const std::uint8_t* bytes, bool big_endian) {
  static_assert(std::is_arithmetic_v<T>);
  std::uint8_t ordered[sizeof(T)];
  for (std::size_t i = 0; i < sizeof(T); ++i)
    ordered[i] = bytes[big_endian ? sizeof(T) - 1 - i : i];
  T value;
  std::memcpy(&value, ordered, sizeof(T));
  return value;
}

}  // namespace fovea::data
