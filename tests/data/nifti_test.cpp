// NIfTI-1 volumes of both byte orders.
#include <gtest/gtest.h>

#include "fovea/memory.h"
#include "fovea/readers.h"
#include "support/errors.h"
#include "support/files.h"
#include "support/formats.h"
#include "support/idx.h"

namespace fovea::data {
namespace {

using testing::bytes_of;
using testing::error_of;
using testing::gzip_of;
using testing::Nifti;
using testing::nifti_of;
using testing::TempFolder;
using testing::write_file;

class NiftiFile : public ::testing::Test {
 protected:
  Tensor read(const std::string& bytes) {
    write_file(path_, bytes);
    return read_nifti(path_);
  }
  std::string error(const std::string& bytes) {
    std::string message = error_of([&] { read(bytes); });
    EXPECT_CONTAINS(message, path_);
    return message;
  }
  TempFolder folder_;
  std::string path_ = folder_ / "a.nii";
};

// 2 wide, 3 high, 4 deep; voxel (x, y, z) is x + 10 y + 100 z.
template <class T>
Nifti counting(std::int16_t type, bool big_endian = false) {
  std::vector<T> voxels;
  for (int z = 0; z < 4; ++z) {
    for (int y = 0; y < 3; ++y) {
      for (int x = 0; x < 2; ++x) voxels.push_back(static_cast<T>(x + 10 * y + 100 * z));
    }
  }
  return {.sizes = {2, 3, 4},
          .type = type,
          .voxels = bytes_of(voxels, big_endian),
          .big_endian = big_endian};
}

void expect_counting(const Tensor& volume) {
  ASSERT_EQ(volume.shape(), Shape({1, 4, 3, 2}));
  EXPECT_EQ(volume.dtype(), DType::float32);
  for (std::int64_t z = 0; z < 4; ++z) EXPECT_EQ(volume.at({0, z, 2, 1}), 21 + 100 * z);
}

TEST_F(NiftiFile, VoxelsComeAsDepthHeightWidth) {
  expect_counting(read(nifti_of(counting<float>(16))));
  expect_counting(read(nifti_of(counting<double>(64))));
  expect_counting(read(nifti_of(counting<std::int16_t>(4))));
  expect_counting(read(nifti_of(counting<std::int32_t>(8))));
}

TEST_F(NiftiFile, BigEndianFilesAreRead) {
  expect_counting(read(nifti_of(counting<float>(16, true))));
  expect_counting(read(nifti_of(counting<std::int16_t>(4, true))));
}

TEST_F(NiftiFile, GzippedFilesAreRead) {
  const std::string packed = gzip_of(nifti_of(counting<std::int16_t>(4)));
  expect_counting(read(packed));
  for (std::size_t length = 0; length < packed.size(); length += 3) error(packed.substr(0, length));
}

TEST_F(NiftiFile, SlopeAndInterceptAreApplied) {
  Nifti volume{.sizes = {2}, .type = 2, .voxels = "\x01\x02", .slope = 2, .intercept = -10};
  EXPECT_EQ(read(nifti_of(volume)).to_vector<float>(), std::vector<float>({-8, -6}));
  volume.slope = 0;  // means: none
  EXPECT_EQ(read(nifti_of(volume)).to_vector<float>(), std::vector<float>({1, 2}));
}

TEST_F(NiftiFile, AxesBeyondTheThirdAreChannels) {
  const Tensor volume = read(nifti_of({.sizes = {1, 1, 2, 3}, .type = 2, .voxels = "abcdef"}));
  EXPECT_EQ(volume.shape(), Shape({3, 2, 1, 1}));
}

TEST_F(NiftiFile, EveryTruncationIsRefused) {
  const std::string bytes = nifti_of(counting<float>(16));
  for (std::size_t length = 0; length < bytes.size(); ++length) error(bytes.substr(0, length));
}

TEST_F(NiftiFile, LiesAreRefusedBeforeMemoryIsReserved) {
  reset_high_water();
  const std::size_t before = memory_stats().high_water;
  const Nifti huge{.sizes = {32767, 32767, 1}, .voxels = "abcd"};
  EXPECT_CONTAINS(error(nifti_of(huge)), "truncated or damaged");
  EXPECT_CONTAINS(error(gzip_of(nifti_of(huge))), "truncated or damaged");
  error(nifti_of({.sizes = {32767, 32767, 32767, 32767, 32767, 32767, 32767}}));
  error(nifti_of({.sizes = {1}, .voxels = "abcd", .offset = 1e8F}));
  EXPECT_EQ(memory_stats().high_water, before);
}

TEST_F(NiftiFile, WhatIsNoneIsSaid) {
  EXPECT_CONTAINS(error(std::string(400, 'x')), "not a NIfTI-1 file");
  EXPECT_CONTAINS(error(""), "0 bytes");
  EXPECT_CONTAINS(error(nifti_of({.sizes = {-3}})), "size -3 along axis 1");
  EXPECT_CONTAINS(error(nifti_of({.sizes = {1}, .type = 128})), "type 128");
  EXPECT_CONTAINS(error(nifti_of({.sizes = {1}, .offset = 12})), "byte 12");
  std::string pair = nifti_of({.sizes = {1}, .voxels = "abcd"});
  pair.replace(344, 3, "ni1");
  EXPECT_CONTAINS(error(pair), ".img");
}

}  // namespace
}  // namespace fovea::data
