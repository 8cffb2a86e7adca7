// The largest element over axes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "fovea/autograd.h"
#include "fovea/functions.h"
#include "support/errors.h"
#include "support/settings.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

// By one axis at a time, slice by slice.
Tensor plain_max(const Tensor& x, const Shape& axes) {
  Tensor value = x;
  for (int axis = 0; axis < x.rank(); ++axis) {
    if (!axes.empty() && std::find(axes.begin(), axes.end(), axis) == axes.end()) continue;
    Tensor best = value.slice(axis, 0, 1);
    for (std::int64_t i = 1; i < value.size(axis); ++i) {
      best = maximum(best, value.slice(axis, i, i + 1));
    }
    value = best;
  }
  return value;
}

TEST(Max, IsTheLargestOverAnyAxes) {
  const Tensor x = random_tensor({3, 5, 7, 4}, 31);
  for (const Shape& axes : {Shape{}, Shape{1}, Shape{3}, Shape{0, 2, 3}, Shape{0, 1}}) {
    SCOPED_TRACE(axes.to_string());
    const Tensor expected = plain_max(x, axes);
    for_simd_targets([&] {
      expect_identical(max(x, axes, true), expected);
      expect_identical(max(x.contiguous(Layout::channels_last), axes, true), expected);
    });
  }
}

TEST(Max, NanWinsAndNothingHasNone) {
  Tensor x = random_tensor({40}, 32);
  Tensor one = x.slice(0, 17, 18);
  one.fill(std::nan(""));
  EXPECT_TRUE(std::isnan(max(x).item<double>()));
  EXPECT_EQ(error_of([&] {
              max(Tensor::zeros({2, 0}), {1});
            }),
            "max: shape [2, 0] has no elements along axes [1], so there is no largest one");
}

TEST(Max, EqualMaximaShareTheGradient) {
  Tensor x = Tensor::from<double>({3, 1, 3}, {3}).set_requires_grad();
  max(x).backward();
  EXPECT_EQ(x.grad().to_vector<double>(), (std::vector<double>{0.5, 0, 0.5}));
}

}  // namespace
}  // namespace fovea::testing
