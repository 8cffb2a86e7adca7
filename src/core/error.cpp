// The exceptions, and the two functions behind FOVEA_CHECK and FOVEA_ASSERT.
#include "fovea/error.h"

#include "core/check.h"

namespace fovea {

Error::Error(const std::string& message) : std::runtime_error(message) {}
Error::~Error() = default;
InternalError::InternalError(const std::string& message) : std::logic_error(message) {}
InternalError::~InternalError() = default;

void throw_error(std::string message) {
  throw Error(message);
}

void throw_internal(const char* condition, const char* file, int line, const std::string& message) {
  throw InternalError(fmt::format(
      "{}:{}: '{}' does not hold{}{}. This is a mistake in Fovea; please report it with this line.",
      file, line, condition, message.empty() ? "" : ": ", message));
}

}  // namespace fovea
