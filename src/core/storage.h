// Storage: the bytes behind tensors, from a caching allocator.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace fovea {

inline constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector

// Aligned memory from the cache; throws Error when the system has none left.
void* allocate(std::size_t bytes);
void deallocate(void* data, std::size_t bytes) noexcept;

// Scratch memory that returns to the cache when it goes out of scope. Uninitialised.
class Workspace {
 public:
  explicit Workspace(std::size_t bytes) : data_(allocate(bytes)), bytes_(bytes) {}
  ~Workspace() { deallocate(data_, bytes_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_;
  std::size_t bytes_;
};

// What was derived from the contents of a storage (packed or mirrored weights) and can be used
// again until they change. Kept from the second time on: a step of training uses it only once.
class Derived {
 public:
  using Key = std::array<std::int64_t, 24>;  // says what was derived, how, and of which type it is
  // What was kept under `key` for `version`; null if there is nothing.
  std::shared_ptr<const void> find(const Key& key, std::uint64_t version) const;
  // Keeps it, unless this is the first time for `key` and `version`; drops all other versions.
  void keep(const Key& key, std::uint64_t version, std::shared_ptr<const void> data);

 private:
  struct Entry {
    Key key;
    std::uint64_t version;
    std::shared_ptr<const void> data;
  };
  mutable std::mutex mutex_;
  std::vector<Entry> entries_;
};

class Storage {
 public:
  explicit Storage(std::size_t bytes);
  // Memory of somebody else; `release` may be empty.
  Storage(void* data, std::size_t bytes, std::function<void()> release);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  std::uint64_t version() const { return version_.load(std::memory_order_acquire); }
  // Null for memory to which somebody may write unseen: not ours, or its pointer was given out.
  Derived* derived() { return owned_ && !exposed_ ? &derived_ : nullptr; }
  void expose() { exposed_ = true; }
  void bump_version() { version_.fetch_add(1, std::memory_order_acq_rel); }

 private:
  void* data_;
  std::size_t bytes_;
  bool owned_;
  std::atomic<bool> exposed_{false};
  std::function<void()> release_;
  std::atomic<std::uint64_t> version_{0};
  Derived derived_;
};

}  // namespace fovea
