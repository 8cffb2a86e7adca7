// Conversion between element types that is defined for every value.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace fovea {

// Floating to integer: towards zero, saturating, NaN to 0. All others: as static_cast.
template <class To, class From>
To convert(From value) {
  if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    if (!(value == value)) return To(0);
    // Both limits are powers of two, or one below: exact, or rounded up, in From.
    if (value >= static_cast<From>(std::numeric_limits<To>::max())) {
      return std::numeric_limits<To>::max();
    }
    if (value <= static_cast<From>(std::numeric_limits<To>::min())) {
      return std::numeric_limits<To>::min();
    }
  }
  return static_cast<To>(value);
}

// Exact: every IEEE half is a float.
inline float widen_half(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fU;
  const std::uint32_t mantissa = bits & 0x3ffU;
  if (exponent == 0) {  // zero and the subnormals: multiples of 2^-24
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  constexpr std::uint32_t kRebias = 127 - 15;
  const std::uint32_t wide = exponent == 0x1f ? 0xffU : exponent + kRebias;
  return std::bit_cast<float>(sign | (wide << 23) | (mantissa << 13));
}

}  // namespace fovea
