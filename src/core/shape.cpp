// Shape: the inline list of integers.
#include "fovea/shape.h"

#include "core/check.h"

namespace fovea {

Shape Shape::filled(int rank, std::int64_t value) {
  Shape shape;
  for (int i = 0; i < rank; ++i) shape.push_back(value);
  return shape;
}

void Shape::assign(const std::int64_t* first, const std::int64_t* last) {
  FOVEA_CHECK(last - first <= kMaxRank, "shape: {} axes, but at most {} are supported",
              last - first, kMaxRank);
  rank_ = static_cast<int>(last - first);
  std::copy(first, last, values_.begin());
}

void Shape::push_back(std::int64_t value) {
  FOVEA_CHECK(rank_ < kMaxRank, "shape: more than {} axes", kMaxRank);
  values_[static_cast<std::size_t>(rank_++)] = value;
}

std::int64_t Shape::numel() const {
  std::int64_t product = 1;
  for (const std::int64_t value : *this) {
    FOVEA_CHECK(!__builtin_mul_overflow(product, value, &product),
                "shape {} has more elements than 63 bits can count", to_string());
  }
  return product;
}

std::string Shape::to_string() const {
  return fmt::format("[{}]", fmt::join(begin(), end(), ", "));
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  return out << shape.to_string();
}

}  // namespace fovea
