// What the tensor allocator holds; for reports and for tests.
#pragma once

#include <cstddef>

#include "fovea/export.h"

namespace fovea {

struct MemoryStats {
  std::size_t in_use = 0;      // bytes handed out to tensors and workspaces now
  std::size_t high_water = 0;  // the most bytes ever in use at once since the last reset
  std::size_t cached = 0;      // bytes kept for the next requests
};

FOVEA_API MemoryStats memory_stats();
// The high-water mark starts again from what is in use now.
FOVEA_API void reset_high_water();
// Gives cached memory back to the system. Of a segment of which a part is in use, free pages are
// given back, but their addresses are not, and `cached` goes on counting them.
FOVEA_API void release_cached_memory();

}  // namespace fovea
