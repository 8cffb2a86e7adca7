// See samples.h.
#include "data/samples.h"

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace fovea::data {
namespace {

constexpr std::int64_t kMostClasses = 100'000;

}  // namespace

ArraySamples::ArraySamples(const Tensor& values, std::vector<std::int64_t> labels,
                           std::string place)
    : values_(values.contiguous(Layout::channels_last)),
      labels_(std::move(labels)),
      place_(std::move(place)) {
  FOVEA_ASSERT(values_.size(0) == static_cast<std::int64_t>(labels_.size()));
}

std::string ArraySamples::name(std::int64_t index) const {
  return fmt::format("sample {} of {}", index, place_);
}

Tensor ArraySamples::decode(std::int64_t index) const {
  Shape shape;
  for (int axis = 1; axis < values_.rank(); ++axis) shape.push_back(values_.size(axis));
  return values_.slice(0, index, index + 1).reshape(shape);
}

std::vector<std::int64_t> labels_from(const Tensor& labels, std::int64_t count,
                                      std::int64_t classes, const std::string& what) {
  FOVEA_CHECK((labels.rank() == 1 || (labels.rank() == 2 && labels.size(1) == 1)) &&
                  !is_floating(labels.dtype()),
              "{} are {}, expected whole numbers [N] or [N, 1]", what, labels.describe());
  FOVEA_CHECK(labels.numel() == count, "{} are {} for {} samples", what, labels.numel(), count);
  std::vector<std::int64_t> values = labels.to_vector<std::int64_t>();
  const std::int64_t end = classes > 0 ? classes : kMostClasses;
  for (std::size_t i = 0; i < values.size(); ++i) {
    FOVEA_CHECK(values[i] >= 0 && values[i] < end,
                "{} give sample {} the label {}, expected 0 to {}", what, i, values[i], end - 1);
  }
  return values;
}

std::vector<std::string> numbered_classes(const std::vector<std::int64_t>& labels) {
  const auto most = std::max_element(labels.begin(), labels.end());
  std::vector<std::string> classes;
  for (std::int64_t label = 0; most != labels.end() && label <= *most; ++label)
    classes.push_back(std::to_string(label));
  return classes;
}

}  // namespace fovea::data
