// The shared checks.
#include "ops/checks.h"

#include <fmt/format.h>

#include "core/check.h"

namespace fovea::ops {

void require_floating(std::string_view op, const TensorSpec& spec, std::string_view what) {
  FOVEA_CHECK(
      is_floating(spec.dtype),
      "{}: {} is {} {}, but only float32 and float64 can be computed with. Convert it first: "
      "{}.to(DType::float32).",
      op, what, name(spec.dtype), spec.shape, what);
}

void require_same_dtype(std::string_view op, const TensorSpec& a, const TensorSpec& b) {
  FOVEA_CHECK(
      a.dtype == b.dtype,
      "{}: the inputs are {} {} and {} {}, but must be of one type. Convert one of them with "
      ".to(DType::{}).",
      op, name(a.dtype), a.shape, name(b.dtype), b.shape, name(a.dtype));
}

void require_same_shape(std::string_view op, const TensorSpec& a, std::string_view a_name,
                        const TensorSpec& b, std::string_view b_name) {
  FOVEA_CHECK(a.shape == b.shape, "{}: {} is {} but {} is {}; they must have one shape", op, a_name,
              a.shape, b_name, b.shape);
}

void require_rank(std::string_view op, const TensorSpec& spec, std::string_view what, int rank) {
  FOVEA_CHECK(spec.shape.rank() == rank, "{}: {} has {} axes (shape {}), expected {}", op, what,
              spec.shape.rank(), spec.shape, rank);
}

void require_features(std::string_view op, const Shape& input, const Shape& weight) {
  const std::int64_t given = input[input.rank() - 1];
  const std::int64_t needed = weight[1];
  if (given == needed) return;
  std::string_view hint;
  if (given == weight[0]) {
    hint = ": is this one transposed? Use weight.permute({1, 0}).";
  } else if (input.rank() > 2 && input[0] > 0 && input.numel() / input[0] == needed) {
    hint = ". Flatten the input first: flatten(input) makes one axis of all but the batch.";
  }
  throw_error(
      fmt::format("{}: input has {} features (the last axis of {}) but weight {} needs {}. "
                  "Weights are [out, in]{}",
                  op, given, input, weight, needed, hint.empty() ? "." : hint));
}

int spatial_dims(std::string_view op, const Tensor& input) {
  FOVEA_CHECK(input.defined(), "{}: the input is undefined", op);
  FOVEA_CHECK(
      input.rank() >= 3 && input.rank() <= 5,
      "{}: the input is {}, but [N, C, spatial...] with one to three spatial axes is needed", op,
      input.describe());
  return input.rank() - 2;
}

Shape spatial_of(const Shape& shape) {
  return Shape(std::span<const std::int64_t>(shape.begin() + 2, shape.end()));
}

}  // namespace fovea::ops
