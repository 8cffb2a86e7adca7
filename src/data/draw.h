// Random numbers of one sample: a row of its own in the counters of a stream, so that what is drawn
// for it depends on no other sample.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "fovea/random.h"

namespace fovea::data {

class Draw {
 public:
  Draw(std::uint64_t seed, std::uint64_t stream, std::int64_t row)
      : seed_(seed), stream_(stream), counter_(static_cast<std::uint64_t>(row) << 32) {}

  // In [0, 1).
  double unit() {
    if (used_ == 4) {
      bits_ = philox(seed_, stream_, counter_++);
      used_ = 0;
    }
    return static_cast<double>(bits_[used_++]) * 0x1p-32;
  }
  double between(double low, double high) { return low + (high - low) * unit(); }
  bool chance(double probability) { return unit() < probability; }
  // 0 ... count - 1
  std::int64_t below(std::int64_t count) {
    return static_cast<std::int64_t>(unit() * static_cast<double>(count));
  }
  // Box-Muller; the second of each pair is left unused.
  double normal() {
    const double radius = std::sqrt(-2 * std::log(1 - unit()));
    return radius * std::cos(2 * std::numbers::pi * unit());
  }

 private:
  std::uint64_t seed_;
  std::uint64_t stream_;
  std::uint64_t counter_;
  std::array<std::uint32_t, 4> bits_{};
  std::size_t used_ = 4;
};

}  // namespace fovea::data
