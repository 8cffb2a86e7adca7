// IDX files: those that are right are read, all others are refused with a message.
#include <gtest/gtest.h>
#include <zlib.h>

#include "fovea/data.h"
#include "fovea/memory.h"
#include "support/errors.h"
#include "support/files.h"
#include "support/idx.h"

namespace fovea::data {
namespace {

using testing::error_of;
using testing::gzip_of;
using testing::idx_of;
using testing::TempFolder;
using testing::write_file;

std::string counting(std::size_t count) {
  std::string bytes(count, '\0');
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<char>(i * 7 % 251);
  return bytes;
}

class ReadIdx : public ::testing::Test {
 protected:
  Tensor read(const std::string& bytes) {
    write_file(folder_ / "file", bytes);
    return read_idx(folder_ / "file");
  }
  std::string error(const std::string& bytes) {
    std::string message = error_of([&] { read(bytes); });
    EXPECT_CONTAINS(message, folder_ / "file");
    return message;
  }
  TempFolder folder_;
};

TEST_F(ReadIdx, PlainAndGzipGiveTheSameTensor) {
  const std::string bytes = idx_of({3, 2, 4}, counting(24));
  for (const std::string& file : {bytes, gzip_of(bytes)}) {
    const Tensor tensor = read(file);
    EXPECT_EQ(tensor.dtype(), DType::uint8);
    EXPECT_EQ(tensor.shape(), Shape({3, 2, 4}));
    EXPECT_EQ(tensor.at({2, 1, 3}), 23 * 7);
  }
}

TEST_F(ReadIdx, GzipOfSeveralChunksAndSeveralMembers) {
  const std::string elements = counting(3'000'001);
  const std::string bytes = idx_of({3'000'001}, elements);
  const std::size_t half = bytes.size() / 2;
  for (const std::string& file :
       {gzip_of(bytes), gzip_of(bytes.substr(0, half)) + gzip_of(bytes.substr(half))}) {
    const Tensor tensor = read(file);
    ASSERT_EQ(tensor.numel(), 3'000'001);
    EXPECT_TRUE(std::equal(elements.begin(), elements.end(),
                           reinterpret_cast<const char*>(tensor.data<std::uint8_t>())));
  }
}

TEST_F(ReadIdx, TheTightestGzipIsRead) {
  const std::string packed = gzip_of(idx_of({10'000'000}, std::string(10'000'000, '\0')));
  EXPECT_LT(packed.size(), 100'000U);
  EXPECT_EQ(read(packed).numel(), 10'000'000);
}

TEST_F(ReadIdx, EveryTruncationIsRefused) {
  const std::string plain = idx_of({2, 3, 3}, counting(18));
  for (const std::string& file : {plain, gzip_of(plain)}) {
    for (std::size_t length = 0; length < file.size(); ++length) error(file.substr(0, length));
  }
}

TEST_F(ReadIdx, TrailingBytesAreRefused) {
  const std::string plain = idx_of({2, 3}, counting(6));
  EXPECT_CONTAINS(error(plain + "x"), "has 19 bytes, but its header, shape [2, 3], asks for 18");
  EXPECT_CONTAINS(error(gzip_of(plain + "x")), "more than the 6 elements");
  EXPECT_CONTAINS(error(gzip_of(plain) + "x"), "gzip");
  EXPECT_CONTAINS(error(gzip_of(plain) + gzip_of("x")), "more than the 6 elements");
}

TEST_F(ReadIdx, LyingCountsAreRefusedBeforeMemoryIsReserved) {
  const std::string billion = idx_of({1'000'000'000, 28, 28}, counting(784));
  reset_high_water();
  const std::size_t before = memory_stats().high_water;
  EXPECT_CONTAINS(error(billion), "784000000016");
  EXPECT_CONTAINS(error(gzip_of(billion)), "[1000000000, 28, 28]");
  // One byte for 1032 is the most that deflate can do.
  const std::string packed = gzip_of(idx_of({200'000}, std::string(1, 'x')));
  ASSERT_LT(packed.size(), 193U);
  EXPECT_CONTAINS(error(packed), "more than gzip can pack");
  EXPECT_EQ(memory_stats().high_water, before);
  const std::int64_t most = 0xffffffff;
  EXPECT_CONTAINS(error(idx_of({most, most, most, most}, "")), "more than any file can hold");
  EXPECT_CONTAINS(error(gzip_of(idx_of({most, most}, ""))), "more than any file can hold");
  // No elements, but the product of the other sizes is still needed.
  EXPECT_CONTAINS(error(idx_of({0, most, most, most}, "")), "more than any file can hold");
  EXPECT_CONTAINS(error(gzip_of(idx_of({0, most, most, most}, ""))), "more than any file can hold");
}

TEST_F(ReadIdx, WrongHeadersAreRefused) {
  std::string bytes = idx_of({2}, "ab");
  bytes[2] = 0x0d;
  EXPECT_CONTAINS(error(bytes), "type 0x0d, expected unsigned bytes (0x08)");
  EXPECT_CONTAINS(error(idx_of({}, "")), "0 axes");
  EXPECT_CONTAINS(error(idx_of({1, 1, 1, 1, 1}, "a")), "5 axes");
  EXPECT_CONTAINS(error("PNG file?"), "not an IDX file");
  EXPECT_CONTAINS(error(""), "0 bytes");
}

TEST_F(ReadIdx, DamagedGzipIsRefused) {
  error("\x1f\x8b" + counting(100));
  const std::string good = gzip_of(idx_of({50, 20}, counting(1000)));
  std::string wrong_sum = good;
  wrong_sum[good.size() - 6] = static_cast<char>(wrong_sum[good.size() - 6] ^ 1);
  EXPECT_CONTAINS(error(wrong_sum), "check");
}

TEST(ReadIdxPath, MissingFileIsNamed) {
  EXPECT_CONTAINS(error_of([] { read_idx("/none/such.gz"); }), "/none/such.gz");
}

}  // namespace
}  // namespace fovea::data
