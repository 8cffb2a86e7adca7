// A short list of integers, kept inline: shapes, strides, axes.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>
#include <string>

#include "fovea/export.h"

namespace fovea {

inline constexpr int kMaxRank = 8;

// At most kMaxRank integers; as a shape, the sizes of a tensor's axes, outermost first: [N, C,
// spatial...].
class FOVEA_API Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> values) { assign(values.begin(), values.end()); }
  explicit Shape(std::span<const std::int64_t> values) {
    assign(values.data(), values.data() + values.size());
  }
  // `rank` copies of `value`.
  static Shape filled(int rank, std::int64_t value);

  int rank() const { return rank_; }
  bool empty() const { return rank_ == 0; }
  std::int64_t& operator[](int axis) { return values_[static_cast<std::size_t>(axis)]; }
  std::int64_t operator[](int axis) const { return values_[static_cast<std::size_t>(axis)]; }
  std::int64_t back() const { return values_[static_cast<std::size_t>(rank_ - 1)]; }
  const std::int64_t* begin() const { return values_.data(); }
  const std::int64_t* end() const { return values_.data() + rank_; }
  std::int64_t* begin() { return values_.data(); }
  std::int64_t* end() { return values_.data() + rank_; }
  void push_back(std::int64_t value);

  // The product of all values; 1 for an empty list. Throws Error if it does not fit 63 bits.
  std::int64_t numel() const;
  // "[8, 1, 28, 28]"
  std::string to_string() const;

  friend bool operator==(const Shape& a, const Shape& b) {
    return a.rank_ == b.rank_ && std::equal(a.begin(), a.end(), b.begin());
  }

 private:
  void assign(const std::int64_t* first, const std::int64_t* last);

  std::array<std::int64_t, kMaxRank> values_{};
  int rank_ = 0;
};

using Strides = Shape;  // distances between neighbours along each axis, in elements

FOVEA_API std::ostream& operator<<(std::ostream& out, const Shape& shape);

}  // namespace fovea
