// From a run-time element type to a template argument.
#pragma once

#include "core/check.h"
#include "fovea/dtype.h"

namespace fovea {

template <class T>
struct TypeTag {
  using type = T;
};

// Calls f(TypeTag<T>{}) with T of `dtype`.
template <class F>
decltype(auto) dispatch_all(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float32:
      return f(TypeTag<float>{});
    case DType::float64:
      return f(TypeTag<double>{});
    case DType::int64:
      return f(TypeTag<std::int64_t>{});
    case DType::uint8:
      return f(TypeTag<std::uint8_t>{});
  }
  FOVEA_ASSERT(false);
}

// The same for the two floating types; callers have checked the type.
template <class F>
decltype(auto) dispatch_floating(DType dtype, F&& f) {
  if (dtype == DType::float64) return f(TypeTag<double>{});
  FOVEA_ASSERT(dtype == DType::float32, "got {}", name(dtype));
  return f(TypeTag<float>{});
}

}  // namespace fovea
