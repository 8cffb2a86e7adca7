// What a source has before it is split, normalised and kept: raw samples with their labels.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fovea/tensor.h"

namespace fovea::data {

// Stands in a mask for a cell of no class.
inline constexpr std::uint8_t kNoClass = 255;

// May be read from several threads at once.
class Samples {
 public:
  virtual ~Samples() = default;
  virtual std::int64_t size() const = 0;
  virtual std::int64_t label(std::int64_t index) const = 0;
  // A file, or a place in one.
  virtual std::string name(std::int64_t index) const = 0;
  // uint8 or float32 [C, spatial...]. Throws Error, which names the file, for one that is broken.
  virtual Tensor decode(std::int64_t index) const = 0;
  // Whether each has a mask instead of a label, and that of one: uint8 [spatial...] of the sample's
  // size, kNoClass for cells of no class. Throws Error as decode() does.
  virtual bool has_masks() const { return false; }
  virtual Tensor mask(std::int64_t) const { return {}; }
  // All of them, uint8 or float32 [N, C, spatial...] in channels-last memory, where that is what
  // they lie in; undefined where each is decoded.
  virtual Tensor all() const { return {}; }
  // What to do where samples have several shapes: "give all of them one size with ?size=64".
  virtual std::string advice() const { return ""; }
  // What lies around a sample: black, or silence.
  virtual double background() const { return 0; }
};

// Samples that lie in memory. values: uint8 or float32 [N, C, spatial...]; labels: one for each.
// `place` names what they come from.
class ArraySamples : public Samples {
 public:
  ArraySamples(const Tensor& values, std::vector<std::int64_t> labels, std::string place);
  std::int64_t size() const override { return values_.size(0); }
  std::int64_t label(std::int64_t index) const override {
    return labels_[static_cast<std::size_t>(index)];
  }
  std::string name(std::int64_t index) const override;
  Tensor decode(std::int64_t index) const override;
  Tensor all() const override { return values_; }

 private:
  Tensor values_;
  std::vector<std::int64_t> labels_;
  std::string place_;
};

// The labels of a file, [N] or [N, 1], as integers from 0 to classes - 1; `what` starts the
// messages. classes = 0: any number.
std::vector<std::int64_t> labels_from(const Tensor& labels, std::int64_t count,
                                      std::int64_t classes, const std::string& what);
// "0", "1", ... for all labels there are.
std::vector<std::string> numbered_classes(const std::vector<std::int64_t>& labels);

}  // namespace fovea::data
