// PNG images: every kind of pixel comes out as 8-bit grey or RGB, and damaged files as errors.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "fovea/data.h"
#include "support/errors.h"
#include "support/files.h"
#include "support/png.h"

namespace fovea::data {
namespace {

using testing::error_of;
using testing::read_file;
using testing::TempFolder;
using testing::write_file;
using testing::png::big_endian;
using testing::png::chunk;
using testing::png::kGreyAlpha;
using testing::png::kPalette;
using testing::png::kRgb;
using testing::png::kRgba;
using testing::png::png_of;

class Png : public ::testing::Test {
 protected:
  Tensor read(const std::string& bytes) {
    write_file(path_, bytes);
    return read_png(path_);
  }
  std::string error(const std::string& bytes) {
    std::string message = error_of([&] { read(bytes); });
    EXPECT_CONTAINS(message, path_);
    return message;
  }
  std::vector<int> values(const std::string& bytes) {
    const auto raw = read(bytes).to_vector<std::int64_t>();
    return {raw.begin(), raw.end()};
  }
  TempFolder folder_;
  std::string path_ = folder_ / "image.png";
};

using Values = std::vector<int>;

Tensor gradient(std::int64_t channels, std::int64_t height, std::int64_t width) {
  Tensor image = Tensor::empty({channels, height, width}, DType::uint8);
  auto* out = image.mutable_data<std::uint8_t>();
  for (std::int64_t i = 0; i < image.numel(); ++i) out[i] = static_cast<std::uint8_t>(i * 5 % 256);
  return image;
}

TEST_F(Png, WrittenImagesComeBack) {
  for (const std::int64_t channels : {1, 3}) {
    const Tensor image = gradient(channels, 5, 7);
    write_png(path_, image);
    const Tensor read = read_png(path_);
    EXPECT_EQ(read.shape(), image.shape());
    EXPECT_EQ(read.to_vector<std::uint8_t>(), image.to_vector<std::uint8_t>());
    EXPECT_TRUE(read.permute({1, 2, 0}).is_contiguous());
    write_png(path_, read);  // from the other memory order
    EXPECT_EQ(read_png(path_).to_vector<std::uint8_t>(), image.to_vector<std::uint8_t>());
  }
  EXPECT_EQ(folder_.entries(), 1);
}

TEST_F(Png, EveryPixelFormatIsConverted) {
  const auto raw = [](std::initializer_list<int> bytes) {
    std::string result;
    for (const int byte : bytes) result += static_cast<char>(byte);
    return result;
  };
  EXPECT_EQ(values(png_of({.width = 8, .depth = 1}, raw({0, 0xa5}))),
            Values({255, 0, 255, 0, 0, 255, 0, 255}));
  EXPECT_EQ(values(png_of({.width = 2, .depth = 4}, raw({0, 0xf3}))), Values({255, 51}));
  EXPECT_EQ(values(png_of({.width = 2, .depth = 16}, raw({0, 0xff, 0xff, 0x80, 0x00}))),
            Values({255, 128}));
  EXPECT_EQ(values(png_of({.width = 2, .color = kGreyAlpha}, raw({0, 10, 0, 20, 128}))),
            Values({10, 20}));
  EXPECT_EQ(values(png_of({.width = 2, .color = kRgba}, raw({0, 1, 2, 3, 0, 4, 5, 6, 255}))),
            Values({1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(
      values(png_of({.color = kRgb}, raw({0, 7, 8, 9}), chunk("tRNS", raw({0, 7, 0, 8, 0, 9})))),
      Values({7, 8, 9}));
  const std::string palette = chunk("PLTE", raw({1, 2, 3, 40, 50, 60}));
  EXPECT_EQ(values(png_of({.width = 2, .color = kPalette}, raw({0, 1, 0}), palette)),
            Values({40, 1, 50, 2, 60, 3}));
  EXPECT_EQ(values(png_of({.width = 2, .depth = 1, .color = kPalette}, raw({0, 0x40}),
                          palette + chunk("tRNS", raw({0, 9})))),
            Values({1, 40, 2, 50, 3, 60}));
  // A gamma chunk does not change the values.
  EXPECT_EQ(values(png_of({.width = 2}, raw({0, 100, 200}), chunk("gAMA", big_endian(100000)))),
            Values({100, 200}));
}

TEST_F(Png, InterlacedImagesAreRead) {
  // Adam7: first cell and step of each pass, in x and y.
  constexpr int kPasses[7][4] = {{0, 8, 0, 8}, {4, 8, 0, 8}, {0, 4, 4, 8}, {2, 4, 0, 4},
                                 {0, 2, 2, 4}, {1, 2, 0, 2}, {0, 1, 1, 2}};
  std::string rows;
  for (const auto& [x0, dx, y0, dy] : kPasses) {
    for (int y = y0; y < 8; y += dy) {
      rows += '\0';
      for (int x = x0; x < 8; x += dx) rows += static_cast<char>(8 * y + x);
    }
  }
  const auto result = values(png_of({.width = 8, .height = 8, .interlaced = 1}, rows));
  for (int i = 0; i < 64; ++i) EXPECT_EQ(result[static_cast<std::size_t>(i)], i);
}

TEST_F(Png, EveryTruncationIsRefused) {
  write_png(path_, gradient(3, 6, 6));
  const std::string bytes = read_file(path_);
  for (std::size_t length = 0; length < bytes.size(); ++length) error(bytes.substr(0, length));
}

TEST_F(Png, DamagedFilesAreErrorsOrImagesButNeverMore) {
  write_png(path_, gradient(1, 6, 6));
  const std::string bytes = read_file(path_);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const int bit : {1, 128}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ bit);
      try {
        read(damaged);
      } catch (const Error& caught) {
        EXPECT_CONTAINS(caught.what(), path_);
      }
    }
  }
}

TEST_F(Png, LyingSizesAreRefused) {
  EXPECT_CONTAINS(error(png_of({.width = 16384, .height = 16384}, std::string(100, '\0'))),
                  "cannot hold them");
  EXPECT_CONTAINS(error(png_of({.width = 1 << 20, .height = 1 << 20}, "")), "more than the");
  error(png_of({.width = 0xffffffff, .height = 2}, ""));
  error(png_of({.width = 0, .height = 2}, ""));
  EXPECT_CONTAINS(error("GIF89a not a PNG"), "not a PNG file");
  EXPECT_CONTAINS(error_of([] { read_png("/none/a.png"); }), "/none/a.png");
}

// The most address space that this process ever had, in bytes.
std::int64_t peak_address_space() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmPeak:")) return 1024 * std::stoll(line.substr(7));
  }
  return 0;
}

TEST_F(Png, MemoryIsNotReservedForWhatAChunkClaims) {
  const std::int64_t before = peak_address_space();
  std::string bytes = png_of({.width = 2}, std::string(3, '\0'));
  bytes.insert(33, big_endian(0x7ffffff0) + "eXIf");  // behind the header
  EXPECT_CONTAINS(error(bytes), "truncated or damaged");
  EXPECT_LT(peak_address_space() - before, std::int64_t{1} << 30);
}

TEST_F(Png, ChunksBesideThePictureAreNotRead) {
  for (const char* type : {"eXIf", "zTXt", "iCCP", "tIME", "sPLT"}) {
    EXPECT_EQ(values(png_of({.width = 2}, std::string("\0\1\2", 3), chunk(type, "\xff\xff\xff"))),
              Values({1, 2}))
        << type;
  }
}

TEST_F(Png, OnlyImagesAreWritten) {
  const auto refused = [&](const Tensor& image) {
    return error_of([&] { write_png(path_, image); });
  };
  EXPECT_CONTAINS(refused(Tensor::zeros({1, 4, 4})), "float32 [1, 4, 4], expected uint8");
  EXPECT_CONTAINS(refused(Tensor::zeros({2, 4, 4}, DType::uint8)), "uint8 [2, 4, 4]");
  EXPECT_CONTAINS(refused(Tensor::zeros({4, 4}, DType::uint8)), "uint8 [4, 4]");
  EXPECT_CONTAINS(refused(Tensor::zeros({1, 0, 4}, DType::uint8)), "4x0");
  EXPECT_CONTAINS(refused(Tensor()), "undefined");
  EXPECT_EQ(folder_.entries(), 0);
}

TEST_F(Png, PhotographsAreRead) {
  const std::string photo = testing::shared_folder() + "/data/photos/astronaut.png";
  if (!std::filesystem::exists(photo)) GTEST_SKIP() << "no file " << photo;
  EXPECT_EQ(read_png(photo).shape(), Shape({3, 512, 512}));
}

}  // namespace
}  // namespace fovea::data
