// Results so large that they bypass the caches are the same as small ones.
#include <gtest/gtest.h>

#include <functional>

#include "fovea/autograd.h"
#include "fovea/functions.h"
#include "kernels/stream.h"
#include "support/settings.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

using Function = std::function<Tensor(const Tensor&)>;

struct Results {
  Tensor y;
  Tensor dx;
};

Results results_of(const Function& f, const Tensor& x, const Tensor& g) {
  Tensor leaf = x.detach().set_requires_grad();
  const Tensor y = f(leaf);
  return {y.detach(), grad({y}, {leaf}, {.grad_outputs = {g}}).front()};
}

// f works on each sample alone; three of them are streamed where `moved` are read and written.
void expect_those_of_its_samples(const Function& f, const Shape& shape, double moved) {
  const Tensor x = random_tensor(shape, 1, DType::float32).contiguous(Layout::channels_last);
  const Tensor g = random_tensor(f(x).shape(), 2, DType::float32).contiguous(Layout::channels_last);
  ASSERT_GE(moved * sizeof(float), kernels::kStreamedBytes);
  ASSERT_LT(moved * sizeof(float) * 2 / 3, kernels::kStreamedBytes);
  const Results all = results_of(f, x, g);
  const Results two = results_of(f, x.slice(0, 0, 2), g.slice(0, 0, 2));
  expect_identical(all.y.slice(0, 0, 2), two.y);
  expect_identical(all.dx.slice(0, 0, 2), two.dx);
}

TEST(Streamed, GradientsOfNormalisationAreThoseOfFewerSamples) {
  const Shape shape = {3, 16, 260, 260};
  const auto moved = 3.0 * 3 * 16 * 260 * 260;
  for_simd_targets([&] {
    expect_those_of_its_samples([](const Tensor& x) { return group_norm(x, 4); }, shape, moved);
  });
}

TEST(Streamed, UpsamplingIsThatOfFewerSamples) {
  const Shape shape = {3, 16, 196, 196};
  const auto moved = 5.0 * 3 * 16 * 196 * 196;
  for (const Interpolation mode : {Interpolation::nearest, Interpolation::linear}) {
    for_simd_targets([&] {
      expect_those_of_its_samples([&](const Tensor& x) { return upsample(x, {.mode = mode}); },
                                  shape, moved);
    });
  }
}

TEST(Streamed, DepthwiseConvolutionIsThatOfFewerSamples) {
  for (const Shape& shape : {Shape{3, 48, 180, 180}, Shape{3, 128, 112, 112}}) {
    const Tensor w = random_tensor({shape[1], 1, 3, 3}, 3, DType::float32);
    const ConvOptions options{.padding = 1, .groups = shape[1]};
    for_simd_targets([&] {
      expect_those_of_its_samples([&](const Tensor& x) { return conv2d(x, w, {}, options); }, shape,
                                  2.0 * static_cast<double>(shape.numel()));
    });
  }
}

}  // namespace
}  // namespace fovea::testing
