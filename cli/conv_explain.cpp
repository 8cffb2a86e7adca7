// Runs each algorithm that accepts the pass on the same random data: the time that is predicted and
// the time it takes, its workspace, and how far its result is from that of `reference`.
//
// `reference` computes only a part of a large result, in double precision: a pass is linear, and
// some samples, groups or channels of its result need only as much of its operands.
#include "conv_explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "support.h"
#include "workload.h"

namespace cli {
namespace {

using fovea::Candidate;
using fovea::ConvProblem;
using fovea::Layout;
using fovea::Pass;
using fovea::Shape;
using fovea::Tensor;

constexpr std::int64_t kReferenceWork = 20'000'000;  // multiply-adds: less than a tenth of a second
constexpr std::int64_t kMostWork = 200 * kReferenceWork;
constexpr double kLongest = 1;  // seconds predicted for one call, beyond which it is not run

// The part of a result that is compared: its first samples, groups and channels of each group.
class Part {
 public:
  Part(const ConvProblem& problem, Pass pass) : whole_(problem), pass_(pass), part_(problem) {
    part_.dtype = fovea::DType::float64;
    // A gradient of the weights is a sum over all samples.
    if (pass != Pass::backward_weights) part_.batch = as_many_as_fit(part_.batch);
    part_.batch = std::max<std::int64_t>(part_.batch, 1);
    const std::int64_t groups = as_many_as_fit(part_.groups);
    set_groups(std::max<std::int64_t>(groups, 1));
    if (groups > 0) return;
    std::int64_t& channels = results(part_);
    channels = std::max<std::int64_t>(as_many_as_fit(channels), 1);
  }

  bool is_whole() const { return result_shape(part_) == result_shape(whole_); }
  bool is_too_large() const { return part_.multiply_adds() > kMostWork; }
  std::int64_t multiply_adds() const { return part_.multiply_adds(); }

  // "1 of 16 samples, 8 of 64 channels"
  std::string text() const {
    std::string text;
    const auto add = [&](std::int64_t some, std::int64_t all, const char* what) {
      if (some < all) {
        text += fmt::format("{}{} of {} {}", text.empty() ? "" : ", ", grouped(some), grouped(all),
                            what);
      }
    };
    const bool to_data = pass_ == Pass::backward_data;
    if (pass_ != Pass::backward_weights) add(part_.batch, whole_.batch, "samples");
    add(to_data ? part_.in_channels : part_.out_channels,
        to_data ? whole_.in_channels : whole_.out_channels,
        to_data ? "input channels" : "output channels");
    return text;
  }

  // What `reference` makes of this part of the operands.
  Tensor exact(const Tensor& first, const Tensor& second) const {
    const auto cells = Layout::channels_last;
    const auto weights = Layout::row_major;
    const bool to_data = pass_ == Pass::backward_data;
    const bool to_weights = pass_ == Pass::backward_weights;
    const Shape x = part_.input_shape();
    const Shape w = part_.weight_shape();
    const Shape y = part_.output_shape();
    Tensor result = to_weights ? Tensor::zeros(w, part_.dtype, weights)
                               : Tensor::zeros(to_data ? x : y, part_.dtype, cells);
    fovea::run_conv(fovea::make_plan(part_, pass_, {.algorithm = "reference"}),
                    corner(first, to_data ? y : x).contiguous(cells),
                    corner(second, to_weights ? y : w).contiguous(to_weights ? cells : weights),
                    result);
    return result;
  }

  // This part of a result of the whole.
  Tensor of(const Tensor& result) const { return corner(result, result_shape(part_)); }

 private:
  // So many of `count` that make the work small; 0 where one is too many.
  std::int64_t as_many_as_fit(std::int64_t count) const {
    const std::int64_t each = part_.multiply_adds() / count;
    return std::min(count, kReferenceWork / std::max<std::int64_t>(each, 1));
  }

  void set_groups(std::int64_t groups) {
    part_.in_channels = part_.in_channels / part_.groups * groups;
    part_.out_channels = part_.out_channels / part_.groups * groups;
    part_.groups = groups;
  }

  std::int64_t& results(ConvProblem& problem) const {
    return pass_ == Pass::backward_data ? problem.in_channels : problem.out_channels;
  }

  Shape result_shape(const ConvProblem& problem) const {
    return pass_ == Pass::forward         ? problem.output_shape()
           : pass_ == Pass::backward_data ? problem.input_shape()
                                          : problem.weight_shape();
  }

  // The first values along each axis.
  static Tensor corner(const Tensor& tensor, const Shape& shape) {
    Tensor part = tensor;
    for (int axis = 0; axis < 2; ++axis) part = part.slice(axis, 0, shape[axis]);
    return part.to(fovea::DType::float64);
  }

  ConvProblem whole_;
  Pass pass_;
  ConvProblem part_;
};

double largest(const Tensor& values) {
  return fovea::max(fovea::abs(values)).item<double>();
}

// The largest distance from `exact`, relative to its largest value.
double relative_error(const Tensor& result, const Tensor& exact) {
  const double size = largest(exact);
  const double difference = largest(result - exact);
  return size > 0 ? difference / size : difference;
}

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
  Part part_;
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
