// parallel_for, and the choice of the executor that runs it: the host's or the library's own pool.
//
// What no executor promises (nested calls, which exception) is added here, for any of them.
#include "fovea/executor.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>
#include <mutex>
#include <utility>

#include "core/check.h"
#include "core/pool_executor.h"

namespace fovea {
namespace {

int usable_cores() {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) == 0) return std::max(CPU_COUNT(&cores), 1);
  return 1;
}

int default_threads() {
  const char* text = std::getenv("FOVEA_THREADS");
  if (text == nullptr || *text == '\0') return usable_cores();
  int count = 0;
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, count);
  FOVEA_CHECK(error == std::errc() && stop == end && count >= 1,
              "FOVEA_THREADS is '{}', but must be a whole number of at least 1", text);
  return count;
}

struct Settings {
  std::mutex mutex;
  std::shared_ptr<Executor> executor;  // in use
  bool custom = false;
  int threads = 0;  // of the own pool; 0: not decided yet
};

// Never destroyed: loops may run while static objects are torn down.
Settings& settings() {
  static auto* instance = new Settings;
  return *instance;
}

std::shared_ptr<Executor> current_executor() {
  Settings& all = settings();
  const std::lock_guard lock(all.mutex);
  if (all.executor == nullptr) {
    if (all.threads == 0) all.threads = default_threads();
    all.executor = make_pool_executor(all.threads);
  }
  return all.executor;
}

thread_local bool inside_task = false;

// Keeps the exception of the lowest index.
class FirstError {
 public:
  void run(std::int64_t index, const std::function<void(std::int64_t)>& body) noexcept {
    try {
      body(index);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (index < index_) {
        index_ = index;
        error_ = std::current_exception();
      }
    }
  }
  void rethrow() const {
    if (error_ != nullptr) std::rethrow_exception(error_);
  }

 private:
  std::mutex mutex_;
  std::int64_t index_ = std::numeric_limits<std::int64_t>::max();
  std::exception_ptr error_;
};

}  // namespace

Executor::~Executor() = default;

void set_executor(std::shared_ptr<Executor> executor) {
  Settings& all = settings();
  const std::lock_guard lock(all.mutex);
  all.custom = executor != nullptr;
  all.executor = std::move(executor);
}

void set_num_threads(int count) {
  FOVEA_CHECK(count >= 1, "set_num_threads: {} threads asked for, but at least 1 is needed", count);
  Settings& all = settings();
  const std::lock_guard lock(all.mutex);
  all.threads = count;
  // Loops that still run keep their pool alive; the next loop makes a new one.
  if (!all.custom) all.executor.reset();
}

int num_threads() {
  return current_executor()->concurrency();
}

void parallel_for(std::int64_t count, const std::function<void(std::int64_t)>& body) {
  if (count <= 0) return;
  if (count == 1) return body(0);
  FirstError first;
  if (inside_task) {
    for (std::int64_t i = 0; i < count; ++i) first.run(i, body);
  } else {
    current_executor()->run(count, [&](std::int64_t index) {
      const bool outer = std::exchange(inside_task, true);
      first.run(index, body);
      inside_task = outer;
    });
  }
  first.rethrow();
}

void parallel_ranges(std::int64_t count, std::int64_t grain,
                     const std::function<void(std::int64_t, std::int64_t)>& body) {
  FOVEA_ASSERT(grain > 0);
  parallel_for((count + grain - 1) / grain, [&](std::int64_t index) {
    body(index * grain, std::min(count, (index + 1) * grain));
  });
}

}  // namespace fovea
