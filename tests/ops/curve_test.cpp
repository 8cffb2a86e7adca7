// Functions of one variable against the C library, at ordinary and at extreme places.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "fovea/autograd.h"
#include "fovea/functions.h"
#include "support/errors.h"
#include "support/settings.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct CurveCase {
  const char* name;
  Tensor (*f)(const Tensor&);
  double (*expected)(double);
};

double normal_share(double x) {
  return std::erfc(-x * std::sqrt(0.5)) / 2;
}

const CurveCase kCurves[] = {
    {"abs", abs, [](double x) { return std::abs(x); }},
    {"erf", erf, [](double x) { return std::erf(x); }},
    {"gelu", gelu, [](double x) { return x * normal_share(x); }},
    {"silu", silu, [](double x) { return x / (1 + std::exp(-x)); }},
    {"hardswish", hardswish, [](double x) { return x * std::clamp(x / 6 + 0.5, 0.0, 1.0); }},
    {"softplus", softplus,
     [](double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }},
    {"relu6", relu6, [](double x) { return std::clamp(x, 0.0, 6.0); }},
    {"elu", [](const Tensor& x) { return elu(x, 0.5); },
     [](double x) { return x > 0 ? x : 0.5 * std::expm1(x); }},
    {"leaky_relu", [](const Tensor& x) { return leaky_relu(x, 0.1); },
     [](double x) { return x > 0 ? x : 0.1 * x; }},
    {"clamp", [](const Tensor& x) { return clamp(x, -1.5, 2); },
     [](double x) { return std::clamp(x, -1.5, 2.0); }},
    {"cube", [](const Tensor& x) { return pow(x, 3); }, [](double x) { return x * x * x; }},
};

TEST(Curve, AgreesWithTheLibraryOnEverySimdTarget) {
  std::vector<double> places;
  for (int i = -2000; i <= 2000; ++i) places.push_back(0.011 * i);
  for (const double tiny : {1e-30, 1e-10, 1e-3}) {
    places.push_back(tiny);
    places.push_back(-tiny);
  }
  const Tensor x = Tensor::from(places, {static_cast<std::int64_t>(places.size())});
  for (const CurveCase& curve : kCurves) {
    SCOPED_TRACE(curve.name);
    for (const DType dtype : {DType::float32, DType::float64}) {
      for_simd_targets([&] {
        const Tensor at = x.to(dtype);
        const std::vector<double> actual = curve.f(at).to_vector<double>();
        const std::vector<double> exact = at.to_vector<double>();
        for (std::size_t i = 0; i < exact.size(); ++i) {
          // Relative to the value, but for the last digits of what is added to one or taken from
          // it; in the tails, e^(-x^2 / 2) has the relative rounding of its exponent.
          const double expected = curve.expected(exact[i]);
          const double scale = std::abs(expected) * (8 + exact[i] * exact[i]) +
                               8 * std::min(1.0, std::abs(exact[i]));
          ASSERT_NEAR(actual[i], expected, scale * roundoff(dtype)) << exact[i];
        }
      });
    }
  }
}

TEST(Curve, KeepsInfinitiesAndNan) {
  const Tensor x = Tensor::from<double>({-kInfinity, kInfinity, std::nan("")}, {3});
  for (const CurveCase& curve : kCurves) {
    SCOPED_TRACE(curve.name);
    const std::vector<double> y = curve.f(x).to_vector<double>();
    const bool vanishes = std::string(curve.name) != "abs" && std::string(curve.name) != "erf" &&
                          std::string(curve.name) != "elu" &&
                          std::string(curve.name) != "leaky_relu" &&
                          std::string(curve.name) != "clamp" && std::string(curve.name) != "cube";
    EXPECT_EQ(y[0], vanishes ? 0 : curve.expected(-kInfinity));
    EXPECT_EQ(y[1], curve.expected(kInfinity));
    EXPECT_TRUE(std::isnan(y[2]));
    Tensor leaf = x.slice(0, 0, 2).clone().set_requires_grad();
    sum(curve.f(leaf)).backward();
    EXPECT_FALSE(std::isnan(leaf.grad().at({0})));
    EXPECT_FALSE(std::isnan(leaf.grad().at({1})));
  }
}

TEST(Pow, TakesWholeHalfAndOtherExponents) {
  const Tensor x = Tensor::from<double>({0, 0.25, 2, 9}, {4});
  for (const double exponent : {0.0, 1.0, 2.0, 5.0, -1.0, -3.0, 0.5, -0.5, 2.5, 0.3, -1.7, 21.0}) {
    SCOPED_TRACE(exponent);
    const std::vector<double> y = pow(x, exponent).to_vector<double>();
    for (std::size_t i = 0; i < y.size(); ++i) {
      const double expected = std::pow(x.at({static_cast<std::int64_t>(i)}), exponent);
      if (std::isinf(expected)) {
        EXPECT_EQ(y[i], expected);
      } else {
        EXPECT_NEAR(y[i], expected, 64 * roundoff(DType::float64) * std::abs(expected));
      }
    }
  }
  const Tensor negative = Tensor::from<double>({-2, -1, -INFINITY}, {3});
  for (const double exponent : {3.0, 17.0, 20.0, 101.0, -17.0, -18.0}) {
    const std::vector<double> y = pow(negative, exponent).to_vector<double>();
    EXPECT_NEAR(y[0] / std::pow(-2, exponent), 1, 64 * roundoff(DType::float64)) << exponent;
    EXPECT_EQ(y[1], std::pow(-1, exponent)) << exponent;
    EXPECT_EQ(y[2], std::pow(-INFINITY, exponent)) << exponent;
  }
  EXPECT_TRUE(std::isnan(pow(negative, 0.3).at({0})));
}

TEST(Maximum, GivesTheGradientToTheLargerOne) {
  Tensor a = Tensor::from<double>({1, 5, 2}, {3}).set_requires_grad();
  Tensor b = Tensor::from<double>({4, 3, 2}, {3}).set_requires_grad();
  EXPECT_EQ(maximum(a, b).to_vector<double>(), (std::vector<double>{4, 5, 2}));
  EXPECT_EQ(minimum(a, b).to_vector<double>(), (std::vector<double>{1, 3, 2}));
  sum(maximum(a, b)).backward();
  EXPECT_EQ(a.grad().to_vector<double>(), (std::vector<double>{0, 1, 0.5}));
  EXPECT_EQ(b.grad().to_vector<double>(), (std::vector<double>{1, 0, 0.5}));
}

TEST(Minimum, GivesTheGradientToTheSmallerOne) {
  Tensor a = Tensor::from<double>({1, 5, 2}, {3}).set_requires_grad();
  Tensor b = Tensor::from<double>({4, 3, 2}, {3}).set_requires_grad();
  sum(minimum(a, b)).backward();
  EXPECT_EQ(a.grad().to_vector<double>(), (std::vector<double>{1, 0, 0.5}));
  EXPECT_EQ(b.grad().to_vector<double>(), (std::vector<double>{0, 1, 0.5}));
}

TEST(Minimum, IsNoNumberWhereEitherIsNone) {
  const Tensor a = Tensor::from<float>({NAN, 1}, {2});
  const Tensor b = Tensor::from<float>({1, NAN}, {2});
  for (const float value : minimum(a, b).to_vector<float>()) EXPECT_TRUE(std::isnan(value));
}

TEST(Curve, RefusesOptionsThatMakeNoSense) {
  const Tensor x = Tensor::zeros({2});
  EXPECT_EQ(error_of([&] { clamp(x, 2, 1); }), "clamp: low 2 is above high 1");
  EXPECT_EQ(error_of([&] { pow(x, std::nan("")); }), "pow: exponent is not a number");
}

}  // namespace
}  // namespace fovea::testing
