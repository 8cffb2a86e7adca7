// The algorithm list: one line each, in the order in which the planner asks them. Of two with the
// same predicted cycles it takes the first.
//
// To add an algorithm: its file, with its three passes together, and a line here.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/storage.h"
#include "fovea/conv.h"

namespace fovea::conv {

// Raw channels-last memory of one pass: (x, w) -> y, (g, w) -> dx or (x, g) -> dw.
struct ConvArgs {
  const void* first = nullptr;
  const void* second = nullptr;
  const void* bias = nullptr;  // [out_channels], forward only; may be null
  void* result = nullptr;
  Storage* weights =
      nullptr;  // of the tensor with the weights, to keep them packed; null: pack anew
  // Forward only: activation(sum + bias + residual). How algorithms do it: conv/epilogue.h.
  const void* residual = nullptr;  // laid out as the result, and no part of it; may be null
  Activation activation = Activation::none;
  double activation_slope = 0;  // of leaky_relu
};

struct ConvAlgorithm {
  std::string_view name;
  std::string_view summary;
  std::optional<std::string> (*refuses)(const ConvProblem&,
                                        Pass);  // nullopt: accepts; else the reason, for people
  ConvCost (*predict)(const ConvProblem&, Pass);
  std::size_t (*workspace)(const ConvProblem&, Pass);
  void (*run)(const ConvProblem&, Pass, const ConvArgs&);
  // Why `auto` does not take it however few cycles are predicted, in words that follow "auto passes
  // it over: "; nullopt, or no function: it may.
  std::optional<std::string> (*kept_back)(const ConvProblem&, Pass) = nullptr;
  // Whether it reads the padding of a mode other than zeros by itself. Where it does not, the
  // planner hands it the problem over an input that holds its padding; null: it never does.
  bool (*reads_padding)(const ConvProblem&, Pass) = nullptr;
  // Candidate::error_growth; null: 1.
  double (*error_growth)(const ConvProblem&, Pass) = nullptr;
};

extern const ConvAlgorithm depthwise;
extern const ConvAlgorithm dot;
extern const ConvAlgorithm narrow;
extern const ConvAlgorithm winograd;
extern const ConvAlgorithm fft;
extern const ConvAlgorithm direct;
extern const ConvAlgorithm im2col;
extern const ConvAlgorithm matrix;
extern const ConvAlgorithm reference;

inline constexpr const ConvAlgorithm* kAlgorithms[] = {
    &dot, &narrow, &depthwise, &winograd, &fft, &direct, &im2col, &matrix, &reference};

// Null if there is none of that name.
const ConvAlgorithm* find_algorithm(std::string_view name);
// Chooses and checks; throws Error as make_plan does.
const ConvAlgorithm& choose(const ConvProblem& problem, Pass pass, const PlanOptions& options);
// Chooses, and runs one pass.
void run(const ConvProblem& problem, Pass pass, const PlanOptions& options, const ConvArgs& args);
// Where to keep what is derived from these weights: their storage, or null where other data lies
// there too.
Storage* weight_storage(const Tensor& weights);

}  // namespace fovea::conv
