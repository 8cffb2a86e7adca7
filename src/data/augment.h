// Augmentations at work: those of a text, on the samples of a data set.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "fovea/data.h"

namespace fovea::data {

class Augmenter {
 public:
  // Throws Error for a text that parse_augmentations() refuses, and for an augmentation that
  // samples of these dimensions cannot have.
  Augmenter(std::string_view text, const Dataset& dataset, std::uint64_t seed);

  // Changes sample `index`, which lies channels-last and normalised, as its data set reads it, and
  // its mask with it, where it has one.
  void change(std::int64_t epoch, std::int64_t index, std::span<float> sample,
              std::span<std::int64_t> mask) const;
  // With mixup, mixes each sample of the batch with another one, and makes its labels
  // probabilities.
  void mix(std::int64_t epoch, std::int64_t batch_index, Batch& batch) const;

 private:
  std::vector<Augmentation> steps_;  // without mixup
  double mixup_ = 0;                 // 0: none
  std::uint64_t seed_;
  Shape size_;  // spatial, of a sample
  std::int64_t channels_;
  std::int64_t classes_;
  std::vector<double> mean_, stddev_;  // of each channel
  std::vector<float> background_;      // of each channel
};

}  // namespace fovea::data
