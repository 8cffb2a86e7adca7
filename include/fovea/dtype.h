// The element types of a tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fovea/export.h"

namespace fovea {

enum class DType : std::uint8_t { float32, float64, int64, uint8 };

// Bytes of one element.
FOVEA_API std::size_t size_of(DType dtype);
// "float32", "float64", "int64", "uint8".
FOVEA_API std::string_view name(DType dtype);
inline bool is_floating(DType dtype) {
  return dtype == DType::float32 || dtype == DType::float64;
}

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::float32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::float64;
};
template <>
struct DTypeOf<std::int64_t> {
  static constexpr DType value = DType::int64;
};
template <>
struct DTypeOf<std::uint8_t> {
  static constexpr DType value = DType::uint8;
};
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

}  // namespace fovea
