// Random convolution problems.
#include "support/conv_problems.h"

#include <algorithm>

namespace fovea::testing {
namespace {

// Whole numbers from a counter-based stream.
class Dice {
 public:
  explicit Dice(std::uint64_t stream) : stream_(stream) {}
  std::int64_t roll(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(philox(7, stream_, next_++)[0] %
                                           static_cast<std::uint64_t>(high - low + 1));
  }
  template <class T>
  T pick(std::initializer_list<T> values) {
    return values.begin()[roll(0, static_cast<std::int64_t>(values.size()) - 1)];
  }

 private:
  std::uint64_t stream_;
  std::uint64_t next_ = 0;
};

template <class T>
std::vector<T> random_values(std::int64_t count, std::uint64_t seed) {
  Generator generator{seed};
  return uniform({count}, -1, 1, generator, dtype_of<T>).template to_vector<T>();
}

}  // namespace

ConvProblem random_problem(std::uint64_t number, DType dtype) {
  Dice dice(number);
  ConvProblem problem;
  problem.dtype = dtype;
  problem.dims = static_cast<int>(dice.roll(1, 3));
  problem.batch = dice.roll(1, 3);
  problem.groups = dice.pick<std::int64_t>({1, 1, 1, 2, 3});
  problem.in_channels = problem.groups * dice.pick<std::int64_t>({1, 2, 3, 5, 14, 17, 33});
  problem.out_channels = problem.groups * dice.pick<std::int64_t>({1, 2, 6, 8, 15, 16, 31, 40, 65});
  for (int i = 0; i < problem.dims; ++i) {
    ConvAxis& axis = problem.axes[static_cast<std::size_t>(i)];
    axis.kernel = dice.roll(1, problem.dims == 3 ? 3 : 5);
    axis.stride = dice.pick<std::int64_t>({1, 1, 2, 3});
    axis.dilation = dice.pick<std::int64_t>({1, 1, 1, 2, 3});
    axis.padding = {dice.roll(0, 3), dice.roll(0, 3)};
    const std::int64_t shortest =
        std::max<std::int64_t>(1, axis.span() - axis.padding.before - axis.padding.after);
    axis.input = shortest + dice.roll(0, problem.dims == 1 ? 40 : problem.dims == 2 ? 14 : 5);
  }
  problem.padding_mode = dice.pick<PaddingMode>(
      {PaddingMode::zeros, PaddingMode::zeros, PaddingMode::zeros, PaddingMode::constant,
       PaddingMode::mean, PaddingMode::circular, PaddingMode::reflect, PaddingMode::replicate});
  if (problem.padding_mode == PaddingMode::constant)
    problem.padding_value = static_cast<double>(dice.roll(-16, 16)) / 8;
  for (ConvAxis& axis : problem.axes) {
    const std::int64_t most = std::max(axis.padding.before, axis.padding.after);
    if (problem.padding_mode == PaddingMode::reflect) axis.input = std::max(axis.input, most + 1);
  }
  problem.validate();
  return problem;
}

template <class T>
ConvBuffers<T> random_buffers(const ConvProblem& problem, std::uint64_t seed) {
  return {random_values<T>(problem.input_shape().numel(), seed * 3),
          random_values<T>(problem.weight_shape().numel(), seed * 3 + 1),
          random_values<T>(problem.output_shape().numel(), seed * 3 + 2)};
}
template ConvBuffers<float> random_buffers(const ConvProblem&, std::uint64_t);
template ConvBuffers<double> random_buffers(const ConvProblem&, std::uint64_t);

template <class T>
std::vector<T> run_pass(const ConvProblem& problem, Pass pass, std::string_view algorithm,
                        const ConvBuffers<T>& buffers) {
  const Plan plan = make_plan(problem, pass, {.algorithm = algorithm});
  std::vector<T> result;
  const auto run = [&](const std::vector<T>& first, const std::vector<T>& second,
                       std::size_t size) {
    result.assign(size, T(-77));  // a value that must not survive
    run_conv(plan, first.data(), second.data(), result.data());
  };
  switch (pass) {
    case Pass::forward:
      run(buffers.x, buffers.w, buffers.y.size());
      break;
    case Pass::backward_data:
      run(buffers.y, buffers.w, buffers.x.size());
      break;
    case Pass::backward_weights:
      run(buffers.x, buffers.y, buffers.w.size());
      break;
  }
  return result;
}
template std::vector<float> run_pass(const ConvProblem&, Pass, std::string_view,
                                     const ConvBuffers<float>&);
template std::vector<double> run_pass(const ConvProblem&, Pass, std::string_view,
                                      const ConvBuffers<double>&);

std::string problem_for(std::string_view algorithm, Pass pass) {
  for (const char* descriptor :
       {"mb2ic3ih12oc5kh3ph1", "g40ic40ih8oc40kh3ph1", "mb2ic5ih1oc7kh1"}) {
    for (const Candidate& asked : make_plan(ConvProblem::parse(descriptor), pass).candidates) {
      if (asked.algorithm == algorithm && !asked.refusal) return descriptor;
    }
  }
  return {};
}

std::int64_t reduction_length(const ConvProblem& problem, Pass pass) {
  switch (pass) {
    case Pass::forward:
      return problem.in_channels / problem.groups * problem.taps();
    case Pass::backward_data: {
      // A padding cell may be a copy of this one, or take part in the mean.
      std::int64_t copies = 1;
      for (const ConvAxis& axis : problem.axes)
        copies *= 1 + axis.padding.before + axis.padding.after;
      if (problem.padding_mode == PaddingMode::zeros) copies = 1;
      return problem.out_channels / problem.groups * problem.taps() * copies;
    }
    case Pass::backward_weights:
      return problem.output_positions();
  }
  return 0;
}

}  // namespace fovea::testing
