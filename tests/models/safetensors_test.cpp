// Safetensors files: written as the format demands, and read without trust.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "fovea/memory.h"
#include "fovea/save.h"
#include "support/errors.h"
#include "support/files.h"

namespace fovea {
namespace {

using testing::error_of;
using testing::read_file;
using testing::SmallDisk;
using testing::TempFolder;
using testing::write_file;

std::string file_of(const std::string& header, const std::string& data) {
  std::string bytes(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header + data;
}

// A header with one tensor "a".
std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets +
         "}}";
}

class Safetensors : public ::testing::Test {
 protected:
  TensorFile read(const std::string& bytes) {
    write_file(path_, bytes);
    return read_safetensors(path_);
  }
  std::string error(const std::string& bytes) {
    std::string message = error_of([&] { read(bytes); });
    EXPECT_CONTAINS(message, path_);
    return message;
  }
  TempFolder folder_;
  std::string path_ = folder_ / "file.safetensors";
};

TensorFile example() {
  TensorFile file;
  file.metadata = {{"format", "test"}, {"quotes", "\"\\ \n ä"}};
  file.tensors["bytes"] = Tensor::from<std::uint8_t>({1, 2, 255}, {3});
  file.tensors["doubles"] = Tensor::from<double>({0.1, -1e300, 3}, {3, 1});
  file.tensors["empty"] = Tensor::empty({0, 4});
  file.tensors["floats"] = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  file.tensors["integers"] = Tensor::from<std::int64_t>({INT64_MIN, INT64_MAX}, {2});
  file.tensors["scalar"] = Tensor::scalar(2.5);
  return file;
}

TEST_F(Safetensors, WrittenFilesComeBack) {
  const TensorFile file = example();
  write_safetensors(path_, file);
  const TensorFile back = read_safetensors(path_);
  EXPECT_EQ(back.metadata, file.metadata);
  ASSERT_EQ(back.tensors.size(), file.tensors.size());
  for (const auto& [name, tensor] : file.tensors) {
    const Tensor& other = back.tensors.at(name);
    EXPECT_EQ(other.describe(), tensor.describe()) << name;
    EXPECT_EQ(other.to_vector<double>(), tensor.to_vector<double>()) << name;
  }
  EXPECT_EQ(back.tensors.at("integers").to_vector<std::int64_t>(),
            (std::vector<std::int64_t>{INT64_MIN, INT64_MAX}));
  EXPECT_EQ(folder_.entries(), 1);
}

TEST_F(Safetensors, DataIsRowMajorAndAlignedWhateverTheMemoryOrder) {
  TensorFile file;
  file.tensors["a"] = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3}).permute({1, 0});
  write_safetensors(path_, file);
  const std::string bytes = read_file(path_);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  EXPECT_EQ(length % 8, 0U);
  std::vector<float> data(6);
  ASSERT_EQ(bytes.size(), 8 + length + 24);
  std::memcpy(data.data(), bytes.data() + 8 + length, 24);
  EXPECT_EQ(data, (std::vector<float>{1, 4, 2, 5, 3, 6}));
  EXPECT_CONTAINS(bytes, R"("shape":[3,2])");
}

TEST_F(Safetensors, HalvesAreWidenedExactly) {
  // 1, -2, largest, smallest normal, smallest subnormal, -0, infinity, not a number
  const std::string halves("\x00\x3c\x00\xc0\xff\x7b\x00\x04\x01\x00\x00\x80\x00\x7c\x01\x7e", 16);
  const TensorFile file = read(file_of(entry("F16", "[8]", "[0,16]"), halves));
  const Tensor& tensor = file.tensors.at("a");
  EXPECT_EQ(tensor.dtype(), DType::float32);
  const auto values = tensor.to_vector<float>();
  const std::vector<float> expected = {1, -2, 65504, 0x1p-14F, 0x1p-24F, 0};
  EXPECT_EQ(std::vector<float>(values.begin(), values.begin() + 6), expected);
  EXPECT_TRUE(std::signbit(values[5]));
  EXPECT_EQ(values[6], std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(values[7]));
}

TEST_F(Safetensors, BfloatsAreWidenedExactly) {
  const std::string bytes("\x80\x3f\x49\x40\x80\xff", 6);  // 1, 3.140625, -infinity
  const auto values =
      read(file_of(entry("BF16", "[3]", "[0,6]"), bytes)).tensors.at("a").to_vector<float>();
  EXPECT_EQ(values, (std::vector<float>{1, 3.140625F, -std::numeric_limits<float>::infinity()}));
}

TEST_F(Safetensors, UnalignedTensorsAreRead) {
  std::string data(5, '\0');
  data[0] = 'x';
  const float value = 1.5F;
  std::memcpy(data.data() + 1, &value, sizeof(value));
  const std::string header = R"({"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]},)"
                             R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}} )";
  EXPECT_EQ(read(file_of(header, data)).tensors.at("b").item<float>(), 1.5F);
}

TEST_F(Safetensors, EveryTruncationIsRefused) {
  write_safetensors(path_, example());
  const std::string bytes = read_file(path_);
  for (std::size_t length = 0; length < bytes.size(); ++length) error(bytes.substr(0, length));
  EXPECT_CONTAINS(error(bytes + "x"), "damaged");
}

TEST_F(Safetensors, EachFlippedHeaderByteIsRefusedOrLoads) {
  write_safetensors(path_, example());
  const std::string bytes = read_file(path_);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  for (std::size_t i = 0; i < 8 + length; ++i) {
    for (const int flip : {0x01, 0x02, 0x10, 0x20, 0x80, 0xff}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ flip);
      try {
        read(damaged);
      } catch (const Error& caught) {
        EXPECT_CONTAINS(caught.what(), path_);
      }
    }
  }
}

TEST_F(Safetensors, LyingHeadersAreRefusedBeforeMemoryIsReserved) {
  reset_high_water();
  const std::size_t before = memory_stats().high_water;
  std::string longer = file_of("{}", "");
  longer[1] = 1;
  EXPECT_CONTAINS(error(longer), "only 2 follow");
  longer[7] = 1;
  EXPECT_CONTAINS(error(longer), "is no .fovea or safetensors file");
  error(file_of(entry("F32", "[1000000000]", "[0,4000000000]"), "abcd"));
  EXPECT_CONTAINS(error(file_of(entry("F32", "[4611686018427387904,4]", "[0,0]"), "")),
                  "more than any file");
  EXPECT_CONTAINS(error(file_of(entry("F32", "[0,4611686018427387904,4]", "[0,0]"), "")),
                  "more than any file");
  EXPECT_CONTAINS(error(file_of(entry("F32", "[18446744073709551615]", "[0,0]"), "")),
                  "natural number");
  EXPECT_EQ(memory_stats().high_water, before);
}

TEST_F(Safetensors, WrongEntriesAreRefused) {
  const std::string four = "abcd";
  EXPECT_CONTAINS(error(file_of(entry("F32", "[-1]", "[0,4]"), four)), "natural number");
  EXPECT_CONTAINS(error(file_of(entry("F32", "[1.0]", "[0,4]"), four)), "natural number");
  EXPECT_CONTAINS(error(file_of(entry("F32", "[2]", "[0,4]"), four)),
                  "8 bytes, but its data_offsets are [0, 4]");
  EXPECT_CONTAINS(error(file_of(entry("F32", "[1]", "[4,0]"), four)), "data_offsets");
  EXPECT_CONTAINS(error(file_of(entry("F32", "[1]", "[0]"), four)), "two data_offsets");
  EXPECT_CONTAINS(error(file_of(entry("C64", "[1]", "[0,8]"), four + four)), "type C64");
  EXPECT_CONTAINS(error(file_of(entry("U8", "[1,1,1,1,1,1,1,1,4]", "[0,4]"), four)), "9 axes");
  EXPECT_CONTAINS(error(file_of(entry("F32", "[[1]]", "[0,4]"), four)), "deeper");
  EXPECT_CONTAINS(error(file_of(entry("F32", "1", "[0,4]"), four)), "a shape");
  EXPECT_CONTAINS(error(file_of(R"({"a":[]})", "")), "needs a dtype");
}

TEST_F(Safetensors, OverlapsAndHolesAreRefused) {
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + first +
           R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}";
  };
  EXPECT_EQ(read(file_of(two("[0,4]", "[4,8]"), "abcdefgh")).tensors.size(), 2U);
  EXPECT_CONTAINS(error(file_of(two("[0,4]", "[2,6]"), "abcdef")), "overlap");
  EXPECT_CONTAINS(error(file_of(two("[0,4]", "[0,4]"), "abcd")), "overlap");
  EXPECT_CONTAINS(error(file_of(two("[0,4]", "[5,9]"), "abcdefghi")), "hole");
  EXPECT_CONTAINS(error(file_of(two("[1,5]", "[5,9]"), "abcdefghi")), "hole");
}

TEST_F(Safetensors, WrongJsonIsRefused) {
  error(file_of("", ""));
  EXPECT_CONTAINS(error(file_of("[]", "")), "does not start with '{'");
  EXPECT_CONTAINS(error(file_of("{", "")), "not valid JSON");
  EXPECT_CONTAINS(error(file_of(R"({"a":{},"a":{}})", "")), "'a' twice");
  EXPECT_CONTAINS(error(file_of(R"({"__metadata__":{"k":"1","k":"2"}})", "")), "'k' twice");
  EXPECT_CONTAINS(error(file_of(R"({"__metadata__":{"k":1}})", "")), "not a string");
  EXPECT_CONTAINS(error(file_of(R"({"__metadata__":[]})", "")), "not an object");
  EXPECT_CONTAINS(error(file_of(R"({"a\u001b[2J\n\u009bä":[]})", "")), R"('a\x1b[2J\x0a\x9bä')");
  EXPECT_CONTAINS(error(file_of("{\"\xff\":{}}", "")), "not valid JSON");
  // What the JSON parser quotes is made printable as well.
  EXPECT_CONTAINS(error(file_of("{\"\x7f\xff", "")), R"('"\x7f\xff')");
  EXPECT_CONTAINS(error(file_of(R"({"a":)" + std::string(1'000'000, '['), "")), "deeper");
}

TEST_F(Safetensors, WhatTheFormatCannotHoldIsNotWritten) {
  TensorFile file;
  file.tensors["__metadata__"] = Tensor::scalar(1);
  EXPECT_CONTAINS(error_of([&] { write_safetensors(path_, file); }), "__metadata__");
  file.tensors = {{"\xff", Tensor::scalar(1)}};
  EXPECT_CONTAINS(error_of([&] { write_safetensors(path_, file); }), "UTF-8");
  file.tensors = {{"a", Tensor()}};
  EXPECT_CONTAINS(error_of([&] { write_safetensors(path_, file); }), "no data");
  EXPECT_EQ(folder_.entries(), 0);
}

TEST_F(Safetensors, FullDiskLeavesTheOldFile) {
  const SmallDisk disk;
  if (!disk.mounted()) GTEST_SKIP() << "mounting a small file system needs root";
  const std::string path = disk.folder() / "model.safetensors";
  const auto write_ones = [&](std::int64_t count) {
    write_safetensors(path, {.tensors = {{"a", Tensor::ones({count})}}, .metadata = {}});
  };
  write_ones(10);
  EXPECT_CONTAINS(error_of([&] { write_ones(100'000); }), "the disk is full");
  EXPECT_EQ(read_safetensors(path).tensors.at("a").numel(), 10);
  EXPECT_EQ(disk.folder().entries(), 1);
}

TEST_F(Safetensors, FilesOfOtherProgramsAreRead) {
  const std::string path = testing::shared_folder() + "/models/resnet20-12fca82f.safetensors";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no file " << path;
  EXPECT_EQ(read_safetensors(path).tensors.at("conv1.weight").shape(), Shape({16, 3, 3, 3}));
}

}  // namespace
}  // namespace fovea
