// Stores that bypass the caches, for results of which the beginning would be out of the caches
// again before anybody reads it: they spare the reading of what is overwritten.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hwy/cache_control.h"

namespace fovea::kernels {

constexpr std::size_t kStreamedBytes = std::size_t{32} << 20;  // a usual last-level cache

// Whether results at `data`, written in runs of `run_bytes`, are to be streamed (whole lines only)
// where `bytes` are read and written in all.
inline bool is_streamed(const void* data, std::size_t bytes, std::size_t run_bytes) {
  constexpr std::size_t kLine = 64;
  return bytes >= kStreamedBytes && run_bytes % kLine == 0 &&
         reinterpret_cast<std::uintptr_t>(data) % kLine == 0;
}

// To be called by a task that has streamed, in the end: other threads then see what it stored.
inline void finish_streaming() {
  hwy::FlushStream();
}

}  // namespace fovea::kernels
