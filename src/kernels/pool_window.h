// Walks over the windows of a plane and lists the input cells that each one reads.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/pool.h"

namespace fovea::kernels {

// The cells are base + cells[0 .. count), as flat indices into the input plane, in row-major window
// order.
struct PoolWindow {
  const std::int64_t* cells = nullptr;
  std::int64_t count = 0;
  std::int64_t base = 0;
};

class PoolWindows {
 public:
  // Starts at output cell `output` of the plane and goes on in row-major order, over and over.
  PoolWindows(const PoolPlane& plane, std::int64_t output)
      : axes_(plane.axes), buffer_(static_cast<std::size_t>(plane.taps())) {
    at_[2] = output % axes_[2].outputs;
    at_[1] = output / axes_[2].outputs % axes_[1].outputs;
    at_[0] = output / axes_[2].outputs / axes_[1].outputs;
  }

  PoolWindow current() {
    if (!interior()) return list();
    // Interior windows read the same pattern, moved: it is listed once.
    const std::int64_t base =
        flat(axes_[0].at(0, at_[0]), axes_[1].at(0, at_[1]), axes_[2].at(0, at_[2]));
    if (pattern_.empty()) {
      const PoolWindow window = list();
      pattern_.assign(window.cells, window.cells + window.count);
      for (std::int64_t& cell : pattern_) cell -= base;
    }
    return {pattern_.data(), static_cast<std::int64_t>(pattern_.size()), base};
  }

  // What the mean over the current window divides by.
  std::int64_t divisor() const {
    std::int64_t product = 1;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      product *= axes_[axis].counts[static_cast<std::size_t>(at_[axis])];
    }
    return product;
  }

  void advance() {
    for (std::size_t axis = 3; axis-- > 0;) {
      if (++at_[axis] < axes_[axis].outputs) return;
      at_[axis] = 0;
    }
  }

 private:
  std::int64_t flat(std::int64_t a, std::int64_t b, std::int64_t c) const {
    return (a * axes_[1].inputs + b) * axes_[2].inputs + c;
  }

  // Taps lie in order, so a window whose first and last taps are inside lies inside as a whole.
  bool interior() const {
    for (std::size_t axis = 0; axis < 3; ++axis) {
      if (axes_[axis].at(0, at_[axis]) < 0) return false;
      if (axes_[axis].at(axes_[axis].taps - 1, at_[axis]) < 0) return false;
    }
    return true;
  }

  PoolWindow list() {
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < axes_[0].taps; ++i) {
      const std::int64_t a = axes_[0].at(i, at_[0]);
      if (a < 0) continue;
      for (std::int64_t j = 0; j < axes_[1].taps; ++j) {
        const std::int64_t b = axes_[1].at(j, at_[1]);
        if (b < 0) continue;
        for (std::int64_t k = 0; k < axes_[2].taps; ++k) {
          const std::int64_t c = axes_[2].at(k, at_[2]);
          if (c >= 0) buffer_[static_cast<std::size_t>(count++)] = flat(a, b, c);
        }
      }
    }
    return {buffer_.data(), count, 0};
  }

  std::array<PoolAxis, 3> axes_;
  std::array<std::int64_t, 3> at_{};
  std::vector<std::int64_t> buffer_;
  std::vector<std::int64_t> pattern_;
};

// How often the cells of a plane are read by all windows together: at most once, at least once.
struct PoolCoverage {
  explicit PoolCoverage(const PoolPlane& plane) {
    for (const PoolAxis& axis : plane.axes) {
      std::vector<std::int64_t> reads(static_cast<std::size_t>(axis.inputs));
      for (std::int64_t tap = 0; tap < axis.taps; ++tap) {
        for (std::int64_t output = 0; output < axis.outputs; ++output) {
          const std::int64_t cell = axis.at(tap, output);
          if (cell >= 0) ++reads[static_cast<std::size_t>(cell)];
        }
      }
      for (const std::int64_t count : reads) {
        disjoint = disjoint && count <= 1;
        complete = complete && count >= 1;
      }
    }
  }
  bool disjoint = true;
  bool complete = true;
};

}  // namespace fovea::kernels
