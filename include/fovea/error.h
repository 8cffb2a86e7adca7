// The two ways the library fails. It never prints and never aborts.
#pragma once

#include <stdexcept>
#include <string>

#include "fovea/export.h"

namespace fovea {

// The caller's mistake or the outside world's: bad shapes, bad files, a full disk. The message
// names the operator, what was given, what was expected, the formula with its numbers, and the
// likely fix.
class FOVEA_API Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message);
  ~Error() override;
};

// A mistake of the library itself; the message asks for a report.
class FOVEA_API InternalError : public std::logic_error {
 public:
  explicit InternalError(const std::string& message);
  ~InternalError() override;
};

}  // namespace fovea
