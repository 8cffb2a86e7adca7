// Some of the samples of a source as a data set: checked, measured, kept in memory if they fit.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/samples.h"
#include "fovea/data.h"

namespace fovea::data {

struct Statistics {
  std::vector<double> mean;    // per channel
  std::vector<double> stddev;  // 1 where all values are equal
};

struct SampleSetOptions {
  std::string op;            // starts the messages
  bool skip_broken = false;  // leave broken samples out; otherwise the first one is an Error
  std::int64_t keep = 0;     // most bytes of decoded samples that are kept in memory
};

class SampleSet : public Dataset {
 public:
  // Decodes every sample that `indices` name, unless they lie in memory already. Where no
  // `statistics` are given, those of these samples are taken. Throws Error if a sample is broken
  // and may not be, or if their shapes differ.
  SampleSet(std::shared_ptr<const Samples> samples, std::vector<std::int64_t> indices,
            std::vector<std::string> classes, const SampleSetOptions& options,
            std::optional<Statistics> statistics);

  std::int64_t size() const override { return static_cast<std::int64_t>(indices_.size()); }
  Shape sample_shape() const override { return shape_; }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::vector<double> mean() const override { return statistics_.mean; }
  std::vector<double> stddev() const override { return statistics_.stddev; }
  void read(std::int64_t index, std::span<float> sample) const override;
  std::int64_t label(std::int64_t index) const override;
  bool has_masks() const override { return samples_->has_masks(); }
  void read_mask(std::int64_t index, std::span<std::int64_t> mask) const override;
  std::string name(std::int64_t index) const override;
  std::vector<Broken> broken() const override { return broken_; }
  double background() const override { return samples_->background(); }

  const Statistics& statistics() const { return statistics_; }
  std::string advice() const { return samples_->advice(); }
  // Of the raw samples: "uint8 [3, 64, 64]".
  std::string raw_shape() const;

 private:
  class Moments;
  struct Decoded;
  void find_shape(const SampleSetOptions& options);
  Moments measure(const Tensor& values, std::int64_t row, std::int64_t rows) const;
  Moments measure_rows() const;
  Moments read_all(const SampleSetOptions& options);
  Decoded decode(std::int64_t index, char* place, std::uint8_t* mask_place) const;
  Moments sort_out(const std::vector<Decoded>& all, const SampleSetOptions& options);
  void prepare_normalisation();
  void normalise(const std::uint8_t* values, std::span<float> sample) const;
  void normalise(const float* values, std::span<float> sample) const;
  void check_index(std::int64_t index) const;
  std::int64_t cells() const { return shape_.numel() / shape_[0]; }

  std::shared_ptr<const Samples> samples_;
  std::vector<std::int64_t> indices_;  // into samples_
  std::vector<std::int64_t> rows_;     // into kept_, where that is defined
  Tensor kept_;                        // [rows, C, spatial...] in channels-last memory
  Tensor kept_masks_;                  // uint8 [rows, cells], where there are masks
  std::vector<std::string> classes_;
  std::vector<Broken> broken_;
  Shape shape_;
  std::int64_t first_ = 0;  // the sample that it was taken from
  DType dtype_ = DType::uint8;
  Statistics statistics_;
  std::vector<float> byte_values_;  // normalised, of each byte in each channel: [256, C]
};

}  // namespace fovea::data
