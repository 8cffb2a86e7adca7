// A network's convolutions taken together: what ends a report of `fovea bench conv --suite`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "support.h"

namespace cli {

// Per batch and pass: the sum of the times, and the geometric means of the ratios to the peers,
// each problem as often as it occurs. The geometric mean, because the ratios of two libraries then
// give the same judgement either way round.
class SuiteSummary {
 public:
  explicit SuiteSummary(std::string suite) : suite_(std::move(suite)) {}
  // A result of `fovea bench conv`, with its count.
  void add(const Json& result);
  // A line each, as text or as JSON.
  void print(bool json) const;

 private:
  struct Mean {
    double logarithms = 0;
    std::int64_t count = 0;
    void add(const Json& result, const char* key, std::int64_t times);
    Json value() const;  // null where there was no ratio
  };
  struct Total {
    std::int64_t batch = 1;
    std::string pass;
    int threads = 1;
    std::int64_t count = 0;
    double milliseconds = 0;
    Mean ratio;
    Mean best_ratio;
  };

  std::string suite_;
  bool peers_ = false;
  std::vector<Total> totals_;
};

}  // namespace cli
