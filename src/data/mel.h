// What log_mel() gives for silence: the logarithm of the energy that it adds to that of each band.
#pragma once

#include <cmath>

namespace fovea::data {

inline constexpr double kLeastEnergy = 1e-6;

inline double silent_band() {
  return std::log(kLeastEnergy);
}

}  // namespace fovea::data
