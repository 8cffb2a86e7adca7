// fovea conv --explain, --search and --plan-file, and fovea bench plan.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/errors.h"
#include "support/files.h"
#include "support/program.h"

namespace fovea {
namespace {

using testing::expect_keys;
using testing::Json;
using testing::lines_of;
using testing::read_file;
using testing::Result;
using testing::run;
using testing::TempFolder;
using testing::write_file;

// The answers of `fovea conv PROBLEM --explain --json`, one object per pass.
std::vector<Json> explained(const std::string& arguments) {
  const Result result = run("conv " + arguments + " --explain --json");
  EXPECT_EQ(result.code, 0) << result.err;
  std::vector<Json> lines = lines_of(result.out);
  lines.erase(lines.begin());  // the problem
  return lines;
}

Json answer(const Json& pass, const std::string& algorithm) {
  for (const Json& one : pass.at("candidates"))
    if (one.at("algorithm") == algorithm) return one;
  ADD_FAILURE() << algorithm << " is missing in " << pass;
  return {};
}

TEST(ConvExplain, ShowsEveryAlgorithmOfEveryPass) {
  const std::vector<Json> passes = explained("mb2ic16ih12oc16kh3ph1");
  ASSERT_EQ(passes.size(), 3U);
  for (const Json& pass : passes) {
    expect_keys(pass, {"pass", "algorithm", "reason", "error", "candidates"});
    int chosen = 0;
    for (const Json& one : pass["candidates"]) {
      if (one.contains("refusal")) {
        EXPECT_FALSE(one["refusal"].get<std::string>().empty());
        continue;
      }
      expect_keys(one, {"algorithm", "chosen", "passed_over", "predicted_cycles",
                        "predicted_seconds", "seconds", "workspace_bytes", "error"});
      EXPECT_GT(one["predicted_seconds"], 0.0);
      EXPECT_GT(one["seconds"], 0.0);
      EXPECT_LT(one["error"], 1e-5) << one;
      EXPECT_EQ(one["chosen"] == true, one["passed_over"] == "") << one;
      if (one["chosen"] == true) {
        ++chosen;
        EXPECT_EQ(one["algorithm"], pass["algorithm"]);
      }
    }
    EXPECT_EQ(chosen, 1);
    EXPECT_TRUE(answer(pass, "depthwise").contains("refusal"));
    EXPECT_CONTAINS(answer(pass, "reference")["passed_over"].get<std::string>(), "compared with");
  }
}

TEST(ConvExplain, IsATableForPeople) {
  const Result result = run("conv mb1ic8ih9oc8kh3ph1 --explain --pass fwd");
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_CONTAINS(result.out, "forward: ", "predicted", "measured", "workspace", "error", "\n* ",
                  "depthwise refuses: there is one group only",
                  "fft is passed over: it is kept for kernels of 16 taps and more; this one has 9",
                  "reference is passed over: ", "error: the largest distance from reference");
}

// 2,300 million multiply-adds: a part of the result is compared, and what takes long is not run.
TEST(ConvExplain, ComparesAPartOfALargeResult) {
  const Json pass = explained("mb20ic64ih56oc64kh3ph1 --pass fwd").at(0);
  EXPECT_CONTAINS(pass["error"].get<std::string>(), "in a part of the result: ", " of 20 samples");
  EXPECT_LT(answer(pass, "direct")["error"], 1e-5);
  EXPECT_TRUE(answer(pass, "reference")["seconds"].is_null());
  EXPECT_TRUE(answer(pass, "reference")["error"].is_null());
}

TEST(ConvExplain, ComparesAPartOfEveryPassAndOfGroups) {
  for (const char* problem :
       {"mb4ic64ih14oc64kh3ph1", "g2mb4ic64ih20oc128kh3ph1", "g32mb40ic128ih14oc128kh3ph1"}) {
    for (const Json& pass : explained(problem)) {
      EXPECT_CONTAINS(pass["error"].get<std::string>(), "in a part of the result: ");
      const Json direct = answer(pass, "direct");
      EXPECT_GT(direct["error"], 0.0) << pass;
      EXPECT_LT(direct["error"], 1e-5) << problem << pass;
    }
  }
}

TEST(ConvExplain, KeepsToWhatIsAskedFor) {
  const Json exact = explained("mb4ic64ih28oc64kh3ph1 --pass fwd --precision exact").at(0);
  EXPECT_CONTAINS(answer(exact, "winograd")["refusal"].get<std::string>(), "precision exact");
  const Json small = explained("mb4ic64ih28oc64kh3ph1 --pass fwd --workspace-limit 200000").at(0);
  EXPECT_EQ(small["algorithm"], "direct");
  EXPECT_CONTAINS(answer(small, "winograd")["refusal"].get<std::string>(),
                  "workspace_limit is 200000");
}

TEST(ConvSearch, WritesAPlanFileThatDecides) {
  const TempFolder folder;
  const std::string plans = folder / "plans.json";
  const Result first =
      run("conv ic8ih9oc8kh3 --search --json --pass fwd --plan-file '" + plans + "'");
  ASSERT_EQ(first.code, 0) << first.err;
  const Json searched = lines_of(first.out).at(1);
  expect_keys(searched, {"pass", "fastest", "predicted", "measured"});
  EXPECT_EQ(Json::parse(read_file(plans))["entries"].size(), 1U);
  // Another search adds to it.
  ASSERT_EQ(run("conv ic8ih9oc8kh3 --search --plan-file '" + plans + "'").code, 0);
  Json file = Json::parse(read_file(plans));
  ASSERT_EQ(file["entries"].size(), 3U);
  // It decides, whatever it says.
  for (Json& entry : file["entries"]) entry["algorithm"] = "im2col";
  write_file(plans, file.dump());
  const Result used = run("conv ic8ih9oc8kh3 --json --plan-file '" + plans + "'");
  ASSERT_EQ(used.code, 0) << used.err;
  const std::vector<Json> lines = lines_of(used.out);
  for (std::size_t pass = 1; pass < lines.size(); ++pass) {
    EXPECT_EQ(lines[pass]["algorithm"], "im2col");
    EXPECT_CONTAINS(lines[pass]["reason"].get<std::string>(), "plan file");
  }
}

TEST(ConvSearch, APlanFileThatCannotBeUsedIsAnError) {
  const TempFolder folder;
  const std::string plans = folder / "plans.json";
  ASSERT_EQ(run("conv ic8ih9oc8kh3 --search --plan-file '" + plans + "'").code, 0);
  const std::string good = read_file(plans);
  Json file = Json::parse(good);
  file["entries"][1]["algorithm"] = "depthwise";
  write_file(plans, file.dump());
  for (const std::string& command :
       {std::string("conv ic8ih9oc8kh3"), std::string("bench conv ic8ih9oc8kh3"),
        std::string("evaluate x.fovea --data fashion-mnist"), std::string("predict x.fovea x.png"),
        std::string("train lenet5 --data fashion-mnist"), std::string("bench train lenet5")}) {
    const Result refused = run(command + " --plan-file '" + plans + "'");
    EXPECT_EQ(refused.code, 1) << command;
    EXPECT_CONTAINS(refused.err, "plans.json", "entry 2", "'depthwise' refuses");
  }
  file = Json::parse(good);
  file["simd"] = "ANOTHER";
  write_file(plans, file.dump());
  // A search does not mix targets either.
  for (const char* option : {"", " --search"}) {
    const Result refused = run("conv ic8ih9oc8kh3 --plan-file '" + plans + "'" + option);
    EXPECT_EQ(refused.code, 1);
    EXPECT_CONTAINS(refused.err, "plans.json", "'ANOTHER'");
  }
  EXPECT_EQ(read_file(plans), file.dump());
}

TEST(ConvSearch, DoesNotGoWithAnAlgorithmOrAnExplanation) {
  EXPECT_EQ(run("conv ic8ih9oc8kh3 --search --explain").code, 2);
  EXPECT_EQ(run("conv ic8ih9oc8kh3 --search --algorithm direct").code, 2);
}

TEST(BenchPlan, HoldsTheChoiceAgainstTheFastest) {
  const Result result = run("bench plan ic8ih9oc8kh3 mb1ic16iw30oc16kw3 --time 0.003 --json");
  ASSERT_EQ(result.code, 0) << result.err;
  const std::vector<Json> lines = lines_of(result.out);
  ASSERT_EQ(lines.size(), 7U);
  for (std::size_t i = 0; i < 6; ++i) {
    expect_keys(lines[i], {"problem", "pass", "chosen", "fastest", "ratio", "algorithms"});
    EXPECT_GE(lines[i]["ratio"], 1.0);
  }
  expect_keys(lines[6], {"choices", "percent_within_10", "geometric_mean", "worst"});
  EXPECT_EQ(lines[6]["choices"], 6);
  EXPECT_CONTAINS(run("bench plan ic8ih9oc8kh3 --time 0.003").out, "3 choices", "geometric mean");
}

}  // namespace
}  // namespace fovea
