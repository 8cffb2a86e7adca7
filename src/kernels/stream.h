// Stores that bypass the caches, for results of which the beginning would be out of the caches
// again before anybody reads it: they spare the reading of what is overwritten.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fovea::kernels {

// Half of a usual last-level cache; what was read to compute so much fills the other half.
constexpr std::size_t kStreamedBytes = std::size_t{16} << 20;

// Whether `bytes` at `data`, written in runs of `run_bytes`, are to be streamed: whole lines only.
inline bool is_streamed(const void* data, std::size_t bytes, std::size_t run_bytes) {
  constexpr std::size_t kLine = 64;
  return bytes >= kStreamedBytes && run_bytes % kLine == 0 &&
         reinterpret_cast<std::uintptr_t>(data) % kLine == 0;
}

}  // namespace fovea::kernels
