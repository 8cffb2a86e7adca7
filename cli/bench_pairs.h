// Whether Fovea is behind a peer, from pairs of measurements taken in turn: a slow minute of the
// machine then slows both sides of a pair.
#pragma once

#include <string>
#include <vector>

#include "support.h"

namespace cli {

inline constexpr int kLeastPairs = 6;  // of which an interval of 95 % can be had

// The median of `values`, and the narrowest pair of their order statistics between which the
// median of what they are drawn from lies with 95 % certainty, whatever its distribution: fewer
// than k of n values lie on one side of it with the probability of fewer than k heads in n tosses.
struct MedianInterval {
  double median = 0;
  double low = 0;
  double high = 0;
};
MedianInterval median_interval(std::vector<double> values);  // at least kLeastPairs

// Replaces the ratio of `result` by the median of its pair_ratios, and adds ratio_low and
// ratio_high; null where there was no peer. The best peer, no other being timed, is left out.
void add_interval(Json& result);

// The results whose ratio is below kFarBehind even at the upper end of its interval.
class FarBehind {
 public:
  void add(const Json& result);
  void print(bool json) const;

 private:
  static constexpr double kFarBehind = 0.95;
  int compared_ = 0;
  std::vector<Json> behind_;
};

}  // namespace cli
