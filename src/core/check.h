// User errors and our own: FOVEA_CHECK throws Error, FOVEA_ASSERT throws InternalError. The message
// is a fmt format.
#pragma once

#include <fmt/format.h>

#include <string>

#include "fovea/error.h"
#include "fovea/shape.h"

namespace fovea {

[[noreturn]] void throw_error(std::string message);
[[noreturn]] void throw_internal(const char* condition, const char* file, int line,
                                 const std::string& message);

}  // namespace fovea

#define FOVEA_CHECK(condition, ...)                                     \
  do {                                                                  \
    if (!(condition)) ::fovea::throw_error(::fmt::format(__VA_ARGS__)); \
  } while (false)

#define FOVEA_ASSERT(condition, ...)                                                          \
  do {                                                                                        \
    if (!(condition))                                                                         \
      ::fovea::throw_internal(#condition, __FILE__, __LINE__, ::fmt::format("" __VA_ARGS__)); \
  } while (false)

template <>
struct fmt::formatter<fovea::Shape> : fmt::formatter<std::string> {
  template <class Context>
  auto format(const fovea::Shape& shape, Context& context) const {
    return fmt::formatter<std::string>::format(shape.to_string(), context);
  }
};
