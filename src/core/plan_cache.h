// Plans that are dear to make and are asked for again: the ones used last are kept, as long as they
// are not too large together.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace fovea {

template <class Key, class Plan>
class PlanCache {
 public:
  // Of all plans together; sizes are in any unit.
  explicit PlanCache(std::int64_t most) : most_(most) {}

  // The plan of this key, which make() returns as a shared pointer if it is not kept.
  template <class Make>
  std::shared_ptr<const Plan> get(const Key& key, std::int64_t size, const Make& make) {
    {
      const std::lock_guard lock(mutex_);
      for (Entry& entry : kept_) {
        if (entry.key != key) continue;
        entry.used = ++uses_;
        return entry.plan;
      }
    }
    std::shared_ptr<const Plan> plan = make();
    if (size > most_) return plan;
    const std::lock_guard lock(mutex_);
    std::int64_t sum = size;
    for (const Entry& other : kept_) sum += other.size;
    while (sum > most_) {
      const auto oldest = std::ranges::min_element(kept_, {}, &Entry::used);
      sum -= oldest->size;
      std::iter_swap(oldest, kept_.end() - 1);
      kept_.pop_back();
    }
    kept_.push_back({key, size, ++uses_, plan});
    return plan;
  }

 private:
  struct Entry {
    Key key;
    std::int64_t size;
    std::uint64_t used;  // when it was used last
    std::shared_ptr<const Plan> plan;
  };
  std::int64_t most_;
  std::mutex mutex_;
  std::vector<Entry> kept_;
  std::uint64_t uses_ = 0;
};

}  // namespace fovea
