// fovea bench ops: every operator that is bound by memory, against a memory copy.
//
// The bytes of a pass are those that it must move: each tensor read or written once, and twice
// where nothing can be written before all was read (statistics over a batch). To add an operator: a
// line in the list below, whose first word is the operator's name; a test compares them with the
// library's operators.
#include <fmt/format.h>
#include <fovea/fovea.h>

#include <algorithm>
#include <functional>
#include <memory>

#include "bench.h"
#include "harness.h"
#include "support.h"

namespace cli {
namespace {

using fovea::Shape;
using fovea::Tensor;

// How often a pass reads or writes a tensor of the size of the input, of the output, and the
// locally connected weights.
struct Moves {
  double inputs = 0;
  double outputs = 0;
  double weights = 0;

  bool nothing() const { return inputs == 0 && outputs == 0 && weights == 0; }
};

// What the operators work on, all of the shape that was asked for; made at first use where only one
// of them needs it.
struct Operands {
  Tensor x;
  Tensor other;     // in (0.5, 2)
  Tensor weight;    // per channel
  Tensor bias;      // per channel
  Tensor mean;      // per channel
  Tensor variance;  // per channel
  Tensor columns;   // patches of x
  Tensor pooled;    // largest values of x
  Tensor positions;
  Tensor local_weight;
  Tensor labels;
  fovea::Generator generator{.seed = 5};
};

struct OperatorBench {
  const char* name;
  std::function<Tensor(Operands&)> call;
  Moves forward;
  Moves backward;                       // none: nothing is computed
  Tensor Operands::*of = &Operands::x;  // whose gradient it is
};

template <Tensor (*kFunction)(const Tensor&)>
Tensor of_x(Operands& o) {
  return kFunction(o.x);
}
template <Tensor (*kFunction)(const Tensor&, const Tensor&)>
Tensor of_both(Operands& o) {
  return kFunction(o.x, o.other);
}

Tensor per_channel(const Tensor& values, int rank) {
  Shape shape = Shape::filled(rank - 1, 1);
  shape[0] = values.size(0);
  return values.reshape(shape);
}

Tensor norm_of_batch(Operands& o, bool training) {
  return fovea::batch_norm(o.x, o.mean, o.variance, o.weight, o.bias, {.training = training});
}

Shape without_batch(const Shape& shape) {
  return Shape(std::span<const std::int64_t>(shape.begin() + 1, shape.end()));
}

// 3 x 3 patches with a border.
constexpr std::int64_t kPatch = 3;

Tensor fold_columns(Operands& o) {
  const fovea::WindowOptions window = {.padding = kPatch / 2};
  if (!o.columns.defined()) o.columns = fovea::unfold(o.x, kPatch, window);
  return fovea::fold(o.columns, {o.x.size(2), o.x.size(3)}, kPatch, window);
}

Tensor locally_connected(Operands& o) {
  constexpr std::int64_t kOutputs = 8;
  if (!o.local_weight.defined()) {
    const Shape shape = {o.x.size(2) * o.x.size(3), kOutputs, o.x.size(1) * kPatch * kPatch};
    o.local_weight = fovea::uniform(shape, -1, 1, o.generator);
  }
  return fovea::locally_connected2d(o.x, o.local_weight, kPatch, {}, {.padding = kPatch / 2});
}

Tensor unpool(Operands& o) {
  if (!o.pooled.defined()) {
    const fovea::MaxPoolResult result = fovea::max_pool_with_positions(o.x, 2);
    o.pooled = result.values;
    o.positions = result.positions;
  }
  return fovea::max_unpool(o.pooled, o.positions, {o.x.size(2), o.x.size(3)});
}

// One class for each cell of space.
template <Tensor (*kLoss)(const Tensor&, const Tensor&)>
Tensor classification(Operands& o) {
  if (!o.labels.defined())
    o.labels = Tensor::zeros({o.x.size(0), o.x.size(2), o.x.size(3)}, fovea::DType::int64);
  return kLoss(o.x, o.labels);
}

Tensor cross_entropy(const Tensor& logits, const Tensor& labels) {
  return fovea::cross_entropy(logits, labels);
}

// The gradient of an operator whose own is g times something: of g, what it multiplies, and dx.
constexpr Moves kOfOutput = {1, 2};
constexpr Moves kOfInput = {2, 1};
constexpr Moves kOnce = {1, 1};
// The gradient is g itself, or g seen in another way.
constexpr Moves kNothing = {};
// Of one of two inputs: g, both of them, and what is computed.
constexpr Moves kOfChoice = {3, 1};
// Positions are int64: two elements of the output's size each.
constexpr Moves kWithPositions = {1, 3};

const std::vector<OperatorBench>& operator_list() {
  static const std::vector<OperatorBench> list = {
      {"max_pool", [](Operands& o) { return fovea::max_pool(o.x, 2); }, kOnce, kWithPositions},
      {"max_pool 3/2",
       [](Operands& o) { return fovea::max_pool(o.x, 3, {.stride = 2, .padding = 1}); }, kOnce,
       kWithPositions},
      {"avg_pool", [](Operands& o) { return fovea::avg_pool(o.x, 2); }, kOnce, kOnce},
      {"avg_pool 3/2",
       [](Operands& o) { return fovea::avg_pool(o.x, 3, {.stride = 2, .padding = 1}); }, kOnce,
       kOnce},
      {"max_unpool", unpool, {0.75, 1}, {0.75, 1}, &Operands::pooled},
      {"lp_pool", [](Operands& o) { return fovea::lp_pool(o.x, 2, 2); }, kOnce, {2, 2}},
      {"adaptive_max_pool", [](Operands& o) { return fovea::adaptive_max_pool(o.x, 7); }, kOnce,
       kWithPositions},
      {"adaptive_avg_pool", [](Operands& o) { return fovea::adaptive_avg_pool(o.x, 7); }, kOnce,
       kOnce},
      {"global_max_pool", of_x<fovea::global_max_pool>, kOnce, kWithPositions},
      {"global_avg_pool", of_x<fovea::global_avg_pool>, kOnce, kOnce},
      {"batch_norm", [](Operands& o) { return norm_of_batch(o, false); }, kOnce, {3, 2}},
      {"batch_norm training", [](Operands& o) { return norm_of_batch(o, true); }, {2, 1}, {3, 2}},
      {"group_norm", [](Operands& o) { return fovea::group_norm(o.x, 1, o.weight, o.bias); }, kOnce,
       kOfInput},
      {"instance_norm", [](Operands& o) { return fovea::instance_norm(o.x, o.weight, o.bias); },
       kOnce, kOfInput},
      {"layer_norm", [](Operands& o) { return fovea::layer_norm(o.x, without_batch(o.x.shape())); },
       kOnce, kOfInput},
      {"local_response_norm", [](Operands& o) { return fovea::local_response_norm(o.x, 5); }, kOnce,
       kOfInput},
      {"relu", of_x<fovea::relu>, kOnce, kOfOutput},
      {"leaky_relu", [](Operands& o) { return fovea::leaky_relu(o.x); }, kOnce, kOfInput},
      {"elu", [](Operands& o) { return fovea::elu(o.x); }, kOnce, kOfInput},
      {"sigmoid", of_x<fovea::sigmoid>, kOnce, kOfOutput},
      {"tanh", of_x<fovea::tanh>, kOnce, kOfOutput},
      {"gelu", of_x<fovea::gelu>, kOnce, kOfInput},
      {"silu", of_x<fovea::silu>, kOnce, kOfInput},
      {"hardswish", of_x<fovea::hardswish>, kOnce, kOfInput},
      {"relu6", of_x<fovea::relu6>, kOnce, kOfInput},
      {"softplus", of_x<fovea::softplus>, kOnce, kOfInput},
      {"softmax", [](Operands& o) { return fovea::softmax(o.x, 1); }, kOnce, kOfOutput},
      {"log_softmax", [](Operands& o) { return fovea::log_softmax(o.x, 1); }, kOnce, kOfOutput},
      {"dropout", [](Operands& o) { return fovea::dropout(o.x, 0.5, o.generator); }, kOnce, kOnce},
      {"dropout2d", [](Operands& o) { return fovea::dropout2d(o.x, 0.5, o.generator); }, kOnce,
       kOnce},
      {"abs", of_x<fovea::abs>, kOnce, kOfInput},
      {"clamp", [](Operands& o) { return fovea::clamp(o.x, -0.5, 0.5); }, kOnce, kOfInput},
      {"neg", of_x<fovea::neg>, kOnce, kOnce},
      {"exp", of_x<fovea::exp>, kOnce, kOfOutput},
      {"erf", of_x<fovea::erf>, kOnce, kOfInput},
      {"log", [](Operands& o) { return fovea::log(o.other); }, kOnce, kOfInput, &Operands::other},
      {"sqrt", [](Operands& o) { return fovea::sqrt(o.other); }, kOnce, kOfOutput,
       &Operands::other},
      {"pow", [](Operands& o) { return fovea::pow(o.other, 1.5); }, kOnce, kOfInput,
       &Operands::other},
      {"add_scalar", [](Operands& o) { return o.x + 0.5; }, kOnce, kNothing},
      {"mul_scalar", [](Operands& o) { return o.x * 0.5; }, kOnce, kOnce},
      {"cast", [](Operands& o) { return o.x.to(fovea::DType::float64); }, kOnce, kOnce},
      {"add", of_both<fovea::add>, {2, 1}, kNothing},
      {"sub", of_both<fovea::sub>, {2, 1}, kOnce, &Operands::other},
      {"mul", of_both<fovea::mul>, {2, 1}, kOfInput},
      {"div", of_both<fovea::div>, {2, 1}, kOfInput},
      {"maximum", of_both<fovea::maximum>, {2, 1}, kOfChoice},
      {"minimum", of_both<fovea::minimum>, {2, 1}, kOfChoice},
      {"add per channel",
       [](Operands& o) { return o.x + per_channel(o.bias, o.x.rank()); },
       kOnce,
       {0, 1},
       &Operands::bias},
      {"mul per channel", [](Operands& o) { return o.x * per_channel(o.weight, o.x.rank()); },
       kOnce, kOnce},
      {"sum", [](Operands& o) { return fovea::sum(o.x); }, {1, 0}, kNothing},
      {"mean", [](Operands& o) { return fovea::mean(o.x); }, {1, 0}, kNothing},
      {"max", [](Operands& o) { return fovea::max(o.x); }, {1, 0}, {2, 0}},
      {"broadcast",
       [](Operands& o) {
         const Tensor seen = fovea::broadcast_to(per_channel(o.bias, o.x.rank()), o.x.shape());
         return seen.contiguous(fovea::Layout::channels_last);
       },
       {0, 1},
       {0, 1},
       &Operands::bias},
      {"contiguous", [](Operands& o) { return o.x.contiguous(fovea::Layout::row_major); }, kOnce,
       kNothing},
      {"slice", [](Operands& o) { return o.x.slice(2, 0, o.x.size(2), 2); }, kNothing, kOnce},
      {"flip",
       [](Operands& o) {
         return fovea::flip(o.x, {2, 3});
       },
       kOnce, kOnce},
      {"pad", [](Operands& o) { return fovea::pad(o.x, 1); }, kOnce, kOnce},
      {"unfold", [](Operands& o) { return fovea::unfold(o.x, kPatch, {.padding = kPatch / 2}); },
       kOnce, kOnce},
      {"fold", fold_columns, {kPatch * kPatch, 1}, {kPatch * kPatch, 1}, &Operands::columns},
      {"locally_connected", locally_connected, {1, 1, 1}, {1, 1, 1}},
      {"upsample nearest", [](Operands& o) { return fovea::upsample(o.x); }, kOnce, kOnce},
      {"upsample linear",
       [](Operands& o) { return fovea::upsample(o.x, {.mode = fovea::Interpolation::linear}); },
       kOnce, kOnce},
      {"concat",
       [](Operands& o) {
         return fovea::concat({o.x, o.other});
       },
       {2, 1},
       kNothing},
      {"nll_loss", classification<fovea::nll_loss>, {1, 0}, {1, 0}},
      {"cross_entropy", classification<cross_entropy>, {1, 0}, {2, 0}},
      {"mse_loss", of_both<fovea::mse_loss>, {2, 0}, {3, 0}},
      {"bce_with_logits", of_both<fovea::bce_with_logits>, {2, 0}, {3, 0}},
  };
  return list;
}

struct BenchOpsOptions {
  BenchOptions common;
  std::vector<std::string> operators;  // empty: all
  std::string shape = "16x64x56x56";
};

std::vector<const OperatorBench*> chosen_operators(const std::vector<std::string>& names) {
  std::vector<const OperatorBench*> chosen;
  for (const OperatorBench& each : operator_list()) {
    if (names.empty() || std::find(names.begin(), names.end(), each.name) != names.end()) {
      chosen.push_back(&each);
    }
  }
  return chosen;
}

CLI::Validator known_operator() {
  return {[](std::string& name) {
            std::string known;
            for (const OperatorBench& each : operator_list()) {
              if (name == each.name) return std::string();
              known += (known.empty() ? "" : ", ") + std::string(each.name);
            }
            return fmt::format("there is no operator '{}'; known: {}", name, known);
          },
          "OPERATOR"};
}

Operands operands_of(const Shape& shape) {
  fovea::Generator generator{.seed = 1};
  const auto values = [&](double low, double high) {
    return fovea::uniform(shape, low, high, generator).contiguous(fovea::Layout::channels_last);
  };
  const auto channels = [&](double low, double high) {
    return fovea::uniform({shape[1]}, low, high, generator);
  };
  return {.x = values(-2, 2),
          .other = values(0.5, 2),
          .weight = channels(0.5, 2),
          .bias = channels(-1, 1),
          .mean = channels(-1, 1),
          .variance = channels(0.5, 2),
          .columns = {},
          .pooled = {},
          .positions = {},
          .local_weight = {},
          .labels = {}};
}

double bytes_of(const Tensor& tensor) {
  return static_cast<double>(tensor.numel()) * static_cast<double>(fovea::size_of(tensor.dtype()));
}

class Report {
 public:
  Report(const BenchOpsOptions& options, const Shape& shape, double copy_gbytes)
      : json_(options.common.json), shape_(shape), copy_(copy_gbytes) {
    if (json_) return;
    fmt::print("{}, {} threads, {}: copy {:.1f} GB/s\n{:<20}  {:<8}  {:>9}  {:>9}  {:>7}  {:>6}\n",
               fovea::simd_target(), fovea::num_threads(), join_sizes(shape), copy_, "operator",
               "pass", "ms", "MB moved", "GB/s", "% copy");
  }

  void add(const char* name, const char* pass, double bytes, double seconds) const {
    const double rate = bytes / seconds * 1e-9;
    if (json_) {
      print_json({{"operator", name},
                  {"pass", pass},
                  {"shape", sizes_json(shape_)},
                  {"threads", fovea::num_threads()},
                  {"ms", seconds * 1e3},
                  {"bytes", bytes},
                  {"gbytes", rate},
                  {"copy_gbytes", copy_},
                  {"percent_of_copy", 100 * rate / copy_}});
      return;
    }
    fmt::print("{:<20}  {:<8}  {:>9.4f}  {:>9.2f}  {:>7.1f}  {:>6.0f}\n", name, pass, seconds * 1e3,
               bytes * 1e-6, rate, 100 * rate / copy_);
    std::fflush(stdout);
  }

 private:
  bool json_;
  Shape shape_;
  double copy_;
};

double median(const BenchOpsOptions& options, const std::function<void()>& call) {
  return bench::median_seconds({{.name = "fovea", .call = call}},
                               {.seconds = options.common.seconds})
      .front();
}

void measure(const OperatorBench& each, Operands& operands, const BenchOpsOptions& options,
             const Report& report) {
  const auto moved = [&](const Moves& moves, const Tensor& y) {
    double bytes = moves.inputs * bytes_of(operands.x) + moves.outputs * bytes_of(y);
    if (moves.weights > 0) bytes += moves.weights * bytes_of(operands.local_weight);
    return bytes;
  };
  if (!each.forward.nothing()) {
    const fovea::NoGrad no_grad;
    const Tensor y = each.call(operands);
    report.add(each.name, "forward", moved(each.forward, y),
               median(options, [&] { each.call(operands); }));
  }
  if (each.backward.nothing()) return;
  Tensor& of = operands.*each.of;
  of = of.detach().set_requires_grad();
  const Tensor y = each.call(operands);
  fovea::Generator generator{.seed = 2};
  const Tensor g = fovea::uniform(y.shape(), -1, 1, generator)
                       .to(y.dtype())
                       .contiguous(fovea::Layout::channels_last);
  const fovea::GradOptions keep = {.retain_graph = true, .grad_outputs = {g}};
  report.add(each.name, "backward", moved(each.backward, y),
             median(options, [&] { fovea::grad({y}, {of}, keep); }));
  of = of.detach();
}

void bench_ops(const BenchOpsOptions& options) {
  const Shape shape = parse_sizes(options.shape, "--shape");
  if (shape.rank() != 4) {
    throw Misuse(
        fmt::format("--shape: {} has {} sizes, expected 4: NxCxHxW", options.shape, shape.rank()));
  }
  for_threads(options.common, [&] {
    const Report report(options, shape, fovea::measure_machine().copy_gbytes);
    Operands operands = operands_of(shape);
    for (const OperatorBench* each : chosen_operators(options.operators)) {
      measure(*each, operands, options, report);
    }
  });
}

}  // namespace

Action bench_ops_command(CLI::App& app) {
  const auto options = std::make_shared<BenchOpsOptions>();
  app.add_option("operators", options->operators, "Which ones (default: all)")
      ->check(known_operator())
      ->type_name("OPERATOR");
  app.add_option("--shape", options->shape, "Of the input, NxCxHxW, channels-last in memory")
      ->capture_default_str()
      ->type_name("SIZES");
  add_bench_options(app, options->common, /*peers=*/false);
  app.footer("Example:\n  fovea bench ops max_pool relu --threads 1,2");
  return [options] { bench_ops(*options); };
}

}  // namespace cli
