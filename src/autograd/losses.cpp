// Losses, composed of operators.
//
// A weighted mean over labelled positions is -sum(t log p) with a constant t that holds the
// weights, the smoothing and the division: `targets` makes it. Plain cross-entropy reads the labels
// instead.
#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "core/called_as.h"
#include "core/check.h"
#include "core/dispatch.h"
#include "core/tensor_impl.h"
#include "fovea/functions.h"
#include "ops/checks.h"
#include "ops/families.h"

namespace fovea {
namespace {

// Both of one shape, so that nothing is broadcast by mistake.
void require_pair(std::string_view op, const Tensor& a, std::string_view a_name, const Tensor& b,
                  std::string_view b_name) {
  FOVEA_CHECK(a.defined() && b.defined(), "{}: {} is undefined", op, a.defined() ? b_name : a_name);
  ops::require_same_shape(op, spec_of(a), a_name, spec_of(b), b_name);
}

// Labels in order, each a class or the ignored one.
std::vector<std::int64_t> checked_labels(std::string_view op, const Tensor& logits,
                                         const Tensor& labels,
                                         const std::optional<std::int64_t>& ignored) {
  FOVEA_CHECK(logits.defined() && labels.defined(), "{}: an input is undefined", op);
  const Shape& shape = logits.shape();
  bool fits = shape.rank() >= 2 && labels.dtype() == DType::int64 &&
              labels.rank() == shape.rank() - 1 && labels.shape()[0] == shape[0];
  for (int axis = 2; fits && axis < shape.rank(); ++axis)
    fits = labels.shape()[axis - 1] == shape[axis];
  FOVEA_CHECK(fits,
              "{}: logits [N, classes, spatial...] need int64 labels [N, spatial...], but they are "
              "{} and {}",
              op, logits.describe(), labels.describe());
  std::vector<std::int64_t> values = labels.to_vector<std::int64_t>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    FOVEA_CHECK((values[i] >= 0 && values[i] < shape[1]) || values[i] == ignored,
                "{}: labels[{}] is {}, but there are {} classes, numbered 0 to {}", op, i,
                values[i], shape[1], shape[1] - 1);
  }
  return values;
}

// A constant like `logits`, channels-last: row(position, out) writes the classes of each position,
// which start as zeros.
Tensor rows_like(const Tensor& logits, std::size_t positions,
                 const std::function<void(std::size_t, double*)>& row) {
  const auto classes = static_cast<std::size_t>(logits.size(1));
  Tensor constant = Tensor::zeros(logits.shape(), logits.dtype(),
                                  logits.rank() > 2 ? Layout::channels_last : Layout::row_major);
  std::vector<double> values(classes);
  dispatch_floating(logits.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* out = writable<T>(constant);
    for (std::size_t i = 0; i < positions; ++i) {
      std::fill(values.begin(), values.end(), 0.0);
      row(i, values.data());
      for (const double value : values) *out++ = static_cast<T>(value);
    }
  });
  return constant;
}

void check_class_weights(const std::vector<double>& weights, std::int64_t classes) {
  FOVEA_CHECK(weights.empty() || static_cast<std::int64_t>(weights.size()) == classes,
              "cross_entropy: there are {} class weights for {} classes", weights.size(), classes);
  for (const double weight : weights) {
    FOVEA_CHECK(weight >= 0 && std::isfinite(weight),
                "cross_entropy: a class weight is {}, but must be finite and at least 0", weight);
  }
}

// What -log p is multiplied with, so that the sum is the mean by the weight of each label.
Tensor targets(const Tensor& logits, const Tensor& labels, const CrossEntropyOptions& options) {
  const std::vector<std::int64_t> label =
      checked_labels("cross_entropy", logits, labels, options.ignored);
  const auto classes = static_cast<std::size_t>(logits.size(1));
  const auto weight = [&](std::size_t c) {
    return options.class_weights.empty() ? 1.0 : options.class_weights[c];
  };
  double total = 0;
  for (const std::int64_t one : label)
    if (one != options.ignored) total += weight(static_cast<std::size_t>(one));
  const double smoothing = options.label_smoothing;
  return rows_like(logits, label.size(), [&](std::size_t i, double* row) {
    if (label[i] == options.ignored || total == 0) return;
    for (std::size_t c = 0; smoothing > 0 && c < classes; ++c)
      row[c] = smoothing / static_cast<double>(classes) * weight(c) / total;
    const auto own = static_cast<std::size_t>(label[i]);
    row[own] += (1 - smoothing) * weight(own) / total;
  });
}

}  // namespace

Tensor nll_loss(const Tensor& log_probabilities, const Tensor& labels) {
  FOVEA_CHECK(log_probabilities.defined() && labels.defined(), "nll_loss: an input is undefined");
  const Shape& shape = log_probabilities.shape();
  const int rank = shape.rank();
  if (rank <= 2 || labels.rank() != rank - 1)
    return apply1(ops::nll_loss, {log_probabilities, labels});
  // Each position is a sample: [N, classes, spatial...] as rows of classes.
  Shape axes = {0};
  for (int axis = 2; axis < rank; ++axis) {
    FOVEA_CHECK(labels.shape()[0] == shape[0] && labels.shape()[axis - 1] == shape[axis],
                "nll_loss: log-probabilities {} need labels [N, spatial...] of the same N and "
                "space, but they are {}",
                shape, labels.shape());
    axes.push_back(axis);
  }
  axes.push_back(1);
  const Tensor rows = log_probabilities.permute(axes).reshape({-1, shape[1]});
  return apply1(ops::nll_loss, {rows, labels.reshape({-1})});
}

Tensor cross_entropy(const Tensor& logits, const Tensor& target,
                     const CrossEntropyOptions& options) {
  const double smoothing = options.label_smoothing;
  FOVEA_CHECK(smoothing >= 0 && smoothing <= 1,
              "cross_entropy: label_smoothing is {}, but must be in [0, 1]", smoothing);
  FOVEA_CHECK(logits.defined() && target.defined(), "cross_entropy: an input is undefined");
  const Tensor logarithms = called_as("cross_entropy", [&] { return log_softmax(logits, 1); });
  check_class_weights(options.class_weights, logits.size(1));
  if (!is_floating(target.dtype())) {
    if (!options.class_weights.empty() || options.ignored)
      return neg(sum(targets(logits, target, options) * logarithms));
    const Tensor loss = called_as("cross_entropy", [&] { return nll_loss(logarithms, target); });
    return smoothing == 0 ? loss : loss * (1 - smoothing) - mean(logarithms) * smoothing;
  }
  FOVEA_CHECK(!options.ignored,
              "cross_entropy: a class can be ignored among labels, not among "
              "probabilities");
  require_pair("cross_entropy", logits, "logits", target, "probabilities");
  const auto classes = static_cast<double>(logits.size(1));
  Tensor smooth = smoothing == 0 ? target : target * (1 - smoothing) + smoothing / classes;
  if (!options.class_weights.empty()) {
    Shape shape = Shape::filled(logits.rank(), 1);
    shape[1] = logits.size(1);
    smooth = smooth * Tensor::from(options.class_weights, shape).to(logits.dtype());
  }
  return mean(smooth * logarithms) * -classes;
}

Tensor dice_loss(const Tensor& logits, const Tensor& labels, const DiceOptions& options) {
  FOVEA_CHECK(options.smooth > 0, "dice_loss: smooth is {}, but must be above 0", options.smooth);
  const std::vector<std::int64_t> label =
      checked_labels("dice_loss", logits, labels, options.ignored);
  const Tensor truth = rows_like(logits, label.size(), [&](std::size_t i, double* row) {
    if (label[i] != options.ignored) row[label[i]] = 1;
  });
  Shape axes = {0};
  for (int axis = 2; axis < logits.rank(); ++axis) axes.push_back(axis);
  Tensor p = called_as("dice_loss", [&] { return softmax(logits, 1); });
  if (options.ignored) p = p * sum(truth, {1}, true);  // zeros where the class is ignored
  const Tensor both = sum(p * truth, axes);
  const Tensor all = sum(p, axes) + sum(truth, axes);
  return 1 - mean((both * 2 + options.smooth) / (all + options.smooth));
}

// -t log s(x) - (1 - t) log(1 - s(x)), each logarithm as a softplus: log(1 + e^x) - t x would
// cancel.
Tensor bce_with_logits(const Tensor& logits, const Tensor& target) {
  require_pair("bce_with_logits", logits, "logits", target, "target");
  return mean(target * softplus(-logits) + (1 - target) * softplus(logits));
}

Tensor mse_loss(const Tensor& input, const Tensor& target) {
  require_pair("mse_loss", input, "input", target, "target");
  const Tensor difference = input - target;
  return mean(difference * difference);
}

}  // namespace fovea
