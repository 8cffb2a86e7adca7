// One convolution as a problem: its geometry, the algorithms that can compute it, and the choice
// among them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/dtype.h"
#include "fovea/export.h"
#include "fovea/shape.h"
#include "fovea/tensor.h"

namespace fovea {

// Padding cells before and after one spatial dimension.
struct Sides {
  std::int64_t before = 0;
  std::int64_t after = 0;
  friend bool operator==(const Sides&, const Sides&) = default;
};

// What a padding cell holds: zero; one constant; the mean of its channel in its sample [B]; or a
// copy of an input cell: circular goes round as often as needed [A, B, C], reflect mirrors at the
// edge cell (at most input - 1 cells), replicate repeats the edge cell.
enum class PaddingMode : std::uint8_t { zeros, constant, mean, circular, reflect, replicate };
inline constexpr std::array<PaddingMode, 6> kPaddingModes = {
    PaddingMode::zeros,    PaddingMode::constant, PaddingMode::mean,
    PaddingMode::circular, PaddingMode::reflect,  PaddingMode::replicate};
FOVEA_API std::string_view name(PaddingMode mode);

// The three linear maps of a convolution y = conv(x, w), given g = dL/dy: y, dL/dx and dL/dw [B].
enum class Pass : std::uint8_t { forward, backward_data, backward_weights };
inline constexpr std::array<Pass, 3> kPasses = {Pass::forward, Pass::backward_data,
                                                Pass::backward_weights};
FOVEA_API std::string_view name(Pass pass);

// What `auto` may take: fast, any algorithm, as cuDNN does; in float32 the relative error of the
// fastest is about 1e-6. exact: only those that add the products as they are
// (Candidate::error_growth of 1), not winograd or fft. These combine many inputs in each result:
// one that is infinite or not a number makes more results so than the definition does; with `exact`
// it does not.
enum class Precision : std::uint8_t { fast, exact };
inline constexpr std::array<Precision, 2> kPrecisions = {Precision::fast, Precision::exact};
FOVEA_API std::string_view name(Precision precision);

// What an epilogue (functions.h) may do to sums: the function of that name.
enum class Activation : std::uint8_t {
  none,
  relu,
  relu6,
  leaky_relu,
  sigmoid,
  tanh,
  gelu,
  silu,
  hardswish
};
inline constexpr std::array<Activation, 9> kActivations = {
    Activation::none,       Activation::relu,    Activation::relu6,
    Activation::leaky_relu, Activation::sigmoid, Activation::tanh,
    Activation::gelu,       Activation::silu,    Activation::hardswish};
FOVEA_API std::string_view name(Activation activation);

// The sizes of one spatial dimension, and the only home of the output-size formula.
struct FOVEA_API ConvAxis {
  std::int64_t input = 1;
  std::int64_t kernel = 1;
  std::int64_t stride = 1;
  std::int64_t dilation = 1;  // 1: dense
  Sides padding;

  // Cells that the dilated kernel spans: dilation * (kernel - 1) + 1.
  std::int64_t span() const { return dilation * (kernel - 1) + 1; }
  // floor((input + before + after - span) / stride) + 1
  std::int64_t output() const {
    return (input + padding.before + padding.after - span()) / stride + 1;
  }
  // Of the adjoint, conv_transpose, over the same input: (input - 1) * stride - before - after +
  // span + output_padding
  std::int64_t transposed_output(std::int64_t output_padding = 0) const {
    return (input - 1) * stride - padding.before - padding.after + span() + output_padding;
  }
  // The padding that gives ceil(input / stride) outputs, as little as possible; an odd cell goes
  // after (as TensorFlow's and ONNX' SAME_UPPER) or, `lower`, before.
  Sides same_padding(bool lower = false) const;
  // The padding with which the output is every place where the kernel meets an input cell.
  Sides full_padding() const { return {span() - 1, span() - 1}; }
  friend bool operator==(const ConvAxis&, const ConvAxis&) = default;
};

// y[n,o,p] = sum over c,k of w[o,c,k] * x[n, g*C/G + c, p*stride - before + k*dilation]; memory is
// channels-last. x [batch, in_channels, input...], w [out_channels, in_channels/groups, kernel...],
// y [batch, out_channels, output...].
struct FOVEA_API ConvProblem {
  std::int64_t batch = 1;
  std::int64_t in_channels = 1;
  std::int64_t out_channels = 1;
  std::int64_t groups = 1;
  int dims = 2;                  // 1, 2 or 3
  std::array<ConvAxis, 3> axes;  // axes[0 .. dims), outermost first
  PaddingMode padding_mode = PaddingMode::zeros;
  double padding_value = 0;  // what cells of constant padding hold; 0 in every other mode
  DType dtype = DType::float32;

  // Throws Error, naming `op`, unless every number makes sense and the output is not empty.
  void validate(std::string_view op = "conv") const;

  Shape input_shape() const;
  Shape weight_shape() const;
  Shape output_shape() const;
  std::int64_t taps() const;              // product of the kernel sizes
  std::int64_t output_positions() const;  // batch times the product of the output sizes
  // Multiply-adds of one pass, padding cells counted: output positions * out_channels * in_channels
  // / groups * taps.
  std::int64_t multiply_adds() const;

  // The descriptor line: oneDNN benchdnn's form (mb16ic64ih56oc64oh56kh3ph1; dh0 is dense there),
  // with the suffixes "+ph0:1" for padding that differs before:after, "+circular" (or another mode;
  // "+constant:0.5") for what it holds, and "+f64" for the type.
  std::string to_string() const;
  // Throws Error that points at the first character it cannot read, or if the problem does not
  // validate.
  static ConvProblem parse(std::string_view descriptor);

  friend bool operator==(const ConvProblem&, const ConvProblem&) = default;
};

// An estimate of the work of one pass.
struct ConvCost {
  double multiply_adds = 0;  // those really executed, waste included
  double bytes = 0;          // memory that must move at least once
  double cycles = 0;         // of one core, by a model with constants for the SIMD target in use
  bool one_thread = false;   // whether more cores do not help
};

// One way to compute a convolution, as the program and the tests see it.
struct FOVEA_API ConvAlgorithmInfo {
  std::string_view name;
  std::string_view summary;  // one sentence
};

// Every algorithm, in the order in which they are asked.
FOVEA_API std::span<const ConvAlgorithmInfo> algorithms();

// What one algorithm answers to one problem.
struct Candidate {
  std::string_view algorithm;
  std::optional<std::string> refusal;  // why not, in one sentence; the rest is empty then
  std::string passed_over;             // why another one was chosen; empty for the one that was
  ConvCost predicted;
  // Bytes of packed weights, padded copies, tiles and partial sums, for up to 32 threads. Tables of
  // addresses, at most 64 KiB for each thread, come on top.
  std::size_t workspace = 0;
  // 1: the n products of a result are added as they are, and its error is at most about n * u * sum
  // |a b|, u being half the distance from 1 to the next number. More: terms cancel, and the bound
  // is n * u * error_growth * n * max |a| * max |b|; what is measured is far less.
  double error_growth = 1;
};

inline constexpr std::int64_t kNoWorkspaceLimit = INT64_MAX;

// What the choice depends on beside the problem.
struct PlanOptions {
  std::string_view algorithm = "auto";  // a name of algorithms(), to force one
  Precision precision = Precision::fast;
  std::int64_t workspace_limit =
      kNoWorkspaceLimit;  // bytes; Candidate::workspace may not exceed it
};

// The choice for one problem and pass: a pure function of its arguments, the SIMD target and the
// plans in use (fovea/plan.h), never of timings taken meanwhile or of the number of threads, so
// that results are the same bits everywhere.
struct FOVEA_API Plan {
  ConvProblem problem;
  Pass pass = Pass::forward;
  std::string_view algorithm;
  std::string reason;                 // why this one, in one sentence
  std::vector<Candidate> candidates;  // all that were asked, in order
};

// Chooses for algorithm "auto": what a plan in use names, or else the one with the fewest predicted
// cycles. Or checks the one named: throws Error if there is none of that name, it refuses, it is
// not as precise as was asked for, or it needs more workspace than it may.
FOVEA_API Plan make_plan(const ConvProblem& problem, Pass pass, const PlanOptions& options = {});

// The algorithm of the last convolution pass that this thread ran; empty before the first.
FOVEA_API std::string_view last_algorithm();

// Runs one pass on raw channels-last memory: (x, w) -> y, (g, w) -> dx, (x, g) -> dw; w in [out,
// in/groups, kernel...] row-major order. Pointers are to elements of problem.dtype.
FOVEA_API void run_conv(const Plan& plan, const void* first, const void* second, void* result);
// The same on tensors of exactly the problem's shapes, channels-last, weights row-major; throws
// Error otherwise. What an algorithm derives from the weights (packing) is kept with them from the
// second call on until they change.
FOVEA_API void run_conv(const Plan& plan, const Tensor& first, const Tensor& second,
                        Tensor& result);

}  // namespace fovea
