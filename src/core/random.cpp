// Philox4x32-10 and the distributions drawn from it.
#include "fovea/random.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include "core/check.h"
#include "core/dispatch.h"
#include "core/tensor_impl.h"
#include "fovea/executor.h"

namespace fovea {
namespace {

constexpr std::int64_t kGrain = 1 << 14;  // random blocks of four per task

// 2^-32 (bits + 1/2): inside (0, 1), so its logarithm is finite.
double open_unit(std::uint32_t bits) {
  return (static_cast<double>(bits) + 0.5) * 0x1p-32;
}
// 53 bits in [0, 1).
double unit(std::uint32_t high, std::uint32_t low) {
  return static_cast<double>((static_cast<std::uint64_t>(high) << 21) ^ (low >> 11)) * 0x1p-53;
}

// Fills a new tensor with pairs: draw(four random numbers, pair) writes two values.
template <class Draw>
Tensor fill_pairs(const Shape& shape, Generator& generator, DType dtype, Draw draw) {
  FOVEA_CHECK(is_floating(dtype), "random: the type must be float32 or float64, not {}",
              name(dtype));
  Tensor tensor = Tensor::empty(shape, dtype);
  const std::uint64_t seed = generator.seed;
  const std::uint64_t stream = generator.next_stream++;
  if (tensor.is_abstract()) return tensor;
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* out = writable<T>(tensor);
    const std::int64_t count = tensor.numel();
    parallel_ranges((count + 1) / 2, kGrain, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t pair = first; pair < last; ++pair) {
        double values[2];
        draw(philox(seed, stream, static_cast<std::uint64_t>(pair)), values);
        out[2 * pair] = static_cast<T>(values[0]);
        if (2 * pair + 1 < count) out[2 * pair + 1] = static_cast<T>(values[1]);
      }
    });
  });
  return tensor;
}

}  // namespace

std::array<std::uint32_t, 4> philox(std::uint64_t seed, std::uint64_t stream,
                                    std::uint64_t counter) {
  // Constants and round function as published.
  constexpr std::uint64_t kMultiplier0 = 0xD2511F53;
  constexpr std::uint64_t kMultiplier1 = 0xCD9E8D57;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9;
  constexpr std::uint32_t kWeyl1 = 0xBB67AE85;
  const auto low = [](std::uint64_t value) { return static_cast<std::uint32_t>(value); };
  const auto high = [](std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); };
  std::array<std::uint32_t, 4> state = {low(counter), high(counter), low(stream), high(stream)};
  std::uint32_t key0 = low(seed);
  std::uint32_t key1 = high(seed);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = kMultiplier0 * state[0];
    const std::uint64_t product1 = kMultiplier1 * state[2];
    state = {high(product1) ^ state[1] ^ key0, low(product1), high(product0) ^ state[3] ^ key1,
             low(product0)};
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return state;
}

Tensor uniform(const Shape& shape, double low, double high, Generator& generator, DType dtype) {
  FOVEA_CHECK(low <= high, "uniform: low = {} is above high = {}", low, high);
  // float32 may round up to `high`; the largest value below keeps the interval half-open.
  const double limit =
      dtype == DType::float32
          ? static_cast<double>(std::nextafter(static_cast<float>(high), -INFINITY))
          : std::nextafter(high, -INFINITY);
  return fill_pairs(shape, generator, dtype, [=](const auto& bits, double* out) {
    out[0] = std::min(low + (high - low) * unit(bits[0], bits[1]), std::max(low, limit));
    out[1] = std::min(low + (high - low) * unit(bits[2], bits[3]), std::max(low, limit));
  });
}

Tensor normal(const Shape& shape, double mean, double stddev, Generator& generator, DType dtype) {
  FOVEA_CHECK(stddev >= 0, "normal: the standard deviation is {}, but must not be negative",
              stddev);
  return fill_pairs(shape, generator, dtype, [=](const auto& bits, double* out) {
    const double radius = stddev * std::sqrt(-2 * std::log(open_unit(bits[0])));
    const double angle = 2 * std::numbers::pi * unit(bits[2], bits[3]);
    out[0] = mean + radius * std::cos(angle);
    out[1] = mean + radius * std::sin(angle);
  });
}

std::vector<std::int64_t> permutation(std::int64_t count, Generator& generator) {
  FOVEA_CHECK(count >= 0, "permutation: the count is {}, but must not be negative", count);
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  const std::uint64_t stream = generator.next_stream++;
  for (std::int64_t i = count - 1; i > 0; --i) {
    const auto bits = philox(generator.seed, stream, static_cast<std::uint64_t>(i));
    const auto other =
        static_cast<std::int64_t>(unit(bits[0], bits[1]) * static_cast<double>(i + 1));
    std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(other)]);
  }
  return order;
}

}  // namespace fovea
