// How every figure is taken: medians over single calls of one or more sides, in turn. Thread pools
// of two libraries disturb each other by spinning, so before a side's turn there is idleness and a
// call that does not count.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace bench {

// One way to do the work. Its buffers must have been written before it is measured.
struct Side {
  std::string name;
  std::function<void()> call;
};

struct Options {
  int rounds = 3;        // turns of each side
  double seconds = 0.5;  // of timed calls per side, over all rounds; at least 3 calls a round
};

// Medians of the time of one call, in seconds.
struct Timing {
  double seconds = 0;          // over all calls
  std::vector<double> rounds;  // over those of each turn
};

// Per side, in the order given.
std::vector<Timing> time_in_turn(const std::vector<Side>& sides, const Options& options = {});
// Their medians over all calls alone.
std::vector<double> median_seconds(const std::vector<Side>& sides, const Options& options = {});

}  // namespace bench
