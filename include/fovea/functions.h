// The operators, as functions. Every one checks its arguments (Error), works in float32 and
// float64, and is recorded for gradients of any order. Shapes are [N, C, spatial...].
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
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
  // The input with input_dilation - 1 zeros between its cells: fractional striding [A], computed as
  // conv_transpose, without them. Only where `stride` is larger (over all dimensions, their
  // products) are they multiplied, for that computes every result of stride 1. With padding_mode
  // zeros only.
  Spatial input_dilation = 1;
  std::int64_t groups = 1;
  // Read the kernel backwards in every dimension [A]; the backward one is kept with the weight.
  bool flip = false;
  std::string algorithm = "auto";         // a name of algorithms(), to force one
  Precision precision = Precision::fast;  // of this and of its gradients
  // Bytes of memory beside the tensors that this, and each gradient, may take.
  std::int64_t workspace_limit = kNoWorkspaceLimit;
};

// What a convolution or a linear layer does to its sums before it stores them, which saves passes
// over memory: activation(sums + bias + residual). Where a gradient is wanted, activations whose
// slope does not show in their output (gelu, silu, hardswish, and leaky_relu with a slope below 0)
// follow as an operator of their own, which keeps its input.
struct Epilogue {
  Tensor residual = {};  // of the output's shape, or undefined
  Activation activation = Activation::none;
  double slope = 0.01;  // of leaky_relu
};
// The activation alone; `slope` is that of leaky_relu.
FOVEA_API Tensor activate(const Tensor& input, Activation activation, double slope = 0.01);

// Cross-correlation [A; D section 2]: y[n,o,p] = b[o] + sum over c,k of w[o,c,k] x[n, g*C/G + c,
// p*stride - pad + k*dilation]. input [N, C, spatial...], weight [C_out, C/groups, kernel...], bias
// [C_out], or [C_out, output...] for one per position (untied), or undefined -> [N, C_out,
// output...].
FOVEA_API Tensor conv1d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                        const ConvOptions& options = {}, const Epilogue& epilogue = {});
FOVEA_API Tensor conv2d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                        const ConvOptions& options = {}, const Epilogue& epilogue = {});
FOVEA_API Tensor conv3d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                        const ConvOptions& options = {}, const Epilogue& epilogue = {});

struct ConvTransposeOptions {
  Spatial stride = 1;
  Padding padding = 0;  // of the convolution that this is the adjoint of; same gives input * stride
  PaddingMode padding_mode = PaddingMode::zeros;  // constant is as zeros: no adjoint has its value
  Spatial output_padding = 0;  // cells more at the end; less than the stride or the dilation
  Spatial output_size = 0;     // wanted instead of an output_padding; 0: none
  Spatial dilation = 1;
  std::int64_t groups = 1;
  bool flip = false;
  std::string algorithm = "auto";
  Precision precision = Precision::fast;
  std::int64_t workspace_limit = kNoWorkspaceLimit;
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
  Spatial stride = 0;   // 0: the window size
  Padding padding = 0;  // at most half the window
  Spatial dilation = 1;
  // A last window may hang over the padded input, unless it starts at or beyond input + before.
  bool ceil_mode = false;
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

// Max pooling to a given output size: window o of a dimension is [floor(o I / O), ceil((o + 1) I /
// O)). input [N, C, spatial...] -> [N, C, output...].
FOVEA_API Tensor adaptive_max_pool(const Tensor& input, const Spatial& output);
FOVEA_API MaxPoolResult adaptive_max_pool_with_positions(const Tensor& input,
                                                         const Spatial& output);
// Maximum over all positions: [N, C, spatial...] -> [N, C, 1...].
FOVEA_API Tensor global_max_pool(const Tensor& input);
// Puts each value in its place among zeros. values, positions [N, C, spatial...] as max pooling
// gives them -> [N, C, output...]; `output` is the size that was pooled. Of values with one place
// the last is kept.
FOVEA_API Tensor max_unpool(const Tensor& values, const Tensor& positions, const Spatial& output);

struct AvgPoolOptions {
  Spatial stride = 0;                 // 0: the window size
  Padding padding = 0;                // at most half the window
  bool ceil_mode = false;             // as in PoolOptions; what hangs over is never counted
  bool count_include_pad = true;      // divide by the whole window, padding cells included
  std::int64_t divisor_override = 0;  // divide by this number instead; 0: none
};
// Mean over windows [D section 3]. Shapes as max_pool.
FOVEA_API Tensor avg_pool(const Tensor& input, const Spatial& window,
                          const AvgPoolOptions& options = {});
// Mean pooling to a given output size; windows as adaptive_max_pool.
FOVEA_API Tensor adaptive_avg_pool(const Tensor& input, const Spatial& output);
// Mean over all positions [D section 3.1]: [N, C, spatial...] -> [N, C, 1...].
FOVEA_API Tensor global_avg_pool(const Tensor& input);

struct LpPoolOptions {
  Spatial stride = 0;      // 0: the window size
  bool ceil_mode = false;  // as in PoolOptions
};
// The p-norm (sum |x|^p)^(1/p) over windows, 1 <= p <= 1000. Shapes as max_pool.
FOVEA_API Tensor lp_pool(const Tensor& input, double p, const Spatial& window,
                         const LpPoolOptions& options = {});

struct BatchNormOptions {
  bool training = false;
  double momentum = 0.1;  // of the running statistics
  double eps = 1e-5;
};
// Batch normalisation [D section 5]: y = (x - mean) / sqrt(variance + eps) w + b per channel.
// Evaluation takes the running statistics; training takes the mean and the biased variance of the
// batch over N and space, and moves running <- (1 - momentum) running + momentum batch in place,
// with the unbiased variance. input [N, C] or [N, C, spatial...], everything else [C], weight and
// bias or undefined -> as input.
FOVEA_API Tensor batch_norm(const Tensor& input, Tensor running_mean, Tensor running_variance,
                            const Tensor& weight = {}, const Tensor& bias = {},
                            const BatchNormOptions& options = {});
// The same over each sample's groups of channels and space (Wu and He, 2018). weight and bias [C]
// or undefined.
FOVEA_API Tensor group_norm(const Tensor& input, std::int64_t groups, const Tensor& weight = {},
                            const Tensor& bias = {}, double eps = 1e-5);
// Over the space of each sample and channel.
FOVEA_API Tensor instance_norm(const Tensor& input, const Tensor& weight = {},
                               const Tensor& bias = {}, double eps = 1e-5);
// Over the last axes, whose sizes are `shape` (Ba et al., 2016). weight and bias of that shape or
// undefined.
FOVEA_API Tensor layer_norm(const Tensor& input, const Shape& shape, const Tensor& weight = {},
                            const Tensor& bias = {}, double eps = 1e-5);

struct ResponseNormOptions {
  double alpha = 1e-4;
  double beta = 0.75;
  double k = 1;
};
// y = x / (k + alpha / size sum x^2)^beta, summed over `size` neighbouring channels [D section 6].
FOVEA_API Tensor local_response_norm(const Tensor& input, std::int64_t size,
                                     const ResponseNormOptions& options = {});

// y = x w^T + b. input [..., in], weight [out, in], bias [out] or undefined -> [..., out].
FOVEA_API Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                        const Epilogue& epilogue = {});
// [..., M, K] x [..., K, N] -> [..., M, N]; the axes in front broadcast.
FOVEA_API Tensor matmul(const Tensor& a, const Tensor& b);
// Reverses the order along `axes`.
FOVEA_API Tensor flip(const Tensor& input, const Shape& axes);
// All axes from `start` on become one, in C, H, W order.
FOVEA_API Tensor flatten(const Tensor& input, int start = 1);

FOVEA_API Tensor relu(const Tensor& input);   // max(x, 0)
FOVEA_API Tensor relu6(const Tensor& input);  // clamp(x, 0, 6), with no slope at the ends
FOVEA_API Tensor leaky_relu(const Tensor& input, double slope = 0.01);  // slope x below zero
FOVEA_API Tensor elu(const Tensor& input, double scale = 1);  // scale (e^x - 1) below zero
FOVEA_API Tensor sigmoid(const Tensor& input);                // 1 / (1 + e^-x)
FOVEA_API Tensor tanh(const Tensor& input);
FOVEA_API Tensor gelu(const Tensor& input);       // x Phi(x), Phi of the normal distribution
FOVEA_API Tensor silu(const Tensor& input);       // x sigmoid(x)
FOVEA_API Tensor hardswish(const Tensor& input);  // x clamp(x / 6 + 1/2, 0, 1)
FOVEA_API Tensor softplus(const Tensor& input);   // log(1 + e^x)
FOVEA_API Tensor abs(const Tensor& input);
FOVEA_API Tensor erf(const Tensor& input);  // 2 / sqrt(pi) times the integral of e^(-t^2) to x
// Each element moved into [low, high]; the gradient flows where it was there already.
FOVEA_API Tensor clamp(const Tensor& input, double low, double high);
// x^exponent; of x < 0 a number only if the exponent is whole.
FOVEA_API Tensor pow(const Tensor& input, double exponent);
FOVEA_API Tensor exp(const Tensor& input);
FOVEA_API Tensor log(const Tensor& input);  // natural logarithm
FOVEA_API Tensor sqrt(const Tensor& input);
FOVEA_API Tensor neg(const Tensor& input);

// Element-wise, with NumPy's broadcasting. Both of one floating type.
FOVEA_API Tensor add(const Tensor& a, const Tensor& b);
FOVEA_API Tensor sub(const Tensor& a, const Tensor& b);
FOVEA_API Tensor mul(const Tensor& a, const Tensor& b);
FOVEA_API Tensor div(const Tensor& a, const Tensor& b);
// The larger and the smaller of two elements; a NaN wins, equal elements share the gradient.
FOVEA_API Tensor maximum(const Tensor& a, const Tensor& b);
FOVEA_API Tensor minimum(const Tensor& a, const Tensor& b);
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

// Sum, mean and largest element over `axes`, or over everything where none is named.
FOVEA_API Tensor sum(const Tensor& input, const Shape& axes = {}, bool keep_axes = false);
FOVEA_API Tensor mean(const Tensor& input, const Shape& axes = {}, bool keep_axes = false);
FOVEA_API Tensor max(const Tensor& input, const Shape& axes = {}, bool keep_axes = false);
// One behind another along `axis`; all other axes have one size.
FOVEA_API Tensor concat(const std::vector<Tensor>& tensors, int axis = 1);
// Repeats axes of size one up to `shape`, without copying.
FOVEA_API Tensor broadcast_to(const Tensor& input, const Shape& shape);

enum class Interpolation : std::uint8_t { nearest, linear };
struct UpsampleOptions {
  Spatial scale = 2;  // times the input's sizes
  Spatial size = 0;   // the output's sizes; 0: by scale
  Interpolation mode = Interpolation::nearest;
  bool align_corners = false;  // of linear: the outermost cells' centres coincide
};
// Enlarges [N, C, spatial...]: each output cell takes the input cell that it lies in, or is
// interpolated linearly along each dimension.
FOVEA_API Tensor upsample(const Tensor& input, const UpsampleOptions& options = {});

// Over one axis: e^x / sum e^x and its logarithm, computed after subtracting the maximum.
FOVEA_API Tensor softmax(const Tensor& input, int axis = 1);
FOVEA_API Tensor log_softmax(const Tensor& input, int axis = 1);

// Zeroes each element with probability `p` and scales the rest by 1 / (1 - p) [D section 6]. Takes
// one stream of `generator`.
FOVEA_API Tensor dropout(const Tensor& input, double p, Generator& generator);

// The same for whole channels: [N, C, spatial...] with one draw per sample and channel.
FOVEA_API Tensor dropout2d(const Tensor& input, double p, Generator& generator);

// Losses: means over the batch, and over space where there is some -> [].
// -log p[label]: log_probabilities [N, classes, spatial...], labels int64 [N, spatial...].
FOVEA_API Tensor nll_loss(const Tensor& log_probabilities, const Tensor& labels);

struct CrossEntropyOptions {
  double label_smoothing = 0;  // this share of each target is spread evenly over the classes
  // One for each class, or none: the mean over labels is by the weights of their classes, that over
  // probabilities is not.
  std::vector<double> class_weights = {};
  // Labels that do not count; a batch of nothing else has the loss 0.
  std::optional<std::int64_t> ignored = std::nullopt;
};
// -sum t log softmax(logits) over the classes. logits [N, classes, spatial...]; target t: int64
// labels [N, spatial...], or probabilities of the shape of logits.
FOVEA_API Tensor cross_entropy(const Tensor& logits, const Tensor& target,
                               const CrossEntropyOptions& options = {});
struct DiceOptions {
  double smooth = 1;                                   // added above and below
  std::optional<std::int64_t> ignored = std::nullopt;  // labels that do not count
};
// One minus the mean over classes of 2 |p t| / (|p| + |t|), p = softmax(logits), the sums over
// batch and space (Milletari et al., 2016). logits [N, classes, spatial...], int64 labels [N,
// spatial...].
FOVEA_API Tensor dice_loss(const Tensor& logits, const Tensor& labels,
                           const DiceOptions& options = {});
// -t log sigmoid(x) - (1 - t) log(1 - sigmoid(x)); both of one shape.
FOVEA_API Tensor bce_with_logits(const Tensor& logits, const Tensor& target);
// (x - t)^2; both of one shape.
FOVEA_API Tensor mse_loss(const Tensor& input, const Tensor& target);

}  // namespace fovea
