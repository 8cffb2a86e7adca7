// The classic image filters, each a depthwise convolution with one kernel for all channels. To add
// one: its weights here, its declaration in include/fovea/filters.h and a line in cli/filter.cpp.
#include "fovea/filters.h"

#include <cmath>
#include <vector>

#include "core/called_as.h"
#include "core/check.h"
#include "fovea/functions.h"

namespace fovea::filters {
namespace {

constexpr std::int64_t kMaxSize = std::int64_t{1} << 16;

void require_image(std::string_view op, const Tensor& image) {
  FOVEA_CHECK(image.defined(), "{}: the image is undefined", op);
  FOVEA_CHECK(is_floating(image.dtype()) && (image.rank() == 2 || image.rank() == 4),
              "{}: the image is {}, but must be float32 or float64, [H, W] or [N, C, H, W].{}", op,
              image.describe(),
              is_floating(image.dtype()) ? "" : " Convert it with .to(DType::float32).");
  FOVEA_CHECK(image.numel() > 0, "{}: the image {} is empty", op, image.describe());
}

// The image through a kernel of `height` x `width` weights, row by row.
Tensor filter(std::string_view op, const Tensor& image, const std::vector<double>& weights,
              std::int64_t height, std::int64_t width, PaddingMode border) {
  require_image(op, image);
  const bool plain = image.rank() == 2;
  const Tensor batch = plain ? image.reshape({1, 1, image.size(0), image.size(1)}) : image;
  const std::int64_t channels = batch.size(1);
  const Tensor kernel = Tensor::from(weights, {1, 1, height, width}).to(image.dtype());
  const ConvOptions options{
      .padding = {Sides{(height - 1) / 2, height / 2}, Sides{(width - 1) / 2, width / 2}},
      .padding_mode = border,
      .groups = channels};
  const Tensor result = called_as(op, [&] {
    return conv2d(batch, broadcast_to(kernel, {channels, 1, height, width}).contiguous(), {},
                  options);
  });
  return plain ? result.reshape(image.shape()) : result;
}

// First down the columns, then along the rows.
Tensor separable(std::string_view op, const Tensor& image, const std::vector<double>& column,
                 const std::vector<double>& row, PaddingMode border) {
  const auto size = [](const std::vector<double>& weights) {
    return static_cast<std::int64_t>(weights.size());
  };
  return filter(op, filter(op, image, column, size(column), 1, border), row, 1, size(row), border);
}

std::vector<double> gaussian_weights(double sigma, std::int64_t size) {
  std::vector<double> weights;
  double sum = 0;
  const std::int64_t middle = (size - 1) / 2;
  for (std::int64_t i = 0; i < size; ++i) {
    const double distance = static_cast<double>(i - middle) / sigma;
    weights.push_back(std::exp(-0.5 * distance * distance));
    sum += weights.back();
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

}  // namespace

Tensor gaussian(const Tensor& image, const GaussianOptions& options) {
  constexpr double kReach = 4;  // in sigmas: beyond lies less than 1e-4 of the weight
  const double sigma = options.sigma;
  FOVEA_CHECK(sigma > 0 && sigma * kReach < static_cast<double>(kMaxSize) / 2,
              "gaussian: sigma is {}, but must be positive and below {}", sigma,
              static_cast<double>(kMaxSize) / 2 / kReach);
  FOVEA_CHECK(
      options.size >= 0 && options.size <= kMaxSize && (options.size == 0 || options.size % 2 == 1),
      "gaussian: the size of the kernel is {}, but must be odd and at most {}, or 0 for "
      "four sigma on each side",
      options.size, kMaxSize);
  const std::int64_t size = options.size != 0
                                ? options.size
                                : 2 * static_cast<std::int64_t>(std::ceil(kReach * sigma)) + 1;
  const std::vector<double> weights = gaussian_weights(sigma, size);
  return separable("gaussian", image, weights, weights, options.border);
}

Tensor box(const Tensor& image, const BoxOptions& options) {
  FOVEA_CHECK(options.size >= 1 && options.size <= kMaxSize,
              "box: the size is {}, but must be from 1 to {}", options.size, kMaxSize);
  const std::vector<double> weights(static_cast<std::size_t>(options.size),
                                    1 / static_cast<double>(options.size));
  return separable("box", image, weights, weights, options.border);
}

Tensor sobel_x(const Tensor& image, PaddingMode border) {
  return separable("sobel_x", image, {1, 2, 1}, {-1, 0, 1}, border);
}
Tensor sobel_y(const Tensor& image, PaddingMode border) {
  return separable("sobel_y", image, {-1, 0, 1}, {1, 2, 1}, border);
}

Tensor gradient_magnitude(const Tensor& image, PaddingMode border) {
  const Tensor x = sobel_x(image, border);
  const Tensor y = sobel_y(image, border);
  return sqrt(x * x + y * y);
}

Tensor laplacian(const Tensor& image, PaddingMode border) {
  return filter("laplacian", image, {0, 1, 0, 1, -4, 1, 0, 1, 0}, 3, 3, border);
}

}  // namespace fovea::filters
