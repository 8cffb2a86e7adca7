// See scoring.h.
#include "scoring.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "support.h"

namespace cli {
namespace {

// What turns a data set's normalisation into the model's: x * scale + shift, per channel.
class Renormalisation {
 public:
  Renormalisation(const fovea::nn::ModelInfo& model, const fovea::data::Dataset& dataset) {
    const std::vector<double> mean = dataset.mean();
    const std::vector<double> stddev = dataset.stddev();
    const std::size_t channels = mean.size();
    if (model.mean.size() != channels || model.stddev.size() != channels) return;
    if (model.mean == mean && model.stddev == stddev) return;
    fovea::Shape shape = fovea::Shape::filled(dataset.sample_shape().rank() + 1, 1);
    shape[1] = static_cast<std::int64_t>(channels);
    std::vector<float> scale;
    std::vector<float> shift;
    for (std::size_t c = 0; c < channels; ++c) {
      scale.push_back(static_cast<float>(stddev[c] / model.stddev[c]));
      shift.push_back(static_cast<float>((mean[c] - model.mean[c]) / model.stddev[c]));
    }
    scale_ = fovea::Tensor::from(scale, shape);
    shift_ = fovea::Tensor::from(shift, shape);
  }
  fovea::Tensor operator()(const fovea::Tensor& images) const {
    return scale_.defined() ? images * scale_ + shift_ : images;
  }

 private:
  fovea::Tensor scale_;
  fovea::Tensor shift_;
};

// How many classes the network tells apart: by their names, or as it was built.
std::string class_count(const fovea::nn::ModelInfo& info) {
  const auto option = info.options.find("classes");
  return info.classes.empty() && option != info.options.end() ? option->second
                                                              : std::to_string(info.classes.size());
}

// The rows of a tensor [N, classes], or of [N, classes, spatial...], one for each cell.
class Rows {
 public:
  explicit Rows(const fovea::Tensor& tensor)
      : tensor_(rows_of(tensor.detach().to(fovea::DType::float32)).contiguous()) {}
  std::int64_t count() const { return tensor_.size(0); }
  std::int64_t classes() const { return tensor_.size(1); }
  const float* row(std::int64_t i) const { return tensor_.data<float>() + i * classes(); }
  // The first of the largest in each row.
  std::vector<std::int64_t> largest() const {
    std::vector<std::int64_t> result;
    for (std::int64_t i = 0; i < count(); ++i)
      result.push_back(std::max_element(row(i), row(i) + classes()) - row(i));
    return result;
  }

 private:
  static fovea::Tensor rows_of(const fovea::Tensor& tensor) {
    if (tensor.rank() == 2) return tensor;
    fovea::Shape axes = {0};
    for (int axis = 2; axis < tensor.rank(); ++axis) axes.push_back(axis);
    axes.push_back(1);
    return tensor.permute(axes).reshape({-1, tensor.size(1)});
  }

  fovea::Tensor tensor_;
};

double share(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

// Probabilities of the second of two classes, by label: pairs in the right order count one, equal
// ones a half.
double auc_of(std::vector<std::pair<float, bool>>& scored) {
  std::sort(scored.begin(), scored.end());
  double pairs = 0;
  double negatives = 0;
  double positives = 0;
  for (std::size_t first = 0; first < scored.size();) {
    std::size_t last = first;
    double here[2] = {0, 0};
    for (; last < scored.size() && scored[last].first == scored[first].first; ++last)
      ++here[scored[last].second ? 1 : 0];
    pairs += here[1] * (negatives + here[0] / 2);
    negatives += here[0];
    positives += here[1];
    first = last;
  }
  return pairs / (positives * negatives);
}

// The same of a batch with masks.
void add_masks(Evaluation& evaluation, const fovea::Tensor& logits, const fovea::Tensor& masks,
               std::int64_t first) {
  const std::vector<std::int64_t> label = masks.to_vector<std::int64_t>();
  const std::vector<std::int64_t> predicted = largest_classes(logits);
  const std::size_t cells = label.size() / static_cast<std::size_t>(masks.size(0));
  for (std::int64_t sample = 0; sample < masks.size(0); ++sample) {
    std::int64_t counted = 0;
    std::int64_t wrong = 0;
    for (std::size_t i = 0; i < cells; ++i) {
      const std::size_t at = static_cast<std::size_t>(sample) * cells + i;
      if (label[at] == fovea::data::kIgnored) continue;
      evaluation.confusion.add(label[at], predicted[at]);
      ++counted;
      if (label[at] != predicted[at]) ++wrong;
    }
    if (wrong > 0)
      evaluation.mistakes.push_back({.index = first + sample, .confidence = share(wrong, counted)});
  }
}

// Adds one batch, whose first sample is `first`.
void add(Evaluation& evaluation, const fovea::Tensor& logits, const fovea::Tensor& labels,
         std::int64_t first, std::vector<std::pair<float, bool>>& scored) {
  const Rows probabilities(fovea::softmax(logits));
  const std::vector<std::int64_t> label = labels.to_vector<std::int64_t>();
  const std::vector<std::int64_t> predicted = probabilities.largest();
  for (std::int64_t i = 0; i < probabilities.count(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    const float* row = probabilities.row(i);
    evaluation.confusion.add(label[at], predicted[at]);
    const float own = row[label[at]];
    const auto higher =
        std::count_if(row, row + probabilities.classes(), [&](float other) { return other > own; });
    if (higher < 5) ++evaluation.in_top5;
    if (predicted[at] != label[at]) {
      evaluation.mistakes.push_back({.index = first + i,
                                     .label = label[at],
                                     .predicted = predicted[at],
                                     .confidence = static_cast<double>(row[predicted[at]])});
    }
    if (probabilities.classes() == 2) scored.emplace_back(row[1], label[at] == 1);
  }
}

}  // namespace

std::vector<std::int64_t> largest_classes(const fovea::Tensor& logits) {
  return Rows(logits).largest();
}

void Score::add(const fovea::Tensor& logits, const fovea::Tensor& target, double mean_loss) {
  const bool classes = target.dtype() == fovea::DType::int64;
  const std::vector<std::int64_t> label =
      classes ? target.to_vector<std::int64_t>() : largest_classes(target);
  const std::vector<std::int64_t> predicted = largest_classes(logits);
  for (std::size_t i = 0; i < label.size(); ++i) {
    if (label[i] == fovea::data::kIgnored) continue;
    ++labels;
    if (predicted[i] == label[i]) ++correct;
  }
  loss_sum += mean_loss * static_cast<double>(target.size(0));
  samples += target.size(0);
}

void Confusion::add(std::int64_t label, std::int64_t predicted) {
  ++counts_[static_cast<std::size_t>(label) * classes_ + static_cast<std::size_t>(predicted)];
}

std::int64_t Confusion::labelled(std::size_t c) const {
  std::int64_t count = 0;
  for (std::size_t other = 0; other < classes_; ++other) count += at(c, other);
  return count;
}

std::int64_t Confusion::predicted(std::size_t c) const {
  std::int64_t count = 0;
  for (std::size_t other = 0; other < classes_; ++other) count += at(other, c);
  return count;
}

double Confusion::precision(std::size_t c) const {
  return share(at(c, c), predicted(c));
}

double Confusion::recall(std::size_t c) const {
  return share(at(c, c), labelled(c));
}

double Confusion::iou(std::size_t c) const {
  return share(at(c, c), labelled(c) + predicted(c) - at(c, c));
}

double Confusion::dice(std::size_t c) const {
  return share(2 * at(c, c), labelled(c) + predicted(c));
}

double Confusion::mean_iou() const {
  double sum = 0;
  std::int64_t occurring = 0;
  for (std::size_t c = 0; c < classes_; ++c) {
    if (labelled(c) + predicted(c) == 0) continue;
    sum += iou(c);
    ++occurring;
  }
  return occurring == 0 ? 0 : sum / static_cast<double>(occurring);
}

void check_fits(const fovea::nn::Model& model, const fovea::data::Dataset& dataset,
                const std::string& source) {
  if (dataset.sample_shape() != model.info.input) {
    const bool other_features =
        source.starts_with("audio:") && dataset.sample_shape().rank() != model.info.input.rank();
    throw fovea::Error(fmt::format(
        "{} reads {} samples, but those of '{}' are {}{}", model.info.architecture,
        join_sizes(model.info.input), source, join_sizes(dataset.sample_shape()),
        other_features ? "; features=mel gives spectrograms, features=wave waveforms" : ""));
  }
  if (const std::string count = class_count(model.info);
      count != std::to_string(dataset.classes().size())) {
    throw fovea::Error(fmt::format("{} tells {} classes apart, but '{}' has {}",
                                   model.info.architecture, count, source,
                                   dataset.classes().size()));
  }
  if (dataset.size() == 0) throw fovea::Error(fmt::format("'{}' has no samples", source));
  fovea::Shape batch = {1};
  for (const std::int64_t size : model.info.input) batch.push_back(size);
  const fovea::Shape output = fovea::explain::inspect(model.module(), batch).layers.back().output;
  if (!dataset.has_masks() && output.rank() > 2) {
    throw fovea::Error(
        fmt::format("{} tells the class of each cell, but the samples of '{}' have "
                    "one label each; masks:DIR reads images with masks",
                    model.info.architecture, source));
  }
  if (!dataset.has_masks()) return;
  for (int axis = 1; axis < model.info.input.rank(); ++axis) {
    if (output.rank() == batch.rank() && output[axis + 1] == batch[axis + 1]) continue;
    throw fovea::Error(fmt::format(
        "the samples of '{}' have masks, a class for each cell, but {} gives {} for {}; unet gives "
        "one for each cell",
        source, model.info.architecture, join_sizes(output), join_sizes(batch)));
  }
}

std::vector<std::int64_t> mask_answered(const fovea::nn::Model& model,
                                        const fovea::data::Dataset& dataset, std::int64_t index) {
  const fovea::NoGrad no_grad;
  fovea::Shape shape = {1};
  for (const std::int64_t size : dataset.sample_shape()) shape.push_back(size);
  fovea::Tensor sample =
      fovea::Tensor::empty(shape, fovea::DType::float32, fovea::Layout::channels_last);
  dataset.read(index, {sample.mutable_data<float>(), static_cast<std::size_t>(sample.numel())});
  model.eval();
  const Renormalisation renormalise(model.info, dataset);
  return largest_classes(model(renormalise(sample).to(parameter_type(model))));
}

Evaluation score(const fovea::nn::Model& model,
                 const std::shared_ptr<const fovea::data::Dataset>& dataset, std::int64_t batch,
                 const std::function<void()>& between) {
  const fovea::NoGrad no_grad;
  const Renormalisation renormalise(model.info, *dataset);
  const fovea::DType type = parameter_type(model);
  model.eval();
  Evaluation evaluation;
  evaluation.confusion = Confusion(dataset->classes().size());
  evaluation.masks = dataset->has_masks();
  fovea::CrossEntropyOptions loss;
  if (evaluation.masks) loss.ignored = fovea::data::kIgnored;
  std::vector<std::pair<float, bool>> scored;
  for (const auto& [images, labels] : fovea::data::Loader(dataset, {.batch = batch})) {
    const fovea::Tensor logits = model(renormalise(images).to(type));
    if (evaluation.masks)
      add_masks(evaluation, logits, labels, evaluation.total.samples);
    else
      add(evaluation, logits, labels, evaluation.total.samples, scored);
    evaluation.total.add(logits, labels, fovea::cross_entropy(logits, labels, loss).item<double>());
    between();
  }
  std::stable_sort(evaluation.mistakes.begin(), evaluation.mistakes.end(),
                   [](const Mistake& a, const Mistake& b) { return a.confidence > b.confidence; });
  const bool both = !evaluation.masks && evaluation.confusion.classes() == 2 &&
                    evaluation.confusion.labelled(0) > 0 && evaluation.confusion.labelled(1) > 0;
  if (both) evaluation.auc = auc_of(scored);
  return evaluation;
}

}  // namespace cli
