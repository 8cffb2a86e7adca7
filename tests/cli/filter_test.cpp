// fovea filter, as its users meet it.
#include <gtest/gtest.h>

#include "fovea/data.h"
#include "support/errors.h"
#include "support/program.h"

namespace fovea {
namespace {

using testing::expect_keys;
using testing::Json;
using testing::lines_of;
using testing::Result;
using testing::run;
using testing::TempFolder;

std::string file_argument(const std::string& path) {
  return " '" + path + "'";
}

class FilterProgram : public ::testing::Test {
 protected:
  // Black on the left, white on the right.
  void SetUp() override {
    Tensor step = Tensor::zeros({1, 6, 8}, DType::uint8);
    auto* pixels = step.mutable_data<std::uint8_t>();
    for (int i = 0; i < 48; ++i) pixels[i] = i % 8 < 4 ? 0 : 255;
    data::write_png(input_, step);
  }

  Tensor filtered(const std::string& arguments) {
    const Result result =
        run("filter " + arguments + file_argument(input_) + file_argument(output_));
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_CONTAINS(result.out, output_, "8x6");
    return data::read_png(output_);
  }

  TempFolder folder_;
  std::string input_ = folder_ / "in.png";
  std::string output_ = folder_ / "out.png";
};

TEST_F(FilterProgram, ShowsSignedResultsAroundGrey) {
  const Tensor edge = filtered("sobel-x");
  EXPECT_EQ(edge.shape(), (Shape{1, 6, 8}));
  EXPECT_EQ(edge.at({0, 2, 0}), 128);  // nothing: 127.5, rounded
  EXPECT_EQ(edge.at({0, 2, 3}), 255);  // 127.5 + 4 * 255 / 8
  EXPECT_EQ(filtered("sobel-y").at({0, 2, 3}), 128);
  EXPECT_EQ(filtered("laplacian").at({0, 2, 3}), 159);  // 127.5 + 255 / 8
  EXPECT_EQ(filtered("sobel").at({0, 2, 3}), 255);
  EXPECT_EQ(filtered("sobel").at({0, 2, 0}), 0);
}

TEST_F(FilterProgram, ReadsTheOptionsOfAFilter) {
  EXPECT_EQ(filtered("box --size 1").at({0, 0, 4}), 255);
  EXPECT_EQ(filtered("box --size 3").at({0, 0, 4}), 170);
  EXPECT_EQ(filtered("box --size 3 --border zeros").at({0, 0, 7}), 113);  // 255 * 4 / 9
  EXPECT_EQ(filtered("box --border circular").at({0, 0, 0}), 85);
  EXPECT_LT(filtered("gaussian --sigma 0.5").at({0, 2, 3}),
            filtered("gaussian --sigma 1.5 --size 7").at({0, 2, 3}));
}

TEST_F(FilterProgram, KeepsColour) {
  Tensor image = Tensor::zeros({3, 5, 5}, DType::uint8);
  for (int i = 0; i < 25; ++i) image.mutable_data<std::uint8_t>()[i] = 200;
  data::write_png(input_, image);
  const Result result =
      run("filter gaussian --json" + file_argument(input_) + file_argument(output_));
  ASSERT_EQ(result.code, 0) << result.err;
  const std::vector<Json> lines = lines_of(result.out);
  ASSERT_EQ(lines.size(), 1U);
  expect_keys(lines[0], {"file", "filter", "width", "height", "channels"});
  EXPECT_EQ(lines[0]["channels"], 3);
  const Tensor blurred = data::read_png(output_);
  EXPECT_EQ(blurred.at({0, 2, 2}), 200);
  EXPECT_EQ(blurred.at({1, 2, 2}), 0);
}

TEST_F(FilterProgram, FindsATemplate) {
  Tensor image = Tensor::zeros({1, 12, 15}, DType::uint8);
  auto* pixels = image.mutable_data<std::uint8_t>();
  for (int i = 0; i < 12 * 15; ++i) pixels[i] = static_cast<std::uint8_t>(i * i * 37 % 251);
  data::write_png(input_, image);
  data::write_png(folder_ / "part.png", image.slice(1, 3, 8).slice(2, 6, 10));
  const Result result =
      run("filter template --json --template" + file_argument(folder_ / "part.png") +
          file_argument(input_) + file_argument(output_));
  ASSERT_EQ(result.code, 0) << result.err;
  const Json line = lines_of(result.out).at(0);
  EXPECT_EQ(line["best"]["x"], 6);
  EXPECT_EQ(line["best"]["y"], 3);
  EXPECT_NEAR(line["best"]["score"].get<double>(), 1, 1e-9);
  EXPECT_EQ(line["width"], 12);
  EXPECT_EQ(line["height"], 8);
  EXPECT_EQ(data::read_png(output_).at({0, 3, 6}), 255);
}

TEST_F(FilterProgram, MisuseIsNamed) {
  const std::string files = file_argument(input_) + file_argument(output_);
  const auto misuse = [&](const std::string& arguments) {
    const Result result = run("filter " + arguments);
    EXPECT_EQ(result.code, 2) << arguments;
    EXPECT_EQ(result.out, "");
    return result.err;
  };
  EXPECT_CONTAINS(misuse("blur" + files), "there is no filter 'blur'", "gaussian", "sobel-x");
  EXPECT_CONTAINS(misuse("box --sigma 2" + files), "box reads no --sigma");
  EXPECT_CONTAINS(misuse("template" + files), "--template");
  EXPECT_CONTAINS(misuse("box --border magic" + files), "--border");
  EXPECT_CONTAINS(misuse("box --size 0" + files), "--size");
  misuse("box");
  EXPECT_EQ(folder_.entries(), 1);
}

TEST_F(FilterProgram, WhatCannotBeDoneIsAFailureAndLeavesNoFile) {
  const Result missing =
      run("filter box" + file_argument(folder_ / "nowhere.png") + file_argument(output_));
  EXPECT_EQ(missing.code, 1);
  EXPECT_CONTAINS(missing.err, "nowhere.png");
  const Result wide =
      run("filter gaussian --sigma 9" + file_argument(input_) + file_argument(output_));
  EXPECT_EQ(wide.code, 1);
  EXPECT_CONTAINS(wide.err, "reflect");
  EXPECT_EQ(run("filter gaussian --size 4" + file_argument(input_) + file_argument(output_)).code,
            1);
  EXPECT_EQ(folder_.entries(), 1);
}

}  // namespace
}  // namespace fovea
