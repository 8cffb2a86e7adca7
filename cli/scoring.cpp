// See scoring.h.
#include "scoring.h"

#include <fmt/format.h>

#include <algorithm>

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

}  // namespace

void Score::add(const fovea::Tensor& logits, const fovea::Tensor& labels, double mean_loss) {
  const fovea::Tensor rows = logits.detach().to(fovea::DType::float32).contiguous();
  const std::int64_t count = rows.size(0);
  const std::int64_t classes = rows.size(1);
  const float* row = rows.data<float>();
  const std::int64_t* label = labels.data<std::int64_t>();
  for (std::int64_t i = 0; i < count; ++i, row += classes) {
    if (std::max_element(row, row + classes) - row == label[i]) ++correct;
  }
  loss_sum += mean_loss * static_cast<double>(count);
  samples += count;
}

void check_fits(const fovea::nn::Model& model, const fovea::data::Dataset& dataset,
                const std::string& source) {
  if (dataset.sample_shape() != model.info.input) {
    throw fovea::Error(fmt::format("{} reads {} samples, but those of '{}' are {}",
                                   model.info.architecture, join_sizes(model.info.input), source,
                                   join_sizes(dataset.sample_shape())));
  }
  if (const std::string count = class_count(model.info);
      count != std::to_string(dataset.classes().size())) {
    throw fovea::Error(fmt::format("{} tells {} classes apart, but '{}' has {}",
                                   model.info.architecture, count, source,
                                   dataset.classes().size()));
  }
  if (dataset.size() == 0) throw fovea::Error(fmt::format("'{}' has no samples", source));
}

Score score(const fovea::nn::Model& model,
            const std::shared_ptr<const fovea::data::Dataset>& dataset, std::int64_t batch,
            const std::function<void()>& between) {
  const fovea::NoGrad no_grad;
  const Renormalisation renormalise(model.info, *dataset);
  const fovea::DType type = parameter_type(model);
  model.eval();
  Score total;
  for (const auto& [images, labels] : fovea::data::Loader(dataset, {.batch = batch})) {
    const fovea::Tensor logits = model(renormalise(images).to(type));
    total.add(logits, labels, fovea::cross_entropy(logits, labels).item<double>());
    between();
  }
  return total;
}

}  // namespace cli
