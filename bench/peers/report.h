// What the commands of fovea-peers share: the comparison of results before anything is timed, and
// the keys that Fovea and its peers are reported under.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "harness.h"

namespace peers {

using Json = nlohmann::ordered_json;

// Throws Error unless max |a - b| < 1e-3 max |b|; `what` says whose results these are.
void require_close(std::span<const float> a, std::span<const float> b, const std::string& what);

// Times Fovea, the first side, against the others. Adds ms, peer and best_peer, each with its ms
// and its ratio (above 1: Fovea is faster), the ms of all `ways`, and as pair_ratios the ratio to
// the peer of each round. `peer` is the side of that name; null where it is missing.
void add_times(Json& report, const std::vector<bench::Side>& sides, const std::string& peer,
               const bench::Options& options);

// One object on a line of its own, written out at once.
void print_json(const Json& object);

}  // namespace peers
