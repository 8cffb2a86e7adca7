// Counter-based random numbers (Philox4x32-10; Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", 2011).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "fovea/dtype.h"
#include "fovea/export.h"
#include "fovea/shape.h"
#include "fovea/tensor.h"

namespace fovea {

// The four 32-bit numbers at place `counter` of stream `stream` of seed `seed`: a pure function, so
// element i of a random tensor never depends on the thread that computes it.
FOVEA_API std::array<std::uint32_t, 4> philox(std::uint64_t seed, std::uint64_t stream,
                                              std::uint64_t counter);

// Hands out streams: each random tensor takes the next one. Its whole state is two integers.
struct Generator {
  std::uint64_t seed = 0;
  std::uint64_t next_stream = 0;
};

// Values in [low, high).
FOVEA_API Tensor uniform(const Shape& shape, double low, double high, Generator& generator,
                         DType dtype = DType::float32);
// Normal distribution (Box-Muller).
FOVEA_API Tensor normal(const Shape& shape, double mean, double stddev, Generator& generator,
                        DType dtype = DType::float32);
// 0 ... count - 1 in random order (Fisher-Yates).
FOVEA_API std::vector<std::int64_t> permutation(std::int64_t count, Generator& generator);

}  // namespace fovea
