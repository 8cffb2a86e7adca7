// How well a network does on a data set: shared by train and evaluate.
#pragma once

#include <fovea/fovea.h>
#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cli {

// Sums over samples; always added up in the order of the samples.
struct Score {
  double loss_sum = 0;
  std::int64_t correct = 0;
  std::int64_t labels = 0;  // samples, or of masks cells that are of a class
  std::int64_t samples = 0;

  // logits [N, classes], labels [N] or probabilities [N, classes], whose largest is then the label,
  // or logits [N, classes, spatial...] and masks [N, spatial...]; and the mean loss of the batch.
  void add(const fovea::Tensor& logits, const fovea::Tensor& target, double mean_loss);
  double loss() const { return loss_sum / static_cast<double>(samples); }
  double accuracy() const {
    return static_cast<double>(correct) / static_cast<double>(std::max<std::int64_t>(labels, 1));
  }
};

// Who was taken for whom.
class Confusion {
 public:
  explicit Confusion(std::size_t classes = 0) : classes_(classes), counts_(classes * classes) {}
  void add(std::int64_t label, std::int64_t predicted);
  std::size_t classes() const { return classes_; }
  std::int64_t at(std::size_t label, std::size_t predicted) const {
    return counts_[label * classes_ + predicted];
  }
  std::int64_t labelled(std::size_t c) const;
  std::int64_t predicted(std::size_t c) const;
  // Of those predicted, or labelled, as c, the share that is right; 0 of none.
  double precision(std::size_t c) const;
  double recall(std::size_t c) const;
  // What both have of what either has, and twice that of the sum of both; 0 of none.
  double iou(std::size_t c) const;
  double dice(std::size_t c) const;
  // Of the classes that occur.
  double mean_iou() const;

 private:
  std::size_t classes_;
  std::vector<std::int64_t> counts_;
};

// Of masks, which have no one label, a sample with wrong cells.
struct Mistake {
  std::int64_t index = 0;
  std::int64_t label = 0;
  std::int64_t predicted = 0;
  double confidence = 0;  // the probability of the prediction; of masks, the share of wrong cells
};

struct Evaluation {
  Score total;
  Confusion confusion;  // of cells, where there are masks
  bool masks = false;
  std::int64_t in_top5 = 0;
  std::vector<Mistake> mistakes;  // the most confident first
  // Of two classes: the chance that a sample of the second has a higher probability of it than one
  // of the first.
  std::optional<double> auc;

  std::optional<double> mean_iou() const {
    return masks ? std::optional(confusion.mean_iou()) : std::nullopt;
  }
  double top5() const { return static_cast<double>(in_top5) / static_cast<double>(total.samples); }
};

// Throws Error unless the network reads such samples and tells such classes apart, of each sample
// or of each of its cells.
void check_fits(const fovea::nn::Model& model, const fovea::data::Dataset& dataset,
                const std::string& source);

// The largest class of each row of logits [N, classes], or of each cell of [N, classes,
// spatial...].
std::vector<std::int64_t> largest_classes(const fovea::Tensor& logits);

// What the network answers for each cell of a sample, as score() has it.
std::vector<std::int64_t> mask_answered(const fovea::nn::Model& model,
                                        const fovea::data::Dataset& dataset, std::int64_t index);

// In evaluation mode; normalises as the model was trained, whatever the data set's own statistics,
// and as the data set does where the model does not say. Calls `between` after each batch; what it
// throws ends the scoring.
Evaluation score(
    const fovea::nn::Model& model, const std::shared_ptr<const fovea::data::Dataset>& dataset,
    std::int64_t batch, const std::function<void()>& between = [] {});

}  // namespace cli
