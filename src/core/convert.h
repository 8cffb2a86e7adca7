// Conversion between element types that is defined for every value.
#pragma once

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

}  // namespace fovea
