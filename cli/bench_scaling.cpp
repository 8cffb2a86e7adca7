// fovea bench scaling: how the cost of a convolution grows when its channels, image, kernel, batch
// or the threads double, held against how its arithmetic grows.
//
// All sizes of one quantity are timed in turns, so that what else the machine does meets them
// alike. To add a quantity: a line in the list below.
#include <fmt/format.h>
#include <fovea/fovea.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bench.h"
#include "bench_problems.h"
#include "harness.h"
#include "support.h"
#include "workload.h"

namespace cli {
namespace {

using fovea::ConvAxis;
using fovea::ConvProblem;
using fovea::Pass;

constexpr const char* kBase = "mb4ic64ih56oc64kh3ph1";
constexpr double kTolerated = 15;  // percent that a step may cost beyond its arithmetic

struct ScalingOptions {
  BenchOptions common;
  ProblemOptions problems;  // its passes
  AlgorithmOptions algorithm;
  std::string base = kBase;
  int doublings = 2;
  std::string output;
};

// ---- The quantities. Each multiplies a part of the problem by up/down, where that is whole.

struct Factor {
  std::int64_t up = 1;
  std::int64_t down = 1;
};

bool scale(std::int64_t& value, const Factor& factor) {
  if (value * factor.up % factor.down != 0) return false;
  value = value * factor.up / factor.down;
  return true;
}

bool scale_channels(ConvProblem& problem, const Factor& factor) {
  const bool depthwise = problem.groups > 1 && problem.groups == problem.in_channels;
  return scale(problem.in_channels, factor) && scale(problem.out_channels, factor) &&
         (!depthwise || scale(problem.groups, factor));
}

bool scale_image(ConvProblem& problem, const Factor& factor) {
  return std::all_of(problem.axes.begin(), problem.axes.begin() + problem.dims,
                     [&](ConvAxis& axis) { return scale(axis.input, factor); });
}

// The padding goes along, so that the output stays as large.
bool scale_kernel(ConvProblem& problem, const Factor& factor) {
  return std::all_of(problem.axes.begin(), problem.axes.begin() + problem.dims,
                     [&](ConvAxis& axis) {
                       const std::int64_t span = axis.span();
                       if (!scale(axis.kernel, factor)) return false;
                       const std::int64_t more = axis.span() - span;
                       axis.padding.before += more / 2;
                       axis.padding.after += more - more / 2;
                       return true;
                     });
}

bool scale_batch(ConvProblem& problem, const Factor& factor) {
  return scale(problem.batch, factor);
}

struct Quantity {
  const char* name;
  bool (*scale)(ConvProblem& problem, const Factor& factor);
  std::int64_t (*value)(const ConvProblem& problem);
};
constexpr std::array<Quantity, 4> kSizes = {{
    {"channels", scale_channels, [](const ConvProblem& p) { return p.in_channels; }},
    {"image side", scale_image, [](const ConvProblem& p) { return p.axes[0].input; }},
    {"kernel side", scale_kernel, [](const ConvProblem& p) { return p.axes[0].kernel; }},
    {"batch", scale_batch, [](const ConvProblem& p) { return p.batch; }},
}};
constexpr const char* kThreads = "threads";

// ---- What is measured

struct Point {
  std::int64_t value = 0;
  int threads = 1;
  fovea::Plan plan;
  double seconds = 0;
  // Multiply-adds of one thread, if they were shared evenly.
  double arithmetic() const { return static_cast<double>(plan.problem.multiply_adds()) / threads; }
};

// One quantity and pass, in the order of the values.
struct Sweep {
  std::string quantity;
  Pass pass = Pass::forward;
  std::vector<Point> points;

  double expected_growth(std::size_t i) const {
    return points[i].arithmetic() / points[i - 1].arithmetic();
  }
  double growth(std::size_t i) const { return points[i].seconds / points[i - 1].seconds; }
  // By how many percent the step to point i costs more than its arithmetic.
  double excess(std::size_t i) const { return 100 * (growth(i) / expected_growth(i) - 1); }
  bool is_over(std::size_t i) const { return i > 0 && excess(i) > kTolerated; }
};

// Nothing where the sizes make no convolution, or one that the algorithm refuses.
std::optional<Point> point_of(const ScalingOptions& options, const ConvProblem& base,
                              const Quantity& quantity, Pass pass, const Factor& factor) {
  ConvProblem problem = base;
  if (!quantity.scale(problem, factor)) return std::nullopt;
  try {
    problem.validate();
    Point point{.value = quantity.value(problem),
                .threads = fovea::num_threads(),
                .plan = fovea::make_plan(problem, pass, options.algorithm.plan())};
    require_memory("bench scaling", problem);
    return point;
  } catch (const fovea::Error&) {
    return std::nullopt;
  }
}

Sweep sweep_sizes(const ScalingOptions& options, const ConvProblem& base, const Quantity& quantity,
                  Pass pass) {
  Sweep sweep{.quantity = quantity.name, .pass = pass, .points = {}};
  for (int power = -options.doublings; power <= options.doublings; ++power) {
    const Factor factor{.up = std::int64_t{1} << std::max(power, 0),
                        .down = std::int64_t{1} << std::max(-power, 0)};
    if (auto point = point_of(options, base, quantity, pass, factor))
      sweep.points.push_back(std::move(*point));
  }
  return sweep;
}

Sweep sweep_threads(const ScalingOptions& options, const ConvProblem& base, Pass pass) {
  Sweep sweep{.quantity = kThreads, .pass = pass, .points = {}};
  for (int threads = 1; threads <= fovea::num_threads(); threads *= 2) {
    sweep.points.push_back({.value = threads,
                            .threads = threads,
                            .plan = fovea::make_plan(base, pass, options.algorithm.plan())});
  }
  return sweep;
}

void measure(Sweep& sweep, double seconds) {
  std::vector<std::shared_ptr<bench::ConvWork>> work;
  std::vector<bench::Side> sides;
  for (const Point& point : sweep.points) {
    work.push_back(std::make_shared<bench::ConvWork>(point.plan));
    sides.push_back(
        {.name = std::to_string(point.value), .call = [one = work.back(), threads = point.threads] {
           // The call that does not count starts them.
           if (fovea::num_threads() != threads) fovea::set_num_threads(threads);
           one->run();
         }});
  }
  const std::vector<double> medians = bench::median_seconds(sides, {.seconds = seconds});
  for (std::size_t i = 0; i < medians.size(); ++i) sweep.points[i].seconds = medians[i];
}

// ---- Reporting

void print_points(const Sweep& sweep) {
  for (std::size_t i = 0; i < sweep.points.size(); ++i) {
    const Point& point = sweep.points[i];
    Json line = {
        {"quantity", sweep.quantity},        {"value", point.value},
        {"pass", fovea::name(sweep.pass)},   {"problem", point.plan.problem.to_string()},
        {"algorithm", point.plan.algorithm}, {"threads", point.threads},
        {"ms", point.seconds * 1e3},         {"multiply_adds", point.plan.problem.multiply_adds()}};
    if (i > 0) {
      line["arithmetic_growth"] = sweep.expected_growth(i);
      line["time_growth"] = sweep.growth(i);
      line["excess_percent"] = sweep.excess(i);
      line["over"] = sweep.is_over(i);
    }
    print_json(line);
  }
}

std::string step_of(const std::string& from, const std::string& to) {
  return from == to ? from : from + " -> " + to;
}

void print_table(const std::vector<Sweep>& sweeps) {
  Table table({"quantity", "step", "pass", "algorithm", "ms", "arithmetic", "time", "beyond", ""},
              4);
  int steps = 0;
  int over = 0;
  for (const Sweep& sweep : sweeps) {
    for (std::size_t i = 1; i < sweep.points.size(); ++i) {
      const Point& from = sweep.points[i - 1];
      const Point& to = sweep.points[i];
      ++steps;
      over += sweep.is_over(i) ? 1 : 0;
      table.add({sweep.quantity, step_of(std::to_string(from.value), std::to_string(to.value)),
                 std::string(fovea::name(sweep.pass)),
                 step_of(std::string(from.plan.algorithm), std::string(to.plan.algorithm)),
                 fmt::format("{:.4f}", to.seconds * 1e3),
                 fmt::format("x{:.2f}", sweep.expected_growth(i)),
                 fmt::format("x{:.2f}", sweep.growth(i)), fmt::format("{:+.0f} %", sweep.excess(i)),
                 sweep.is_over(i) ? "*" : ""});
    }
  }
  table.print();
  fmt::print("{} of {} steps cost over {} % more than the arithmetic that they add{}\n", over,
             steps, kTolerated, over > 0 ? " (*)" : "");
}

fovea::explain::ChartLine line_of(const Sweep& sweep) {
  fovea::explain::ChartLine line{
      .name = std::string(fovea::name(sweep.pass)), .points = {}, .expected = {}};
  for (std::size_t i = 0; i < sweep.points.size(); ++i) {
    const Point& point = sweep.points[i];
    line.points.push_back(
        {.x = static_cast<double>(point.value),
         .y = point.seconds * 1e3,
         .marked = sweep.is_over(i),
         .note = fmt::format("{}, {} threads, {}: {:.4f} ms", point.plan.problem.to_string(),
                             point.threads, point.plan.algorithm, point.seconds * 1e3)});
    line.expected.push_back(line.points.front().y * point.arithmetic() /
                            sweep.points.front().arithmetic());
  }
  return line;
}

std::string picture(const ConvProblem& base, const std::vector<Sweep>& sweeps) {
  std::vector<fovea::explain::ChartPanel> panels;
  for (const Sweep& sweep : sweeps) {
    if (panels.empty() || panels.back().title != sweep.quantity)
      panels.push_back({.title = sweep.quantity, .x = sweep.quantity, .y = "ms", .lines = {}});
    panels.back().lines.push_back(line_of(sweep));
  }
  return fovea::explain::chart_svg(
      fmt::format("The cost of {}, one quantity doubled at a time", base.to_string()), panels,
      {"dashed: in proportion to the arithmetic",
       fmt::format("ring: a step of over {} % more", kTolerated)});
}

void bench_scaling(const ScalingOptions& options) {
  if (options.common.threads.size() > 1)
    throw Misuse("--threads: one number here, the most threads; fewer are measured beside it");
  const ConvProblem base = problems_of_descriptors({options.base}).front().problem;
  require_memory("bench scaling", base);
  const std::vector<Pass> passes = chosen_passes(options.problems);
  for (const Pass pass : passes) fovea::make_plan(base, pass, options.algorithm.plan());
  for_threads(options.common, [&] {
    const int threads = fovea::num_threads();
    std::vector<Sweep> sweeps;
    const auto add = [&](Sweep sweep) {
      measure(sweep, options.common.seconds);
      if (options.common.json) print_points(sweep);
      sweeps.push_back(std::move(sweep));
      fovea::set_num_threads(threads);
    };
    for (const Quantity& quantity : kSizes) {
      for (const Pass pass : passes) add(sweep_sizes(options, base, quantity, pass));
    }
    for (const Pass pass : passes) add(sweep_threads(options, base, pass));
    if (!options.common.json) print_table(sweeps);
    if (!options.output.empty()) fovea::write_text(options.output, picture(base, sweeps));
  });
}

}  // namespace

Action bench_scaling_command(CLI::App& app) {
  const auto options = std::make_shared<ScalingOptions>();
  app.add_option("base", options->base, "The problem whose sizes are doubled and halved")
      ->capture_default_str()
      ->type_name("DESCRIPTOR");
  app.add_option("--doublings", options->doublings,
                 "How often a size is doubled, and halved where that is whole")
      ->check(whole_number(1, 10))
      ->capture_default_str()
      ->type_name("N");
  add_passes(app, options->problems);
  add_algorithm(app, options->algorithm);
  app.add_option("--output", options->output, "Write a picture to this file, as SVG")
      ->type_name("FILE.svg");
  add_bench_options(app, options->common, /*peers=*/false);
  app.footer(
      "Examples:\n  fovea bench scaling --output scaling.svg\n"
      "  fovea bench scaling mb1ic32ih28oc32kh3ph1 --algorithm direct --passes fwd");
  return [options] { bench_scaling(*options); };
}

}  // namespace cli
