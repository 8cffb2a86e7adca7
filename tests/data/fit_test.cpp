// Samples made one size.
#include "data/fit.h"

#include <gtest/gtest.h>

namespace fovea::data {
namespace {

using Values = std::vector<float>;

Values fitted(const Values& values, const Shape& shape, const Shape& size, Fit how) {
  const Tensor result = fit(Tensor::from(values, shape), size, how);
  EXPECT_EQ(result.size(0), shape[0]);
  for (int axis = 0; axis < size.rank(); ++axis) EXPECT_EQ(result.size(axis + 1), size[axis]);
  return result.to_vector<float>();
}

TEST(FitTest, TheRightSizeIsLeftAlone) {
  for (const Fit how : {Fit::crop, Fit::stretch, Fit::pad, Fit::none})
    EXPECT_EQ(fitted({1, 2, 3, 4, 5, 6}, {1, 2, 3}, {2, 3}, how), Values({1, 2, 3, 4, 5, 6}));
}

TEST(FitTest, StretchInterpolatesBetweenTheMiddlesOfCells) {
  EXPECT_EQ(fitted({0, 4}, {1, 2}, {4}, Fit::stretch), Values({0, 1, 3, 4}));
  // Shrunk to half, the triangle is four cells wide: 1, 3, 3, 1 of 8, or what is left at an end.
  const Values half = fitted({0, 0, 8, 8, 0, 0}, {1, 6}, {3}, Fit::stretch);
  EXPECT_NEAR(half[0], 8.0 / 7, 1e-6);
  EXPECT_NEAR(half[1], 6, 1e-6);
  EXPECT_NEAR(half[2], 8.0 / 7, 1e-6);
}

TEST(FitTest, ConstantsStayConstantHoweverTheyAreScaled) {
  const Values ones(3 * 7 * 11, 1.0F);
  for (const Fit how : {Fit::crop, Fit::stretch}) {
    for (const float value : fitted(ones, {3, 7, 11}, {5, 4}, how)) EXPECT_NEAR(value, 1, 1e-6);
    for (const float value : fitted(ones, {3, 7, 11}, {20, 30}, how)) EXPECT_NEAR(value, 1, 1e-6);
  }
}

TEST(FitTest, CropKeepsTheMiddle) {
  // 2 high and 6 wide to 1 by 1: the middle square of 2 by 2.
  const Values image = {9, 9, 1, 1, 9, 9,  //
                        9, 9, 1, 1, 9, 9};
  EXPECT_NEAR(fitted(image, {1, 2, 6}, {2, 2}, Fit::crop)[0], 1, 1e-6);
  EXPECT_NEAR(fitted(image, {1, 2, 6}, {2, 2}, Fit::crop)[3], 1, 1e-6);
}

TEST(FitTest, PadPutsZerosAround) {
  EXPECT_EQ(fitted({2, 2, 2, 2}, {1, 1, 4}, {2, 2}, Fit::pad), Values({2, 2, 0, 0}));
  EXPECT_EQ(fitted({2, 2, 2, 2}, {1, 1, 4}, {4, 4}, Fit::pad),
            Values({0, 0, 0, 0, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0}));
}

TEST(FitTest, NoneCutsAndPadsOnly) {
  EXPECT_EQ(fitted({1, 2, 3, 4, 5}, {1, 5}, {3}, Fit::none), Values({2, 3, 4}));
  EXPECT_EQ(fitted({1, 2}, {1, 2}, {5}, Fit::none), Values({0, 1, 2, 0, 0}));
  EXPECT_EQ(fitted({1, 2, 3, 4}, {2, 2}, {1}, Fit::none), Values({1, 3}));
  // One axis cut, the other padded.
  EXPECT_EQ(fitted({1, 2, 3}, {1, 1, 3}, {3, 1}, Fit::none), Values({0, 2, 0}));
}

TEST(FitTest, VolumesAreScaledAlongThreeAxes) {
  const Tensor volume = Tensor::from<float>({0, 0, 0, 0, 4, 4, 4, 4}, {1, 2, 2, 2});
  const Tensor larger = fit(volume, {4, 4, 4}, Fit::stretch);
  EXPECT_EQ(larger.at({0, 1, 3, 0}), 1);
  EXPECT_EQ(larger.at({0, 2, 0, 3}), 3);
}

TEST(FitTest, BytesAreRounded) {
  const Tensor bytes = Tensor::from<std::uint8_t>({0, 255}, {1, 2});
  const Tensor wider = fit(bytes, {4}, Fit::stretch);
  EXPECT_EQ(wider.dtype(), DType::uint8);
  EXPECT_EQ(wider.to_vector<std::int64_t>(), (std::vector<std::int64_t>{0, 64, 191, 255}));
}

TEST(FitTest, AnyTwoSizesGoTogether) {
  for (std::int64_t from = 1; from < 9; ++from) {
    for (std::int64_t to = 1; to < 9; ++to) {
      for (const Fit how : {Fit::crop, Fit::stretch, Fit::pad, Fit::none}) {
        const Tensor image = Tensor::full({2, from, 3}, 5);
        const Tensor result = fit(image, {to, 2}, how);
        EXPECT_EQ(result.shape(), Shape({2, to, 2}));
        for (const float value : result.to_vector<float>())
          EXPECT_TRUE(value == 0 || std::abs(value - 5) < 1e-5) << value;
      }
    }
  }
}

}  // namespace
}  // namespace fovea::data
