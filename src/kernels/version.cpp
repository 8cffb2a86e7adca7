// The library's version; FOVEA_VERSION comes from the build.
#include "fovea/version.h"

namespace fovea {

std::string version() {
  return FOVEA_VERSION;
}

}  // namespace fovea
