// Outputs and gradients of operators as PyTorch computed them in float64, where the folder of
// golden files is there.
//
// <family>.json lists the cases with their options; <family>.safetensors holds "<case>/<role>". A
// case that asks for an option that no operator has is passed over, and at least so many must be
// left: the counts below.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "fovea/autograd.h"
#include "fovea/functions.h"
#include "fovea/save.h"
#include "support/files.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

using Json = nlohmann::json;
using Roles = std::map<std::string, Tensor>;
// The outputs by role, or nullopt for a case that cannot be asked for. Inputs are among the roles.
using Call = std::function<std::optional<Roles>(const Json& options, const Roles& roles)>;

Shape shape_of(const Json& list) {
  return Shape(list.get<std::vector<std::int64_t>>());
}

std::optional<Roles> call_conv(int dims, const Json& options, const Roles& roles) {
  if (!options.contains("padding_mode") || options["padding_mode"] != "zeros" || options["flip"])
    return std::nullopt;
  std::vector<Sides> padding;
  for (std::size_t i = 0; i < static_cast<std::size_t>(dims); ++i) {
    padding.push_back({options["padding_before"][i], options["padding_after"][i]});
  }
  const ConvOptions given = {.stride = Spatial(shape_of(options["stride"])),
                             .padding = Padding(padding),
                             .dilation = Spatial(shape_of(options["dilation"])),
                             .groups = options["groups"]};
  const auto conv = dims == 1 ? conv1d : dims == 2 ? conv2d : conv3d;
  const Tensor bias = roles.contains("b") ? roles.at("b") : Tensor();
  return Roles{{"y", conv(roles.at("x"), roles.at("w"), bias, given)}};
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

std::optional<Roles> call_max_pool(const Json& options, const Roles& roles) {
  return with_positions(max_pool_with_positions(roles.at("x"), sizes_of(options["kernel"]),
                                                {.stride = sizes_of(options["stride"]),
                                                 .padding = padding_of(options["padding"]),
                                                 .dilation = sizes_of(options["dilation"]),
                                                 .ceil_mode = options["ceil_mode"]}));
}

std::optional<Roles> call_avg_pool(const Json& options, const Roles& roles) {
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

std::optional<Roles> call_lp_pool(const Json& options, const Roles& roles) {
  return Roles{{"y", lp_pool(roles.at("x"), options["norm_type"], sizes_of(options["kernel"]),
                             {.stride = sizes_of(options["stride"])})}};
}

std::optional<Roles> call_adaptive_avg_pool(const Json& options, const Roles& roles) {
  return Roles{{"y", adaptive_avg_pool(roles.at("x"), sizes_of(options["output"]))}};
}

std::optional<Roles> call_adaptive_max_pool(const Json& options, const Roles& roles) {
  return with_positions(
      adaptive_max_pool_with_positions(roles.at("x"), sizes_of(options["output"])));
}

std::optional<Roles> call_batch_norm(bool training, const Json& options, const Roles& roles) {
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

std::optional<Roles> call_group_norm(const Json& options, const Roles& roles) {
  return Roles{{"y", group_norm(roles.at("x"), options["groups"], roles.at("w"), roles.at("b"),
                                options["eps"])}};
}

std::optional<Roles> call_instance_norm(const Json& options, const Roles& roles) {
  return Roles{{"y", instance_norm(roles.at("x"), roles.at("w"), roles.at("b"), options["eps"])}};
}

std::optional<Roles> call_layer_norm(const Json& options, const Roles& roles) {
  return Roles{{"y", layer_norm(roles.at("x"), shape_of(options["shape"]), roles.at("w"),
                                roles.at("b"), options["eps"])}};
}

std::optional<Roles> call_response_norm(const Json& options, const Roles& roles) {
  return Roles{{"y", local_response_norm(
                         roles.at("x"), options["size"],
                         {.alpha = options["alpha"], .beta = options["beta"], .k = options["k"]})}};
}

std::optional<Roles> call_linear(const Json&, const Roles& roles) {
  return Roles{{"y", linear(roles.at("x"), roles.at("w"), roles.at("b"))}};
}

std::optional<Roles> call_cross_entropy(const Json& options, const Roles& roles) {
  return Roles{{"y", cross_entropy(roles.at("x"), roles.at("target"),
                                   {.label_smoothing = options["label_smoothing"]})}};
}

std::optional<Roles> call_upsample(Interpolation mode, const Json& options, const Roles& roles) {
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

std::optional<Roles> call_leaky_relu(const Json& options, const Roles& roles) {
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

Call conv(int dims) {
  return
      [dims](const Json& options, const Roles& roles) { return call_conv(dims, options, roles); };
}

// What PyTorch and we add up in different orders, on numbers of order one.
constexpr double kTolerance = 1e-12;

class Golden {
 public:
  // Runs the cases of `family` that `calls` knows, and returns how many there were.
  static int run(const std::string& family, const std::map<std::string, Call>& calls) {
    const std::string base = shared_folder() + "/goldens/" + family;
    const TensorFile file = read_safetensors(base + ".safetensors");
    std::ifstream list(base + ".json");
    int count = 0;
    for (const Json& example : Json::parse(list)) {
      const auto call = calls.find(example["op"]);
      if (call == calls.end()) continue;
      SCOPED_TRACE(example.dump());
      if (check(example, file, call->second)) ++count;
    }
    return count;
  }

 private:
  static bool check(const Json& example, const TensorFile& file, const Call& call) {
    Roles roles;
    for (const std::string role : example["roles"]) {
      roles[role] = file.tensors.at(example["name"].get<std::string>() + "/" + role);
      const bool has_gradient = std::find(example["roles"].begin(), example["roles"].end(),
                                          "grad_" + role) != example["roles"].end();
      if (has_gradient && role != "y") roles[role].set_requires_grad();
    }
    const std::optional<Roles> outputs = call(example["options"], roles);
    if (!outputs) return false;
    for (const auto& [role, actual] : *outputs) expect_close(actual, roles.at(role), kTolerance);
    for (const auto& [role, expected] : roles) {
      if (!role.starts_with("grad_") || role == "grad_y") continue;
      const Tensor& input = roles.at(role.substr(5));
      const Tensor actual = grad({outputs->at("y")}, {input},
                                 {.retain_graph = true, .grad_outputs = {roles.at("grad_y")}})
                                .front();
      expect_close(actual, expected, kTolerance);
    }
    return true;
  }
};

bool available() {
  return std::filesystem::exists(shared_folder() + "/goldens");
}

TEST(Golden, Conv) {
  if (!available()) GTEST_SKIP() << "no golden files";
  EXPECT_GE(Golden::run("conv", {{"conv1d", conv(1)}, {"conv2d", conv(2)}, {"conv3d", conv(3)}}),
            10);
}

TEST(Golden, Pooling) {
  if (!available()) GTEST_SKIP() << "no golden files";
  std::map<std::string, Call> calls;
  for (const std::string dims : {"1d", "2d", "3d"}) {
    calls["max_pool" + dims] = call_max_pool;
    calls["avg_pool" + dims] = call_avg_pool;
    calls["lp_pool" + dims] = call_lp_pool;
    calls["adaptive_avg_pool" + dims] = call_adaptive_avg_pool;
    calls["adaptive_max_pool" + dims] = call_adaptive_max_pool;
  }
  EXPECT_EQ(Golden::run("pool", calls), 112);
}

TEST(Golden, Normalisation) {
  if (!available()) GTEST_SKIP() << "no golden files";
  const auto batch_norm_of = [](bool training) {
    return [training](const Json& options, const Roles& roles) {
      return call_batch_norm(training, options, roles);
    };
  };
  EXPECT_EQ(Golden::run("norm", {{"batch_norm_train", batch_norm_of(true)},
                                 {"batch_norm_eval", batch_norm_of(false)},
                                 {"group_norm", call_group_norm},
                                 {"instance_norm", call_instance_norm},
                                 {"layer_norm", call_layer_norm},
                                 {"local_response_norm", call_response_norm}}),
            72);
}

TEST(Golden, Pointwise) {
  if (!available()) GTEST_SKIP() << "no golden files";
  EXPECT_GE(Golden::run("pointwise", {{"relu", unary(relu)},
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
                                      {"upsample_linear", upsample_call(Interpolation::linear)}}),
            99);
}

}  // namespace
}  // namespace fovea::testing
