// See bench_pairs.h.
#include "bench_pairs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace cli {
namespace {

// The largest k for which fewer than k heads, and fewer than k tails, in n tosses both together
// have a probability of at most 5 %.
std::size_t interval_rank(std::size_t n) {
  double probability = std::exp2(-static_cast<double>(n));  // of k heads
  double tail = probability;
  std::size_t k = 0;
  while (2 * tail <= 0.05) {
    ++k;
    probability *= static_cast<double>(n - k + 1) / static_cast<double>(k);
    tail += probability;
  }
  return k;
}

}  // namespace

MedianInterval median_interval(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  const std::size_t rank = interval_rank(n);
  return {.median = (values[(n - 1) / 2] + values[n / 2]) / 2,
          .low = values[rank - 1],
          .high = values[n - rank]};
}

void add_interval(Json& result) {
  for (const char* key : {"best_peer", "best_peer_ms", "best_ratio"}) result.erase(key);
  const Json ratios = result.value("pair_ratios", Json());
  result["ratio_low"] = result["ratio_high"] = Json();
  if (!ratios.is_array() || ratios.size() < kLeastPairs) return;
  const MedianInterval interval = median_interval(ratios.get<std::vector<double>>());
  result["ratio"] = interval.median;
  result["ratio_low"] = interval.low;
  result["ratio_high"] = interval.high;
}

void FarBehind::add(const Json& result) {
  if (!result.at("ratio_high").is_number()) return;
  ++compared_;
  if (result.at("ratio_high").get<double>() < kFarBehind) behind_.push_back(result);
}

void FarBehind::print(bool json) const {
  if (json) {
    Json list = Json::array();
    for (const Json& result : behind_)
      list.push_back({{"problem", result.at("problem")}, {"pass", result.at("pass")}});
    return print_json({{"bound", kFarBehind}, {"compared", compared_}, {"below", list}});
  }
  fmt::print("ratio below {} with 95 % certainty: {} of {}\n", kFarBehind, behind_.size(),
             compared_);
  for (const Json& result : behind_) {
    fmt::print("  {} {} {:.2f}\n", result.at("problem").get<std::string>(),
               result.at("pass").get<std::string>(), result.at("ratio").get<double>());
  }
}

}  // namespace cli
