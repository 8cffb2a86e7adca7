// fovea-peers, where it was built: what it reports, not how fast anything is.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/errors.h"
#include "support/program.h"

namespace fovea {
namespace {

using testing::Json;
using testing::lines_of;
using testing::Result;

// Runs `fovea-peers ARGUMENTS` with `input` on standard input.
Result run(const std::string& arguments, const std::string& input = "") {
  const testing::TempFolder folder;
  testing::write_file(folder / "in", input);
  return testing::run_program(FOVEA_PEERS, arguments + " <'" + (folder / "in") + "'");
}

class Peers : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(FOVEA_PEERS))
      GTEST_SKIP() << "fovea-peers is not built; ./dev setup --peers installs what it needs";
  }
  // Whether the peer that `result` is about was not there to build with.
  static bool lacks_peer(const Result& result) {
    return result.err.find("was built without") != std::string::npos;
  }
};

void expect_positive(const Json& line, const std::vector<std::string>& keys) {
  for (const std::string& key : keys) {
    ASSERT_TRUE(line.contains(key)) << key << " in " << line;
    ASSERT_TRUE(line[key].is_number()) << key << " in " << line;
    EXPECT_GT(line[key].get<double>(), 0) << key;
  }
}

TEST_F(Peers, ConvAgreesWithOneDnnAndReportsEveryPass) {
  const Result result = run("conv --threads 1 --time 0.001", "mb2g2ic8ih9iw7oc4kh3sh2+ph1:0\n");
  if (lacks_peer(result)) GTEST_SKIP() << result.err;
  ASSERT_EQ(result.code, 0) << result.err;
  const std::vector<Json> lines = lines_of(result.out);
  ASSERT_EQ(lines.size(), 3u);
  const std::vector<std::string> passes = {"forward", "backward_data", "backward_weights"};
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const Json& line = lines[i];
    EXPECT_EQ(line["pass"], passes[i]);
    EXPECT_EQ(line["threads"], 1);
    EXPECT_EQ(line["peer"], "onednn nhwc direct");
    expect_positive(line, {"ms", "peer_ms", "ratio", "best_peer_ms", "best_ratio"});
    EXPECT_EQ(line["ways"][line["best_peer"].get<std::string>()], line["best_peer_ms"]);
    EXPECT_LE(line["best_peer_ms"].get<double>(), line["peer_ms"].get<double>());
  }
}

TEST_F(Peers, ConvRunsTheAlgorithmAndPassAskedFor) {
  const Result result =
      run("conv --algorithm reference --passes bwd_w --threads 1 --time 0.001", "ic3iw20oc5kw3\n");
  if (lacks_peer(result)) GTEST_SKIP() << result.err;
  ASSERT_EQ(result.code, 0) << result.err;
  const std::vector<Json> lines = lines_of(result.out);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["algorithm"], "reference");
  EXPECT_EQ(lines[0]["pass"], "backward_weights");
}

TEST_F(Peers, ConvInPairsIsAgainstChannelsLastDirectAlone) {
  const Result result =
      run("conv --pairs 7 --passes fwd --threads 1 --time 0.001", "ic8ih9oc16kh3ph1\n");
  if (lacks_peer(result)) GTEST_SKIP() << result.err;
  ASSERT_EQ(result.code, 0) << result.err;
  const Json line = Json::parse(result.out);
  EXPECT_EQ(line["ways"].size(), 1u);
  ASSERT_EQ(line["pair_ratios"].size(), 7u);
  for (const Json& ratio : line["pair_ratios"]) EXPECT_GT(ratio.get<double>(), 0);
}

TEST_F(Peers, ConvInFloat64HasNoPeer) {
  const Result result = run("conv --passes fwd --time 0.001", "ic3ih5oc5kh3+f64\n");
  if (lacks_peer(result)) GTEST_SKIP() << result.err;
  ASSERT_EQ(result.code, 0) << result.err;
  const Json line = Json::parse(result.out);
  expect_positive(line, {"ms"});
  for (const std::string key : {"peer", "peer_ms", "ratio", "best_peer", "best_peer_ms"})
    EXPECT_TRUE(line[key].is_null()) << key;
}

TEST_F(Peers, TrainAndInferGiveLibtorchsResults) {
  for (const std::string arguments : {"train lenet5_1998 --batch 3", "infer lenet5 --batch 2"}) {
    const Result result = run(arguments + " --threads 1 --time 0.001");
    if (lacks_peer(result)) GTEST_SKIP() << result.err;
    ASSERT_EQ(result.code, 0) << result.err;
    const Json line = Json::parse(result.out);
    EXPECT_CONTAINS(line["peer"].get<std::string>(), "libtorch");
    expect_positive(line, {"batch", "threads", "ms", "peer_ms", "ratio"});
  }
}

// The second step of mobilenet_v2 on so few values is rounding: only its logits are compared here.
TEST_F(Peers, DeepNetworksGiveLibtorchsResultsAndTellTheirMemory) {
  const std::string small = " --input 3,16,16 --batch 4 --threads 1 --time 0.001";
  for (const std::string& arguments : {"train resnet18" + small, "infer mobilenet_v2" + small}) {
    const Result result = run(arguments);
    if (lacks_peer(result)) GTEST_SKIP() << result.err;
    ASSERT_EQ(result.code, 0) << result.err;
    expect_positive(Json::parse(result.out), {"ms", "peer_ms", "ratio"});
  }
  for (const std::string side : {"fovea", "nchw"}) {
    const Result memory = run("train resnet18" + small + " --memory " + side);
    ASSERT_EQ(memory.code, 0) << memory.err;
    const Json line = Json::parse(memory.out);
    EXPECT_EQ(line["side"], side);
    // 11 million weights, their gradients and velocities.
    EXPECT_GT(line["peak_bytes"].get<double>(), 3 * 4 * 11e6);
  }
}

TEST_F(Peers, MistakesAreNamed) {
  EXPECT_EQ(run("").code, 2);
  EXPECT_EQ(run("conv --time never").code, 2);
  const Result pass = run("conv --passes sideways");
  EXPECT_EQ(pass.code, 1);
  EXPECT_TRUE(lacks_peer(pass) || pass.err.find("sideways") != std::string::npos) << pass.err;
  const Result network = run("train lenet6");
  EXPECT_EQ(network.code, 1);
  EXPECT_TRUE(lacks_peer(network) || network.err.find("lenet6") != std::string::npos)
      << network.err;
}

}  // namespace
}  // namespace fovea
