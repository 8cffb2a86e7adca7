// Plan files: what they hold, what they refuse, and that they decide; the measured search; and the
// limit of the workspace.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "fovea/functions.h"
#include "fovea/memory.h"
#include "fovea/nn.h"
#include "fovea/plan.h"
#include "support/conv_problems.h"
#include "support/errors.h"
#include "support/files.h"
#include "support/settings.h"

namespace fovea::testing {
namespace {

// One for which `auto` takes winograd.
constexpr const char* kProblem = "mb4ic64ih28oc64kh3ph1";

PlanEntry entry_of(const std::string& descriptor, Pass pass, const std::string& algorithm,
                   double seconds = 0.001) {
  return {.problem = ConvProblem::parse(descriptor),
          .pass = pass,
          .algorithm = algorithm,
          .seconds = seconds};
}

PlanFile file_with(const std::vector<PlanEntry>& entries) {
  PlanFile file = PlanFile::here();
  file.entries = entries;
  return file;
}

// A plan file in use, for the rest of a scope.
class PlanGuard {
 public:
  explicit PlanGuard(const PlanFile& file) { use_plan_file(file); }
  ~PlanGuard() { use_plan_file({}); }
};

std::string_view chosen(const std::string& descriptor, Pass pass, const PlanOptions& options = {}) {
  return make_plan(ConvProblem::parse(descriptor), pass, options).algorithm;
}

TEST(PlanFile, ComesBackFromTheDiskAsItWas) {
  const TempFolder folder;
  const PlanFile file =
      file_with({entry_of(kProblem, Pass::forward, "direct", 0.25),
                 entry_of("ic3iw9oc4kw3+circular+f64", Pass::backward_data, "direct", 1.0 / 3)});
  save_plan_file(file, folder / "plans.json");
  const PlanFile loaded = load_plan_file(folder / "plans.json");
  EXPECT_EQ(loaded.entries, file.entries);
  EXPECT_EQ(loaded.simd, simd_target());
  EXPECT_EQ(loaded.processor, file.processor);
  EXPECT_EQ(loaded.threads, num_threads());
  EXPECT_EQ(folder.entries(), 1);
}

TEST(PlanFile, HoldsOneEntryForEachProblemAndPass) {
  PlanFile file = PlanFile::here();
  file.set(entry_of(kProblem, Pass::forward, "direct"));
  file.set(entry_of(kProblem, Pass::backward_data, "direct"));
  file.set(entry_of(kProblem, Pass::forward, "winograd"));
  ASSERT_EQ(file.entries.size(), 2U);
  EXPECT_EQ(file.find(ConvProblem::parse(kProblem), Pass::forward)->algorithm, "winograd");
  EXPECT_EQ(file.find(ConvProblem::parse(kProblem), Pass::backward_weights), nullptr);
}

TEST(PlanFile, RefusesWhatIsNone) {
  const std::string good = file_with({entry_of(kProblem, Pass::forward, "direct")}).to_string();
  const auto refusal = [](const std::string& text) {
    return error_of([&] { PlanFile::parse(text, "plans.json"); });
  };
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return refusal(text.replace(at, from.size(), to));
  };
  EXPECT_CONTAINS(refusal(""), "plans.json", "not valid JSON");
  EXPECT_CONTAINS(refusal("[]"), "not a plan file");
  EXPECT_CONTAINS(refusal("{}"), "not a plan file");
  EXPECT_CONTAINS(refusal(std::string(100, '[')), "nests deeper");
  EXPECT_CONTAINS(changed("\"fovea plan\"", "\"fovea\""), "not a plan file");
  EXPECT_CONTAINS(changed("\"version\": 1", "\"version\": 2"), "version 2", "reads version 1");
  EXPECT_CONTAINS(changed("\"version\": 1", "\"version\": -1"), "no natural number", "version");
  EXPECT_CONTAINS(changed("\"threads\"", "\"version\""), "'version' twice");
  EXPECT_CONTAINS(changed("\"entries\"", "\"entires\""), "no entries");
  EXPECT_CONTAINS(changed("\"simd\": \"", "\"simd\": \"\x1bX"), "not valid JSON");
  EXPECT_CONTAINS(changed("ic64ih28", "ic64zz28"), "entry 1", "unknown key");
  EXPECT_CONTAINS(changed("\"forward\"", "\"sideways\""), "entry 1", "no pass 'sideways'");
  EXPECT_CONTAINS(changed("\"direct\"", "\"magic\""), "entry 1", "no algorithm 'magic'");
  EXPECT_CONTAINS(changed("\"direct\"", "\"depthwise\""), "plans.json", "entry 1",
                  "'depthwise' refuses forward", "one group only");
  EXPECT_CONTAINS(changed("0.001", "-1.0"), "entry 1", "seconds is -1");
  EXPECT_CONTAINS(changed("0.001", "1e999"), "plans.json");
  EXPECT_CONTAINS(changed("0.001", "\"1\""), "entry 1", "seconds");
  PlanFile twice = file_with(
      {entry_of(kProblem, Pass::forward, "direct"), entry_of(kProblem, Pass::forward, "winograd")});
  EXPECT_CONTAINS(refusal(twice.to_string()), "entry 2", "stands twice");
  EXPECT_CONTAINS(error_of([&] { use_plan_file(twice); }), "entry 2", "stands twice");
  const TempFolder folder;
  write_file(folder / "plans.json", "{}");
  EXPECT_CONTAINS(error_of([&] { load_plan_file(folder / "plans.json"); }), "plans.json'");
  EXPECT_CONTAINS(error_of([&] { load_plan_file(folder / "missing"); }), "missing");
  EXPECT_CONTAINS(error_of([&] { load_plan_file(folder.path()); }), folder.path());
}

TEST(PlanFile, HoldsForOneSimdTargetOnly) {
  if (simd_targets().size() < 2) GTEST_SKIP() << "there is one SIMD target only";
  const PlanFile file = file_with({entry_of(kProblem, Pass::forward, "direct")});
  const PlanGuard guard(file);
  EXPECT_EQ(chosen(kProblem, Pass::forward), "direct");
  const TargetGuard other(simd_targets().back());
  EXPECT_NE(make_plan(ConvProblem::parse(kProblem), Pass::forward).reason,
            "the plan file in use names it");
  EXPECT_CONTAINS(error_of([&] { PlanFile::parse(file.to_string(), "plans.json"); }),
                  "plans.json: its plans hold for the SIMD target '" + file.simd, simd_target());
}

TEST(PlanFile, InUseDecidesWhatAutoTakes) {
  const ConvProblem problem = ConvProblem::parse(kProblem);
  const auto run = [&] {
    conv2d(Tensor::ones(problem.input_shape()), Tensor::ones(problem.weight_shape()), {},
           {.padding = 1});
    return last_algorithm();
  };
  EXPECT_EQ(run(), "winograd");
  {
    const PlanGuard guard(file_with({entry_of(kProblem, Pass::forward, "direct")}));
    EXPECT_EQ(run(), "direct");  // although the answer before was remembered
    std::string_view elsewhere;
    std::thread([&] { elsewhere = run(); }).join();
    EXPECT_EQ(elsewhere, "direct");
    EXPECT_EQ(make_plan(problem, Pass::forward).reason, "the plan file in use names it");
    EXPECT_EQ(chosen(kProblem, Pass::backward_data), "winograd");
    EXPECT_EQ(chosen("mb5ic64ih28oc64kh3ph1", Pass::forward), "winograd");
    EXPECT_EQ(chosen(kProblem, Pass::forward, {.algorithm = "winograd"}), "winograd");
  }
  EXPECT_EQ(run(), "winograd");
}

TEST(PlanFile, DoesNotOverrulePrecisionAndWorkspace) {
  const PlanGuard guard(file_with({entry_of(kProblem, Pass::forward, "winograd")}));
  EXPECT_EQ(chosen(kProblem, Pass::forward), "winograd");
  EXPECT_EQ(chosen(kProblem, Pass::forward, {.precision = Precision::exact}), "direct");
  EXPECT_EQ(chosen(kProblem, Pass::forward, {.workspace_limit = 200'000}), "direct");
}

TEST(PlanFile, MayNameWhatAutoNeverTakes) {
  const PlanGuard guard(file_with({entry_of("ic2ih5oc3kh3", Pass::forward, "matrix")}));
  EXPECT_EQ(chosen("ic2ih5oc3kh3", Pass::forward), "matrix");
}

TEST(Search, TimesWhatAcceptsFastestFirst) {
  const ConvProblem problem = ConvProblem::parse("mb2ic32ih12oc32kh3ph1");
  for (const Pass pass : kPasses) {
    const std::vector<PlanEntry> timed = time_algorithms(problem, pass, {.seconds = 0.003});
    ASSERT_GE(timed.size(), 2U);
    EXPECT_TRUE(std::is_sorted(
        timed.begin(), timed.end(),
        [](const PlanEntry& a, const PlanEntry& b) { return a.seconds < b.seconds; }));
    for (const PlanEntry& entry : timed) {
      EXPECT_GT(entry.seconds, 0);
      EXPECT_EQ(entry.problem, problem);
      EXPECT_EQ(entry.pass, pass);
      EXPECT_EQ(chosen(kProblem, pass, {.algorithm = entry.algorithm}), entry.algorithm);
    }
    const auto has = [](const std::vector<PlanEntry>& entries, std::string_view name) {
      return std::any_of(entries.begin(), entries.end(),
                         [&](const PlanEntry& entry) { return entry.algorithm == name; });
    };
    EXPECT_TRUE(has(timed, "winograd"));
    EXPECT_FALSE(has(timed, "reference"));  // hopeless
    EXPECT_FALSE(
        has(time_algorithms(problem, pass, {.precision = Precision::exact, .seconds = 0.003}),
            "winograd"));
  }
  EXPECT_CONTAINS(error_of([&] { search_plan(problem, Pass::forward, {.seconds = 0}); }),
                  "seconds is 0");
}

TEST(Search, FindsWhatAPlanFileTakes) {
  const ConvProblem problem = ConvProblem::parse("mb1ic8ih9oc8kh3");
  PlanFile file = PlanFile::here();
  for (const Pass pass : kPasses) file.set(search_plan(problem, pass, {.seconds = 0.003}));
  const PlanGuard guard(PlanFile::parse(file.to_string(), "plans"));
  for (const Pass pass : kPasses)
    EXPECT_EQ(make_plan(problem, pass).algorithm, file.find(problem, pass)->algorithm);
}

TEST(WorkspaceLimit, RefusesWhatNeedsMore) {
  const ConvProblem problem = ConvProblem::parse(kProblem);
  for (const Pass pass : kPasses) {
    const Plan any = make_plan(problem, pass);
    for (const Candidate& candidate : any.candidates) {
      if (candidate.refusal || candidate.workspace == 0) continue;
      const auto limit = static_cast<std::int64_t>(candidate.workspace);
      EXPECT_EQ(
          make_plan(problem, pass, {.algorithm = candidate.algorithm, .workspace_limit = limit})
              .algorithm,
          candidate.algorithm);
      EXPECT_CONTAINS(error_of([&] {
                        make_plan(problem, pass,
                                  {.algorithm = candidate.algorithm, .workspace_limit = limit - 1});
                      }),
                      candidate.algorithm, std::to_string(limit),
                      "workspace_limit is " + std::to_string(limit - 1));
      for (const Candidate& within :
           make_plan(problem, pass, {.workspace_limit = limit}).candidates)
        EXPECT_LE(within.workspace, candidate.workspace) << within.algorithm;
    }
  }
}

TEST(WorkspaceLimit, IsTheMostThatAnAlgorithmTakes) {
  const ThreadGuard threads(2);
  for (const char* descriptor :
       {"mb2ic32ih28oc32kh3ph1", "ic1iw20000oc8kw31pw15", "mb2ic3ih32oc8kh5ph2",
        "g64ic64ih14oc64kh3ph1", "g8ic64ih14oc64kh3ph1", "ic4ih24oc6kh9ph4", "ic64ih7oc48kh1"}) {
    const ConvProblem problem = ConvProblem::parse(descriptor);
    const auto buffers = random_buffers<float>(problem, 1);
    for (const Pass pass : kPasses) {
      for (const Candidate& candidate : make_plan(problem, pass).candidates) {
        if (candidate.refusal) continue;
        reset_high_water();
        const std::size_t before = memory_stats().in_use;
        run_pass(problem, pass, candidate.algorithm, buffers);
        const std::size_t taken = memory_stats().high_water - before;
        // Blocks are handed out in sizes of which each is at most a quarter above the one before.
        constexpr std::size_t kTables = 2 * (64 << 10);
        EXPECT_LE(taken, candidate.workspace + candidate.workspace / 4 + kTables + 4096)
            << descriptor << ' ' << name(pass) << ' ' << candidate.algorithm;
      }
    }
  }
}

TEST(WorkspaceLimit, ThatNothingKeepsToIsAnError) {
  const ConvProblem problem = ConvProblem::parse(kProblem);
  EXPECT_CONTAINS(error_of([&] { make_plan(problem, Pass::forward, {.workspace_limit = 16}); }),
                  "forward", problem.to_string(), "workspace_limit of 16 bytes");
  EXPECT_CONTAINS(error_of([&] { make_plan(problem, Pass::forward, {.workspace_limit = -1}); }),
                  "workspace_limit is -1");
}

TEST(WorkspaceLimit, ReachesConvolutionsTheirGradientsAndLayers) {
  constexpr std::int64_t kLimit = 200'000;  // direct needs 147,456 bytes forward
  const ConvProblem problem = ConvProblem::parse(kProblem);
  Tensor x = Tensor::ones(problem.input_shape());
  x.set_requires_grad(true);
  const Tensor w = Tensor::ones(problem.weight_shape());
  const Tensor y = conv2d(x, w, {}, {.padding = 1, .workspace_limit = kLimit});
  EXPECT_EQ(last_algorithm(), "direct");
  sum(y * y).backward();
  EXPECT_EQ(last_algorithm(), "direct");
  conv_transpose2d(y.detach(), w, {}, {.padding = 1, .workspace_limit = kLimit});
  EXPECT_EQ(last_algorithm(), "direct");
  Generator generator{1};
  nn::Conv2d layer(64, 64, 3, {.padding = 1, .workspace_limit = kLimit}, generator);
  layer(x);
  EXPECT_EQ(last_algorithm(), "direct");
  EXPECT_CONTAINS(layer.describe(), "workspace_limit=200000");
}

}  // namespace
}  // namespace fovea::testing
