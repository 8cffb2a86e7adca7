// ConvProblem: the output-size formula, what it refuses and in which words, and the descriptor
// line.
#include <gtest/gtest.h>

#include "fovea/conv.h"
#include "fovea/functions.h"
#include "fovea/nn.h"
#include "support/conv_problems.h"
#include "support/errors.h"

namespace fovea::testing {
namespace {

TEST(ConvAxis, OutputIsTheNumberOfPlacesWhereTheKernelFits) {
  for (std::int64_t input = 1; input < 12; ++input)
    for (std::int64_t kernel = 1; kernel < 5; ++kernel)
      for (std::int64_t stride = 1; stride < 4; ++stride)
        for (std::int64_t dilation = 1; dilation < 4; ++dilation)
          for (std::int64_t before = 0; before < 3; ++before)
            for (std::int64_t after = 0; after < 3; ++after) {
              const ConvAxis axis{input, kernel, stride, dilation, {before, after}};
              if (axis.span() > input + before + after) continue;
              std::int64_t count = 0;
              for (std::int64_t start = -before; start + axis.span() <= input + after;
                   start += stride)
                ++count;
              EXPECT_EQ(axis.output(), count);
            }
}

TEST(ConvDescriptor, RoundTripsEveryProblem) {
  for (std::uint64_t number = 0; number < 500; ++number) {
    const ConvProblem problem =
        random_problem(number, number % 2 == 0 ? DType::float32 : DType::float64);
    EXPECT_EQ(ConvProblem::parse(problem.to_string()), problem) << problem.to_string();
  }
}

TEST(ConvDescriptor, ReadsTheFormOfBenchdnn) {
  const ConvProblem same = ConvProblem::parse("mb16ic64ih56oc64oh56kh3ph1");
  EXPECT_EQ(same.input_shape(), (Shape{16, 64, 56, 56}));
  EXPECT_EQ(same.weight_shape(), (Shape{64, 64, 3, 3}));
  EXPECT_EQ(same.output_shape(), (Shape{16, 64, 56, 56}));
  EXPECT_EQ(same.to_string(), "mb16ic64ih56oc64oh56kh3ph1");

  const ConvProblem stem = ConvProblem::parse("ic3ih224oc64oh112kh7sh2ph3n\"resnet:conv1\"");
  EXPECT_EQ(stem.batch, 1);
  EXPECT_EQ(stem.output_shape(), (Shape{1, 64, 112, 112}));

  // dh0 is dense; the output fixes the padding.
  EXPECT_EQ(ConvProblem::parse("ic1iw10oc1kw3dw1").axes[0].dilation, 2);
  EXPECT_EQ(ConvProblem::parse("ic1iw10oc1ow10kw3").axes[0].padding, (Sides{1, 1}));
  EXPECT_EQ(ConvProblem::parse("ic1ih4oc1oh2kh3sh2ph0").axes[0].padding, (Sides{0, 1}));
  EXPECT_EQ(ConvProblem::parse("g2mb2_ic4ih5iw7oc6kh3kw1ph1pw0").input_shape(),
            (Shape{2, 4, 5, 7}));
  EXPECT_EQ(ConvProblem::parse("ic2id4oc2kd3pd1").input_shape(), (Shape{1, 2, 4, 4, 4}));
  EXPECT_EQ(ConvProblem::parse("ic1ih5oc1kh3+ph0:2+f64").to_string(),
            "mb1ic1ih5oc1oh5ow3kh3+ph0:2+f64");
}

TEST(ConvAxis, SamePaddingGivesOneOutputPerStrideWithAsFewCellsAsPossible) {
  for (std::int64_t input = 1; input < 12; ++input)
    for (std::int64_t kernel = 1; kernel < 6; ++kernel)
      for (std::int64_t stride = 1; stride < 5; ++stride)
        for (std::int64_t dilation = 1; dilation < 4; ++dilation) {
          ConvAxis axis{input, kernel, stride, dilation, {}};
          axis.padding = axis.same_padding();
          EXPECT_EQ(axis.output(), (input + stride - 1) / stride);
          const Sides upper = axis.padding;
          EXPECT_LE(upper.before, upper.after);
          EXPECT_LE(upper.after, upper.before + 1);
          EXPECT_EQ(axis.same_padding(true), (Sides{upper.after, upper.before}));
          if (upper.after == 0) continue;
          --axis.padding.after;  // with less, there is an output less
          EXPECT_TRUE(axis.span() > input + axis.padding.before + axis.padding.after ||
                      axis.output() < (input + stride - 1) / stride);
        }
}

TEST(ConvDescriptor, NamesWhatThePaddingHolds) {
  for (const PaddingMode mode : kPaddingModes) {
    if (mode == PaddingMode::zeros || mode == PaddingMode::constant) continue;
    const std::string text = "mb1ic1ih5oc1oh5kh3ph1+" + std::string(name(mode));
    EXPECT_EQ(ConvProblem::parse(text).padding_mode, mode);
    EXPECT_EQ(ConvProblem::parse(text).to_string(), text);
  }
  const ConvProblem constant = ConvProblem::parse("ic1ih5oc1kh3ph1+constant:-1.5e-3+f64");
  EXPECT_EQ(constant.padding_value, -0.0015);
  EXPECT_EQ(constant.to_string(), "mb1ic1ih5oc1oh5kh3ph1+constant:-0.0015+f64");
  EXPECT_EQ(ConvProblem::parse(constant.to_string()), constant);
  EXPECT_EQ(ConvProblem::parse("ic1ih5oc1kh3ph1+zeros"), ConvProblem::parse("ic1ih5oc1kh3ph1"));
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("ic1ih5oc1kh3ph1+mirror"); }),
                  "+mean, +circular, +reflect, +replicate");
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("ic1ih5oc1kh3ph1+constant"); }),
                  "expected ':' and a value");
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("ic1ih5oc1kh3ph1+constant:x"); }),
                  "expected a number");
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("ic1ih5oc1kh3ph1+constant:nan"); }),
                  "the padding value is not a number");
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("ic1ih5oc1kh3ph1+mean+circular"); }),
                  "stands twice");
}

TEST(ConvProblem, MirrorsAtMostAllCellsButOne) {
  EXPECT_EQ(ConvProblem::parse("ic1iw4oc1kw1pw3+reflect").output_shape(), (Shape{1, 1, 10}));
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("ic1iw4oc1kw1pw4+reflect"); }),
                  "reflect padding along W is 4 before and 4 after, but 4 cells can be mirrored at "
                  "most 3 far (input - 1)");
  EXPECT_EQ(ConvProblem::parse("ic1iw4oc1kw1pw9+circular").output_shape(), (Shape{1, 1, 22}));
}

TEST(ConvDescriptor, PointsAtWhatItCannotRead) {
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("ic3zz4"); }), "unknown key");
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("ic3zz4"); }), "at character 4 ('zz4')");
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse(""); }), "ic and oc are needed");
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("ic3oc4"); }), "iw is needed");
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("ic3ih5oc4khx"); }), "unknown key");
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("ic3ih99999999999999999999oc4kh3"); }),
                  "expected a number");
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("ic3ih5oc4oh7kh3ph0+ph1:1"); }),
                  "oh is 7, but the other numbers give 5");
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("ic3ic3ih5oc4kh3"); }), "stands twice");
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("ic3iw5oc4kw3kd2"); }), "no meaning");
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("ic3ih5oc4kh3n\"x"); }), "closing quote");
}

TEST(ConvDescriptor, WhatItQuotesCannotDriveATerminal) {
  const std::string message = error_of([] { ConvProblem::parse("ic1\x1b[2Joc\xff"); });
  EXPECT_CONTAINS(message, R"('ic1\x1b[2Joc\xff')", R"(at character 4 ('\x1b[2Joc\xff'))");
}

TEST(ConvProblem, RefusesNumbersThatMakeNoSense) {
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("ic3ih5oc4kh3sh0"); }),
                  "stride along H is 0, but must be at least 1");
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("g2ic3ih5oc4kh3"); }),
                  "3 input channels do not divide into 2 groups");
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("g2ic4ih5oc5kh3"); }),
                  "5 output channels do not divide into 2 groups");
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("ic3ih5oc4kh7"); }),
                  "the kernel does not fit along H: dilation*(kernel-1)+1 = 1*(7-1)+1 = 7, but "
                  "input + padding = 5+0+0 = 5");
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("mb1000000000ic1000000000ih1000000oc1kh1"); }),
                  "63 bits");
}

TEST(ConvProblem, RefusesPaddingBeyondWhatCanBeCounted) {
  // Eight outputs, but 2^90 padded cells.
  ConvProblem problem;
  problem.dims = 3;
  problem.axes.fill(
      {.input = 1, .kernel = 2, .stride = 1 << 29, .padding = {(1 << 29) - 1, (1 << 29) - 1}});
  EXPECT_CONTAINS(error_of([&] { problem.validate(); }), "63 bits");
  EXPECT_CONTAINS(error_of([] { ConvProblem::parse("ic1iw9oc1kw1dw9223372036854775807"); }),
                  "larger than 2^30");
}

TEST(ConvProblem, WideStridesAndKernelsCostWhatTheyCompute) {
  // A table of kernel times outputs would take 9 GB here, a grid per remainder of the stride 10^5.
  const ConvProblem wide = ConvProblem::parse("ic1iw60000oc1kw30000");
  const ConvProblem sparse = ConvProblem::parse("ic1iw300000oc1kw2sw100000");
  const ConvProblem padded = ConvProblem::parse("ic1ih2oc1kh2sh60000ph60000");
  for (const ConvProblem& problem : {sparse, padded}) {
    const ConvBuffers<double> buffers = random_buffers<double>(problem, 1);
    for (const Pass pass : kPasses) {
      const auto expected = run_pass(problem, pass, "reference", buffers);
      const auto actual = run_pass(problem, pass, "direct", buffers);
      for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 1e-12);
    }
  }
  const ConvBuffers<float> ones{.x = std::vector<float>(60000, 1),
                                .w = std::vector<float>(30000, 1),
                                .y = std::vector<float>(30001)};
  EXPECT_EQ(run_pass(wide, Pass::forward, "direct", ones), std::vector<float>(30001, 30000));
}

TEST(Conv, NamesTheAxisAndTheFixOfAWrongShape) {
  const Tensor images = Tensor::zeros({8, 28, 28, 1});
  const Tensor weight = Tensor::zeros({6, 1, 5, 5});
  EXPECT_EQ(error_of([&] { conv2d(images, weight); }),
            "conv2d: input has 28 channels (shape [8, 28, 28, 1]) but weight [6, 1, 5, 5] with "
            "groups=1 needs 1. The "
            "last axis has 1: is this N,H,W,C data? Use input.permute({0, 3, 1, 2}).");
  EXPECT_CONTAINS(error_of([&] { conv1d(images, weight); }), "needs 3 axes: [N, C, W]");
  EXPECT_CONTAINS(error_of([&] {
                    conv2d(Tensor::zeros({1, 28, 28}), weight);
                  }),
                  "add the batch axis");
  EXPECT_CONTAINS(error_of([&] {
                    conv2d(Tensor::zeros({1, 1, 28, 28}), weight, Tensor::zeros({5}));
                  }),
                  "[6] is needed");
  EXPECT_CONTAINS(error_of([&] {
                    conv2d(Tensor::zeros({1, 1, 28, 28}), weight.to(DType::float64));
                  }),
                  "float64");
  EXPECT_CONTAINS(error_of([&] {
                    conv2d(Tensor::zeros({1, 1, 28, 28}), weight, {}, {.stride = 0});
                  }),
                  "stride along H is 0");
  EXPECT_CONTAINS(error_of([&] {
                    conv2d(Tensor::zeros({1, 1, 28, 28}), weight, {}, {.stride = -1});
                  }),
                  "stride along H is -1");
  EXPECT_CONTAINS(error_of([&] {
                    conv2d(Tensor::zeros({1, 1, 28, 28}), weight, {}, {.padding = {1, 2, 3}});
                  }),
                  "give one amount, or 2");
  EXPECT_CONTAINS(error_of([&] {
                    conv2d(Tensor::zeros({1, 1, 3, 3}), weight);
                  }),
                  "the kernel does not fit along H");
  EXPECT_CONTAINS(error_of([&] {
                    conv2d(Tensor::zeros({1, 1, 28, 28}), weight, {}, {.groups = 0});
                  }),
                  "groups is 0");
}

TEST(Planner, ForcedAlgorithmIsTheOneThatRuns) {
  for (const ConvAlgorithmInfo& algorithm : algorithms()) {
    int passes = 0;
    for (const Pass pass : kPasses) {
      const std::string descriptor = problem_for(algorithm.name, pass);
      if (descriptor.empty()) continue;
      ++passes;
      const ConvProblem problem = ConvProblem::parse(descriptor);
      run_pass(problem, pass, algorithm.name, random_buffers<float>(problem, 1));
      EXPECT_EQ(last_algorithm(), algorithm.name);
      EXPECT_EQ(make_plan(problem, pass, {.algorithm = std::string(algorithm.name)}).reason,
                "it was asked for by name");
    }
    EXPECT_GT(passes, 0) << algorithm.name;
    const ConvProblem problem = ConvProblem::parse(problem_for(algorithm.name, Pass::forward));
    conv2d(Tensor::ones(problem.input_shape()), Tensor::ones(problem.weight_shape()), {},
           {.padding = problem.axes[0].padding.before,
            .groups = problem.groups,
            .algorithm = std::string(algorithm.name)});
    EXPECT_EQ(last_algorithm(), algorithm.name);
  }
}

TEST(Planner, RefusesAResultInTheMemoryOfAnOperand) {
  const ConvProblem problem = ConvProblem::parse("mb1ic8iw4oc8kw1");
  Tensor x = Tensor::ones({1, 8, 4}).contiguous(Layout::channels_last);
  EXPECT_CONTAINS(error_of([&] {
                    run_conv(make_plan(problem, Pass::forward), x, Tensor::ones({8, 8, 1}), x);
                  }),
                  "run_conv", "first", "memory");
}

TEST(Planner, GivesPointwiseProblemsOfFewPositionsToDotProducts) {
  const auto chosen = [](const char* descriptor, Pass pass) {
    return make_plan(ConvProblem::parse(descriptor), pass).algorithm;
  };
  EXPECT_EQ(chosen("mb1ic400iw1oc120kw1", Pass::forward), "dot");
  EXPECT_EQ(chosen("mb64ic400iw1oc120kw1", Pass::forward), "direct");
  EXPECT_EQ(chosen("mb1ic400iw1oc120kw1", Pass::backward_data), "direct");
  EXPECT_EQ(chosen("mb1ic3ih3oc4kh3", Pass::forward), "direct");
  EXPECT_EQ(linear(Tensor::ones({1, 37}), Tensor::ones({11, 37})).at({0, 10}), 37);
  EXPECT_EQ(last_algorithm(), "dot");
}

TEST(Planner, RefusesAnUnknownNameAndListsTheOthers) {
  const std::string message = error_of(
      [] { make_plan(ConvProblem::parse("ic3ih8oc4kh3"), Pass::forward, {.algorithm = "magic"}); });
  EXPECT_CONTAINS(message, "there is no algorithm 'magic'");
  for (const ConvAlgorithmInfo& algorithm : algorithms()) EXPECT_CONTAINS(message, algorithm.name);
  EXPECT_CONTAINS(
      error_of([] {
        conv2d(Tensor::ones({1, 3, 8, 8}), Tensor::ones({4, 3, 3, 3}), {}, {.algorithm = "magic"});
      }),
      "there is no algorithm 'magic'");
}

// One that winograd suits in all passes.
constexpr const char* kSuitsWinograd = "mb4ic64ih28oc64kh3ph1";

TEST(Planner, ExactPrecisionExcludesAlgorithmsWhoseTermsCancel) {
  const auto expect_exact = [](const ConvProblem& problem) {
    for (const Pass pass : kPasses) {
      const Plan plan = make_plan(problem, pass, {.precision = Precision::exact});
      EXPECT_NE(plan.algorithm, "winograd") << problem.to_string();
      for (const Candidate& candidate : plan.candidates) {
        EXPECT_EQ(candidate.error_growth, 1) << candidate.algorithm;  // where it refuses, too
      }
    }
  };
  for (const Pass pass : kPasses) {
    EXPECT_EQ(make_plan(ConvProblem::parse(kSuitsWinograd), pass).algorithm, "winograd");
  }
  expect_exact(ConvProblem::parse(kSuitsWinograd));
  for (std::uint64_t number = 0; number < 100; ++number) expect_exact(random_problem(number));
}

TEST(Planner, ExactPrecisionAndAnAlgorithmWhoseTermsCancelAreAContradiction) {
  const ConvProblem problem = ConvProblem::parse(kSuitsWinograd);
  for (const Pass pass : kPasses) {
    const std::string message = error_of([&] {
      make_plan(problem, pass, {.algorithm = "winograd", .precision = Precision::exact});
    });
    EXPECT_CONTAINS(message, "'winograd'", "precision exact", name(pass));
    EXPECT_EQ(
        make_plan(problem, pass, {.algorithm = "direct", .precision = Precision::exact}).algorithm,
        "direct");
  }
  EXPECT_CONTAINS(error_of([&] {
                    conv2d(Tensor::zeros(problem.input_shape()),
                           Tensor::zeros(problem.weight_shape()), {},
                           {.padding = 1, .algorithm = "winograd", .precision = Precision::exact});
                  }),
                  "'winograd'", "precision exact");
}

// The algorithm of conv2d and of the gradients of its input and of its weight.
std::vector<std::string_view> algorithms_of_all_passes(Precision precision) {
  const ConvProblem problem = ConvProblem::parse(kSuitsWinograd);
  std::vector<std::string_view> ran;
  for (const bool to_input : {true, false}) {
    Tensor x = Tensor::ones(problem.input_shape());
    Tensor w = Tensor::ones(problem.weight_shape());
    (to_input ? x : w).set_requires_grad(true);
    const Tensor y = conv2d(x, w, {}, {.padding = 1, .precision = precision});
    if (to_input) ran.push_back(last_algorithm());
    sum(y * y).backward();
    ran.push_back(last_algorithm());
  }
  return ran;
}

TEST(Planner, PrecisionReachesTheGradients) {
  for (const std::string_view ran : algorithms_of_all_passes(Precision::fast))
    EXPECT_EQ(ran, "winograd");
  for (const std::string_view ran : algorithms_of_all_passes(Precision::exact))
    EXPECT_EQ(ran, "direct");
}

TEST(Planner, PrecisionReachesLayersAndTransposedConvolutions) {
  const ConvProblem problem = ConvProblem::parse(kSuitsWinograd);
  Generator generator{1};
  for (const Precision precision : kPrecisions) {
    const char* const expected = precision == Precision::exact ? "direct" : "winograd";
    nn::Conv2d conv(64, 64, 3, {.padding = 1, .precision = precision}, generator);
    nn::ConvTranspose2d transposed(64, 64, 3, {.padding = 1, .precision = precision}, generator);
    conv(Tensor::ones(problem.input_shape()));
    EXPECT_EQ(last_algorithm(), expected);
    transposed(Tensor::ones(problem.output_shape()));
    EXPECT_EQ(last_algorithm(), expected);
    for (const std::string& described : {conv.describe(), transposed.describe()}) {
      EXPECT_EQ(described.find(", precision=exact)") != std::string::npos,
                precision == Precision::exact)
          << described;
    }
  }
}

TEST(Planner, ReportsWhatEveryAlgorithmAnswers) {
  const Plan plan = make_plan(ConvProblem::parse("ic64ih56oc64kh3sh2ph1"), Pass::forward);
  EXPECT_EQ(plan.algorithm, "direct");
  ASSERT_EQ(plan.candidates.size(), algorithms().size());
  for (const Candidate& candidate : plan.candidates) {
    if (!candidate.refusal) {
      EXPECT_GE(candidate.predicted.multiply_adds, 28.0 * 28 * 64 * 64 * 9);
    }
  }
}

}  // namespace
}  // namespace fovea::testing
