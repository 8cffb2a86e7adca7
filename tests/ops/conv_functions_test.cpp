// The functions of the convolution family: what each padding rule and mode means, in numbers, and
// what they say to wrong shapes.
#include <gtest/gtest.h>

#include "fovea/autograd.h"
#include "fovea/functions.h"
#include "fovea/memory.h"
#include "support/errors.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

using Values = std::vector<double>;

Tensor row(std::initializer_list<double> values) {
  return Tensor::from<double>(values, {1, 1, static_cast<std::int64_t>(values.size())});
}

Values padded(PaddingMode mode, Sides sides, double value = 0) {
  return pad(row({1, 2, 3, 6}), {sides}, {.mode = mode, .value = value}).to_vector<double>();
}

TEST(Pad, FillsInWhatItsModeSays) {
  EXPECT_EQ(padded(PaddingMode::zeros, {2, 1}), (Values{0, 0, 1, 2, 3, 6, 0}));
  EXPECT_EQ(padded(PaddingMode::constant, {1, 2}, 0.5), (Values{0.5, 1, 2, 3, 6, 0.5, 0.5}));
  EXPECT_EQ(padded(PaddingMode::mean, {1, 1}), (Values{3, 1, 2, 3, 6, 3}));
  EXPECT_EQ(padded(PaddingMode::circular, {2, 1}), (Values{3, 6, 1, 2, 3, 6, 1}));
  EXPECT_EQ(padded(PaddingMode::circular, {5, 0}), (Values{6, 1, 2, 3, 6, 1, 2, 3, 6}));
  EXPECT_EQ(padded(PaddingMode::reflect, {3, 2}), (Values{6, 3, 2, 1, 2, 3, 6, 3, 2}));
  EXPECT_EQ(padded(PaddingMode::replicate, {2, 1}), (Values{1, 1, 1, 2, 3, 6, 6}));
  EXPECT_EQ(padded(PaddingMode::zeros, {-1, 1}), (Values{2, 3, 6, 0}));
}

TEST(Pad, TakesTheMeanOfEachSampleAndChannel) {
  const Tensor x = Tensor::from<double>({1, 3, 10, 20, 5, 5, 0, -4}, {2, 2, 2});
  EXPECT_EQ(pad(x, {{1, 0}}, {.mode = PaddingMode::mean}).to_vector<double>(),
            (Values{2, 1, 3, 15, 10, 20, 5, 5, 5, -2, 0, -4}));
}

TEST(Pad, SaysWhatIsWrong) {
  EXPECT_EQ(
      error_of([] {
        pad(row({1, 2, 3}), 3, {.mode = PaddingMode::reflect});
      }),
      "pad: reflect padding along W is 3 before and 3 after, but 3 cells can be mirrored at most "
      "2 far (input - 1); use less padding, or replicate or circular");
  EXPECT_EQ(error_of([] {
              pad(row({1, 2, 3}), {{-2, -1}});
            }),
            "pad: padding -2 before and -1 after crops all of the 3 cells of axis 2");
  EXPECT_EQ(error_of([] {
              pad(row({1, 2, 3}), -1, {.mode = PaddingMode::mean});
            }),
            "pad: padding -1 before and -1 after is negative, which padding mode mean cannot be");
  EXPECT_EQ(
      error_of([] {
        pad(Tensor::zeros({3, 4}), 1);
      }),
      "pad: the input is float32 [3, 4], but [N, C, spatial...] with one to three spatial axes is "
      "needed");
  EXPECT_EQ(
      error_of([] {
        pad(row({1, 2}), 1, {.mode = PaddingMode::zeros, .value = 2});
      }),
      "pad: the padding value is 2, but the padding mode is zeros; only constant padding has a "
      "value");
}

Shape conv_shape(const Shape& input, const ConvOptions& options) {
  return conv2d(Tensor::zeros(input), Tensor::zeros({2, input[1], 3, 4}), {}, options).shape();
}

TEST(Conv, PaddingRulesFixTheOutput) {
  EXPECT_EQ(conv_shape({1, 1, 7, 8}, {.padding = Padding::same()}), (Shape{1, 2, 7, 8}));
  EXPECT_EQ(conv_shape({1, 1, 7, 8}, {.stride = {2, 3}, .padding = Padding::same_lower()}),
            (Shape{1, 2, 4, 3}));
  EXPECT_EQ(conv_shape({1, 1, 7, 8}, {.padding = Padding::full(), .dilation = 2}),
            (Shape{1, 2, 11, 14}));
  EXPECT_EQ(conv_shape({1, 1, 7, 8}, {.padding = {{1, 0}, {2, 3}}}), (Shape{1, 2, 6, 10}));
  // The odd cell goes after, or with same_lower before.
  const Tensor ones = row({1, 1});
  EXPECT_EQ(conv1d(row({1, 2, 3}), ones, {}, {.padding = Padding::same()}).to_vector<double>(),
            (Values{3, 5, 3}));
  EXPECT_EQ(
      conv1d(row({1, 2, 3}), ones, {}, {.padding = Padding::same_lower()}).to_vector<double>(),
      (Values{1, 3, 5}));
}

TEST(Conv, FlipReadsTheKernelBackwards) {
  const Tensor x = row({1, 0, 0, 2});
  const Tensor w = row({1, 10});
  EXPECT_EQ(conv1d(x, w).to_vector<double>(), (Values{1, 0, 20}));
  EXPECT_EQ(conv1d(x, w, {}, {.flip = true}).to_vector<double>(), (Values{10, 0, 2}));
  // The product of the polynomials 1 + 2x and 3 + 4x.
  EXPECT_EQ(conv1d(row({1, 2}), row({3, 4}), {}, {.padding = Padding::full(), .flip = true})
                .to_vector<double>(),
            (Values{3, 10, 8}));
}

TEST(Conv, FlippedWeightsAreKeptUntilTheyChange) {
  const Tensor x = row({1, 0, 0, 2});
  Tensor w = row({1, 10}).clone();
  const ConvOptions flipped{.flip = true};
  const auto memory_of = [&](const ConvOptions& options) {
    // From the second time on what is derived is kept, and what is derived from that from the
    // third.
    for (int i = 0; i < 3; ++i) conv1d(x, w, {}, options);
    reset_high_water();
    const std::size_t before = memory_stats().in_use;
    conv1d(x, w, {}, options);
    return memory_stats().high_water - before;
  };
  EXPECT_EQ(memory_of(flipped), memory_of({}));
  EXPECT_EQ(conv1d(x, w, {}, flipped).to_vector<double>(), (Values{10, 0, 2}));
  w.copy_from(row({2, 20}));
  EXPECT_EQ(conv1d(x, w, {}, flipped).to_vector<double>(), (Values{20, 0, 4}));
}

TEST(Conv, AStepOfTrainingHoldsNoPackedWeights) {
  const Tensor x = testing::random_tensor({1, 256, 8, 8}, 1, DType::float32);
  Tensor w = testing::random_tensor({256, 256, 3, 3}, 2, DType::float32);
  w.set_requires_grad();
  const std::size_t bytes = static_cast<std::size_t>(w.numel()) * sizeof(float);
  const std::size_t before = memory_stats().in_use;
  const auto held = [&] { return memory_stats().in_use - before; };
  for (int step = 0; step < 3; ++step) {
    const Tensor loss = sum(conv2d(x, w, {}, {.padding = 1}));
    EXPECT_LT(held(), bytes) << "behind the forward pass";
    loss.backward();
    EXPECT_LT(held(), 2 * bytes) << "the gradient alone";
    w.set_grad({});
    w.fill(0.01 * step);
  }
  // Inference keeps them.
  const NoGrad no_grad;
  for (int i = 0; i < 2; ++i) conv2d(x, w, {}, {.padding = 1});
  EXPECT_GE(held(), bytes);
}

TEST(Conv, InputDilationTakesBiasesAndEpilogues) {
  const Tensor x = testing::random_tensor({2, 2, 3, 4}, 1);
  const Tensor w = testing::random_tensor({3, 2, 3, 2}, 2);
  const Tensor tied = testing::random_tensor({3}, 3);
  for (const Spatial& stride : {Spatial(1), Spatial{2, 1}, Spatial(3)}) {
    for (const std::int64_t padding : {1, 4}) {
      ConvOptions options{.stride = stride, .padding = padding, .input_dilation = 2};
      const Tensor plain = conv2d(x, w, {}, options);
      const Tensor residual = testing::random_tensor(plain.shape(), 4);
      const Tensor untied =
          testing::random_tensor({plain.size(1), plain.size(2), plain.size(3)}, 5);
      const Epilogue epilogue{.residual = residual, .activation = Activation::silu};
      testing::expect_close(conv2d(x, w, tied, options, epilogue),
                            silu(plain + tied.reshape({3, 1, 1}) + residual), 1e-14);
      testing::expect_close(conv2d(x, w, untied, options, epilogue),
                            silu(plain + untied + residual), 1e-14);
      EXPECT_CONTAINS(error_of([&] { conv2d(x, w, {}, options, {.residual = x}); }),
                      "conv2d: the residual is [2, 2, 3, 4]");
      EXPECT_CONTAINS(error_of([&] { conv2d(x, w, Tensor::zeros({5}, DType::float64), options); }),
                      "conv2d: ", "bias is [5]");
    }
  }
  EXPECT_CONTAINS(error_of([&] { conv2d(x, w.slice(1, 0, 1), {}, {.input_dilation = 2}); }),
                  "conv2d: input has 2 channels");
  EXPECT_CONTAINS(error_of([&] { conv2d(x, w, {}, {.padding = -2, .input_dilation = 2}); }),
                  "conv2d: ");
}

TEST(Conv, SaysWhatIsWrongWithItsOptions) {
  const Tensor x = Tensor::zeros({1, 1, 4, 4});
  const Tensor w = Tensor::zeros({2, 1, 3, 3});
  EXPECT_EQ(
      error_of([&] {
        conv2d(x, w, Tensor::zeros({2, 4, 4}));
      }),
      "conv2d: bias is [2, 4, 4], but the output is [1, 2, 2, 2], so [2] is needed for one per "
      "channel, or [2, 2, 2] for one per channel and position");
  EXPECT_EQ(error_of([&] {
              conv2d(x, w, {}, {.padding_mode = PaddingMode::circular, .input_dilation = 2});
            }),
            "conv2d: input_dilation [2, 2] needs padding mode zeros, but it is circular");
  EXPECT_CONTAINS(error_of([&] { conv2d(x, w, {}, {.padding = Padding::same(), .dilation = 0}); }),
                  "dilation along H is 0");
  EXPECT_CONTAINS(error_of([&] { conv2d(x, w, {}, {.input_dilation = std::int64_t{1} << 40}); }),
                  "input_dilation is [1099511627776, 1099511627776], but must be at least 1");
}

TEST(ConvTranspose, SpreadsEachInputCell) {
  const Tensor x = row({1, 2});
  const Tensor w = row({1, 10, 100});
  EXPECT_EQ(conv_transpose1d(x, w, {}, {.stride = 2}).to_vector<double>(),
            (Values{1, 10, 102, 20, 200}));
  EXPECT_EQ(conv_transpose1d(x, w, {}, {.stride = 2, .padding = 1, .output_padding = 1})
                .to_vector<double>(),
            (Values{10, 102, 20, 200}));
  EXPECT_EQ(conv_transpose1d(x, w, Tensor::full({1}, 0.5, DType::float64),
                             {.stride = 2, .padding = Padding::same()})
                .to_vector<double>(),
            (Values{1.5, 10.5, 102.5, 20.5}));
  // Where the kernel is shorter than the stride, cells are read by none.
  EXPECT_EQ(conv_transpose1d(x, row({3}), {}, {.stride = 3, .padding = Padding::same()})
                .to_vector<double>(),
            (Values{3, 0, 0, 6, 0, 0}));
  EXPECT_EQ(conv_transpose1d(x, w, {}, {.output_padding = 2, .dilation = 3}).to_vector<double>(),
            (Values{1, 2, 0, 10, 20, 0, 100, 200, 0, 0}));
}

// One plane is computed in another order of weights than several, and weights are kept in order.
TEST(ConvTranspose, OneWeightServesOnePlaneAndSeveral) {
  const Tensor weight = random_tensor({32, 1, 1, 3, 3}, 1, DType::float32);
  const Tensor several = random_tensor({1, 32, 4, 5, 5}, 2, DType::float32);
  const Tensor one = several.slice(2, 0, 1);
  const ConvTransposeOptions options{.stride = {1, 2, 2}, .padding = {0, 1, 1}, .groups = 32};
  const auto with = [&](const Tensor& x, const Tensor& w) {
    return conv_transpose3d(x, w, {}, options);
  };
  const auto fresh = [&] { return random_tensor({32, 1, 1, 3, 3}, 1, DType::float32); };
  const Tensor expected_one = with(one, fresh());
  const Tensor expected = with(several, fresh());
  for (int i = 0; i < 3; ++i) expect_identical(with(one, weight), expected_one);
  for (int i = 0; i < 3; ++i) expect_identical(with(several, weight), expected);
  for (int i = 0; i < 3; ++i) expect_identical(with(one, weight), expected_one);
}

TEST(ConvTranspose, SaysWhatIsWrong) {
  const Tensor x = Tensor::zeros({1, 4, 5, 5});
  const Tensor w = Tensor::zeros({4, 3, 3, 3});
  EXPECT_EQ(
      error_of([&] {
        conv_transpose2d(Tensor::zeros({1, 5, 5, 4}), w);
      }),
      "conv_transpose2d: input has 5 channels (shape [1, 5, 5, 4]) but weight [4, 3, 3, 3] needs "
      "4: it is [C_in, C_out/groups, kernel...]. The last axis has 4: is this N,H,W,C data? Use "
      "input.permute({0, 3, 1, 2}).");
  EXPECT_EQ(
      error_of([&] { conv_transpose2d(x, w, {}, {.stride = 2, .output_padding = 2}); }),
      "conv_transpose2d: output_padding 2 along H: (input - 1)*stride - before - after + "
      "dilation*(kernel - 1) + 1 = (5 - 1)*2 - 0 - 0 + 1*(3 - 1) + 1 = 11, and output_padding "
      "may add from 0 to 1, one less than the stride or the dilation");
  EXPECT_CONTAINS(error_of([&] { conv_transpose2d(x, w, {}, {.stride = 2, .output_size = 13}); }),
                  "output_size 13 along H");
  EXPECT_CONTAINS(
      error_of([&] { conv_transpose2d(x, w, {}, {.padding = 4}); }),
      "the output along H is empty: (input - 1)*stride - before - after + "
      "dilation*(kernel - 1) + output_padding + 1 = (5 - 1)*1 - 4 - 4 + 1*(3 - 1) + 0 + 1 "
      "= -1");
  EXPECT_EQ(error_of([&] { conv_transpose2d(x, w, Tensor::zeros({2})); }),
            "conv_transpose2d: bias is [2], but weight [4, 3, 3, 3] with groups=1 has 3 output "
            "channels, so [3] is needed");
  EXPECT_CONTAINS(error_of([&] {
                    conv_transpose2d(x, Tensor::zeros({4, 3, 3}));
                  }),
                  "[C_in, C_out/groups, kH, kW]");
  EXPECT_CONTAINS(error_of([&] {
                    conv_transpose2d(
                        x, w, {}, {.stride = 2, .padding = Padding::same(), .output_padding = 1});
                  }),
                  "beside padding same, which already says how large the output is");
}

TEST(Unfold, PutsPatchesIntoColumnsChannelByChannel) {
  const Tensor x = Tensor::from<double>({1, 2, 3, 10, 20, 30}, {1, 2, 3});
  EXPECT_EQ(unfold(x, 2).shape(), (Shape{1, 4, 2}));
  EXPECT_EQ(unfold(x, 2).to_vector<double>(), (Values{1, 2, 2, 3, 10, 20, 20, 30}));
  EXPECT_EQ(unfold(x, 2, {.padding = {{0, 1}}, .padding_mode = PaddingMode::circular})
                .to_vector<double>(),
            (Values{1, 2, 3, 2, 3, 1, 10, 20, 30, 20, 30, 10}));
  for (const PaddingMode mode : {PaddingMode::zeros, PaddingMode::constant}) {
    EXPECT_EQ(unfold(x, 1, {.padding = {{-1, 0}}, .padding_mode = mode}).to_vector<double>(),
              (Values{2, 3, 20, 30}));
  }
  EXPECT_EQ(fold(unfold(x, 2), 3, 2).to_vector<double>(), (Values{1, 4, 3, 10, 40, 30}));
}

TEST(Unfold, SaysWhatIsWrong) {
  EXPECT_EQ(
      error_of([] {
        unfold(Tensor::zeros({1, 2, 3}), 4);
      }),
      "unfold: the kernel does not fit along W: dilation*(kernel-1)+1 = 1*(4-1)+1 = 4, but input "
      "+ padding = 3+0+0 = 3. Use a smaller kernel or dilation, or more padding.");
  EXPECT_EQ(
      error_of([] {
        fold(Tensor::zeros({1, 8, 4}), {3, 4}, {2, 2});
      }),
      "fold: the columns are [1, 8, 4], but an input of [3, 4] has the positions [2, 3] = 6, so "
      "[1, 8, 6] is needed");
  EXPECT_EQ(
      error_of([] {
        fold(Tensor::zeros({1, 7, 6}), {3, 4}, {2, 2});
      }),
      "fold: the columns [1, 7, 6] hold 7 values each, which is not a multiple of the 4 taps of "
      "kernel [2, 2]");
}

TEST(LocallyConnected, HasAMatrixForEachPosition) {
  const Tensor x = row({1, 2, 3});
  const Tensor w = Tensor::from<double>({1, 0, 0, 1, 10, 0, 0, 10}, {2, 2, 2});
  EXPECT_EQ(locally_connected1d(x, w, 2).to_vector<double>(), (Values{1, 20, 2, 30}));
  EXPECT_EQ(locally_connected1d(x, w, 2, Tensor::from<double>({5, 7}, {2})).to_vector<double>(),
            (Values{6, 25, 9, 37}));
}

TEST(LocallyConnected, SaysWhatIsWrong) {
  EXPECT_EQ(
      error_of([] {
        locally_connected2d(Tensor::zeros({1, 2, 4, 4}), Tensor::zeros({4, 3, 18}), 3, {},
                            {.padding = 1});
      }),
      "locally_connected: weight is [4, 3, 18], but 16 output positions and patches of 18 values "
      "in 1 groups need [16, C_out, 18]: [positions, C_out, C_in/groups * taps]");
  EXPECT_EQ(
      error_of([] {
        locally_connected2d(Tensor::zeros({1, 2, 4, 4}), Tensor::zeros({3, 2, 3, 3}), 3);
      }),
      "locally_connected2d: weight is float32 [3, 2, 3, 3], but needs 3 axes: [positions, C_out, "
      "C_in/groups * taps]");
}

TEST(Flip, ReversesTheOrderAlongAxes) {
  const Tensor x = Tensor::from<double>({1, 2, 3, 4, 5, 6}, {2, 3});
  EXPECT_EQ(flip(x, {1}).to_vector<double>(), (Values{3, 2, 1, 6, 5, 4}));
  EXPECT_EQ(flip(x, {0}).to_vector<double>(), (Values{4, 5, 6, 1, 2, 3}));
  EXPECT_EQ(flip(x, {0, -1}).to_vector<double>(), (Values{6, 5, 4, 3, 2, 1}));
  EXPECT_EQ(error_of([&] { flip(x, {1, -1}); }), "flip: axis -1 is named twice in [1, -1]");
}

}  // namespace
}  // namespace fovea::testing
