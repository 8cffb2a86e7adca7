// Sizes and names of the element types.
#include "fovea/dtype.h"

#include "core/check.h"

namespace fovea {

std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return 4;
    case DType::float64:
      return 8;
    case DType::int64:
      return 8;
    case DType::uint8:
      return 1;
  }
  FOVEA_ASSERT(false);
}

std::string_view name(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return "float32";
    case DType::float64:
      return "float64";
    case DType::int64:
      return "int64";
    case DType::uint8:
      return "uint8";
  }
  FOVEA_ASSERT(false);
}

}  // namespace fovea
