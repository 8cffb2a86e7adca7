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

std::optional<Roles> call_max_pool(const Json& options, const Roles& roles) {
  if (options["ceil_mode"]) return std::nullopt;
  const MaxPoolResult result =
      max_pool_with_positions(roles.at("x"), Spatial(shape_of(options["kernel"])),
                              {.stride = Spatial(shape_of(options["stride"])),
                               .padding = Spatial(shape_of(options["padding"])),
                               .dilation = Spatial(shape_of(options["dilation"]))});
  return Roles{{"y", result.values}, {"indices", result.positions}};
}

std::optional<Roles> call_avg_pool(const Json& options, const Roles& roles) {
  const bool divides =
      options.contains("divisor_override") && !options["divisor_override"].is_null();
  if (options["ceil_mode"] || divides) return std::nullopt;
  return Roles{{"y", avg_pool(roles.at("x"), Spatial(shape_of(options["kernel"])),
                              {.stride = Spatial(shape_of(options["stride"])),
                               .padding = Spatial(shape_of(options["padding"])),
                               .count_include_pad = options["count_include_pad"]})}};
}

std::optional<Roles> call_linear(const Json&, const Roles& roles) {
  if (roles.at("x").rank() != 2) return std::nullopt;
  return Roles{{"y", linear(roles.at("x"), roles.at("w"), roles.at("b"))}};
}

std::optional<Roles> call_cross_entropy(const Json& options, const Roles& roles) {
  const bool classes = roles.at("target").dtype() == DType::int64 && roles.at("target").rank() == 1;
  if (!classes || options["label_smoothing"] != 0.0 || roles.at("x").rank() != 2)
    return std::nullopt;
  return Roles{{"y", cross_entropy(roles.at("x"), roles.at("target"))}};
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
      if (role.size() == 1 && role != "y") roles[role].set_requires_grad();
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
  }
  EXPECT_GE(Golden::run("pool", calls), 25);
}

TEST(Golden, Pointwise) {
  if (!available()) GTEST_SKIP() << "no golden files";
  EXPECT_GE(Golden::run("pointwise", {{"relu", unary(relu)},
                                      {"sigmoid", unary(sigmoid)},
                                      {"tanh", unary(tanh)},
                                      {"softmax", along(softmax)},
                                      {"log_softmax", along(log_softmax)},
                                      {"linear", call_linear},
                                      {"cross_entropy", call_cross_entropy}}),
            20);
}

}  // namespace
}  // namespace fovea::testing
