// fovea bench: what it reports, not how fast anything is.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/conv.h"
#include "fovea/version.h"
#include "ops/op.h"
#include "support/conv_problems.h"
#include "support/errors.h"
#include "support/files.h"
#include "support/program.h"

namespace fovea {
namespace {

using testing::expect_keys;
using testing::Json;
using testing::lines_of;
using testing::Result;
using testing::run;

constexpr const char* kProblem = "mb1ic4ih6oc8oh6kh3ph1";
const std::string kQuick = " --time 0.001";

std::string canonical(const std::string& descriptor) {
  return ConvProblem::parse(descriptor).to_string();
}

// The objects that `fovea bench ARGUMENTS --json` prints.
std::vector<Json> measured(const std::string& arguments, const std::string& environment = "") {
  const Result result = run("bench " + arguments + kQuick + " --json", environment);
  EXPECT_EQ(result.code, 0) << result.err;
  return lines_of(result.out);
}

TEST(BenchConv, ReportsTimeAndSharesOfTheLimitsForEveryPass) {
  const std::vector<Json> lines = measured(std::string("conv ") + kProblem);
  ASSERT_EQ(lines.size(), 3u);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    expect_keys(lines[i], {"problem", "pass", "algorithm", "threads", "ms", "gflops", "peak_gflops",
                           "percent_of_peak", "percent_of_roofline"});
    EXPECT_EQ(lines[i]["problem"], canonical(kProblem));
    EXPECT_EQ(lines[i]["pass"], name(kPasses[i]));
    for (const char* key :
         {"threads", "ms", "gflops", "peak_gflops", "percent_of_peak", "percent_of_roofline"}) {
      EXPECT_GT(lines[i][key].get<double>(), 0) << key;
    }
    // 2 * multiply-adds / time, and its share of the peak.
    const double operations = 2.0 * 36 * 8 * 4 * 9;
    EXPECT_NEAR(lines[i]["gflops"].get<double>(), operations / (lines[i]["ms"].get<double>() * 1e6),
                1e-9 * lines[i]["gflops"].get<double>());
    EXPECT_NEAR(lines[i]["percent_of_peak"].get<double>(),
                100 * lines[i]["gflops"].get<double>() / lines[i]["peak_gflops"].get<double>(),
                1e-9 * lines[i]["percent_of_peak"].get<double>());
  }
}

TEST(BenchOps, ReportsTimeAndTheShareOfACopyForEveryOperator) {
  const std::vector<Json> lines = measured("ops relu max_pool add --shape 2x4x6x6");
  ASSERT_EQ(lines.size(), 5u);  // the gradient of a sum is passed on as it is
  for (const Json& line : lines) {
    expect_keys(line, {"operator", "pass", "shape", "threads", "ms", "bytes", "gbytes",
                       "copy_gbytes", "percent_of_copy"});
    EXPECT_NEAR(line["percent_of_copy"].get<double>(),
                100 * line["gbytes"].get<double>() / line["copy_gbytes"].get<double>(),
                1e-9 * line["percent_of_copy"].get<double>());
  }
  // 288 floats; of max_pool 72 values and as many positions of 8 bytes.
  EXPECT_EQ(lines[0]["operator"], "max_pool");
  EXPECT_EQ(lines[0]["bytes"].get<double>(), 288 * 4 + 72 * 4);
  EXPECT_EQ(lines[2]["operator"], "relu");
  EXPECT_EQ(lines[2]["bytes"].get<double>(), 2 * 288 * 4);
  EXPECT_EQ(lines[3]["pass"], "backward");
  EXPECT_EQ(lines[3]["bytes"].get<double>(), 3 * 288 * 4);
  const Result unknown = run("bench ops relo");
  EXPECT_EQ(unknown.code, 2);
  EXPECT_CONTAINS(unknown.err, "relo", "known: max_pool");
}

TEST(BenchScaling, DoublesEveryQuantityAndHoldsTheTimeAgainstTheArithmetic) {
  const std::vector<Json> lines =
      measured("scaling mb2ic4ih6oc8kh3ph1 --doublings 1 --passes fwd --threads 2");
  // The kernel cannot be halved.
  const std::vector<std::pair<std::string, std::vector<int>>> expected = {
      {"channels", {2, 4, 8}},
      {"image side", {3, 6, 12}},
      {"kernel side", {3, 6}},
      {"batch", {1, 2, 4}},
      {"threads", {1, 2}}};
  std::size_t next = 0;
  for (const auto& [quantity, values] : expected) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_LT(next, lines.size());
      const Json& line = lines[next++];
      EXPECT_EQ(line["quantity"], quantity);
      EXPECT_EQ(line["value"], values[i]);
      EXPECT_EQ(line["pass"], "forward");
      ASSERT_EQ(line.contains("excess_percent"), i > 0);
      if (i == 0) continue;
      const double arithmetic = quantity == "batch" ? 2.0 : quantity == "threads" ? 0.5 : 4.0;
      EXPECT_DOUBLE_EQ(line["arithmetic_growth"].get<double>(), arithmetic) << quantity;
      const double growth = line["ms"].get<double>() / lines[next - 2]["ms"].get<double>();
      EXPECT_NEAR(line["time_growth"].get<double>(), growth, 1e-9 * growth);
      EXPECT_NEAR(line["excess_percent"].get<double>(), 100 * (growth / arithmetic - 1),
                  1e-7 * growth);
      EXPECT_EQ(line["over"].get<bool>(), line["excess_percent"].get<double>() > 15);
    }
  }
  EXPECT_EQ(next, lines.size());
}

TEST(BenchScaling, AKernelKeepsTheOutputAndDepthwiseStaysDepthwise) {
  const std::vector<Json> lines =
      measured("scaling g4ic4ih8oc4kh4sh2ph1 --doublings 1 --passes bwd_d --threads 1");
  int kernels = 0;
  for (const Json& line : lines) {
    const ConvProblem problem = ConvProblem::parse(line["problem"].get<std::string>());
    EXPECT_EQ(problem.groups, problem.in_channels);
    if (line["quantity"] != "kernel side") continue;
    ++kernels;
    EXPECT_EQ(problem.output_shape(), (Shape{1, 4, 4, 4}));
  }
  EXPECT_EQ(kernels, 3);
}

TEST(BenchScaling, DrawsAPanelForEveryQuantityAndEndsATableWithTheCount) {
  const testing::TempFolder folder;
  const std::string picture = folder / "scaling.svg";
  const Result result = run("bench scaling ic4ih6oc8kh3ph1 --doublings 1 --threads 1 --output '" +
                            picture + "'" + kQuick);
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_CONTAINS(result.out, "3 -> 6", "backward_weights", " steps cost over 15 % more than");
  const std::string svg = testing::read_file(picture);
  EXPECT_TRUE(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
  for (const char* part : {"channels", "image side", "kernel side", "batch", "threads", "forward",
                           "backward_data", "backward_weights", "stroke-dasharray"}) {
    EXPECT_CONTAINS(svg, part);
  }
}

TEST(BenchScaling, MistakesAreNamed) {
  EXPECT_CONTAINS(run("bench scaling ic4zz").err, "ic4zz");
  EXPECT_EQ(run("bench scaling ic4zz").code, 2);
  EXPECT_EQ(run("bench scaling --threads 1,2").code, 2);
  const Result refused = run("bench scaling ic4ih6oc8kh3ph1 --algorithm dot --passes fwd");
  EXPECT_EQ(refused.code, 1);
  EXPECT_CONTAINS(refused.err, "dot");
}

TEST(BenchErrors, TellsTheLargestErrorOfEachAlgorithmAndPass) {
  const Result result = run("bench errors ic16ih12oc16kh3ph1 ic16ih24oc16kh3ph1 --json");
  ASSERT_EQ(result.code, 0) << result.err;
  bool winograd = false;
  for (const Json& line : lines_of(result.out)) {
    EXPECT_EQ(line["problems"], 2) << line;
    // Rounding of float32 and the few digits that winograd loses; never exact, never wrong.
    EXPECT_GT(line["error"].get<double>(), 1e-9) << line;
    EXPECT_LT(line["error"].get<double>(), 2e-5) << line;
    EXPECT_LT(line["error_over_root"].get<double>(), line["error"].get<double>());
    winograd = winograd || line["algorithm"] == "winograd";
  }
  EXPECT_TRUE(winograd);
}

// Why an operator has no line of its own in the list of `fovea bench ops`.
const std::map<std::string_view, std::string_view> kNotListed = {
    {"conv", "bench conv"},
    {"conv_fused", "bench conv"},
    {"conv_backward_data", "bench conv"},
    {"conv_backward_weights", "bench conv"},
    {"conv_transpose", "the pass backward_data of bench conv"},
    {"linear", "bench conv: a pointwise convolution"},
    {"linear_fused", "bench conv: a pointwise convolution"},
    {"matmul", "bench conv: a pointwise convolution"},
    {"local_product", "in locally_connected"},
    {"local_product_columns", "in locally_connected, backward"},
    {"local_product_weights", "in locally_connected, backward"},
    {"pool_scatter", "in max_pool, backward"},
    {"pool_gather", "in max_pool, second derivative"},
    {"max_unpool_gradient", "in max_unpool, backward"},
    {"mirror", "kept with the weights"},
    {"batch_norm_fused", "batch_norm training, with what follows in the same pass"},
    {"batch_norm_fused_backward", "batch_norm training, with what follows in the same pass"},
    {"above", "in maximum, backward"},
    {"equal", "in max, backward"},
    {"reshape", "a view"},
    {"permute", "a view"},
    {"fft", "bound by arithmetic"},
    {"correlate", "bound by arithmetic"},
    {"convolve", "bound by arithmetic"},
};
// Operators whose gradient is g, or a view of it.
const std::set<std::string_view> kPassedOn = {"add", "add_scalar", "sum", "concat", "contiguous"};

TEST(BenchOps, MeasuresEveryOperatorThatIsBoundByMemory) {
  std::set<std::string> forward;
  std::set<std::string> backward;
  for (const Json& line : measured("ops --shape 2x4x6x6")) {
    std::string name = line["operator"].get<std::string>();
    std::set<std::string>& pass = line["pass"] == "forward" ? forward : backward;
    pass.insert(name.substr(0, name.find(' ')));
    std::replace(name.begin(), name.end(), ' ', '_');  // batch_norm training
    pass.insert(name);
    EXPECT_GT(line["bytes"].get<double>(), 0) << name;
  }
  constexpr std::string_view kSuffix = "_backward";
  for (const OpDef* op : operators()) {
    std::string name(op->name);
    SCOPED_TRACE(name);
    if (kNotListed.contains(name)) continue;
    const bool is_backward = name.ends_with(kSuffix);
    if (is_backward) name.resize(name.size() - kSuffix.size());
    if (is_backward || (op->backward != nullptr && !kPassedOn.contains(name))) {
      EXPECT_TRUE(backward.contains(name)) << "add its gradient to the list of cli/bench_ops.cpp";
    }
    if (!is_backward && name != "slice") {  // a view
      EXPECT_TRUE(forward.contains(name)) << "add it to the list of cli/bench_ops.cpp";
    }
  }
}

TEST(BenchConv, AForcedAlgorithmIsTheOneThatRan) {
  for (const ConvAlgorithmInfo& algorithm : algorithms()) {
    SCOPED_TRACE(algorithm.name);
    for (const Pass pass : kPasses) {
      const std::string problem = testing::problem_for(algorithm.name, pass);
      if (problem.empty()) continue;
      const std::vector<Json> lines =
          measured("conv --algorithm " + std::string(algorithm.name) + " " + problem +
                   " --passes " + std::string(name(pass)));
      ASSERT_EQ(lines.size(), 1u);
      EXPECT_EQ(lines[0]["algorithm"], algorithm.name);
    }
  }
}

TEST(BenchConv, ReadsProblemsFromAFileWithCommentsAndNames) {
  const testing::TempFolder folder;
  testing::write_file(folder / "problems",
                      "# layers\n\n  ic4ih6oc8kh3ph1n\"a name\"  # trailing\r\nic2iw9oc3kw2+f64");
  const std::string arguments = "conv --passes fwd,backward_weights --problems ";
  const std::vector<Json> lines = measured(arguments + (folder / "problems"));
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0]["problem"], canonical("ic4ih6oc8kh3ph1"));
  EXPECT_EQ(lines[0]["pass"], "forward");
  EXPECT_EQ(lines[1]["pass"], "backward_weights");
  EXPECT_EQ(lines[2]["problem"], canonical("ic2iw9oc3kw2+f64"));
  EXPECT_EQ(measured(arguments + "- <'" + (folder / "problems") + "'").size(), 4u);
}

TEST(BenchConv, CountsHowOftenAProblemOccurs) {
  const testing::TempFolder folder;
  testing::write_file(folder / "problems",
                      "3*ic4ih6oc8kh3ph1n\"three times\"\nic2ih5oc3kh3n\"2*1 blocks\"\n");
  const std::string file = folder / "problems";
  const std::vector<Json> lines = measured("conv --passes fwd --problems " + file);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["count"], 3);
  EXPECT_EQ(lines[0]["problem"], canonical("ic4ih6oc8kh3ph1"));
  EXPECT_EQ(lines[1]["count"], 1);
  const Result table = run("bench conv --passes fwd --problems " + file + kQuick);
  EXPECT_CONTAINS(table.out, "count  problem", "    3  " + canonical("ic4ih6oc8kh3ph1"));
}

std::vector<std::string> suites_of_the_tree() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(FOVEA_SOURCE_DIR "/bench/suites")) {
    names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

TEST(BenchConv, AnUnknownSuiteIsAnsweredWithThoseThatThereAre) {
  const Result result = run("bench conv --suite alexnat");
  EXPECT_EQ(result.code, 2);
  EXPECT_CONTAINS(result.err, "'alexnat'");
  ASSERT_GE(suites_of_the_tree().size(), 10u);
  for (const std::string& suite : suites_of_the_tree()) EXPECT_CONTAINS(result.err, suite);
}

// Every suite is read and planned; --mb asks for more memory than there is, so none is measured.
TEST(BenchConv, EverySuiteIsEmbeddedAndMakesSense) {
  for (const std::string& suite : suites_of_the_tree()) {
    const Result result = run("bench conv --mb 1000000 --suite " + suite);
    EXPECT_EQ(result.code, 1) << suite;
    EXPECT_CONTAINS(result.err, "this machine has");
  }
}

TEST(BenchConv, ASuiteEndsWithTheSumOverItsOccurrencesForEachPass) {
  const std::vector<Json> lines = measured("conv --suite alexnet --passes fwd,bwd_w");
  ASSERT_EQ(lines.size(), 5u * 2u + 2u);
  for (std::size_t pass = 0; pass < 2; ++pass) {
    double milliseconds = 0;
    std::int64_t count = 0;
    for (std::size_t i = pass; i < 10; i += 2) {
      milliseconds += lines[i]["count"].get<double>() * lines[i]["ms"].get<double>();
      count += lines[i]["count"].get<std::int64_t>();
    }
    const Json& sum = lines[10 + pass];
    expect_keys(sum, {"suite", "batch", "pass", "threads", "count", "ms"});
    EXPECT_EQ(sum["suite"], "alexnet");
    EXPECT_EQ(sum["pass"], lines[pass]["pass"]);
    EXPECT_EQ(sum["count"], count);
    EXPECT_NEAR(sum["ms"].get<double>(), milliseconds, 1e-9 * milliseconds);
    EXPECT_FALSE(sum.contains("geometric_mean"));
  }
}

// Beside a fovea-peers that claims a ratio of 8 for the first problem and of 1 for all others.
TEST(BenchConv, TheMeansOfASuiteAreGeometricAndByOccurrence) {
  const testing::TempFolder folder;
  std::filesystem::copy_file(FOVEA_PROGRAM, folder / "fovea");
  const std::string script = folder / "fovea-peers";
  testing::write_file(script,
                      "#!/bin/sh\nratio=8\nwhile read -r problem; do\n"
                      "printf '{\"problem\": \"%s\", \"pass\": \"forward\", \"algorithm\": "
                      "\"direct\", \"threads\": 1, \"ms\": 0.5, \"ratio\": %s, \"best_ratio\": "
                      "1}\\n' \"$problem\" $ratio\nratio=1\ndone\n");
  std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  const Result result = testing::run_program(
      folder / "fovea", "bench conv --suite resnet50 --passes fwd --peers --json");
  ASSERT_EQ(result.code, 0) << result.err;
  const std::vector<Json> lines = lines_of(result.out);
  ASSERT_GT(lines.size(), 2u);
  EXPECT_EQ(lines.front()["count"], 1);
  EXPECT_EQ(lines.front()["ratio"], 8);
  EXPECT_EQ(lines.back()["count"], 53);  // ResNet-50 has as many convolutions
  EXPECT_NEAR(lines.back()["ms"].get<double>(), 53 * 0.5, 1e-9);
  EXPECT_NEAR(lines.back()["geometric_mean"].get<double>(), std::pow(8, 1.0 / 53), 1e-9);
  EXPECT_NEAR(lines.back()["best_geometric_mean"].get<double>(), 1, 1e-9);
}

// Beside a fovea-peers whose problems have 15 ratios of 0.80 to 1.08, of 0.80 to 0.94, and none.
class BenchPairs : public ::testing::Test {
 protected:
  BenchPairs() {
    std::filesystem::copy_file(FOVEA_PROGRAM, folder_ / "fovea");
    const std::string script = folder_ / "fovea-peers";
    testing::write_file(
        script,
        "#!/bin/sh\necho \"$@\" >'" + arguments_ +
            "'\nratios='[1.08,1.06,1.04,1.02,1.0,0.98,0.96,0.94,0.92,0.9,0.88,0.86,0.84,0.82,0.8]'"
            "\nwhile read -r problem; do\n"
            "printf '{\"problem\": \"%s\", \"pass\": \"forward\", \"algorithm\": \"direct\", "
            "\"threads\": 1, \"ms\": 0.5, \"ratio\": 1, \"best_ratio\": 1, \"pair_ratios\": "
            "%s}\\n' \"$problem\" \"$ratios\"\n"
            "[ \"$ratios\" = '[0.94,0.94,0.94,0.94,0.8,0.8]' ] && ratios=null\n"
            "[ \"$ratios\" = null ] || ratios='[0.94,0.94,0.94,0.94,0.8,0.8]'\ndone\n");
    std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  }
  Result run_pairs(const std::string& more) const {
    return testing::run_program(
        folder_ / "fovea",
        "bench conv --passes fwd --peers ic4ih6oc8kh3 ic5ih6oc8kh3 ic6ih6oc8kh3 " + more);
  }
  testing::TempFolder folder_;
  std::string arguments_ = folder_ / "arguments";
};

TEST_F(BenchPairs, GiveTheMedianRatioAnIntervalAndWhoIsFarBehind) {
  const Result result = run_pairs("--pairs 15 --json");
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_CONTAINS(testing::read_file(arguments_), "--pairs 15");
  const std::vector<Json> lines = lines_of(result.out);
  ASSERT_EQ(lines.size(), 4u);
  // Of 15 values, the fourth from either end: 2 * (1 + 15 + 105 + 455) / 2^15 = 3.5 %, and with
  // the fifth 12 %.
  EXPECT_EQ(lines[0]["ratio"], 0.94);
  EXPECT_EQ(lines[0]["ratio_low"], 0.86);
  EXPECT_EQ(lines[0]["ratio_high"], 1.02);
  EXPECT_EQ(lines[1]["ratio_low"], 0.8);  // of six, the outermost
  EXPECT_EQ(lines[1]["ratio_high"], 0.94);
  EXPECT_TRUE(lines[2]["ratio_high"].is_null());
  EXPECT_FALSE(lines[0].contains("best_ratio"));
  EXPECT_EQ(lines[3]["compared"], 2);
  ASSERT_EQ(lines[3]["below"].size(), 1u);
  EXPECT_EQ(lines[3]["below"][0]["problem"], canonical("ic5ih6oc8kh3"));
  EXPECT_EQ(lines[3]["below"][0]["pass"], "forward");
}

TEST_F(BenchPairs, StandInTheTable) {
  const Result result = run_pairs("--pairs 15");
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_CONTAINS(result.out, "95 % interval", "0.94    0.86 to  1.02",
                  "ratio below 0.95 with 95 % certainty: 1 of 2",
                  canonical("ic5ih6oc8kh3") + " forward 0.94");
}

TEST_F(BenchPairs, NeedPeersAndEnoughPairs) {
  EXPECT_EQ(run_pairs("--pairs 5").code, 2);
  const Result alone = run("bench conv --pairs 15");
  EXPECT_EQ(alone.code, 2);
  EXPECT_CONTAINS(alone.err, "--peers");
}

TEST(BenchConv, TakesSeveralBatchesAndNumbersOfThreads) {
  const std::vector<Json> lines =
      measured(std::string("conv --passes fwd --mb 1,3 --threads 2,1 ") + kProblem);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0]["threads"], 2);
  EXPECT_EQ(lines[3]["threads"], 1);
  EXPECT_EQ(lines[0]["problem"], canonical("mb1ic4ih6oc8kh3ph1"));
  EXPECT_EQ(lines[1]["problem"], canonical("mb3ic4ih6oc8kh3ph1"));
}

TEST(BenchConv, RunsOnTheTargetOfTheEnvironment) {
  const std::string target = simd_targets().back();
  const std::vector<Json> lines =
      measured(std::string("conv --passes fwd ") + kProblem, "FOVEA_SIMD=" + target);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["simd"], target);
}

TEST(BenchConv, PrintsATable) {
  const Result result = run(std::string("bench conv --passes fwd ") + kProblem + kQuick);
  EXPECT_EQ(result.code, 0) << result.err;
  for (const char* part : {"peak", "GFLOP/s", "% roofline", "forward", "direct", kProblem}) {
    EXPECT_CONTAINS(result.out, part);
  }
}

TEST(BenchConv, RefusesWhatMakesNoSenseBeforeItMeasures) {
  const testing::TempFolder folder;
  testing::write_file(folder / "bad", "ic4ih6oc8kh3ph1\nic4zz\n");
  testing::write_file(folder / "empty", "# nothing\n");
  struct Case {
    std::string arguments;
    int code;
    std::string message;
  };
  const Case cases[] = {
      {"conv ic4zz", 2, "ic4zz"},
      {"conv --passes sideways", 2, "'sideways'"},
      {"conv --algorithm magic", 2, "'magic'"},
      {"conv --threads 0", 2, "--threads"},
      {"conv 0*ic4ih6oc8kh3", 2, "occurrences"},
      {"conv x*ic4ih6oc8kh3", 2, "occurrences"},
      {"conv --suite alexnet --problems x", 2, "excludes"},
      {"conv --problems " + (folder / "bad"), 1, "line 2"},
      {"conv --problems " + (folder / "empty"), 1, "no problem"},
      {"conv --problems " + (folder / "missing"), 1, "cannot open"},
      {"conv --problems " + folder.path(), 1, "cannot be read"},
      {"conv mb4096ic4096ih4096oc4096kh1", 1, "this machine has"},
      {"train nothing", 2, "'nothing'"},
      {"", 2, "subcommand"},
  };
  for (const Case& refused : cases) {
    const Result result = run("bench " + refused.arguments + " --json");
    EXPECT_EQ(result.code, refused.code) << refused.arguments << ": " << result.err;
    EXPECT_CONTAINS(result.err, refused.message);
    EXPECT_EQ(result.out, "") << refused.arguments;
  }
}

TEST(BenchNetwork, ReportsTrainingStepsAndInferences) {
  for (const std::string mode : {"train", "infer"}) {
    const std::vector<Json> lines = measured(mode + " lenet5 --batch 2 --threads 1,2");
    ASSERT_EQ(lines.size(), 2u) << mode;
    for (const Json& line : lines) {
      expect_keys(line, {"network", "batch", "threads", "ms", "images_per_second"});
      EXPECT_EQ(line["network"], "lenet5");
      EXPECT_EQ(line["batch"], 2);
      EXPECT_GT(line["ms"].get<double>(), 0);
    }
    EXPECT_EQ(lines[1]["threads"], 2);
  }
}

TEST(BenchNetwork, TakesTheSizesOfAnImage) {
  const std::vector<Json> lines = measured("train resnet20 --input 3x8x8 --batch 2 --threads 1");
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_GT(lines[0]["ms"].get<double>(), 0);
  const Result flat = run("bench train resnet20 --input 3x8");
  EXPECT_EQ(flat.code, 2);
  EXPECT_CONTAINS(flat.err, "expected 3");
}

// Whether fovea-peers was built depends on what is installed; either way the answer is clear.
TEST(BenchPeers, SaysHowToGetThemOrCallsThem) {
  const Result result = run(
      std::string("bench conv --passes fwd --peers --json ") + kProblem + kQuick, "PATH=/nowhere");
  if (result.code == 0) {
    const std::vector<Json> lines = lines_of(result.out);
    ASSERT_EQ(lines.size(), 1u);
    expect_keys(lines[0],
                {"gflops", "peer", "peer_ms", "ratio", "best_peer", "best_peer_ms", "best_ratio"});
  } else {
    EXPECT_EQ(result.code, 1);
    EXPECT_CONTAINS(result.err, "./dev setup --peers");
    EXPECT_EQ(result.out, "");
  }
}

}  // namespace
}  // namespace fovea
