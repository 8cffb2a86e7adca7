// See report.h.
#include "report.h"

#include <fmt/format.h>
#include <fovea/fovea.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <optional>

namespace peers {
namespace {

constexpr double kTolerance = 1e-3;  // Winograd's transforms lose some digits of float32

// Further digits are noise.
double rounded(double value) {
  return std::round(1e6 * value) / 1e6;
}

Json milliseconds(double seconds) {
  return rounded(1e3 * seconds);
}

void add_peer(Json& report, const std::string& key, const std::string& name,
              std::optional<double> seconds, double own_seconds) {
  const std::string ratio = key == "peer" ? "ratio" : "best_ratio";
  report[key] = seconds ? Json(name) : Json();
  report[key + "_ms"] = seconds ? milliseconds(*seconds) : Json();
  report[ratio] = seconds ? Json(rounded(*seconds / own_seconds)) : Json();
}

}  // namespace

void require_close(std::span<const float> a, std::span<const float> b, const std::string& what) {
  double largest = 0;
  double difference = a.size() == b.size() ? 0 : INFINITY;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double distance = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    difference = std::isnan(distance) ? INFINITY : std::max(difference, distance);
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
  }
  if (difference >= kTolerance * largest) {
    throw fovea::Error(fmt::format(
        "{}: the results differ by {:.2g} where the largest value is {:.2g}; nothing was timed",
        what, difference, largest));
  }
}

void add_times(Json& report, const std::vector<bench::Side>& sides, const std::string& peer,
               const bench::Options& options) {
  const std::vector<bench::Timing> timings = bench::time_in_turn(sides, options);
  const double own = timings[0].seconds;
  Json ways = Json::object();
  std::optional<double> of_peer;
  std::optional<double> of_best;
  std::string best;
  Json pair_ratios;
  for (std::size_t i = 1; i < sides.size(); ++i) {
    const double seconds = timings[i].seconds;
    ways[sides[i].name] = milliseconds(seconds);
    if (!of_best || seconds < *of_best) {
      of_best = seconds;
      best = sides[i].name;
    }
    if (sides[i].name != peer) continue;
    of_peer = seconds;
    for (std::size_t round = 0; round < timings[i].rounds.size(); ++round)
      pair_ratios.push_back(rounded(timings[i].rounds[round] / timings[0].rounds[round]));
  }
  report["ms"] = milliseconds(own);
  add_peer(report, "peer", peer, of_peer, own);
  add_peer(report, "best_peer", best, of_best, own);
  report["ways"] = std::move(ways);
  report["pair_ratios"] = std::move(pair_ratios);
}

void print_json(const Json& object) {
  fmt::print("{}\n", object.dump());
  std::fflush(stdout);
}

}  // namespace peers
