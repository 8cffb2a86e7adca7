// Scratch memory of one task.
#pragma once

#include <cstddef>
#include <optional>

#include "core/storage.h"

namespace fovea {

// Memory of this thread, kept for its next task: what another core wrote last would first have to
// leave that core's cache. Longer needs than a few megabytes are not kept. A thread may hold one at
// a time.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes) {
    constexpr std::size_t kMost = 4 << 20;
    if (bytes > kMost) {
      own_.emplace(bytes);
      return;
    }
    thread_local std::optional<Workspace> kept;
    thread_local std::size_t size = 0;
    if (!kept || size < bytes) {
      size = 0;
      kept.reset();
      kept.emplace(bytes);
      size = bytes;
    }
    kept_ = kept->as<std::byte>();
  }
  template <class T>
  T* as() const {
    return own_ ? own_->template as<T>() : reinterpret_cast<T*>(kept_);
  }

 private:
  std::optional<Workspace> own_;
  std::byte* kept_ = nullptr;
};

}  // namespace fovea
