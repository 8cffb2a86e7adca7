// Epilogues: which kernel computes which activation.
#include "conv/epilogue.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "fovea/executor.h"
#include "kernels/curve.h"
#include "kernels/elementwise.h"

namespace fovea {
namespace conv {
namespace {

constexpr std::int64_t kGrain = 32768;  // results of one task

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
  const auto unary = [&](kernels::Unary op) {
    kernels::unary(op, {.columns = count}, results, results);
  };
  const auto curve = [&](kernels::Curve f) {
    kernels::curve(f, {.a = slope_}, count, results, results);
  };
  switch (activation_) {
    case Activation::none:
    case Activation::relu:
    case Activation::relu6:
      return;
    case Activation::leaky_relu:
      return curve(kernels::Curve::leaky_relu);
    case Activation::sigmoid:
      return unary(kernels::Unary::sigmoid);
    case Activation::tanh:
      return unary(kernels::Unary::tanh);
    case Activation::gelu:
      return curve(kernels::Curve::gelu);
    case Activation::silu:
      return curve(kernels::Curve::silu);
    case Activation::hardswish:
      return curve(kernels::Curve::hardswish);
  }
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
  const auto share = [](double x) { return 1 / (1 + std::exp(-x)); };
  switch (activation) {
    case Activation::none:
      return value;
    case Activation::relu:
      return value > 0 || std::isnan(value) ? value : 0;
    case Activation::relu6:
      return std::isnan(value) ? value : std::clamp(value, 0.0, 6.0);
    case Activation::leaky_relu:
      return value > 0 ? value : slope * value;
    case Activation::sigmoid:
      return share(value);
    case Activation::tanh:
      return std::tanh(value);
    case Activation::gelu:
      return value * std::erfc(-value * std::sqrt(0.5)) / 2;
    case Activation::silu:
      return value * share(value);
    case Activation::hardswish:
      return value * std::clamp(value / 6 + 0.5, 0.0, 1.0);
  }
  FOVEA_ASSERT(false);
}

}  // namespace conv

std::string_view name(Activation activation) {
  switch (activation) {
    case Activation::none:
      return "none";
    case Activation::relu:
      return "relu";
    case Activation::relu6:
      return "relu6";
    case Activation::leaky_relu:
      return "leaky_relu";
    case Activation::sigmoid:
      return "sigmoid";
    case Activation::tanh:
      return "tanh";
    case Activation::gelu:
      return "gelu";
    case Activation::silu:
      return "silu";
    case Activation::hardswish:
      return "hardswish";
  }
  FOVEA_ASSERT(false);
}

}  // namespace fovea
