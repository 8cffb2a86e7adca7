// The transposition of the weight gradient's sums, on every SIMD target.
#include "kernels/transpose.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "support/settings.h"

namespace fovea::testing {
namespace {

template <class T>
void expect_transposed(std::int64_t count, std::int64_t width) {
  const std::int64_t step = count + 3;  // columns need not follow each other closely
  std::vector<T> in(static_cast<std::size_t>(count * width));
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<T>(i + 1);
  std::vector<const T*> rows;
  for (std::int64_t i = 0; i < count; ++i) rows.push_back(in.data() + i * width);
  std::vector<T> expected(static_cast<std::size_t>(step * width), T(-1));
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t j = 0; j < width; ++j) {
      expected[static_cast<std::size_t>(j * step + i)] =
          in[static_cast<std::size_t>(i * width + j)];
    }
  }
  for (const std::string& target : simd_targets()) {
    const TargetGuard guard(target);
    std::vector<T> out(expected.size(), T(-1));
    kernels::transpose(rows.data(), count, width, out.data(), step);
    EXPECT_EQ(out, expected) << count << " x " << width << ' ' << target;
  }
}

TEST(Transpose, TurnsWholeSquaresAndWhatIsLeftAtBothEdges) {
  for (const std::int64_t count : {1, 2, 4, 7, 9, 16}) {
    for (const std::int64_t width : {1, 3, 4, 6, 32}) {
      expect_transposed<float>(count, width);
      expect_transposed<double>(count, width);
    }
  }
}

}  // namespace
}  // namespace fovea::testing
