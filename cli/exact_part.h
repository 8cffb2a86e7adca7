// How far a pass of a convolution is from `reference`, which computes only a part of a large
// result, in double precision: a pass is linear, and some samples, groups or channels of its result
// need only as much of its operands.
#pragma once

#include <fovea/fovea.h>

#include <cstdint>
#include <string>

namespace cli {

// The part of a result that is compared: its first samples, groups and channels of each group.
class ExactPart {
 public:
  ExactPart(const fovea::ConvProblem& problem, fovea::Pass pass);

  bool is_whole() const { return result_shape(part_) == result_shape(whole_); }
  // Whether `reference` would take too long for it, all the same.
  bool is_too_large() const;
  std::int64_t multiply_adds() const { return part_.multiply_adds(); }
  std::string text() const;  // "1 of 16 samples, 8 of 64 channels"

  // What `reference` makes of this part of the operands.
  fovea::Tensor exact(const fovea::Tensor& first, const fovea::Tensor& second) const;
  // This part of a result of the whole.
  fovea::Tensor of(const fovea::Tensor& result) const;

 private:
  std::int64_t as_many_as_fit(std::int64_t count) const;
  void set_groups(std::int64_t groups);
  std::int64_t& results(fovea::ConvProblem& problem) const;
  fovea::Shape result_shape(const fovea::ConvProblem& problem) const;

  fovea::ConvProblem whole_;
  fovea::Pass pass_;
  fovea::ConvProblem part_;
};

// The largest distance from `exact`, relative to its largest value.
double relative_error(const fovea::Tensor& result, const fovea::Tensor& exact);

}  // namespace cli
