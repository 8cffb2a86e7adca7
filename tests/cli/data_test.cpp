// fovea data: what a data set holds, as a user meets it.
#include <gtest/gtest.h>

#include <filesystem>

#include "fovea/data.h"
#include "support/errors.h"
#include "support/files.h"
#include "support/program.h"

namespace fovea::testing {
namespace {

class DataCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const std::string one : {"cat", "dog"}) {
      std::filesystem::create_directories(folder_ / one);
      for (int i = 0; i < 4; ++i) {
        data::write_png(folder_ / (one + "/" + std::to_string(i) + ".png"),
                        Tensor::full({1, 6, 6}, 10 * i + (one == "dog" ? 100 : 0), DType::uint8));
      }
    }
  }
  std::string source(const std::string& options) const {
    return "'images:" + folder_.path() + options + "'";
  }
  TempFolder folder_;
};

TEST_F(DataCommand, PrintsSamplesByClassAndSplit) {
  const Result result = run("data " + source("?test=3-3&validation=2-2"));
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_CONTAINS(result.out, "class  train  validation  test\n",
                  "cat        2           1     1\n", "all        4           2     2\n",
                  "samples of 1x6x6; mean 0.2157");
  EXPECT_EQ(result.out.find("left out"), std::string::npos);
}

TEST_F(DataCommand, JsonHasItAll) {
  const Result result = run("data --json " + source("?test=3-3"));
  ASSERT_EQ(result.code, 0) << result.err;
  const Json json = lines_of(result.out).at(0);
  expect_keys(json, {"source", "shape", "classes", "mean", "deviation", "train", "test"});
  EXPECT_EQ(json["classes"], (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(json["train"]["samples"], 6);
  EXPECT_EQ(json["test"]["by_class"], (std::vector<int>{1, 1}));
  EXPECT_FALSE(json.contains("validation"));
}

TEST_F(DataCommand, BrokenFilesAreNamedAndFatalUnlessTheyMayBeLeftOut) {
  write_file(folder_ / "cat/broken.png", "no picture");
  write_file(folder_ / "dog/broken.png", "none either");
  const Result fatal = run("data " + source("?broken=fail"));
  EXPECT_EQ(fatal.code, 1);
  EXPECT_EQ(fatal.out, "");
  EXPECT_CONTAINS(fatal.err, "/broken.png", "broken=skip");
  // Without a word about them all are listed, and the exit code is that of a failure.
  const Result listed = run("data " + source("?test=3-3"));
  EXPECT_EQ(listed.code, 1);
  EXPECT_CONTAINS(listed.out, "cat        3     1\n", "cat/broken.png'", "dog/broken.png'");
  EXPECT_CONTAINS(listed.err, "2 of the samples of", "broken=skip leaves them out");
  const Result skipped = run("data " + source("?test=3-3&broken=skip"));
  EXPECT_EQ(skipped.code, 0) << skipped.err;
  EXPECT_CONTAINS(skipped.out, "left out, train: '", "cat/broken.png'");
  EXPECT_EQ(lines_of(run("data --json " + source("?test=3-3&broken=skip")).out)
                .at(0)["train"]["broken"]
                .size(),
            2U);
}

TEST_F(DataCommand, HelpListsEverySourceAndOption) {
  const std::string help = run("data --help").out;
  for (const data::SourceDef& def : data::sources()) {
    EXPECT_CONTAINS(help, def.name, def.summary);
    for (const data::SourceOption& option : def.options) EXPECT_CONTAINS(help, option.meaning);
  }
}

TEST_F(DataCommand, MisuseIsSaid) {
  const Result unknown = run("data nothing:here");
  EXPECT_EQ(unknown.code, 2);
  EXPECT_CONTAINS(unknown.err, "'nothing'", "fashion-mnist", "volumes");
  const Result option = run("data " + source("?sise=3"));
  EXPECT_EQ(option.code, 1);
  EXPECT_CONTAINS(option.err, "no option 'sise'", "size, resize");
}

TEST_F(DataCommand, ANetworkIsTrainedOnAFolderOfImages) {
  const std::string model = folder_ / "net.fovea";
  const Result trained = run("train lenet5 --epochs 1 --batch 4 --data " +
                             source("?test=3-3&size=28") + " --out '" + model + "'");
  ASSERT_EQ(trained.code, 0) << trained.err;
  const Result evaluated = run("evaluate '" + model + "' --data " +
                               source("?test=3-3&validation=2-2&size=28") + " --split validation");
  EXPECT_EQ(evaluated.code, 0) << evaluated.err;
  EXPECT_CONTAINS(evaluated.out, "samples 2");
}

}  // namespace
}  // namespace fovea::testing
