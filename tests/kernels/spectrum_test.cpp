// Sums and products of spectra against the same in plain complex numbers, on every SIMD target.
#include "kernels/spectrum.h"

#include <gtest/gtest.h>

#include <complex>
#include <vector>

#include "core/storage.h"
#include "kernels/group_product.h"
#include "support/settings.h"
#include "support/tensors.h"

namespace fovea::kernels {
namespace {

using Complex = std::complex<double>;

// Aligned memory of random numbers.
class Values {
 public:
  Values(std::int64_t count, std::uint64_t seed)
      : memory_(static_cast<std::size_t>(count) * sizeof(double)) {
    const auto values = testing::random_tensor({count}, seed, DType::float64).to_vector<double>();
    std::copy(values.begin(), values.end(), data());
  }
  double* data() const { return memory_.as<double>(); }

 private:
  Workspace memory_;
};

TEST(Spectrum, ProductsOfComplexMatrices) {
  constexpr std::int64_t kReduced = 7;
  testing::for_simd_targets([] {
    const std::int64_t lanes = vector_lanes<double>();
    for (std::int64_t rows = 1; rows < 30; ++rows) {
      const Values a(2 * rows * kReduced, 1);
      const Values b(2 * kReduced * lanes, 2);
      for (const bool conjugate : {false, true}) {
        for (const bool adds : {false, true}) {
          const Values out(2 * rows * lanes, 3);
          const Values before(2 * rows * lanes, 3);
          complex_product<double>({.rows = rows,
                                   .reduced = kReduced,
                                   .a = a.data(),
                                   .a_imaginary = rows * kReduced,
                                   .a_row = kReduced,
                                   .a_reduced = 1,
                                   .b = b.data(),
                                   .b_imaginary = lanes,
                                   .b_reduced = 2 * lanes,
                                   .out = out.data(),
                                   .out_imaginary = rows * lanes,
                                   .out_row = lanes,
                                   .conjugate = conjugate,
                                   .adds = adds});
          for (std::int64_t i = 0; i < rows * lanes; ++i) {
            Complex sum = adds ? Complex(before.data()[i], before.data()[rows * lanes + i]) : 0;
            for (std::int64_t k = 0; k < kReduced; ++k) {
              const std::int64_t from = i / lanes * kReduced + k;
              const double* factor = b.data() + 2 * k * lanes + i % lanes;
              const Complex value(factor[0], factor[lanes]);
              sum += Complex(a.data()[from], a.data()[rows * kReduced + from]) *
                     (conjugate ? std::conj(value) : value);
            }
            ASSERT_NEAR(out.data()[i], sum.real(), 1e-13) << rows << " rows";
            ASSERT_NEAR(out.data()[rows * lanes + i], sum.imag(), 1e-13) << rows << " rows";
          }
        }
      }
    }
  });
}

// Frequencies 0 and 2 of four are their own mirror images.
constexpr MirrorPair kPairs[] = {{0, 0}, {1, 3}, {2, 2}};

TEST(Spectrum, TwoRealSequencesAreToldApartAndPutTogether) {
  testing::for_simd_targets([] {
    const std::int64_t lanes = vector_lanes<double>();
    const Values z(8 * lanes, 4);
    const Values both(3 * 4 * lanes, 5);
    const Values again(8 * lanes, 6);
    const HalfSpectra<double> spectra{
        .a = both.data(), .b = both.data() + 2 * lanes, .step = 4 * lanes, .imaginary = lanes};
    split_spectra<double>(kPairs, {z.data(), z.data() + 4 * lanes}, 0.5, spectra);
    // A[1] = (Z[1] + conj Z[3]) / 2 and B[1] = (Z[1] - conj Z[3]) / 2i.
    const Complex z1(z.data()[lanes], z.data()[5 * lanes]);
    const Complex z3(z.data()[3 * lanes], z.data()[7 * lanes]);
    const Complex a = (z1 + std::conj(z3)) / 2.0;
    const Complex b = (z1 - std::conj(z3)) / Complex(0, 2);
    EXPECT_NEAR(both.data()[4 * lanes], a.real(), 1e-15);
    EXPECT_NEAR(both.data()[5 * lanes], a.imag(), 1e-15);
    EXPECT_NEAR(both.data()[6 * lanes], b.real(), 1e-15);
    EXPECT_NEAR(both.data()[7 * lanes], b.imag(), 1e-15);
    join_spectra<double>(
        kPairs,
        {.a = spectra.a, .b = spectra.b, .step = spectra.step, .imaginary = spectra.imaginary}, 1,
        {again.data(), again.data() + 4 * lanes});
    for (std::int64_t i = 0; i < 8 * lanes; ++i) EXPECT_NEAR(again.data()[i], z.data()[i], 1e-15);
  });
}

}  // namespace
}  // namespace fovea::kernels
