// Transposition on every SIMD target.
#include "kernels/transpose.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "support/settings.h"

namespace fovea::testing {
namespace {

// Every element arrives at its place, and what lies between the rows of the result stays.
template <class T>
void check(std::int64_t rows, std::int64_t columns, std::int64_t gap) {
  const kernels::TransposeShape shape{
      .rows = rows, .columns = columns, .from_stride = columns + gap, .to_stride = rows + gap};
  std::vector<T> from(static_cast<std::size_t>(rows * shape.from_stride));
  std::iota(from.begin(), from.end(), T(1));
  std::vector<T> expected(static_cast<std::size_t>(columns * shape.to_stride), T(-1));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      expected[static_cast<std::size_t>(c * shape.to_stride + r)] =
          from[static_cast<std::size_t>(r * shape.from_stride + c)];
    }
  }
  std::vector<T> actual(expected.size(), T(-1));
  kernels::transpose(shape, from.data(), actual.data());
  EXPECT_EQ(actual, expected) << rows << " x " << columns << ", gap " << gap;
}

TEST(Transpose, PutsEveryElementInItsPlaceOnEverySimdTarget) {
  for_simd_targets([] {
    for (const std::int64_t rows : {1, 2, 3, 4, 5, 6, 16, 17, 35}) {
      for (const std::int64_t columns : {1, 2, 3, 4, 7, 8, 16, 19, 33}) {
        for (const std::int64_t gap : {0, 3}) {
          check<float>(rows, columns, gap);
          check<double>(rows, columns, gap);
        }
      }
    }
  });
}

TEST(Transpose, OfNothingIsNothing) {
  check<float>(0, 3, 0);
  check<float>(5, 0, 1);
}

}  // namespace
}  // namespace fovea::testing
