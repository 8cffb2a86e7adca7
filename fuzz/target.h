// What every fuzz target has in common: the promise that it checks.
//
// A parser either succeeds or throws fovea::Error with a message that is one printable line and,
// for a file, names it; it never holds more than kMaxMemory of tensors. Anything else that is
// thrown, and whatever the sanitizers see, ends the run.
//
// To add a target: a file of this folder that defines LLVMFuzzerTestOneInput by one call of
// expect_refusal_or_success, seeds for it in seeds.cpp, and, if it helps, a dictionary TARGET.dict.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace fovea::fuzz {

inline constexpr std::size_t kMaxMemory = std::size_t{256} << 20;

inline std::string string_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Runs `parse`, and aborts if the promise is broken. A refusal must name `name`, unless empty.
void expect_refusal_or_success(const std::function<void()>& parse, std::string_view name);

// The same for a parser of files, which gets the path of one that holds `bytes`.
void expect_refusal_or_success(const std::string& bytes,
                               const std::function<void(const std::string& path)>& parse);

// Takes the lead of an input of the safetensors targets off: zero and a whole file, or a number
// that is not zero, two bytes that say how many groups of four zero bytes of data there are, and
// a header. With the length filled in, most changes of the header reach what reads it.
std::string safetensors_of(const std::string& input);

}  // namespace fovea::fuzz
