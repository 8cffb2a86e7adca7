// Outputs and gradients of operators as PyTorch computed them in float64.
//
// <family>.json lists the cases with their options; <family>.safetensors holds "<case>/<role>".
// They lie in tests/goldens, or in the folder that FOVEA_GOLDENS names. Nothing is passed over but
// what a convolution algorithm refuses, each pass by itself; of tests/goldens at least so many
// outputs and gradients of each algorithm must be left: kLeastOfAlgorithm.
// To add an operator: a Call, and its line in the table of its family.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "fovea/autograd.h"
#include "fovea/error.h"
#include "fovea/functions.h"
#include "fovea/save.h"
#include "support/errors.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

using Json = nlohmann::json;
using Roles = std::map<std::string, Tensor>;
// The outputs by role. Inputs are among the roles.
using Call = std::function<Roles(const Json& options, const Roles& roles)>;

// What f() returns, or nullopt where the algorithm that was asked for refuses.
template <class F>
auto unless_refused(const F& f) -> std::optional<decltype(f())> {
  try {
    return f();
  } catch (const Error& error) {
    EXPECT_CONTAINS(error.what(), "was asked for, but refuses");
    return std::nullopt;
  }
}

Shape shape_of(const Json& list) {
  return Shape(list.get<std::vector<std::int64_t>>());
}

PaddingMode mode_named(const std::string& wanted) {
  for (const PaddingMode mode : kPaddingModes) {
    if (name(mode) == wanted) return mode;
  }
  ADD_FAILURE() << "no padding mode " << wanted;
  return PaddingMode::zeros;
}

// The backward passes take the algorithm too.
Roles call_conv(int dims, std::string_view algorithm, const Json& options, const Roles& roles) {
  ConvOptions given = {.stride = Spatial(shape_of(options["stride"])),
                       .dilation = Spatial(shape_of(options["dilation"])),
                       .groups = options["groups"],
                       .flip = options.value("flip", false),
                       .algorithm = std::string(algorithm)};
  if (options.contains("padding")) {
    given.padding = options["padding"] == "same" ? Padding::same() : Padding::same_lower();
  } else {
    std::vector<Sides> padding;
    for (std::size_t i = 0; i < static_cast<std::size_t>(dims); ++i)
      padding.push_back({options["padding_before"][i], options["padding_after"][i]});
    given.padding = Padding(padding);
    given.padding_mode = mode_named(options["padding_mode"]);
    given.padding_value = options["padding_value"];
  }
  const auto conv = dims == 1 ? conv1d : dims == 2 ? conv2d : conv3d;
  const Tensor bias = roles.contains("b") ? roles.at("b") : Tensor();
  return {{"y", conv(roles.at("x"), roles.at("w"), bias, given, {})}};
}

Roles call_conv_transpose(int dims, const Json& options, const Roles& roles) {
  const auto conv_transpose = dims == 1   ? conv_transpose1d
                              : dims == 2 ? conv_transpose2d
                                          : conv_transpose3d;
  const Tensor bias = roles.contains("b") ? roles.at("b") : Tensor();
  std::vector<Sides> padding;
  for (const std::int64_t amount : shape_of(options["padding"]))
    padding.push_back({amount, amount});
  return Roles{{"y", conv_transpose(roles.at("x"), roles.at("w"), bias,
                                    {.stride = Spatial(shape_of(options["stride"])),
                                     .padding = Padding(padding),
                                     .output_padding = Spatial(shape_of(options["output_padding"])),
                                     .dilation = Spatial(shape_of(options["dilation"])),
                                     .groups = options["groups"]})}};
}

WindowOptions window_options(const Json& options) {
  std::vector<Sides> padding;
  for (const std::int64_t amount : shape_of(options["padding"]))
    padding.push_back({amount, amount});
  return {.stride = Spatial(shape_of(options["stride"])),
          .padding = Padding(padding),
          .dilation = Spatial(shape_of(options["dilation"]))};
}

Roles call_unfold(const Json& options, const Roles& roles) {
  return Roles{
      {"y", unfold(roles.at("x"), Spatial(shape_of(options["kernel"])), window_options(options))}};
}

Roles call_fold(const Json& options, const Roles& roles) {
  return Roles{{"y", fold(roles.at("x"), Spatial(shape_of(options["output"])),
                          Spatial(shape_of(options["kernel"])), window_options(options))}};
}

// PyTorch writes one number where all dimensions are alike.
Spatial sizes_of(const Json& option) {
  return option.is_array() ? Spatial(shape_of(option)) : Spatial(option.get<std::int64_t>());
}

Padding padding_of(const Json& option) {
  std::vector<Sides> sides;
  for (const std::int64_t amount : option) sides.push_back({amount, amount});
  return Padding(sides);
}

Roles with_positions(const MaxPoolResult& result) {
  return {{"y", result.values}, {"indices", result.positions}};
}

Roles call_max_pool(const Json& options, const Roles& roles) {
  return with_positions(max_pool_with_positions(roles.at("x"), sizes_of(options["kernel"]),
                                                {.stride = sizes_of(options["stride"]),
                                                 .padding = padding_of(options["padding"]),
                                                 .dilation = sizes_of(options["dilation"]),
                                                 .ceil_mode = options["ceil_mode"]}));
}

Roles call_avg_pool(const Json& options, const Roles& roles) {
  const bool divides =
      options.contains("divisor_override") && !options["divisor_override"].is_null();
  return Roles{
      {"y", avg_pool(roles.at("x"), sizes_of(options["kernel"]),
                     {.stride = sizes_of(options["stride"]),
                      .padding = padding_of(options["padding"]),
                      .ceil_mode = options["ceil_mode"],
                      .count_include_pad = options["count_include_pad"],
                      .divisor_override =
                          divides ? options["divisor_override"].get<std::int64_t>() : 0})}};
}

Roles call_lp_pool(const Json& options, const Roles& roles) {
  return Roles{{"y", lp_pool(roles.at("x"), options["norm_type"], sizes_of(options["kernel"]),
                             {.stride = sizes_of(options["stride"])})}};
}

Roles call_adaptive_avg_pool(const Json& options, const Roles& roles) {
  return Roles{{"y", adaptive_avg_pool(roles.at("x"), sizes_of(options["output"]))}};
}

Roles call_adaptive_max_pool(const Json& options, const Roles& roles) {
  return with_positions(
      adaptive_max_pool_with_positions(roles.at("x"), sizes_of(options["output"])));
}

Roles call_batch_norm(bool training, const Json& options, const Roles& roles) {
  const Tensor mean = roles.at("running_mean_before").clone();
  const Tensor variance = roles.at("running_var_before").clone();
  Roles results;
  results["y"] = batch_norm(
      roles.at("x"), mean, variance, roles.at("w"), roles.at("b"),
      {.training = training, .momentum = options.value("momentum", 0.1), .eps = options["eps"]});
  if (training) {
    results["running_mean_after"] = mean;
    results["running_var_after"] = variance;
  }
  return results;
}

Roles call_group_norm(const Json& options, const Roles& roles) {
  return Roles{{"y", group_norm(roles.at("x"), options["groups"], roles.at("w"), roles.at("b"),
                                options["eps"])}};
}

Roles call_instance_norm(const Json& options, const Roles& roles) {
  return Roles{{"y", instance_norm(roles.at("x"), roles.at("w"), roles.at("b"), options["eps"])}};
}

Roles call_layer_norm(const Json& options, const Roles& roles) {
  return Roles{{"y", layer_norm(roles.at("x"), shape_of(options["shape"]), roles.at("w"),
                                roles.at("b"), options["eps"])}};
}

Roles call_response_norm(const Json& options, const Roles& roles) {
  return Roles{{"y", local_response_norm(
                         roles.at("x"), options["size"],
                         {.alpha = options["alpha"], .beta = options["beta"], .k = options["k"]})}};
}

Roles call_linear(const Json&, const Roles& roles) {
  return Roles{{"y", linear(roles.at("x"), roles.at("w"), roles.at("b"))}};
}

Roles call_cross_entropy(const Json& options, const Roles& roles) {
  return Roles{{"y", cross_entropy(roles.at("x"), roles.at("target"),
                                   {.label_smoothing = options["label_smoothing"]})}};
}

Roles call_upsample(Interpolation mode, const Json& options, const Roles& roles) {
  return Roles{
      {"y", upsample(roles.at("x"), {.scale = sizes_of(options["scale"]),
                                     .mode = mode,
                                     .align_corners = options.value("align_corners", false)})}};
}

Call upsample_call(Interpolation mode) {
  return [mode](const Json& options, const Roles& roles) {
    return call_upsample(mode, options, roles);
  };
}

Call loss(Tensor (*f)(const Tensor&, const Tensor&)) {
  return [f](const Json&, const Roles& roles) {
    return Roles{{"y", f(roles.at("x"), roles.at("target"))}};
  };
}

Roles call_leaky_relu(const Json& options, const Roles& roles) {
  return Roles{{"y", leaky_relu(roles.at("x"), options["slope"])}};
}

Call along(Tensor (*f)(const Tensor&, int)) {
  return [f](const Json& options, const Roles& roles) {
    return Roles{{"y", f(roles.at("x"), options["dim"])}};
  };
}

Call unary(Tensor (*f)(const Tensor&)) {
  return [f](const Json&, const Roles& roles) { return Roles{{"y", f(roles.at("x"))}}; };
}

std::map<std::string, Call> conv_calls(std::string_view algorithm) {
  std::map<std::string, Call> calls;
  for (const int dims : {1, 2, 3}) {
    calls["conv" + std::to_string(dims) + "d"] = [=](const Json& options, const Roles& roles) {
      return call_conv(dims, algorithm, options, roles);
    };
  }
  return calls;
}

// Of the largest value of a tensor: what PyTorch and we add up in different orders; and some
// hundred roundings, as many as there are products in a sum.
double tolerance_of(DType dtype) {
  return dtype == DType::float64 ? 1e-12 : 256 * roundoff(DType::float32);
}

std::string folder() {
  const char* named = std::getenv("FOVEA_GOLDENS");
  return named != nullptr ? named : FOVEA_SOURCE_DIR "/tests/goldens";
}

// How many outputs and gradients were compared.
struct Compared {
  std::size_t outputs = 0;
  std::size_t gradients = 0;
};

class Golden {
 public:
  // Compares the cases of `family` with `calls`, by operator.
  static Compared run(const std::string& family, const std::map<std::string, Call>& calls,
                      DType dtype) {
    const TensorFile file = read_safetensors(folder() + "/" + family + ".safetensors");
    Compared compared;
    for (const Json& example : cases(family)) {
      const auto call = calls.find(example["op"]);
      SCOPED_TRACE(example.dump());
      if (call == calls.end()) {
        ADD_FAILURE() << "no operator of that name";
      } else {
        check(example, file, call->second, dtype, compared);
      }
    }
    return compared;
  }

  // Runs every case of `family` in both types.
  static void run_all(const std::string& family, const std::map<std::string, Call>& calls) {
    if (std::getenv("FOVEA_GOLDENS") != nullptr &&
        !std::filesystem::exists(folder() + "/" + family + ".json"))
      GTEST_SKIP() << "FOVEA_GOLDENS has no family " << family;
    const Compared all = available(family);
    EXPECT_GT(all.outputs, 0U);
    for (const DType dtype : {DType::float64, DType::float32}) {
      const Compared compared = run(family, calls, dtype);
      EXPECT_EQ(compared.outputs, all.outputs) << name(dtype);
      EXPECT_EQ(compared.gradients, all.gradients) << name(dtype);
    }
  }

 private:
  static Json cases(const std::string& family) {
    std::ifstream list(folder() + "/" + family + ".json");
    return Json::parse(list);
  }

  // The roles of an example that are gradients of inputs.
  static std::vector<std::string> gradient_roles(const Json& example) {
    std::vector<std::string> found;
    for (const std::string role : example["roles"]) {
      if (role.starts_with("grad_") && role != "grad_y") found.push_back(role);
    }
    return found;
  }

  static Compared available(const std::string& family) {
    Compared all;
    for (const Json& example : cases(family)) {
      ++all.outputs;
      all.gradients += gradient_roles(example).size();
    }
    return all;
  }

  static void check(const Json& example, const TensorFile& file, const Call& call, DType dtype,
                    Compared& compared) {
    const std::vector<std::string> wanted = gradient_roles(example);
    Roles roles;
    for (const std::string role : example["roles"]) {
      const Tensor& value = file.tensors.at(example["name"].get<std::string>() + "/" + role);
      roles[role] = value.dtype() == DType::float64 ? value.to(dtype) : value;
      if (std::find(wanted.begin(), wanted.end(), "grad_" + role) != wanted.end())
        roles[role].set_requires_grad();
    }
    const std::optional<Roles> outputs =
        unless_refused([&] { return call(example["options"], roles); });
    if (!outputs) return;
    for (const auto& [role, actual] : *outputs) compare(actual, roles.at(role), dtype);
    ++compared.outputs;
    for (const std::string& role : wanted) {
      SCOPED_TRACE(role);
      const std::optional<Tensor> actual = unless_refused([&] {
        return grad({outputs->at("y")}, {roles.at(role.substr(5))},
                    {.retain_graph = true, .grad_outputs = {roles.at("grad_y")}})
            .front();
      });
      if (!actual) continue;
      // A gradient is linear in grad_y, and so are its roundings, however much it cancels. The
      // slope of a normalisation is at most 1 / sqrt(eps), which single precision feels.
      const double eps = dtype == DType::float32 ? example["options"].value("eps", 1.0) : 1.0;
      compare(*actual, roles.at(role), dtype, max_abs(roles.at("grad_y")) / std::sqrt(eps));
      ++compared.gradients;
    }
  }

  static void compare(const Tensor& actual, const Tensor& expected, DType dtype, double scale = 0) {
    const double largest = std::max(max_abs(expected), scale);
    expect_close(actual, expected, tolerance_of(dtype) * (largest > 0 ? largest : 1));
  }
};

// Of the cases in tests/goldens, in either type: an algorithm that refuses more than it did, so
// that it would no longer be tested, is found out. No case fits winograd: one group, no steps, and
// kernels of 3 or 5.
const std::map<std::string_view, Compared> kLeastOfAlgorithm = {
    {"direct", {84, 223}},  {"im2col", {84, 223}}, {"reference", {84, 223}},
    {"matrix", {83, 220}},  {"narrow", {45, 83}},  {"fft", {16, 44}},
    {"depthwise", {9, 26}}, {"dot", {1, 0}},       {"winograd", {0, 0}},
};

TEST(Golden, Conv) {
  Golden::run_all("conv", conv_calls("auto"));
}

TEST(Golden, ConvByEachAlgorithm) {
  for (const DType dtype : {DType::float64, DType::float32}) {
    for (const ConvAlgorithmInfo& algorithm : algorithms()) {
      SCOPED_TRACE(algorithm.name);
      const Compared compared = Golden::run("conv", conv_calls(algorithm.name), dtype);
      if (std::getenv("FOVEA_GOLDENS") != nullptr) continue;
      const auto found = kLeastOfAlgorithm.find(algorithm.name);
      EXPECT_NE(found, kLeastOfAlgorithm.end()) << "its line above is missing";
      const Compared least = found != kLeastOfAlgorithm.end() ? found->second : Compared{};
      EXPECT_GE(compared.outputs, least.outputs);
      EXPECT_GE(compared.gradients, least.gradients);
    }
  }
}

TEST(Golden, ConvTranspose) {
  std::map<std::string, Call> calls;
  for (const int dims : {1, 2, 3}) {
    calls["conv_transpose" + std::to_string(dims) + "d"] = [dims](const Json& options,
                                                                  const Roles& roles) {
      return call_conv_transpose(dims, options, roles);
    };
  }
  Golden::run_all("conv_transpose", calls);
}

TEST(Golden, Pooling) {
  std::map<std::string, Call> calls;
  for (const std::string dims : {"1d", "2d", "3d"}) {
    calls["max_pool" + dims] = call_max_pool;
    calls["avg_pool" + dims] = call_avg_pool;
    calls["lp_pool" + dims] = call_lp_pool;
    calls["adaptive_avg_pool" + dims] = call_adaptive_avg_pool;
    calls["adaptive_max_pool" + dims] = call_adaptive_max_pool;
  }
  Golden::run_all("pool", calls);
}

TEST(Golden, Normalisation) {
  const auto batch_norm_of = [](bool training) {
    return [training](const Json& options, const Roles& roles) {
      return call_batch_norm(training, options, roles);
    };
  };
  Golden::run_all("norm", {{"batch_norm_train", batch_norm_of(true)},
                           {"batch_norm_eval", batch_norm_of(false)},
                           {"group_norm", call_group_norm},
                           {"instance_norm", call_instance_norm},
                           {"layer_norm", call_layer_norm},
                           {"local_response_norm", call_response_norm}});
}

TEST(Golden, Pointwise) {
  Golden::run_all("pointwise", {{"relu", unary(relu)},
                                {"leaky_relu", call_leaky_relu},
                                {"gelu", unary(gelu)},
                                {"silu", unary(silu)},
                                {"hardswish", unary(hardswish)},
                                {"sigmoid", unary(sigmoid)},
                                {"tanh", unary(tanh)},
                                {"softmax", along(softmax)},
                                {"log_softmax", along(log_softmax)},
                                {"linear", call_linear},
                                {"cross_entropy", call_cross_entropy},
                                {"mse_loss", loss(mse_loss)},
                                {"bce_with_logits", loss(bce_with_logits)},
                                {"upsample_nearest", upsample_call(Interpolation::nearest)},
                                {"upsample_linear", upsample_call(Interpolation::linear)},
                                {"unfold", call_unfold},
                                {"fold", call_fold}});
}

}  // namespace
}  // namespace fovea::testing
