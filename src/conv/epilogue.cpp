// Epilogues: what each activation is, and which kernel computes it.
#include "conv/epilogue.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/check.h"
#include "fovea/executor.h"
#include "kernels/curve.h"
#include "kernels/elementwise.h"

namespace fovea {
namespace conv {
namespace {

constexpr std::int64_t kGrain = 32768;  // results of one task

double share(double x) {
  return 1 / (1 + std::exp(-x));
}

// An activation: its definition, and the kernel that computes it where it is no matter of bounds.
struct Line {
  Activation activation;
  std::string_view name;
  double (*value)(double slope, double x);
  std::optional<kernels::Unary> unary;
  std::optional<kernels::Curve> curve;
};

constexpr Line kLines[] = {
    {Activation::none, "none", [](double, double x) { return x; }, {}, {}},
    {Activation::relu,
     "relu",
     [](double, double x) { return x > 0 || std::isnan(x) ? x : 0; },
     {},
     {}},
    {Activation::relu6,
     "relu6",
     [](double, double x) { return std::isnan(x) ? x : std::clamp(x, 0.0, 6.0); },
     {},
     {}},
    {Activation::leaky_relu,
     "leaky_relu",
     [](double slope, double x) { return x > 0 ? x : slope * x; },
     {},
     kernels::Curve::leaky_relu},
    {Activation::sigmoid,
     "sigmoid",
     [](double, double x) { return share(x); },
     kernels::Unary::sigmoid,
     {}},
    {Activation::tanh,
     "tanh",
     [](double, double x) { return std::tanh(x); },
     kernels::Unary::tanh,
     {}},
    {Activation::gelu,
     "gelu",
     [](double, double x) { return x * std::erfc(-x * std::sqrt(0.5)) / 2; },
     {},
     kernels::Curve::gelu},
    {Activation::silu,
     "silu",
     [](double, double x) { return x * share(x); },
     {},
     kernels::Curve::silu},
    {Activation::hardswish,
     "hardswish",
     [](double, double x) { return x * std::clamp(x / 6 + 0.5, 0.0, 1.0); },
     {},
     kernels::Curve::hardswish},
};
static_assert(std::ranges::equal(kLines, kActivations, {}, &Line::activation));

const Line& line_of(Activation activation) {
  return kLines[static_cast<std::size_t>(activation)];
}

}  // namespace

template <class T>
Finish<T>::Finish(const ConvArgs& args)
    : activation_(args.activation), slope_(args.activation_slope) {
  if (args.residual != nullptr) {
    epilogue_.results = static_cast<const T*>(args.result);
    epilogue_.residual = static_cast<const T*>(args.residual);
  }
  const bool bounds = activation_ == Activation::relu || activation_ == Activation::relu6;
  if (bounds) epilogue_.low = T(0);
  if (activation_ == Activation::relu6) epilogue_.high = T(6);
  stores_ = args.residual != nullptr || bounds;
  remains_ = !bounds && activation_ != Activation::none;
}

template <class T>
void Finish<T>::rest(std::int64_t count, T* results) const {
  const Line& line = line_of(activation_);
  if (line.unary) kernels::unary(*line.unary, {.columns = count}, results, results);
  if (line.curve) kernels::curve(*line.curve, {.a = slope_}, count, results, results);
}

template <class T>
void Finish<T>::all(std::int64_t count, T* results) const {
  if (stores_) kernels::finish(epilogue_, count, results);
  if (remains_) rest(count, results);
}

template class Finish<float>;
template class Finish<double>;

template <class T>
void finish_results(const ConvProblem& problem, const ConvArgs& args) {
  const Finish<T> finish(args);
  if (finish.at_store() == nullptr && !finish.remains()) return;
  T* const results = static_cast<T*>(args.result);
  parallel_ranges(
      problem.output_shape().numel(), kGrain,
      [&](std::int64_t first, std::int64_t last) { finish.all(last - first, results + first); });
}
template void finish_results<float>(const ConvProblem&, const ConvArgs&);
template void finish_results<double>(const ConvProblem&, const ConvArgs&);

double activate(Activation activation, double slope, double value) {
  return line_of(activation).value(slope, value);
}

}  // namespace conv

std::string_view name(Activation activation) {
  return conv::line_of(activation).name;
}

}  // namespace fovea
