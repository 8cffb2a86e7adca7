// Networks that tell the class of each pixel, as users of the program meet them.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "fovea/data.h"
#include "support/errors.h"
#include "support/files.h"
#include "support/program.h"

namespace fovea {
namespace {

using testing::Json;
using testing::lines_of;
using testing::read_file;
using testing::Result;
using testing::run;
using testing::TempFolder;

class MaskProgram : public ::testing::Test {
 protected:
  // Squares of 6x6 on dark ground, and the mask of each.
  MaskProgram() {
    for (const char* kind : {"images", "masks"})
      std::filesystem::create_directories(folder_ / ("set/" + std::string(kind)));
    for (std::int64_t i = 0; i < 20; ++i) {
      Tensor image = Tensor::full({1, 16, 16}, 20, DType::uint8);
      Tensor mask = Tensor::zeros({1, 16, 16}, DType::uint8);
      for (std::int64_t cell = 0; cell < 36; ++cell) {
        const std::int64_t place = (i % 5 * 2 + cell / 6) * 16 + i / 2 + cell % 6;
        image.mutable_data<std::uint8_t>()[place] = 200;
        mask.mutable_data<std::uint8_t>()[place] = 255;
      }
      const std::string name = std::to_string(i) + ".png";
      data::write_png(folder_ / ("set/images/" + name), image);
      data::write_png(folder_ / ("set/masks/" + name), mask);
    }
  }
  std::string in(const std::string& name) const { return "'" + (folder_ / name) + "'"; }
  std::string data() const {
    return " --data 'masks:" + (folder_ / "set") + "?names=ground,square'";
  }

  TempFolder folder_;
};

TEST_F(MaskProgram, UnetLearnsThem) {
  const Result trained =
      run("train unet --width 0.0625 --epochs 6 --batch 4 --lr 0.02 --dice 0.5 --augment flip" +
          data() + " --run " + in("run"));
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_CONTAINS(trained.out, "IoU", "of tensors");
  EXPECT_TRUE(lines_of(read_file(folder_ / "run/log.jsonl"))[0].contains("test_mean_iou"));

  const Json all = lines_of(run("evaluate --json " + in("run/model.fovea") + data()).out).at(0);
  EXPECT_GT(all["mean_iou"], 0.9);
  EXPECT_EQ(all["samples"], 4);
  EXPECT_EQ(all["classes"][1]["class"], "square");
  EXPECT_EQ(all["classes"][1]["pixels"], 4 * 36);
  const double iou = all["classes"][1]["iou"].get<double>();
  const double dice = all["classes"][1]["dice"].get<double>();
  EXPECT_NEAR(dice, 2 * iou / (1 + iou), 1e-12);
  EXPECT_CONTAINS(run("evaluate " + in("run/model.fovea") + data()).out, "mean IoU", "Dice",
                  "square");

  const Result mistakes = run("evaluate " + in("run/model.fovea") + data() + " --mistakes " +
                              in("mistakes.png") + " --count 2");
  EXPECT_EQ(mistakes.code, 0) << mistakes.err;
  EXPECT_CONTAINS(mistakes.out, "mistakes", "square blue");

  const Result predicted = run("predict " + in("run/model.fovea") + " " + in("set/images/3.png") +
                               " --json --mask " + in("mask.png"));
  ASSERT_EQ(predicted.code, 0) << predicted.err;
  EXPECT_EQ(lines_of(predicted.out)[0]["class"], "ground");
  EXPECT_EQ(data::read_png(folder_ / "mask.png").shape(), Shape({1, 16, 16}));
}

TEST_F(MaskProgram, PicturesShowThem) {
  const Result sheet = run("data preview 'masks:" + (folder_ / "set") +
                           "' --augment rotate --out " + in("sheet.png"));
  EXPECT_EQ(sheet.code, 0) << sheet.err;
  EXPECT_EQ(data::read_png(folder_ / "sheet.png").size(0), 3) << "in colours";
  const Result sample = run("sample" + data() + " --out " + in("sample.png"));
  EXPECT_CONTAINS(sample.out, "with its mask", "square blue, ground in none");
  const Result table = run("data 'masks:" + (folder_ / "set") + "'");
  EXPECT_CONTAINS(table.out, "255", "samples", "pixels");
}

TEST_F(MaskProgram, WhatDoesNotGoTogetherIsRefused) {
  const Result whole = run("train lenet5" + data() + " --out " + in("x"));
  EXPECT_EQ(whole.code, 1);
  EXPECT_CONTAINS(whole.err, "masks", "lenet5", "unet");
  std::filesystem::create_directories(folder_ / "tree/a");
  std::filesystem::create_directories(folder_ / "tree/b");
  for (const char* name : {"a/1", "a/2", "b/1", "b/2"})
    data::write_png(folder_ / ("tree/" + std::string(name) + ".png"),
                    Tensor::zeros({1, 16, 16}, DType::uint8));
  const std::string labelled = " --data 'images:" + (folder_ / "tree") + "?test=0.5' --out ";
  const Result each = run("train unet --width 0.0625" + labelled + in("x"));
  EXPECT_EQ(each.code, 1);
  EXPECT_CONTAINS(each.err, "unet", "each cell", "masks:DIR");
  const Result dice = run("train lenet5 --dice 0.5" + labelled + in("x"));
  EXPECT_EQ(dice.code, 2);
  EXPECT_CONTAINS(dice.err, "--dice");
}

}  // namespace
}  // namespace fovea
