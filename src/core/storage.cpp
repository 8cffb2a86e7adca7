// The caching allocator: freed blocks wait in lists by size class, so that a training step asks the
// system for nothing.
//
// Sizes are rounded up to four classes per power of two: at most a fifth is wasted. Large blocks
// share segments instead (segments.h). The cache is off under the address sanitizer, which must see
// every free.
#include "core/storage.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <new>
#include <vector>

#include "core/check.h"
#include "core/segments.h"
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
  const std::size_t power = std::max<std::size_t>(std::bit_width(size), 3) - 1;
  return 4 * power + ((size >> (power - 2)) & 3);
}

constexpr bool kCacheBlocks = FOVEA_CACHE_BLOCKS != 0;
// From here on blocks are pieces of segments, and so on huge pages. On small ones, which lie
// anywhere in memory, operands of 400 and 800 KiB collide in the second-level cache as chance will
// have it: depthwise layers took up to 1.6 times as long, in some processes more than in others.
constexpr std::size_t kLarge = kSpread;

bool in_segments(std::size_t bytes) {
  return kCacheBlocks && size_class(bytes) >= kLarge;
}

// Those from kSpread on are spread here only where nothing is cached; else segments do it.
void* allocate_block(std::size_t size) {
  const bool spread = size >= kSpread;
  const std::size_t offset = spread ? next_line_of_page() : 0;
  void* block = nullptr;
  if (posix_memalign(&block, spread ? kPage : kAlignment, size + offset) != 0) return nullptr;
  return static_cast<char*>(block) + offset;
}

void free_block(void* block, std::size_t size) {
  const std::size_t offset = size >= kSpread ? reinterpret_cast<std::uintptr_t>(block) % kPage : 0;
  std::free(static_cast<char*>(block) - offset);
}

class BlockCache {
 public:
  void* take(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    void* block = try_take(bytes);
    if (block == nullptr) {
      release_free();  // the cache may hold what is missing, in other sizes
      block = try_take(bytes);
    }
    FOVEA_CHECK(block != nullptr, "memory: the system has no {} bytes left ({} in use)", bytes,
                stats_.in_use);
    return block;
  }

  void give(void* block, std::size_t bytes) noexcept {
    const std::lock_guard lock(mutex_);
    if (in_segments(bytes)) {
      const std::size_t size = segments_.give(block);
      stats_.in_use -= size;
      large_in_use_ -= size;
      return;
    }
    const std::size_t size = size_class(bytes);
    stats_.in_use -= size;
    if constexpr (kCacheBlocks) {
      try {
        free_[class_number(size)].push_back(block);
        small_cached_ += size;
        return;
      } catch (const std::bad_alloc&) {
        // No memory even for the list: give the block back to the system instead.
      }
    }
    free_block(block, size);
  }

  void release() {
    const std::lock_guard lock(mutex_);
    release_free();
  }

  MemoryStats stats() {
    const std::lock_guard lock(mutex_);
    MemoryStats stats = stats_;
    stats.cached = small_cached_ + segments_.held() - large_in_use_;
    return stats;
  }

  void reset_high_water() {
    const std::lock_guard lock(mutex_);
    stats_.high_water = stats_.in_use;
  }

 private:
  // Null where the system has none left.
  void* try_take(std::size_t bytes) {
    if (in_segments(bytes)) {
      try {
        const auto [block, size] = segments_.take(bytes);
        if (block != nullptr) count_in(size);
        large_in_use_ += size;
        return block;
      } catch (const std::bad_alloc&) {  // no memory even for the list of pieces
        return nullptr;
      }
    }
    const std::size_t size = size_class(bytes);
    if (size < bytes) return nullptr;
    void* block = nullptr;
    std::vector<void*>& blocks = free_[class_number(size)];
    if (!blocks.empty()) {
      block = blocks.back();
      blocks.pop_back();
      small_cached_ -= size;
    } else {
      block = allocate_block(size);
    }
    if (block != nullptr) count_in(size);
    return block;
  }

  void release_free() {
    for (std::size_t number = 0; number < kClasses; ++number) {
      // Whether blocks are spread is the same for all of a class.
      const std::size_t size = number < class_number(kSpread) ? 0 : kSpread;
      for (void* block : free_[number]) free_block(block, size);
      free_[number].clear();
    }
    small_cached_ = 0;
    segments_.release();
  }

  void count_in(std::size_t size) {
    stats_.in_use += size;
    stats_.high_water = std::max(stats_.high_water, stats_.in_use);
  }

  std::mutex mutex_;
  std::array<std::vector<void*>, kClasses> free_;  // small blocks
  std::size_t small_cached_ = 0;
  Segments segments_;
  std::size_t large_in_use_ = 0;
  MemoryStats stats_;  // but for what is cached
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
