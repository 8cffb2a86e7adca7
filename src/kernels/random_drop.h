// Random numbers in vectors, and the loop of dropout, which consumes them.
#pragma once

#include <cstdint>

namespace fovea::kernels {

// Which elements stay: those whose random number is below `threshold`, 1 to 2^32, become zero.
struct DropRule {
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;
  std::uint64_t threshold = 0;
};

// y[i] = 0 or x[i] factor for `count` elements, the first of which takes the first number of
// philox(seed, stream, block), the fifth that of the next block. The upper 32 bits of these blocks
// are alike. `streamed`: as in stream.h. T is float or double.
template <class T>
void drop(const DropRule& rule, std::uint64_t block, std::int64_t count, T factor, const T* x, T* y,
          bool streamed = false);

}  // namespace fovea::kernels
