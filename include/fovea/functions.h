// The operators, as functions. Every one checks its arguments (Error), works in float32 and
// float64, and is recorded for gradients of any order. Shapes are [N, C, spatial...].
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fovea/conv.h"
#include "fovea/export.h"
#include "fovea/random.h"
#include "fovea/tensor.h"

namespace fovea {

// One number for all spatial dimensions, or one per dimension: 2 or {2, 1}.
class FOVEA_API Spatial {
 public:
  Spatial(std::int64_t all) : values_{all} {}
  Spatial(int all) : values_{all} {}
  Spatial(std::initializer_list<std::int64_t> each) : values_(each) {}
  explicit Spatial(const Shape& each) : values_(each) {}
  // The value of each of `dims` dimensions; throws Error, naming `what`, if their number differs.
  Shape expand(int dims, std::string_view what) const;
  // The numbers as they were given.
  const Shape& values() const { return values_; }

 private:
  Shape values_;
};

// Padding amounts: one number, one per dimension {2, 1}, {before, after} per dimension {{0, 1},
// {0, 1}}, or a rule by which they follow from the other sizes.
class FOVEA_API Padding {
 public:
  Padding(std::int64_t all) : values_{{all, all}} {}
  Padding(int all) : values_{{all, all}} {}
  Padding(std::initializer_list<std::int64_t> each);
  Padding(std::initializer_list<Sides> each) : values_(each) {}
  explicit Padding(std::vector<Sides> each) : values_(std::move(each)) {}
  // ceil(input / stride) outputs, and where the cells are odd in number, one more after
  // (TensorFlow's SAME, ONNX' SAME_UPPER) or, same_lower, before.
  static Padding same() { return Padding(Rule::same); }
  static Padding same_lower() { return Padding(Rule::same_lower); }
  // dilation * (kernel - 1) on both sides: every place where the kernel meets an input cell.
  static Padding full() { return Padding(Rule::full); }

  // The amounts for these axes, whose own padding is not read; throws Error, naming `what`, if as
  // many were not given.
  std::vector<Sides> resolve(std::span<const ConvAxis> axes, std::string_view what) const;
  // Whether it is same or same_lower, which fix the size of the output.
  bool is_same() const { return rule_ == Rule::same || rule_ == Rule::same_lower; }
  // "1", "2x1", "0:1x2", "same"
  std::string to_string() const;

 private:
  enum class Rule : std::uint8_t { amounts, same, same_lower, full };
  explicit Padding(Rule rule) : rule_(rule) {}

  std::vector<Sides> values_;
  Rule rule_ = Rule::amounts;
};

struct ConvOptions {
  Spatial stride = 1;
  Padding padding = 0;  // a negative amount crops, in modes zeros and constant
  PaddingMode padding_mode = PaddingMode::zeros;
  double padding_value = 0;  // of padding_mode constant
  Spatial dilation = 1;
  // The input with input_dilation - 1 zeros between its cells: fractional striding [A], as it is
  // drawn; the zeros are multiplied. conv_transpose computes the same without them. With
  // padding_mode zeros only.
  Spatial input_dilation = 1;
  std::int64_t groups = 1;
  bool flip = false;                    // read the kernel backwards in every dimension [A]
  std::string_view algorithm = "auto";  // a name of algorithms(), to force one
};

// Cross-correlation [A; D section 2]: y[n,o,p] = b[o] + sum over c,k of w[o,c,k] x[n, g*C/G + c,
// p*stride - pad + k*dilation]. input [N, C, spatial...], weight [C_out, C/groups, kernel...], bias
// [C_out], or [C_out, output...] for one per position (untied), or undefined -> [N, C_out,
// output...].
FOVEA_API Tensor conv1d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                        const ConvOptions& options = {});
FOVEA_API Tensor conv2d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                        const ConvOptions& options = {});
FOVEA_API Tensor conv3d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                        const ConvOptions& options = {});

struct ConvTransposeOptions {
  Spatial stride = 1;
  Padding padding = 0;  // of the convolution that this is the adjoint of; same gives input * stride
  PaddingMode padding_mode = PaddingMode::zeros;
  Spatial output_padding = 0;  // cells more at the end; less than the stride or the dilation
  Spatial output_size = 0;     // wanted instead of an output_padding; 0: none
  Spatial dilation = 1;
  std::int64_t groups = 1;
  bool flip = false;
  std::string_view algorithm = "auto";
};

// The adjoint of convolution with the same options, learned up-sampling [A]; no inserted zeros are
// multiplied. input [N, C_in, spatial...], weight [C_in, C_out/groups, kernel...], bias [C_out] or
// [C_out, output...] or undefined -> [N, C_out, (spatial - 1) * stride - before - after + dilation
// * (kernel - 1) + output_padding + 1...].
FOVEA_API Tensor conv_transpose1d(const Tensor& input, const Tensor& weight,
                                  const Tensor& bias = {},
                                  const ConvTransposeOptions& options = {});
FOVEA_API Tensor conv_transpose2d(const Tensor& input, const Tensor& weight,
                                  const Tensor& bias = {},
                                  const ConvTransposeOptions& options = {});
FOVEA_API Tensor conv_transpose3d(const Tensor& input, const Tensor& weight,
                                  const Tensor& bias = {},
                                  const ConvTransposeOptions& options = {});

struct WindowOptions {
  Spatial stride = 1;
  Padding padding = 0;
  PaddingMode padding_mode = PaddingMode::zeros;
  double padding_value = 0;  // of padding_mode constant
  Spatial dilation = 1;
};

// Patches as columns [B, C, D]: column p holds what the kernel reads at output position p, channel
// by channel. input [N, C, spatial...] -> [N, C * taps, positions].
FOVEA_API Tensor unfold(const Tensor& input, const Spatial& kernel,
                        const WindowOptions& options = {});
// The adjoint of unfold of an input of `size`: adds each column to the patch that it came from.
// columns [N, C * taps, positions] -> [N, C, size...].
FOVEA_API Tensor fold(const Tensor& columns, const Spatial& size, const Spatial& kernel,
                      const WindowOptions& options = {});

struct LocallyConnectedOptions {
  Spatial stride = 1;
  Padding padding = 0;
  PaddingMode padding_mode = PaddingMode::zeros;
  double padding_value = 0;  // of padding_mode constant
  Spatial dilation = 1;
  std::int64_t groups = 1;
};

// Convolution with a weight matrix of its own for each output position [C]. input [N, C_in,
// spatial...], weight [positions, C_out, C_in/groups * taps], its last axis in the order of a
// convolution's weight; bias [C_out] or [C_out, output...] or undefined -> [N, C_out, output...].
FOVEA_API Tensor locally_connected1d(const Tensor& input, const Tensor& weight,
                                     const Spatial& kernel, const Tensor& bias = {},
                                     const LocallyConnectedOptions& options = {});
FOVEA_API Tensor locally_connected2d(const Tensor& input, const Tensor& weight,
                                     const Spatial& kernel, const Tensor& bias = {},
                                     const LocallyConnectedOptions& options = {});
FOVEA_API Tensor locally_connected3d(const Tensor& input, const Tensor& weight,
                                     const Spatial& kernel, const Tensor& bias = {},
                                     const LocallyConnectedOptions& options = {});

struct PadOptions {
  PaddingMode mode = PaddingMode::zeros;
  double value = 0;  // of mode constant
};
// Adds cells around the spatial axes, or, where an amount is negative, takes cells away (modes
// zeros and constant). input [N, C, spatial...] -> [N, C, padded...].
FOVEA_API Tensor pad(const Tensor& input, const Padding& amounts, const PadOptions& options = {});

struct PoolOptions {
  Spatial stride = 0;    // 0: the window size
  Spatial padding = 0;   // at most half the window
  Spatial dilation = 1;  // max pooling only
};

struct MaxPoolResult {
  Tensor values;     // [N, C, output...]
  Tensor positions;  // int64, as values: the flat index of the maximum in its input plane
};

// Maximum over windows [D section 3]; padding never wins; the gradient flows to the first maximum.
// input [N, C, spatial...] of one to three spatial dimensions, as many as `window` has -> [N, C,
// output...].
FOVEA_API Tensor max_pool(const Tensor& input, const Spatial& window,
                          const PoolOptions& options = {});
FOVEA_API MaxPoolResult max_pool_with_positions(const Tensor& input, const Spatial& window,
                                                const PoolOptions& options = {});

struct AvgPoolOptions {
  Spatial stride = 0;             // 0: the window size
  Spatial padding = 0;            // at most half the window
  bool count_include_pad = true;  // divide by the whole window, padding cells included
};
// Mean over windows [D section 3]. Shapes as max_pool.
FOVEA_API Tensor avg_pool(const Tensor& input, const Spatial& window,
                          const AvgPoolOptions& options = {});
// Mean over all positions [D section 3.1]: [N, C, spatial...] -> [N, C, 1...].
FOVEA_API Tensor global_avg_pool(const Tensor& input);

// y = x w^T + b. input [N, in], weight [out, in], bias [out] or undefined -> [N, out].
FOVEA_API Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias = {});
// [M, K] x [K, N] -> [M, N].
FOVEA_API Tensor matmul(const Tensor& a, const Tensor& b);
// Reverses the order along `axes`.
FOVEA_API Tensor flip(const Tensor& input, const Shape& axes);
// All axes from `start` on become one, in C, H, W order.
FOVEA_API Tensor flatten(const Tensor& input, int start = 1);

FOVEA_API Tensor relu(const Tensor& input);     // max(x, 0)
FOVEA_API Tensor sigmoid(const Tensor& input);  // 1 / (1 + e^-x)
FOVEA_API Tensor tanh(const Tensor& input);
FOVEA_API Tensor exp(const Tensor& input);
FOVEA_API Tensor log(const Tensor& input);  // natural logarithm
FOVEA_API Tensor sqrt(const Tensor& input);
FOVEA_API Tensor neg(const Tensor& input);

// Element-wise, with NumPy's broadcasting. Both of one floating type.
FOVEA_API Tensor add(const Tensor& a, const Tensor& b);
FOVEA_API Tensor sub(const Tensor& a, const Tensor& b);
FOVEA_API Tensor mul(const Tensor& a, const Tensor& b);
FOVEA_API Tensor div(const Tensor& a, const Tensor& b);
inline Tensor operator+(const Tensor& a, const Tensor& b) {
  return add(a, b);
}
inline Tensor operator-(const Tensor& a, const Tensor& b) {
  return sub(a, b);
}
inline Tensor operator*(const Tensor& a, const Tensor& b) {
  return mul(a, b);
}
inline Tensor operator/(const Tensor& a, const Tensor& b) {
  return div(a, b);
}
inline Tensor operator-(const Tensor& a) {
  return neg(a);
}
FOVEA_API Tensor operator+(const Tensor& a, double b);
FOVEA_API Tensor operator-(const Tensor& a, double b);
FOVEA_API Tensor operator*(const Tensor& a, double b);
FOVEA_API Tensor operator/(const Tensor& a, double b);
FOVEA_API Tensor operator+(double a, const Tensor& b);
FOVEA_API Tensor operator-(double a, const Tensor& b);
FOVEA_API Tensor operator*(double a, const Tensor& b);
FOVEA_API Tensor operator/(double a, const Tensor& b);

// Sum and mean over `axes`, or over everything where none is named.
FOVEA_API Tensor sum(const Tensor& input, const Shape& axes = {}, bool keep_axes = false);
FOVEA_API Tensor mean(const Tensor& input, const Shape& axes = {}, bool keep_axes = false);
// Repeats axes of size one up to `shape`, without copying.
FOVEA_API Tensor broadcast_to(const Tensor& input, const Shape& shape);

// Over one axis: e^x / sum e^x and its logarithm, computed after subtracting the maximum.
FOVEA_API Tensor softmax(const Tensor& input, int axis = 1);
FOVEA_API Tensor log_softmax(const Tensor& input, int axis = 1);

// Zeroes each element with probability `p` and scales the rest by 1 / (1 - p) [D section 6]. Takes
// one stream of `generator`.
FOVEA_API Tensor dropout(const Tensor& input, double p, Generator& generator);

// Mean over the batch of -log p[label]. log_probabilities [N, classes], labels int64 [N] -> [].
FOVEA_API Tensor nll_loss(const Tensor& log_probabilities, const Tensor& labels);
// nll_loss of log_softmax. logits [N, classes], labels int64 [N] -> [].
FOVEA_API Tensor cross_entropy(const Tensor& logits, const Tensor& labels);

}  // namespace fovea
