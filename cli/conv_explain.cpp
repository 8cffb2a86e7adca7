// Runs each algorithm that accepts the pass on the same random data: the time that is predicted and
// the time it takes, its workspace, and how far its result is from that of `reference`.
#include "conv_explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "exact_part.h"
#include "support.h"
#include "workload.h"

namespace cli {
namespace {

using fovea::Candidate;
using fovea::ConvProblem;
using fovea::Pass;
using fovea::Tensor;

constexpr double kLongest = 1;  // seconds predicted for one call, beyond which it is not run

// What one algorithm answered.
struct Answer {
  Candidate candidate;
  double predicted = 0;           // seconds
  std::optional<double> seconds;  // nothing where it was not run
  std::optional<double> error;
};

class Explanation {
 public:
  Explanation(const ConvProblem& problem, Pass pass, const fovea::PlanOptions& options,
              const fovea::MachineSpeed& speed)
      : plan_(fovea::make_plan(problem, pass, options)), part_(problem, pass) {
    for (const Candidate& candidate : plan_.candidates) {
      Answer answer{.candidate = candidate, .predicted = 0, .seconds = {}, .error = {}};
      if (!candidate.refusal) {
        answer.predicted = fovea::predicted_seconds(candidate.predicted, problem.dtype, speed);
        if (answer.predicted <= kLongest || is_chosen(answer)) run(answer);
      }
      answers_.push_back(std::move(answer));
    }
  }

  void print() const {
    fmt::print("{}: {}\n  {}\n", fovea::name(plan_.pass), plan_.algorithm, plan_.reason);
    Table table({"  algorithm", "predicted", "measured", "workspace", "error"}, 1);
    for (const Answer& one : answers_) {
      if (one.candidate.refusal) continue;
      table.add({fmt::format("{} {}", is_chosen(one) ? "*" : " ", one.candidate.algorithm),
                 readable_seconds(one.predicted),
                 one.seconds ? readable_seconds(*one.seconds) : "-",
                 readable_bytes(static_cast<double>(one.candidate.workspace)),
                 one.error ? fmt::format("{:.1e}", *one.error) : "-"});
    }
    table.print();
    for (const Answer& one : answers_) {
      if (one.candidate.refusal) {
        fmt::print("  {} refuses: {}\n", one.candidate.algorithm, *one.candidate.refusal);
      } else if (!one.candidate.passed_over.empty()) {
        fmt::print("  {} is passed over: {}{}\n", one.candidate.algorithm,
                   one.candidate.passed_over,
                   one.seconds ? "" : fmt::format("; not run, as it takes over {} s", kLongest));
      }
    }
    fmt::print("  error: {}\n", error_text());
  }

  Json json() const {
    Json candidates = Json::array();
    for (const Answer& one : answers_) {
      if (one.candidate.refusal) {
        candidates.push_back(
            {{"algorithm", one.candidate.algorithm}, {"refusal", *one.candidate.refusal}});
        continue;
      }
      candidates.push_back({{"algorithm", one.candidate.algorithm},
                            {"chosen", is_chosen(one)},
                            {"passed_over", one.candidate.passed_over},
                            {"multiply_adds", count_json(one.candidate.predicted.multiply_adds)},
                            {"bytes", count_json(one.candidate.predicted.bytes)},
                            {"predicted_cycles", one.candidate.predicted.cycles},
                            {"predicted_seconds", one.predicted},
                            {"seconds", one.seconds ? Json(*one.seconds) : Json()},
                            {"workspace_bytes", one.candidate.workspace},
                            {"error", one.error ? Json(*one.error) : Json()}});
    }
    return {{"pass", fovea::name(plan_.pass)},
            {"algorithm", plan_.algorithm},
            {"reason", plan_.reason},
            {"error", error_text()},
            {"candidates", candidates}};
  }

 private:
  bool is_chosen(const Answer& answer) const {
    return answer.candidate.algorithm == plan_.algorithm;
  }

  // All algorithms get the same data.
  void run(Answer& answer) {
    const fovea::Plan plan =
        fovea::make_plan(plan_.problem, plan_.pass, {.algorithm = answer.candidate.algorithm});
    bench::ConvWork work(plan);
    answer.seconds = fovea::time_plan(plan);
    if (part_.is_too_large()) return;
    work.run();
    if (!exact_.defined()) exact_ = part_.exact(work.first(), work.second());
    answer.error = relative_error(part_.of(work.result()), exact_);
  }

  std::string error_text() const {
    if (part_.is_too_large()) {
      return fmt::format(
          "not computed: one channel of the result alone is {} multiply-adds, "
          "which takes reference too long",
          grouped(part_.multiply_adds()));
    }
    return fmt::format(
        "the largest distance from reference in double precision, as a share of the "
        "largest value{}{}",
        part_.is_whole() ? "" : ", in a part of the result: ",
        part_.is_whole() ? "" : part_.text());
  }

  fovea::Plan plan_;
  ExactPart part_;
  Tensor exact_;
  std::vector<Answer> answers_;
};

}  // namespace

void explain_pass(const ConvProblem& problem, Pass pass, const fovea::PlanOptions& options,
                  const fovea::MachineSpeed& speed, bool json) {
  const Explanation explanation(problem, pass, options, speed);
  if (json) {
    print_json(explanation.json());
  } else {
    explanation.print();
  }
}

}  // namespace cli
