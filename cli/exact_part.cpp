// See exact_part.h.
#include "exact_part.h"

#include <fmt/format.h>

#include <algorithm>

#include "support.h"

namespace cli {
namespace {

using fovea::ConvProblem;
using fovea::Layout;
using fovea::Pass;
using fovea::Shape;
using fovea::Tensor;

constexpr std::int64_t kReferenceWork = 20'000'000;  // multiply-adds: less than a tenth of a second
constexpr std::int64_t kMostWork = 200 * kReferenceWork;

// The first values along each axis.
Tensor corner(const Tensor& tensor, const Shape& shape) {
  Tensor part = tensor;
  for (int axis = 0; axis < 2; ++axis) part = part.slice(axis, 0, shape[axis]);
  return part.to(fovea::DType::float64);
}

double largest(const Tensor& values) {
  return fovea::max(fovea::abs(values)).item<double>();
}

}  // namespace

ExactPart::ExactPart(const ConvProblem& problem, Pass pass)
    : whole_(problem), pass_(pass), part_(problem) {
  part_.dtype = fovea::DType::float64;
  // A gradient of the weights is a sum over all samples.
  if (pass != Pass::backward_weights) part_.batch = as_many_as_fit(part_.batch);
  part_.batch = std::max<std::int64_t>(part_.batch, 1);
  const std::int64_t groups = as_many_as_fit(part_.groups);
  set_groups(std::max<std::int64_t>(groups, 1));
  if (groups > 0) return;
  std::int64_t& channels = results(part_);
  channels = std::max<std::int64_t>(as_many_as_fit(channels), 1);
}

bool ExactPart::is_too_large() const {
  return part_.multiply_adds() > kMostWork;
}

std::string ExactPart::text() const {
  std::string text;
  const auto add = [&](std::int64_t some, std::int64_t all, const char* what) {
    if (some < all) {
      text +=
          fmt::format("{}{} of {} {}", text.empty() ? "" : ", ", grouped(some), grouped(all), what);
    }
  };
  const bool to_data = pass_ == Pass::backward_data;
  if (pass_ != Pass::backward_weights) add(part_.batch, whole_.batch, "samples");
  add(to_data ? part_.in_channels : part_.out_channels,
      to_data ? whole_.in_channels : whole_.out_channels,
      to_data ? "input channels" : "output channels");
  return text;
}

Tensor ExactPart::exact(const Tensor& first, const Tensor& second) const {
  const auto cells = Layout::channels_last;
  const auto weights = Layout::row_major;
  const bool to_data = pass_ == Pass::backward_data;
  const bool to_weights = pass_ == Pass::backward_weights;
  const Shape x = part_.input_shape();
  const Shape w = part_.weight_shape();
  const Shape y = part_.output_shape();
  Tensor result = to_weights ? Tensor::zeros(w, part_.dtype, weights)
                             : Tensor::zeros(to_data ? x : y, part_.dtype, cells);
  fovea::run_conv(fovea::make_plan(part_, pass_, {.algorithm = "reference"}),
                  corner(first, to_data ? y : x).contiguous(cells),
                  corner(second, to_weights ? y : w).contiguous(to_weights ? cells : weights),
                  result);
  return result;
}

Tensor ExactPart::of(const Tensor& result) const {
  return corner(result, result_shape(part_));
}

// So many of `count` that make the work small; 0 where one is too many.
std::int64_t ExactPart::as_many_as_fit(std::int64_t count) const {
  const std::int64_t each = part_.multiply_adds() / count;
  return std::min(count, kReferenceWork / std::max<std::int64_t>(each, 1));
}

void ExactPart::set_groups(std::int64_t groups) {
  part_.in_channels = part_.in_channels / part_.groups * groups;
  part_.out_channels = part_.out_channels / part_.groups * groups;
  part_.groups = groups;
}

std::int64_t& ExactPart::results(ConvProblem& problem) const {
  return pass_ == Pass::backward_data ? problem.in_channels : problem.out_channels;
}

Shape ExactPart::result_shape(const ConvProblem& problem) const {
  return pass_ == Pass::forward         ? problem.output_shape()
         : pass_ == Pass::backward_data ? problem.input_shape()
                                        : problem.weight_shape();
}

double relative_error(const Tensor& result, const Tensor& exact) {
  const double size = largest(exact);
  const double difference = largest(result - exact);
  return size > 0 ? difference / size : difference;
}

}  // namespace cli
