// The measuring loop behind `fovea bench` and `fovea-peers`.
#include "harness.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <thread>

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

// Long enough for spinning workers of the side before to go to sleep.
constexpr auto kIdle = std::chrono::milliseconds(30);
constexpr int kLeastCalls = 3;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// One turn: a call that does not count, then single calls until the share is used.
void take_turn(const Side& side, double share, std::vector<double>& times) {
  side.call();
  double used = 0;
  for (int calls = 0; calls < kLeastCalls || used < share; ++calls) {
    const Clock::time_point start = Clock::now();
    side.call();
    const double taken = seconds_since(start);
    times.push_back(taken);
    used += taken;
  }
}

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

}  // namespace

std::vector<Timing> time_in_turn(const std::vector<Side>& sides, const Options& options) {
  const int rounds = std::max(options.rounds, 1);
  std::vector<Timing> timings(sides.size());
  std::vector<std::vector<double>> times(sides.size());
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t side = 0; side < sides.size(); ++side) {
      if (sides.size() > 1) std::this_thread::sleep_for(kIdle);
      std::vector<double> turn;
      take_turn(sides[side], options.seconds / rounds, turn);
      times[side].insert(times[side].end(), turn.begin(), turn.end());
      timings[side].rounds.push_back(median(turn));
    }
  }
  for (std::size_t side = 0; side < sides.size(); ++side)
    timings[side].seconds = median(times[side]);
  return timings;
}

std::vector<double> median_seconds(const std::vector<Side>& sides, const Options& options) {
  std::vector<double> medians;
  for (const Timing& timing : time_in_turn(sides, options)) medians.push_back(timing.seconds);
  return medians;
}

}  // namespace bench
