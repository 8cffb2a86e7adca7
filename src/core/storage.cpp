// The caching allocator: freed blocks wait in lists by size class, so that a training step asks the
// system for nothing.
//
// Sizes are rounded up to four classes per power of two: at most a fifth is wasted. The cache is
// off under the address sanitizer, which must see every free.
#include "core/storage.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <vector>

#include "core/check.h"
#include "fovea/memory.h"

#if defined(__SANITIZE_ADDRESS__)
#define FOVEA_CACHE_BLOCKS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FOVEA_CACHE_BLOCKS 0
#endif
#endif
#ifndef FOVEA_CACHE_BLOCKS
#define FOVEA_CACHE_BLOCKS 1
#endif

namespace fovea {
namespace {

std::size_t size_class(std::size_t bytes) {
  const std::size_t lines = std::max<std::size_t>(bytes, 1);
  const std::size_t power = std::bit_floor(lines);
  const std::size_t step = std::max<std::size_t>(power / 4, kAlignment);
  return (lines + step - 1) / step * step;
}

// Counts the classes: four for each power of two.
constexpr std::size_t kClasses = 4 * 64;
std::size_t class_number(std::size_t size) {
  const auto power = static_cast<std::size_t>(std::bit_width(size) - 1);
  return 4 * power + ((size >> (power - 2)) & 3);
}

// Blocks of a few megabytes lie on huge pages, or a walk over one misses the TLB every 4 KiB.
void* allocate_block(std::size_t size) {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const bool large = size >= 2 * kHugePage;
  void* block = nullptr;
  if (posix_memalign(&block, large ? kHugePage : kAlignment, size) != 0) return nullptr;
  if (large) madvise(block, size, MADV_HUGEPAGE);  // only a hint: it may be refused
  return block;
}

class BlockCache {
 public:
  void* take(std::size_t bytes) {
    const std::size_t size = size_class(bytes);
    FOVEA_CHECK(size >= bytes, "memory: cannot reserve {} bytes", bytes);
    {
      const std::lock_guard lock(mutex_);
      std::vector<void*>& blocks = free_[class_number(size)];
      if (!blocks.empty()) {
        void* block = blocks.back();
        blocks.pop_back();
        stats_.cached -= size;
        count_in(size);
        return block;
      }
    }
    void* block = allocate_block(size);
    if (block == nullptr) {
      release();  // the cache may hold what is missing, in other sizes
      block = allocate_block(size);
    }
    FOVEA_CHECK(block != nullptr, "memory: the system has no {} bytes left ({} in use)", bytes,
                stats().in_use);
    const std::lock_guard lock(mutex_);
    count_in(size);
    return block;
  }

  void give(void* block, std::size_t bytes) noexcept {
    const std::size_t size = size_class(bytes);
    const std::lock_guard lock(mutex_);
    stats_.in_use -= size;
    if constexpr (FOVEA_CACHE_BLOCKS != 0) {
      try {
        free_[class_number(size)].push_back(block);
        stats_.cached += size;
        return;
      } catch (const std::bad_alloc&) {
        // No memory even for the list: give the block back to the system instead.
      }
    }
    std::free(block);
  }

  void release() {
    const std::lock_guard lock(mutex_);
    for (std::vector<void*>& blocks : free_) {
      for (void* block : blocks) std::free(block);
      blocks.clear();
    }
    stats_.cached = 0;
  }

  MemoryStats stats() {
    const std::lock_guard lock(mutex_);
    return stats_;
  }

  void reset_high_water() {
    const std::lock_guard lock(mutex_);
    stats_.high_water = stats_.in_use;
  }

 private:
  void count_in(std::size_t size) {
    stats_.in_use += size;
    stats_.high_water = std::max(stats_.high_water, stats_.in_use);
  }

  std::mutex mutex_;
  std::array<std::vector<void*>, kClasses> free_;
  MemoryStats stats_;
};

// Never destroyed: tensors with static lifetime may outlive any order of destruction.
BlockCache& cache() {
  static auto* instance = new BlockCache;
  return *instance;
}

}  // namespace

void* allocate(std::size_t bytes) {
  return cache().take(bytes);
}
void deallocate(void* data, std::size_t bytes) noexcept {
  cache().give(data, bytes);
}

MemoryStats memory_stats() {
  return cache().stats();
}
void reset_high_water() {
  cache().reset_high_water();
}
void release_cached_memory() {
  cache().release();
}

std::shared_ptr<const void> Derived::find(const Key& key, std::uint64_t version) const {
  const std::lock_guard lock(mutex_);
  for (const Entry& entry : entries_) {
    if (entry.key == key && entry.version == version) return entry.data;
  }
  return nullptr;
}

void Derived::keep(const Key& key, std::uint64_t version, std::shared_ptr<const void> data) {
  const std::lock_guard lock(mutex_);
  // What was kept for other versions is of no use any more, whatever its key: a step of training
  // does not hold what the gradients of the last one needed.
  std::erase_if(entries_, [&](const Entry& entry) { return entry.version != version; });
  const auto asked = std::ranges::find(entries_, key, &Entry::key);
  if (asked == entries_.end())
    entries_.push_back({key, version, nullptr});
  else
    asked->data = std::move(data);
}

Storage::Storage(std::size_t bytes) : data_(allocate(bytes)), bytes_(bytes), owned_(true) {}

Storage::Storage(void* data, std::size_t bytes, std::function<void()> release)
    : data_(data), bytes_(bytes), owned_(false), release_(std::move(release)) {}

Storage::~Storage() {
  if (owned_) deallocate(data_, bytes_);
  if (release_) release_();
}

}  // namespace fovea
