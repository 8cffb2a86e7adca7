// Every algorithm of the list, every pass, every SIMD target, over random problems: against the
// reference, and against the identities that any convolution obeys.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "fovea/functions.h"
#include "fovea/version.h"
#include "support/conv_problems.h"
#include "support/settings.h"

namespace fovea::testing {
namespace {

constexpr std::uint64_t kProblems = 60;

template <class T>
ConvBuffers<T> magnitudes(ConvBuffers<T> buffers) {
  for (std::vector<T>* values : {&buffers.x, &buffers.w, &buffers.y}) {
    for (T& value : *values) value = std::abs(value);
  }
  return buffers;
}

template <class T>
double largest(const std::vector<T>& values) {
  double most = 0;
  for (const T value : values) most = std::max(most, std::abs(static_cast<double>(value)));
  return most;
}

// The greatest product of one value of each operand of the pass.
template <class T>
double largest_product(const ConvProblem& problem, const ConvBuffers<T>& buffers, Pass pass) {
  const double x = std::max(largest(buffers.x), std::abs(problem.padding_value));
  const double w = largest(buffers.w);
  const double y = largest(buffers.y);
  return pass == Pass::forward ? x * w : pass == Pass::backward_data ? y * w : x * y;
}

const Candidate* candidate(const Plan& plan, std::string_view algorithm) {
  for (const Candidate& asked : plan.candidates) {
    if (asked.algorithm == algorithm && !asked.refusal) return &asked;
  }
  return nullptr;
}

bool accepts(const ConvProblem& problem, Pass pass, std::string_view algorithm) {
  return candidate(make_plan(problem, pass), algorithm) != nullptr;
}

// |computed - exact| <= n u sum |a||b| for n products added in any order; the reference adds one
// rounding more, a mean in the padding another. Where terms cancel (Candidate::error_growth), sum
// |a||b| is taken for the greatest values, and transforms add a few roundings to each term: at most
// 4 of a cell, 4 of a tap and 5 of a product along each of three axes.
template <class T>
struct Bound {
  double growth;
  double unit = std::numeric_limits<T>::epsilon() / 2;
  double terms;
  double greatest;

  Bound(const ConvProblem& problem, Pass pass, double error_growth, const ConvBuffers<T>& buffers)
      : growth(error_growth),
        terms(static_cast<double>(reduction_length(problem, pass))),
        greatest(terms * largest_product(problem, buffers, pass)) {}
  double at(T magnitude) const {
    return growth == 1 ? unit * (terms + 3) * static_cast<double>(magnitude)
                       : unit * (terms + 2 + 3 * 13) * growth * greatest;
  }
};

template <class T>
void expect_within(const Bound<T>& bound, const std::vector<T>& actual,
                   const std::vector<T>& expected, const std::vector<T>& magnitude,
                   const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_LE(std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i])),
              bound.at(magnitude[i]))
        << what << ", element " << i << ": " << actual[i] << " instead of " << expected[i];
  }
}

template <class T>
void compare_with_reference(const ConvProblem& problem, std::uint64_t seed) {
  const ConvBuffers<T> buffers = random_buffers<T>(problem, seed);
  const ConvBuffers<T> absolute = magnitudes(buffers);
  ConvProblem absolute_problem = problem;
  absolute_problem.padding_value = std::abs(problem.padding_value);
  for (const Pass pass : kPasses) {
    const std::vector<T> expected = run_pass(problem, pass, "reference", buffers);
    const std::vector<T> magnitude = run_pass(absolute_problem, pass, "reference", absolute);
    for (const ConvAlgorithmInfo& algorithm : algorithms()) {
      for (const std::string& target : simd_targets()) {
        const TargetGuard guard(target);
        const Plan plan = make_plan(problem, pass);
        const Candidate* asked = candidate(plan, algorithm.name);
        if (asked == nullptr) continue;
        const Bound<T> bound(problem, pass, asked->error_growth, buffers);
        const std::string what = problem.to_string() + ' ' + std::string(name(pass)) + ' ' +
                                 std::string(algorithm.name) + ' ' + target;
        expect_within(bound, run_pass(problem, pass, algorithm.name, buffers), expected, magnitude,
                      what);
        EXPECT_EQ(last_algorithm(), algorithm.name) << what;
      }
    }
  }
}

// Dense kernels of 3 and 5, which some algorithms compute by tiles: sizes below, at and beyond a
// tile; uneven channels; padding wider than the kernel; and two that are cut into many tasks.
constexpr const char* kDenseProblems[] = {
    "mb2ic3iw17oc5kw3pw1",
    "mb1ic33iw4oc40kw3pw0",
    "mb3ic16iw31oc16kw5pw4",
    "mb2ic17ih9oc31kh3ph1",
    "mb1ic1ih3oc1kh3ph0",
    "mb2ic5ih1oc6kh3ph4",
    "mb2ic18ih13iw10oc33kh3kw3ph0pw2",
    "mb1ic16ih6iw11oc65kh5kw3ph1pw1",
    "mb2ic7ih8oc9kh5ph2",
    "mb2ic4ih12iw9oc20kh1kw3ph0pw1",
    "mb1ic20ih12iw9oc4kh3kw1ph1pw0",
    "mb1ic9ih7iw8oc18kh3kw3ph1pw0+ph0:3+pw2:1",
    "mb1ic5id5ih6iw7oc17kd3kh3kw3pd1ph1pw1",
    "mb2ic3id4ih9iw4oc2kd1kh3kw5pd0ph1pw2",
    "mb3ic48ih24oc40kh3ph1",
    "mb1ic130ih9oc70kh3ph1",
    "mb1ic32ih86oc400kh1",
};

// Parts of `direct` of their own: the gradient of few channels, in bands that share cells or leave
// some between them; that of the weights where these are many; one tap, whose places follow each
// other, and whose weights are summed from either side; rows a power of two apart.
constexpr const char* kUnevenProblems[] = {
    "mb1ic3ih40oc64kh7sh2ph3",
    "mb1ic3ih44oc64kh3ph2dh1",
    "mb1ic3ih150oc96kh2sh3ph1",
    "mb1ic2iw9000oc40kw5pw2",
    "mb1ic2id12ih14oc24kd3kh3kw3pd1ph1pw1",
    "mb2ic40ih5oc48kh3ph1+constant:0.5",
    "g2mb2ic64ih5oc98kh3sh2ph1+circular",
    "mb3ic90ih3oc70kh1",
    "mb3ic37ih9oc16kh1",
    "mb2ic70ih12oc30kh1ph1+circular",
    "g2mb2ic80ih9oc24kh1sh2",
    "mb2ic33ih30oc129kh1",
    "mb1ic33ih40oc410kh1",
    "mb1ic40ih70oc160kh1sh2",
    "g2mb2ic80id3ih9oc320kd1kh1sd2sh2",
    "mb2ic1024ih5oc20kh1",
    "mb1ic16ih7iw8oc512kh1",
    "mb1ic512ih9iw20oc18kh2sh2ph1",
};

// Narrow groups: rows of more and of less than a tile, taps by the run and by themselves, padding
// wider than the kernel, vectors that overlap or are not full.
constexpr const char* kGroupedProblems[] = {
    "g40mb2ic40ih5iw31oc40kh3ph1",    "g33mb1ic33ih9iw16oc33kh7ph3",
    "g20mb1ic20ih8iw41oc20kh5sh2ph2", "g16mb1ic16ih3iw35oc16kh1kw11ph0pw5",
    "g48mb1ic48ih7oc48kh3sh2ph1",     "g16mb1ic16ih6iw20oc16kh3ph2dh1",
    "g17mb2ic17ih6iw20oc17kh3ph5",    "g18mb1ic18ih7iw30oc36kh3ph1",
    "g5mb2ic5ih6iw9oc5kh3ph1",        "g8mb2ic32ih5iw30oc32kh3ph1",
    "g4mb1ic32ih6iw17oc32kh3sh2ph1",  "g12mb1ic48ih4iw9oc24kh5ph2",
    "g16mb1ic32iw70oc32kw3pw1",       "g24mb1ic24id4ih5iw9oc24kd3kh3kw3pd1ph1pw1",
    "g20mb2ic20ih1oc20kh1sh2ph1",     "g40mb2ic40ih9iw23oc40kh3sh2ph1",
    "g128mb1ic128ih12iw8oc128kh3ph1", "g16mb2ic16id3ih6iw9oc16kd1kh3kw3pd1ph1pw1",
    "g32mb1ic32ih1iw8oc32kh3ph1",     "g48mb2ic48ih13iw18oc48kh5ph2",
    "g16mb1ic16ih9iw30oc16kh7kw3ph1", "g32mb1ic32ih20iw11oc32kh5kw4sh2ph2pw1",
    "g16mb2ic16ih5iw9oc16kh4kw6ph5",  "g16mb2ic16id3ih9iw9oc16kd1kh5kw3sd2sh1sw1pd0ph2pw1",
    "g8mb1ic32ih6iw19oc32kh3sh2ph5",
};

// Depthwise kernels whose rows are joined: 5x5 and 7x7 of more and fewer rows than the kernel;
// quads of results, even, odd, at the edge of the padding and beyond it.
constexpr const char* kJoinedProblems[] = {
    "g32mb2ic32ih16iw11oc32kh7ph3",   "g16mb1ic16ih3iw2oc16kh7ph4",
    "g40mb1ic40ih12iw21oc40kh5ph0",   "g16mb2ic16id3ih9iw12oc16kd1kh7kw7pd0ph3pw2",
    "g32mb3ic32ih4iw6oc32kh5ph2",     "g32mb2ic32ih12iw17oc32kh3sh2ph1",
    "g40mb1ic40ih9iw16oc40kh3sh2ph0", "g16mb1ic16ih2iw3oc16kh3sh2ph2",
    "g16mb1ic16ih7iw8oc16kh3sh2ph4",  "g16mb2ic16ih8iw10oc16kh3sh2ph0+ph0:1+pw0:1",
};

// Several vectors of channels side by side: whole runs of them and some left over, the last moved
// back; rows of a tile, of more and of fewer places; cells a multiple of 512 bytes apart.
constexpr const char* kRunProblems[] = {
    "g72mb2ic72ih9iw17oc72kh3sh2ph1",    "g128mb2ic128ih6iw31oc128kh3sh2ph1",
    "g256mb1ic256ih5iw13oc256kh3sh2ph2", "g128mb1ic128ih7iw9oc128kh3sh2ph0",
    "g256mb1ic256ih4iw17oc256kh3ph1",    "g128mb2ic128ih3iw7oc128kh3ph2",
    "g64mb1ic64ih5iw14oc64kh3sh2ph4",
};

// Depthwise maps of 4 to 8 columns: kernels that reach across and beyond them, maps of many rows
// and of fewer, padding that leaves other rows of results than of the source.
constexpr const char* kMapProblems[] = {
    "g16mb2ic16ih7oc16kh13ph6",       "g40mb1ic40ih8oc40kh5ph2",
    "g16mb1ic16ih3iw5oc16kh9ph4",     "g32mb1ic32ih16iw6oc32kh7ph3",
    "g16mb2ic16ih9iw4oc16kh5ph0pw2",  "g16mb1ic16id2ih7oc16kd1kh7kw7pd0ph3pw3",
    "g16mb1ic16ih5iw7oc16kh17ph9pw8", "g16mb1ic16ih2iw6oc16kh11+ph4:7+pw2:8",
};

// Groups that winograd takes: of one vector and of several, of part of one, of two widths; for 4, 8
// and 16 lanes.
constexpr const char* kBundledProblems[] = {
    "g4mb2ic64ih9iw14oc64kh3ph1", "g8mb1ic64ih10oc64kh3ph1",
    "g8mb2ic32ih13oc32kh3ph1",    "g2mb1ic64ih7oc128kh3ph1",
    "g2mb3ic96iw21oc32kw5pw2",    "g3mb1ic48id5ih6iw7oc96kd3kh3kw3pd1ph1pw1",
    "g6mb2ic96ih6oc48kh5ph1",     "g2mb1ic96ih21oc96kh3ph0",
};

// Large enough that the work is cut into many tasks, the positions of the weight gradient included.
constexpr const char* kLargerProblems[] = {
    "mb3ic33ih30oc40kh3ph1",
    "mb1ic96ih14oc72kh3ph1",
    "mb8ic1ih28oc6kh5ph2",
    "mb2ic64ih20oc64kh1",
    "mb2ic16ih17oc24kh3sh2ph1",
    "g4mb2ic32ih20oc32kh3ph1dh1",
    "mb2ic33ih30oc40kh3ph1+circular",
    "mb2ic40ih30oc16kh3ph2+mean",
    "mb2ic3ih30oc16kh3ph1+mean",
    "mb2ic40ih30oc16kh3ph2+constant:0.5",
    "g40mb4ic40ih30oc40kh5ph2",
    "g20mb4ic20ih30oc40kh3ph1",
    "g16mb4ic64ih30oc64kh3sh2ph1",
    "g32mb4ic32ih30oc32kh5ph2",
    "g4mb3ic64ih21oc64kh3ph1",
    "g16mb2ic128ih21oc128kh3ph1",
    "g40mb2ic40ih30oc40kh5ph2+reflect",
    "mb1ic3ih40oc64kh7sh2ph3",
    "mb2ic128ih7oc96kh3ph1",
    "g128mb4ic128ih29oc128kh3sh2ph1",
    "g32mb2ic512ih14oc512kh3sh2ph1",
    "g96mb4ic96ih7oc96kh13ph6",
    "mb1ic48ih96oc200kh1sh2",
};

// Groups of a vector or a few in `direct`, for 2 to 16 lanes: strides and dilations that share
// cells and that do not, rows of less than a kernel, padding wider than the kernel and beside
// nothing, planes in several parts, cells that no place reads, channels of two widths.
constexpr const char* kCopiedProblems[] = {
    "g4mb2ic64ih9iw14oc64kh3sh2ph1",    "g4mb1ic64ih7iw9oc64kh3ph2dh1",
    "g3mb2ic48ih6iw11oc96kh5ph2",       "g2mb2ic64ih8iw7oc32kh3sh2ph0",
    "g4mb2ic64ih2iw1oc64kh3ph1",        "g2mb1ic32ih5iw8oc32kh3ph4",
    "g4mb1ic64ih9iw15oc64kh4kw7sh2ph3", "g3mb3ic48id3ih5iw6oc48kd1kh3kw3sd2sh1sw3pd0ph1pw1",
    "g2mb2ic32ih40iw61oc32kh3sh2ph1",   "g5mb1ic40ih7iw12oc40kh3sh2ph1",
    "g6mb2ic24ih10iw13oc24kh3ph1",      "g8mb1ic16ih9iw10oc16kh3sh2ph0+ph0:1+pw0:1",
    "g3mb2ic48iw33oc48kw5sw2pw2",       "g2mb40ic32ih4oc64kh3ph1",
    "g2mb1ic64ih6iw28oc32kh3sh2ph1",    "g2mb1ic64ih6iw27oc32kh3ph1",
    "g2mb1ic32ih7iw8oc64kh3sh2ph3",     "g3mb2ic24id2ih5iw31oc24kd1kh3kw3sd1sh2sw2pd0ph2pw0",
};

ConvProblem problem_of(const char* descriptor, DType dtype) {
  ConvProblem problem = ConvProblem::parse(descriptor);
  problem.dtype = dtype;
  return problem;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

TEST(ConvAlgorithms, AgreeWithTheReferenceInFloat32) {
  for (std::uint64_t number = 0; number < kProblems; ++number)
    compare_with_reference<float>(random_problem(number, DType::float32), number);
}

TEST(ConvAlgorithms, AgreeWithTheReferenceOnDenseKernels) {
  for (const char* descriptor : kDenseProblems) {
    compare_with_reference<float>(problem_of(descriptor, DType::float32), 1);
    compare_with_reference<double>(problem_of(descriptor, DType::float64), 2);
  }
}

TEST(ConvAlgorithms, AgreeWithTheReferenceOnUnevenProblems) {
  for (const char* descriptor : kUnevenProblems) {
    compare_with_reference<float>(problem_of(descriptor, DType::float32), 1);
    compare_with_reference<double>(problem_of(descriptor, DType::float64), 2);
  }
}

TEST(ConvAlgorithms, AgreeWithTheReferenceOnNarrowGroups) {
  for (const char* descriptor : kGroupedProblems) {
    compare_with_reference<float>(problem_of(descriptor, DType::float32), 1);
    compare_with_reference<double>(problem_of(descriptor, DType::float64), 2);
  }
}

TEST(ConvAlgorithms, AgreeWithTheReferenceOnJoinedRows) {
  for (const char* descriptor : kJoinedProblems) {
    compare_with_reference<float>(problem_of(descriptor, DType::float32), 1);
    compare_with_reference<double>(problem_of(descriptor, DType::float64), 2);
  }
}

TEST(ConvAlgorithms, AgreeWithTheReferenceOnRunsOfVectors) {
  for (const char* descriptor : kRunProblems) {
    compare_with_reference<float>(problem_of(descriptor, DType::float32), 1);
    compare_with_reference<double>(problem_of(descriptor, DType::float64), 2);
  }
}

TEST(ConvAlgorithms, AgreeWithTheReferenceOnSmallMaps) {
  for (const char* descriptor : kMapProblems) {
    compare_with_reference<float>(problem_of(descriptor, DType::float32), 1);
    compare_with_reference<double>(problem_of(descriptor, DType::float64), 2);
  }
}

TEST(ConvAlgorithms, AgreeWithTheReferenceOnBundledGroups) {
  for (const char* descriptor : kBundledProblems) {
    compare_with_reference<float>(problem_of(descriptor, DType::float32), 1);
    compare_with_reference<double>(problem_of(descriptor, DType::float64), 2);
  }
}

TEST(ConvAlgorithms, AgreeWithTheReferenceOnCopiedGroups) {
  for (const char* descriptor : kCopiedProblems) {
    compare_with_reference<float>(problem_of(descriptor, DType::float32), 1);
    compare_with_reference<double>(problem_of(descriptor, DType::float64), 2);
  }
}

TEST(ConvAlgorithms, AgreeWithTheReferenceInFloat64) {
  for (std::uint64_t number = 0; number < kProblems; ++number)
    compare_with_reference<double>(random_problem(1000 + number, DType::float64), number);
}

// <conv(x, w), v> = <x, backward_data(v, w)> = <w, backward_weights(x, v)>, where conv is linear in
// x: a constant in the padding is 0 for it.
void expect_adjoint(ConvProblem problem, std::uint64_t seed) {
  problem.padding_value = 0;
  const ConvBuffers<double> buffers = random_buffers<double>(problem, seed);
  const auto length = static_cast<std::size_t>(reduction_length(problem, Pass::forward));
  for (const ConvAlgorithmInfo& algorithm : algorithms()) {
    const auto inner = [&](Pass pass, const std::vector<double>& with) {
      return dot(run_pass(problem, pass, algorithm.name, buffers), with);
    };
    const Plan plan = make_plan(problem, Pass::forward);
    const Candidate* asked = candidate(plan, algorithm.name);
    if (asked == nullptr) continue;
    const double scale = asked->error_growth * (1 + static_cast<double>(buffers.y.size() * length));
    const double forward = inner(Pass::forward, buffers.y);
    if (accepts(problem, Pass::backward_data, algorithm.name)) {
      EXPECT_NEAR(forward, inner(Pass::backward_data, buffers.x), 1e-14 * scale)
          << problem.to_string() << ' ' << algorithm.name;
    }
    if (accepts(problem, Pass::backward_weights, algorithm.name)) {
      EXPECT_NEAR(forward, inner(Pass::backward_weights, buffers.w), 1e-14 * scale)
          << problem.to_string() << ' ' << algorithm.name;
    }
  }
}

TEST(ConvAlgorithms, BackwardPassesAreTheAdjointsOfForward) {
  for (std::uint64_t number = 0; number < kProblems; ++number)
    expect_adjoint(random_problem(number, DType::float64), number);
  for (const char* descriptor : kDenseProblems)
    expect_adjoint(problem_of(descriptor, DType::float64), 3);
}

TEST(ConvAlgorithms, GiveTheSameBitsForAnyNumberOfThreads) {
  for (const char* descriptor : kLargerProblems) {
    const ConvProblem problem = ConvProblem::parse(descriptor);
    const ConvBuffers<float> buffers = random_buffers<float>(problem, 5);
    for (const Pass pass : kPasses) {
      for (const ConvAlgorithmInfo& algorithm : algorithms()) {
        if (!accepts(problem, pass, algorithm.name)) continue;
        const ThreadGuard one(1);
        const std::vector<float> expected = run_pass(problem, pass, algorithm.name, buffers);
        for (const int threads : {2, 3, 5}) {
          const ThreadGuard guard(threads);
          EXPECT_EQ(run_pass(problem, pass, algorithm.name, buffers), expected)
              << descriptor << ' ' << name(pass) << ' ' << algorithm.name;
        }
      }
    }
  }
}

TEST(ConvAlgorithms, DoNotUsePackedWeightsThatHaveChanged) {
  const Tensor x = Tensor::ones({1, 3, 5, 5});
  Tensor w = Tensor::ones({4, 3, 3, 3});
  EXPECT_EQ(conv2d(x, w).at({0, 0, 0, 0}), 27);
  EXPECT_EQ(conv2d(x, w).at({0, 0, 0, 0}), 27);
  w.fill(2);
  EXPECT_EQ(conv2d(x, w).at({0, 0, 0, 0}), 54);
  // The same weights under another geometry are packed apart.
  EXPECT_EQ(conv2d(x, w, {}, {.dilation = 2}).at({0, 0, 0, 0}), 54);
  EXPECT_EQ(conv2d(x, w, {}, {.padding = 1}).at({0, 0, 0, 0}), 24);
}

TEST(ConvAlgorithms, SeeWhatIsWrittenThroughAKeptPointer) {
  Tensor w = Tensor::ones({1, 1, 3, 3});
  const Tensor x = Tensor::ones({1, 1, 3, 3});
  float* weights = w.mutable_data<float>();
  EXPECT_EQ(conv2d(x, w).item<float>(), 9);
  weights[4] = 11;
  EXPECT_EQ(conv2d(x, w).item<float>(), 19);
}

TEST(ConvAlgorithms, SeeWhatTheOwnerWritesIntoWrappedWeights) {
  std::vector<float> weights(9, 1);
  const Tensor w = Tensor::from_blob(weights.data(), {1, 1, 3, 3});
  const Tensor x = Tensor::ones({1, 1, 3, 3});
  EXPECT_EQ(conv2d(x, w).item<float>(), 9);
  weights[4] = 11;
  EXPECT_EQ(conv2d(x, w).item<float>(), 19);
}

TEST(ConvAlgorithms, HandleWeightsThatAreAPartOfATensor) {
  Generator generator{3};
  const Tensor x = normal({2, 4, 6, 6}, 0, 1, generator);
  const Tensor all = normal({48, 4, 3, 3}, 0, 1, generator);
  const Tensor part = all.slice(0, 2, 34);
  const Tensor expected = conv2d(x, all).slice(1, 2, 34);
  const std::vector<float> actual = conv2d(x, part).to_vector<float>();
  EXPECT_EQ(actual, expected.to_vector<float>());
}

}  // namespace
}  // namespace fovea::testing
