// fovea conv: one convolution explained, and run: sizes, cost, what other layers would cost, and
// the plan of each pass.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "commands.h"
#include "conv_explain.h"
#include "conv_matrix.h"
#include "conv_search.h"
#include "support.h"

namespace cli {
namespace {

using fovea::ConvAxis;
using fovea::ConvProblem;
using fovea::Pass;
using fovea::Shape;

struct ConvCommandOptions {
  std::string descriptor;
  std::string input;
  std::int64_t filters = 0;
  std::string kernel;
  std::string stride = "1";
  std::string padding = "0";
  std::string padding_mode = "zeros";
  double padding_value = 0;
  std::string dilation = "1";
  std::int64_t groups = 1;
  std::int64_t batch = 1;
  AlgorithmOptions algorithm;
  std::string pass;  // empty: all three
  bool explain = false;
  bool search = false;
  std::string plan_file;
  MatrixOptions matrices;
  bool json = false;
};

constexpr const char* kAxisNames[3][3] = {
    {"length", "", ""}, {"height", "width", ""}, {"depth", "height", "width"}};

const char* axis_name(const ConvProblem& problem, int d) {
  return kAxisNames[problem.dims - 1][d];
}

const ConvAxis& axis_of(const ConvProblem& problem, int d) {
  return problem.axes[static_cast<std::size_t>(d)];
}

// "3" for every dimension, or one number each: "3x5".
Shape per_dimension(const std::string& text, int dims, const std::string& option,
                    std::int64_t least = 1) {
  const Shape given = parse_sizes(text, option, least);
  if (given.rank() == dims) return given;
  if (given.rank() == 1) return Shape::filled(dims, given[0]);
  throw Misuse(fmt::format("{}: '{}' has {} numbers, but --input has {} spatial sizes", option,
                           text, given.rank(), dims));
}

// "same", "same_lower", "full", or one amount or BEFORE:AFTER, for every dimension or each: "1",
// "0:1x2".
fovea::Padding parse_padding(const std::string& text) {
  if (text == "same") return fovea::Padding::same();
  if (text == "same_lower") return fovea::Padding::same_lower();
  if (text == "full") return fovea::Padding::full();
  std::vector<fovea::Sides> sides;
  const char* next = text.data();
  const char* const end = next + text.size();
  const auto number = [&] {
    std::int64_t value = 0;
    const auto [after, error] = std::from_chars(next, end, value);
    if (error != std::errc() || value < 0) {
      throw Misuse(
          fmt::format("--padding: cannot read '{}'; write same, same_lower, full, or amounts such "
                      "as 1, 2x1 or 0:1",
                      text));
    }
    next = after;
    return value;
  };
  do {
    if (!sides.empty()) ++next;
    const std::int64_t before = number();
    const bool differs = next != end && *next == ':';
    if (differs) ++next;
    sides.push_back({before, differs ? number() : before});
  } while (next != end && *next == 'x');
  if (next != end) number();  // cannot be read: says so
  return fovea::Padding(sides);
}

fovea::PaddingMode parse_padding_mode(const std::string& name) {
  for (const fovea::PaddingMode mode : fovea::kPaddingModes) {
    if (fovea::name(mode) == name) return mode;
  }
  throw Misuse(fmt::format("there is no padding mode '{}'", name));
}

ConvProblem problem_from_options(const ConvCommandOptions& options) {
  if (options.filters == 0 || options.kernel.empty())
    throw Misuse("--input needs --filters and --kernel beside it");
  const Shape input = parse_sizes(options.input, "--input");
  const int dims = input.rank() - 1;
  if (dims < 1 || dims > 3) {
    throw Misuse(fmt::format(
        "--input: '{}' must be channels and one to three spatial sizes, such as 64x56x56",
        options.input));
  }
  const Shape kernel = per_dimension(options.kernel, dims, "--kernel");
  const Shape stride = per_dimension(options.stride, dims, "--stride");
  const Shape dilation = per_dimension(options.dilation, dims, "--dilation");
  ConvProblem problem;
  problem.batch = options.batch;
  problem.in_channels = input[0];
  problem.out_channels = options.filters;
  problem.groups = options.groups;
  problem.dims = dims;
  problem.padding_mode = parse_padding_mode(options.padding_mode);
  problem.padding_value = options.padding_value;
  for (int d = 0; d < dims; ++d) {
    problem.axes[static_cast<std::size_t>(d)] = {.input = input[d + 1],
                                                 .kernel = kernel[d],
                                                 .stride = stride[d],
                                                 .dilation = dilation[d],
                                                 .padding = {}};
  }
  const std::span<ConvAxis> axes(problem.axes.data(), static_cast<std::size_t>(dims));
  const std::vector<fovea::Sides> padding =
      parse_padding(options.padding).resolve(axes, "--padding");
  for (std::size_t d = 0; d < axes.size(); ++d) axes[d].padding = padding[d];
  problem.validate();
  return problem;
}

// A problem that makes no sense is a command line that makes none.
ConvProblem read_problem(const ConvCommandOptions& options) {
  if (options.descriptor.empty() == options.input.empty()) {
    throw Misuse(
        "give either a descriptor, such as ic64ih56oc64kh3ph1, or --input, --filters and --kernel");
  }
  try {
    return options.input.empty() ? ConvProblem::parse(options.descriptor)
                                 : problem_from_options(options);
  } catch (const fovea::Error& error) {
    throw Misuse(error.what());
  }
}

std::string output_formula(const ConvAxis& axis) {
  return fmt::format("floor(({} + {} + {} - {}*({} - 1) - 1) / {}) + 1 = {}", axis.input,
                     axis.padding.before, axis.padding.after, axis.dilation, axis.kernel,
                     axis.stride, axis.output());
}

struct PassReport {
  fovea::Plan plan;
  double seconds = 0;
  double gflops = 0;  // two operations per multiply-add
};

PassReport run_pass(const ConvProblem& problem, Pass pass, const fovea::PlanOptions& options) {
  PassReport report{.plan = fovea::make_plan(problem, pass, options)};
  report.seconds = fovea::time_plan(report.plan);
  report.gflops = 2e-9 * static_cast<double>(problem.multiply_adds()) / report.seconds;
  return report;
}

void print_problem(const ConvProblem& problem, const fovea::explain::ConvArithmetic& cost) {
  fmt::print("{}\n", problem.to_string());
  fmt::print("  input  {}  weight {}  output {}\n", problem.input_shape().to_string(),
             problem.weight_shape().to_string(), problem.output_shape().to_string());
  fmt::print(
      "output size: floor((input + before + after - dilation*(kernel - 1) - 1) / stride) + 1\n");
  for (int d = 0; d < problem.dims; ++d) {
    fmt::print("  {:<6} {}\n", axis_name(problem, d), output_formula(axis_of(problem, d)));
  }
  Table table({"", "weights", "biases", "multiply-adds"}, 1);
  const std::int64_t cells = problem.output_positions() / problem.batch * problem.out_channels;
  table.add({"this convolution", grouped(cost.weights), grouped(problem.out_channels),
             grouped(cost.multiply_adds)});
  table.add({"locally connected", grouped(cost.locally_connected), grouped(cells),
             grouped(cost.multiply_adds)});
  table.add({"fully connected", grouped(cost.fully_connected), grouped(cells),
             grouped(cost.fully_connected_multiply_adds)});
  table.print();
  fmt::print("input cells that no window reads: {} of {} per channel\n", grouped(cost.unread),
             grouped(cost.positions));
}

void print_pass(const PassReport& report) {
  fmt::print("{}: {}\n", fovea::name(report.plan.pass), report.plan.algorithm);
  fmt::print("  {}\n", report.plan.reason);
  for (const fovea::Candidate& candidate : report.plan.candidates) {
    if (candidate.refusal) {
      fmt::print("  {}: refuses: {}\n", candidate.algorithm, *candidate.refusal);
    } else {
      fmt::print("  {}: executes {} multiply-adds, moves {}, workspace {}\n", candidate.algorithm,
                 grouped(candidate.predicted.multiply_adds),
                 readable_bytes(candidate.predicted.bytes),
                 readable_bytes(static_cast<double>(candidate.workspace)));
    }
  }
  fmt::print("  measured {}, {:.1f} GFLOP/s\n", readable_seconds(report.seconds), report.gflops);
}

Json problem_json(const ConvProblem& problem, const fovea::explain::ConvArithmetic& cost) {
  Json axes = Json::array();
  for (int d = 0; d < problem.dims; ++d) {
    axes.push_back({{"axis", axis_name(problem, d)},
                    {"formula", output_formula(axis_of(problem, d))},
                    {"output", axis_of(problem, d).output()}});
  }
  return {{"problem", problem.to_string()},
          {"input", sizes_json(problem.input_shape())},
          {"weight", sizes_json(problem.weight_shape())},
          {"output", sizes_json(problem.output_shape())},
          {"axes", axes},
          {"weights", cost.weights},
          {"biases", problem.out_channels},
          {"multiply_adds", count_json(cost.multiply_adds)},
          {"locally_connected_weights", count_json(cost.locally_connected)},
          {"fully_connected_weights", count_json(cost.fully_connected)},
          {"fully_connected_multiply_adds", count_json(cost.fully_connected_multiply_adds)},
          {"positions", cost.positions},
          {"unread", cost.unread}};
}

Json pass_json(const PassReport& report) {
  Json candidates = Json::array();
  for (const fovea::Candidate& candidate : report.plan.candidates) {
    Json entry = {{"algorithm", candidate.algorithm}};
    if (candidate.refusal) {
      entry["refusal"] = *candidate.refusal;
    } else {
      entry["multiply_adds"] = count_json(candidate.predicted.multiply_adds);
      entry["bytes"] = count_json(candidate.predicted.bytes);
      entry["predicted_cycles"] = candidate.predicted.cycles;
      entry["workspace_bytes"] = candidate.workspace;
    }
    candidates.push_back(std::move(entry));
  }
  return {{"pass", fovea::name(report.plan.pass)},
          {"algorithm", report.plan.algorithm},
          {"reason", report.plan.reason},
          {"seconds", report.seconds},
          {"gflops", report.gflops},
          {"candidates", candidates}};
}

// Each pass, as the options ask: explained, searched for, or run.
void show_passes(const ConvProblem& problem, const std::vector<Pass>& passes,
                 const ConvCommandOptions& options) {
  const fovea::PlanOptions plan = options.algorithm.plan();
  if (options.search) {
    search_passes(problem, passes,
                  {.precision = plan.precision, .workspace_limit = plan.workspace_limit},
                  options.plan_file, options.json);
    return;
  }
  use_plan_file(options.plan_file);
  if (options.explain) {
    const fovea::MachineSpeed speed = fovea::measure_machine(problem.dtype);
    for (const Pass pass : passes) explain_pass(problem, pass, plan, speed, options.json);
    return;
  }
  for (const Pass pass : passes) {
    const PassReport report = run_pass(problem, pass, plan);
    if (options.json)
      print_json(pass_json(report));
    else
      print_pass(report);
  }
}

void conv(const ConvCommandOptions& options) {
  std::vector<Pass> passes(fovea::kPasses.begin(), fovea::kPasses.end());
  if (!options.pass.empty()) passes = {parse_pass(options.pass, "--pass")};
  const ConvProblem problem = read_problem(options);
  require_memory("conv", problem);
  const bool matrices = options.matrices.matrix || options.matrices.patches;
  if (matrices) check_matrices(problem, options.matrices);
  const auto cost = fovea::explain::arithmetic(problem);
  if (options.json)
    print_json(problem_json(problem, cost));
  else
    print_problem(problem, cost);
  if (matrices) {
    show_matrices(problem, options.matrices, options.json);
  } else {
    show_passes(problem, passes, options);
  }
}

}  // namespace

Action conv_command(CLI::App& app) {
  const auto options = std::make_shared<ConvCommandOptions>();
  app.add_option("descriptor", options->descriptor,
                 "The problem in one line, as oneDNN's benchdnn writes it")
      ->type_name("DESCRIPTOR");
  const auto size_option = [&](const char* name, std::string& value, const char* help) {
    app.add_option(name, value, help)
        ->capture_default_str()
        ->type_name("N[xN..]")
        ->excludes("descriptor");
  };
  const auto count_option = [&](const char* name, std::int64_t& value, const char* help) {
    app.add_option(name, value, help)
        ->check(whole_number(1))
        ->type_name("N")
        ->excludes("descriptor");
  };
  size_option("--input", options->input, "Channels and one to three spatial sizes: 64x56x56");
  count_option("--filters", options->filters, "Output channels");
  size_option("--kernel", options->kernel, "Kernel size");
  size_option("--stride", options->stride, "Step between windows");
  app.add_option("--padding", options->padding,
                 "Cells on each side: same, same_lower, full, or amounts: 1, 2x1, 0:1")
      ->capture_default_str()
      ->type_name("PADDING")
      ->excludes("descriptor");
  std::vector<std::string> modes;
  modes.reserve(fovea::kPaddingModes.size());
  for (const fovea::PaddingMode mode : fovea::kPaddingModes) modes.emplace_back(fovea::name(mode));
  app.add_option("--padding-mode", options->padding_mode,
                 fmt::format("What they hold: one of {}", fmt::join(modes, ", ")))
      ->check(one_of(modes))
      ->capture_default_str()
      ->type_name("MODE")
      ->excludes("descriptor");
  app.add_option("--padding-value", options->padding_value, "The value of constant padding")
      ->type_name("VALUE")
      ->excludes("descriptor");
  size_option("--dilation", options->dilation, "Distance between taps");
  count_option("--groups", options->groups, "Groups of channels (default: 1)");
  count_option("--batch", options->batch, "Samples (default: 1)");
  add_algorithm(app, options->algorithm);
  app.add_option("--pass", options->pass, "Only one: fwd, bwd_d or bwd_w, or its full name")
      ->type_name("NAME");
  CLI::Option* explain =
      app.add_flag("--explain", options->explain,
                   "Run every algorithm: predicted and measured time, workspace, error against "
                   "reference, or why it refuses or is passed over");
  app.add_flag("--search", options->search,
               "Time the algorithms and, with --plan-file, add the fastest to that file")
      ->excludes(explain)
      ->excludes("--algorithm");
  add_plan_file(app, options->plan_file);
  MatrixOptions& matrices = options->matrices;
  CLI::Option* matrix = app.add_flag("--matrix", matrices.matrix,
                                     "Print the matrix of the convolution instead of the passes");
  app.add_flag("--patches", matrices.patches,
               "Print the matrix of the input's patches instead of the passes");
  app.add_option("--weights", matrices.weights,
                 "Numbers for --matrix, in the order of the weights; without, entries have names")
      ->delimiter(',')
      ->needs(matrix)
      ->type_name("X,Y,..");
  app.add_flag("--average-over-shifts", matrices.average,
               "After --matrix, its mean over all shifts: the nearest circular convolution")
      ->needs(matrix);
  add_threads(app);
  app.add_flag("--json", options->json, "Print one JSON object for the problem, then one per pass");
  app.footer(
      "A descriptor is letters, each with its number:\n"
      "  mb     samples (1 where it is left out)\n"
      "  ic oc  input and output channels\n"
      "  g      groups of channels (1)\n"
      "and, followed by d, h or w for depth, height or width,\n"
      "  i      input size\n"
      "  k      kernel size\n"
      "  s      stride (1)\n"
      "  p      padding on both sides (0)\n"
      "  d      dilation minus 1: dh0 is dense (0)\n"
      "  o      output size (what the others give)\n"
      "What is given for the outer dimension holds for the inner ones: ih56 is 56 x 56; iw56 "
      "alone\n"
      "is a signal. Behind that: +ph0:1 for padding before:after, +circular, +reflect, "
      "+replicate,\n"
      "+mean or +constant:0.5 for what the padding holds, +f64 for double precision.\n"
      "Examples:\n  fovea conv ic64ih56oc64kh3ph1\n"
      "  fovea conv mb16ic64ih56oc64kh3ph1 --explain --pass fwd\n"
      "  fovea conv mb16ic64ih56oc64kh3ph1 --search --plan-file plans.json\n"
      "  fovea conv --input 1x5 --filters 1 --kernel 3 --padding 1 --matrix --average-over-shifts\n"
      "  fovea conv --input 64x56x56 --filters 64 --kernel 3 --padding 1 --algorithm direct\n"
      "  fovea conv --input 3x224x224 --filters 16 --kernel 5 --padding same --padding-mode "
      "reflect");
  return [options] { conv(*options); };
}

}  // namespace cli
