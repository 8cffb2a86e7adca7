// NumPy's arrays and archives of them.
#include <gtest/gtest.h>

#include "fovea/memory.h"
#include "fovea/readers.h"
#include "support/errors.h"
#include "support/files.h"
#include "support/formats.h"

namespace fovea::data {
namespace {

using testing::bytes_of;
using testing::error_of;
using testing::npy_of;
using testing::TempFolder;
using testing::write_file;
using testing::zip_of;

class Npy : public ::testing::Test {
 protected:
  Tensor read(const std::string& bytes) {
    write_file(path_, bytes);
    return read_npy(path_);
  }
  std::string error(const std::string& bytes) {
    std::string message = error_of([&] { read(bytes); });
    EXPECT_CONTAINS(message, path_);
    return message;
  }
  TempFolder folder_;
  std::string path_ = folder_ / "a.npy";
};

const std::string kTwoByThree = npy_of("<f4", "(2, 3)", bytes_of<float>({1, 2, 3, 4, 5, 6}));

TEST_F(Npy, EveryTypeIsRead) {
  const auto values = [&](const std::string& type, const std::string& data, DType expected) {
    const Tensor array = read(npy_of(type, "(2,)", data));
    EXPECT_EQ(array.dtype(), expected) << type;
    return array.to_vector<double>();
  };
  using Values = std::vector<double>;
  EXPECT_EQ(values("<f4", bytes_of<float>({1.5F, -2}), DType::float32), Values({1.5, -2}));
  EXPECT_EQ(values(">f4", bytes_of<float>({1.5F, -2}, true), DType::float32), Values({1.5, -2}));
  EXPECT_EQ(values("<f8", bytes_of<double>({1.5, -2}), DType::float64), Values({1.5, -2}));
  EXPECT_EQ(values("<f2", bytes_of<std::uint16_t>({0x3e00, 0xc000}), DType::float32),
            Values({1.5, -2}));
  EXPECT_EQ(values("|u1", "\x01\xff", DType::uint8), Values({1, 255}));
  EXPECT_EQ(values("|b1", std::string("\x01\x00", 2), DType::uint8), Values({1, 0}));
  EXPECT_EQ(values("|i1", "\x01\xff", DType::int64), Values({1, -1}));
  EXPECT_EQ(values("<i2", bytes_of<std::int16_t>({-3, 4}), DType::int64), Values({-3, 4}));
  EXPECT_EQ(values(">u2", bytes_of<std::uint16_t>({3, 65535}, true), DType::int64),
            Values({3, 65535}));
  EXPECT_EQ(values("<i4", bytes_of<std::int32_t>({-3, 4}), DType::int64), Values({-3, 4}));
  EXPECT_EQ(values("<i8", bytes_of<std::int64_t>({-3, 4}), DType::int64), Values({-3, 4}));
}

TEST_F(Npy, ShapesOfEveryRankAndBothOrders) {
  EXPECT_EQ(read(kTwoByThree).shape(), Shape({2, 3}));
  EXPECT_EQ(read(npy_of("<f4", "()", bytes_of(2.0F))).item<float>(), 2);
  EXPECT_EQ(read(npy_of("<f4", "(0, 3)", "")).shape(), Shape({0, 3}));
  const Tensor fortran = read(npy_of("<f4", "(2, 3)", bytes_of<float>({1, 4, 2, 5, 3, 6}), true));
  EXPECT_EQ(fortran.shape(), Shape({2, 3}));
  EXPECT_EQ(fortran.to_vector<float>(), read(kTwoByThree).to_vector<float>());
}

TEST_F(Npy, EveryTruncationIsRefused) {
  for (std::size_t length = 0; length < kTwoByThree.size(); ++length)
    error(kTwoByThree.substr(0, length));
  EXPECT_CONTAINS(error(kTwoByThree + "x"), "more than the 6 elements");
}

TEST_F(Npy, LyingShapesAreRefusedBeforeMemoryIsReserved) {
  reset_high_water();
  const std::size_t before = memory_stats().high_water;
  EXPECT_CONTAINS(error(npy_of("<f4", "(1000000000,)", "abcd")), "[1000000000]", "truncated");
  error(npy_of("<f4", "(4294967296, 4294967296)", ""));
  error(npy_of("<f4", "(4294967296, 4294967296, 0)", ""));
  EXPECT_EQ(memory_stats().high_water, before);
}

TEST_F(Npy, HeadersThatMakeNoSenseAreRefused) {
  EXPECT_CONTAINS(error(npy_of("|O", "(1,)", "x")), "type '|O'", "astype");
  EXPECT_CONTAINS(error(npy_of("<c8", "(1,)", "x")), "<c8");
  EXPECT_CONTAINS(error(npy_of("<f4", "(-1,)", "x")), "no list of sizes");
  EXPECT_CONTAINS(error(npy_of("<f4", "(1, 1, 1, 1, 1, 1, 1, 1, 1)", "x")), "more than 8 axes");
  EXPECT_CONTAINS(error("GIF89a, and so on, to be long enough"), "is not a .npy");
}

class Npz : public Npy {
 protected:
  std::map<std::string, Tensor> read(const std::string& bytes,
                                     const std::vector<std::string>& names = {}) {
    write_file(path_, bytes);
    return read_npz(path_, names);
  }
  void SetUp() override {
#ifndef FOVEA_WITH_ZIP
    GTEST_SKIP() << "built without libzip";
#endif
  }
};

const std::string kBytes = npy_of("|u1", "(2, 100)", std::string(200, 'a'));

TEST_F(Npz, ArraysAreReadByName) {
  for (const bool deflated : {false, true}) {
    const std::string file =
        zip_of({{"x.npy", kTwoByThree}, {"y.npy", kBytes}, {"notes.txt", "hello"}}, deflated);
    const auto all = read(file);
    EXPECT_EQ(all.size(), 2U);
    EXPECT_EQ(all.at("x").to_vector<float>(), std::vector<float>({1, 2, 3, 4, 5, 6}));
    EXPECT_EQ(all.at("y").shape(), Shape({2, 100}));
    EXPECT_EQ(read(file, {"y"}).size(), 1U);
    EXPECT_EQ(npz_names(path_), (std::vector<std::string>{"x", "y"}));
    EXPECT_CONTAINS(error_of([&] { read(file, {"z"}); }), path_, "no array 'z'", "there are: x, y");
  }
}

TEST_F(Npz, DamageIsNoticed) {
  const std::string file = zip_of({{"x.npy", kTwoByThree}}, true);
  for (std::size_t length = 0; length < file.size(); ++length)
    EXPECT_CONTAINS(error_of([&] { read(file.substr(0, length)); }), path_);
  std::string stored = zip_of({{"x.npy", kTwoByThree}});
  const std::size_t last = stored.find(kTwoByThree) + kTwoByThree.size() - 1;
  stored[last] = static_cast<char>(stored[last] ^ 1);  // a value: only the check sum tells
  EXPECT_CONTAINS(error_of([&] { read(stored); }), path_, "'x'");
  EXPECT_CONTAINS(error_of([&] {
                    read(zip_of({{"x.npy", "no array at all"}}));
                  }),
                  "'x'", "not a .npy");
}

TEST_F(Npz, LyingShapesAreRefusedBeforeMemoryIsReserved) {
  reset_high_water();
  const std::size_t before = memory_stats().high_water;
  const std::string lie = npy_of("|u1", "(1000000000,)", "abcd");
  EXPECT_CONTAINS(error_of([&] { read(zip_of({{"x.npy", lie}}, true)); }), "[1000000000]");
  EXPECT_EQ(memory_stats().high_water, before);
}

}  // namespace
}  // namespace fovea::data
