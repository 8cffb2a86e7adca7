// The points of Winograd's transforms and what follows from them, at compile time.
//
// Points come in pairs +-p, beside 0 and infinity: even and odd powers are shared by a pair. Four
// points are 0, +-1 and infinity; six are 0, +-5/8, +-3/2 and infinity: among pairs whose powers
// are exact in float, these gave the least error, less than half of that of 0, +-1, +-2.
#pragma once

#include <array>

namespace fovea::kernels {

template <int kPoints>
struct WinogradPoints;

template <>
struct WinogradPoints<4> {
  static constexpr int kPairs = 1;
  static constexpr std::array<double, 1> kPair = {1.0};
  // 1 / product of the differences to the other points: of 0, and of both of a pair.
  static constexpr double kZeroScale = -1.0;
  static constexpr std::array<double, 1> kPairScale = {1.0 / 2};
};

template <>
struct WinogradPoints<6> {
  static constexpr int kPairs = 2;
  static constexpr double kA = 5.0 / 8;
  static constexpr double kB = 3.0 / 2;
  static constexpr std::array<double, 2> kPair = {kA, kB};
  static constexpr double kZeroScale = 1 / (kA * kA * kB * kB);
  static constexpr std::array<double, 2> kPairScale = {1 / (2 * kA * kA * (kA * kA - kB * kB)),
                                                       1 / (2 * kB * kB * (kB * kB - kA * kA))};
};

constexpr double power(double base, int exponent) {
  double result = 1;
  for (int i = 0; i < exponent; ++i) result *= base;
  return result;
}

}  // namespace fovea::kernels
