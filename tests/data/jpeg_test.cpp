// JPEG images, and images of either kind.
#include <gtest/gtest.h>

#include <filesystem>

#include "fovea/memory.h"
#include "fovea/readers.h"
#include "support/errors.h"
#include "support/files.h"
#include "support/jpeg.h"

namespace fovea::data {
namespace {

using testing::error_of;
using testing::TempFolder;
using testing::write_file;

#ifdef FOVEA_WITH_JPEG

using testing::jpeg_of;

class JpegFile : public ::testing::Test {
 protected:
  Tensor read(const std::string& bytes, const JpegOptions& options = {}) {
    write_file(path_, bytes);
    return read_jpeg(path_, options);
  }
  std::string error(const std::string& bytes) {
    std::string message = error_of([&] { read(bytes); });
    EXPECT_CONTAINS(message, path_);
    return message;
  }
  TempFolder folder_;
  std::string path_ = folder_ / "a.jpg";
};

int slope(int y, int x, int c) {
  return 40 + 5 * y + 3 * x + 20 * c;
}

// At quality 95 smooth values come back within a few steps; a cell that is mixed up is off by more.
void expect_slope(const Tensor& image, std::int64_t channels) {
  ASSERT_EQ(image.shape(), Shape({channels, 17, 23}));
  EXPECT_EQ(image.dtype(), DType::uint8);
  for (const int y : {0, 8, 16}) {
    for (const int x : {0, 9, 22}) {
      for (int c = 0; c < channels; ++c) EXPECT_NEAR(image.at({c, y, x}), slope(y, x, c), 6);
    }
  }
}

TEST_F(JpegFile, GreyAndColourBaselineAndProgressive) {
  for (const bool progressive : {false, true}) {
    for (const int channels : {1, 3}) {
      expect_slope(
          read(
              jpeg_of({.width = 23, .height = 17, .channels = channels, .progressive = progressive},
                      slope)),
          channels);
    }
  }
}

TEST_F(JpegFile, InksBecomeColours) {
  // libjpeg marks CMYK files as Adobe's, which hold light, not ink.
  const Tensor image =
      read(jpeg_of({.channels = 4}, [](int, int, int c) { return c == 3 ? 128 : 200; }));
  ASSERT_EQ(image.shape(), Shape({3, 8, 8}));
  EXPECT_NEAR(image.at({0, 4, 4}), 200 * 128 / 255.0, 3);
}

TEST_F(JpegFile, ASmallerSizeIsEnoughWhereItIsAskedFor) {
  const std::string bytes = jpeg_of({.width = 160, .height = 80}, [](int, int, int) { return 90; });
  EXPECT_EQ(read(bytes).shape(), Shape({3, 80, 160}));
  EXPECT_EQ(read(bytes, {.least_height = 20, .least_width = 20}).shape(), Shape({3, 20, 40}));
  EXPECT_EQ(read(bytes, {.least_height = 21, .least_width = 20}).shape(), Shape({3, 40, 80}));
  EXPECT_EQ(read(bytes, {.least_height = 500, .least_width = 20}).shape(), Shape({3, 80, 160}));
  EXPECT_EQ(read(bytes, {.least_height = 1, .least_width = 1}).shape(), Shape({3, 10, 20}));
}

TEST_F(JpegFile, EveryTruncationIsRefused) {
  for (const bool progressive : {false, true}) {
    const std::string bytes =
        jpeg_of({.width = 23, .height = 17, .progressive = progressive}, slope);
    for (std::size_t length = 0; length + 2 < bytes.size(); length += 5)
      error(bytes.substr(0, length));
  }
}

TEST_F(JpegFile, LyingSizesAreRefusedBeforeMemoryIsReserved) {
  std::string bytes = jpeg_of({}, slope);
  const std::size_t frame = bytes.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  reset_high_water();
  const std::size_t before = memory_stats().high_water;
  bytes.replace(frame + 5, 4, "\xff\xdc\xff\xdc");  // height and width: 65500
  EXPECT_CONTAINS(error(bytes), "65500x65500");
  bytes.replace(frame + 5, 4, std::string("\x27\x10\x27\x10", 4));  // 10000
  EXPECT_CONTAINS(error(bytes), "cannot hold them");
  EXPECT_EQ(memory_stats().high_water, before);
}

TEST_F(JpegFile, WhatIsNoneIsSaid) {
  EXPECT_CONTAINS(error(""), "not a JPEG file");
  EXPECT_CONTAINS(error("\x89PNG"), "not a JPEG file");
  error("\xff\xd8\xff");
}

TEST_F(JpegFile, ImagesAreToldApartByContent) {
  write_file(folder_ / "jpeg.png", jpeg_of({.width = 23, .height = 17}, slope));
  expect_slope(read_image(folder_ / "jpeg.png"), 3);
  write_png(folder_ / "png.png", Tensor::zeros({1, 4, 5}, DType::uint8));
  std::filesystem::rename(folder_ / "png.png", folder_ / "png.jpg");
  EXPECT_EQ(read_image(folder_ / "png.jpg").shape(), Shape({1, 4, 5}));
  EXPECT_CONTAINS(error_of([&] { read_image(path_ + "x"); }), path_ + "x");
  write_file(path_, "GIF89a");
  EXPECT_CONTAINS(error_of([&] { read_image(path_); }), "neither a PNG nor a JPEG");
  write_file(path_, "");
  EXPECT_CONTAINS(error_of([&] { read_image(path_); }), "0 bytes");
}

#endif

}  // namespace
}  // namespace fovea::data
