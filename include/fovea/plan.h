// Plans that were measured: a search times the algorithms on this machine, a plan file keeps what
// it found, and a plan file in use decides what `auto` takes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fovea/conv.h"
#include "fovea/export.h"
#include "fovea/machine.h"

namespace fovea {

// One choice for one problem and pass.
struct PlanEntry {
  ConvProblem problem;
  Pass pass = Pass::forward;
  std::string algorithm;
  double seconds = 0;  // of one call, as measured; 0: not known
  friend bool operator==(const PlanEntry&, const PlanEntry&) = default;
};

// Choices that were made on one SIMD target. As a file: one JSON object, one entry a line.
struct FOVEA_API PlanFile {
  std::string simd;       // the SIMD target that they hold for
  std::string processor;  // where they were measured, for people
  int threads = 0;        // and with how many
  std::vector<PlanEntry> entries;

  // Empty, for the SIMD target, processor and number of threads in use.
  static PlanFile here();
  // Reads what to_string() wrote. Throws Error, whose message starts with `source` and names the
  // entry: if it is of another version or SIMD target, if anything is missing or makes no sense, if
  // an entry stands twice, or if an algorithm refuses what an entry gives it.
  static PlanFile parse(std::string_view text, const std::string& source);
  std::string to_string() const;

  // Adds an entry, in place of that of the same problem and pass if there is one.
  void set(const PlanEntry& entry);
  const PlanEntry* find(const ConvProblem& problem, Pass pass) const;  // null: none
};

// Throws Error, naming the file, if it cannot be read, and for what PlanFile::parse refuses.
FOVEA_API PlanFile load_plan_file(const std::string& path);
// Complete or not at all. Throws Error if the file cannot be written.
FOVEA_API void save_plan_file(const PlanFile& file, const std::string& path);

// From now on `auto` takes what the file says for its problems, in all threads, as far as
// precision and workspace_limit allow, and predicts for all others. An empty one: predicts for all.
// Throws Error as PlanFile::parse does for entries that cannot be.
FOVEA_API void use_plan_file(const PlanFile& file);

struct SearchOptions {
  Precision precision = Precision::fast;
  std::int64_t workspace_limit = kNoWorkspaceLimit;
  double seconds = 0.1;  // of timed calls of each algorithm, but for calls that take longer
};

// Times algorithms on random data with num_threads() threads, in turns, and returns the fastest
// first: all that accept the problem under the options, but for those that are predicted to take
// ten times as long as another. What is fastest may differ from call to call and so may the last
// bits of what it computes; a plan file keeps one answer.
FOVEA_API std::vector<PlanEntry> time_algorithms(const ConvProblem& problem, Pass pass,
                                                 const SearchOptions& options = {});
// The first of them.
FOVEA_API PlanEntry search_plan(const ConvProblem& problem, Pass pass,
                                const SearchOptions& options = {});
// What a prediction means here: its cycles, shared by num_threads() cores that together reach this
// speed.
FOVEA_API double predicted_seconds(const ConvCost& cost, DType dtype, const MachineSpeed& speed);
// The median seconds of one call of this plan, over `seconds` of calls; of the first call alone if
// that takes longer, otherwise it does not count.
FOVEA_API double time_plan(const Plan& plan, double seconds = 0.1);

}  // namespace fovea
