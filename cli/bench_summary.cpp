// See bench_summary.h.
#include "bench_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace cli {

void SuiteSummary::Mean::add(const Json& result, const char* key, std::int64_t times) {
  if (!result.contains(key) || !result.at(key).is_number()) return;
  logarithms += static_cast<double>(times) * std::log(result.at(key).get<double>());
  count += times;
}

Json SuiteSummary::Mean::value() const {
  return count == 0 ? Json() : Json(std::exp(logarithms / static_cast<double>(count)));
}

void SuiteSummary::add(const Json& result) {
  const auto problem = fovea::ConvProblem::parse(result.at("problem").get<std::string>());
  const auto pass = result.at("pass").get<std::string>();
  const auto count = result.at("count").get<std::int64_t>();
  auto total = std::find_if(totals_.begin(), totals_.end(), [&](const Total& known) {
    return known.batch == problem.batch && known.pass == pass;
  });
  if (total == totals_.end()) {
    Total fresh;
    fresh.batch = problem.batch;
    fresh.pass = pass;
    fresh.threads = result.at("threads").get<int>();
    total = totals_.insert(totals_.end(), fresh);
  }
  total->count += count;
  total->milliseconds += static_cast<double>(count) * result.at("ms").get<double>();
  total->ratio.add(result, "ratio", count);
  total->best_ratio.add(result, "best_ratio", count);
  peers_ = peers_ || result.contains("ratio");
}

void SuiteSummary::print(bool json) const {
  for (const Total& total : totals_) {
    if (json) {
      Json line = {{"suite", suite_},          {"batch", total.batch}, {"pass", total.pass},
                   {"threads", total.threads}, {"count", total.count}, {"ms", total.milliseconds}};
      if (peers_) {
        line["geometric_mean"] = total.ratio.value();
        line["best_geometric_mean"] = total.best_ratio.value();
      }
      print_json(line);
      continue;
    }
    fmt::print("{}, batch {}, {}, {} threads: {} convolutions in {:.3f} ms", suite_, total.batch,
               total.pass, total.threads, total.count, total.milliseconds);
    if (peers_ && total.ratio.count > 0) {
      fmt::print("; geometric means: ratio {:.2f}", total.ratio.value().get<double>());
      if (total.best_ratio.count > 0)
        fmt::print(", best ratio {:.2f}", total.best_ratio.value().get<double>());
    }
    fmt::print("\n");
  }
}

}  // namespace cli
