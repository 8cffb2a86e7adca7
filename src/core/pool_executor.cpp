// The library's own executor, a oneTBB arena.
//
// On an idle machine pthreadpool wakes its workers in 0.3 us where oneTBB takes 1 us. But it waits
// for every worker at each loop, so on a machine with other work a LeNet step was seen to take 140
// to 320 ms instead of oneTBB's 4 to 8: there, whoever runs takes the tasks.
#include "core/pool_executor.h"

#include <pthread.h>
#include <tbb/blocked_range.h>
#include <tbb/global_control.h>
#include <tbb/info.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#ifdef FOVEA_SANITIZE_THREAD
#include <sanitizer/tsan_interface.h>
#endif

namespace fovea {
namespace {

// oneTBB is not built with the thread sanitizer, which therefore cannot see that a task is handed
// over to a worker and back. It is told here; and this file is built without it, or it would report
// what oneTBB's own templates hand over in the same way.
#ifdef FOVEA_SANITIZE_THREAD
void hand_over(void* place) {
  __tsan_release(place);
}
void take_over(void* place) {
  __tsan_acquire(place);
}
#else
void hand_over(void*) {}
void take_over(void*) {}
#endif

// How many forks lie between this process and the one that loaded the library, and how many did
// when a pool first started threads (-1: none has). A child has none of its parent's threads, and
// oneTBB would never learn of it.
std::atomic<int> forks = 0;
std::atomic<int> forks_at_start = -1;

void count_forks() {
  static const int registered = pthread_atfork(nullptr, nullptr, [] { ++forks; });
  static_cast<void>(registered);
}

// False in a child of a process that had started threads.
bool may_start_threads() {
  int none = -1;
  if (forks_at_start < 0) forks_at_start.compare_exchange_strong(none, forks);
  return forks_at_start == forks;
}

// Or oneTBB prints a warning when there are more threads than cores. One limit for all pools, and
// for good: of several the lowest would count, and an old pool may still be at work beside a new
// one.
void allow_many_threads() {
  constexpr int kMany = 1024;
  // Never destroyed; `used` keeps the pointer, for a leak checker to see that it is not lost.
  [[gnu::used]] static const auto* limit = new tbb::global_control(
      tbb::global_control::max_allowed_parallelism,
      static_cast<std::size_t>(std::max(kMany, tbb::info::default_concurrency())));
}

// Tasks of one caller at a time; a second caller meanwhile computes on its own thread, which keeps
// every core busy.
class PoolExecutor final : public Executor {
 public:
  // An arena starts its threads when it is first entered.
  explicit PoolExecutor(int threads) : threads_(threads), arena_(threads) {
    count_forks();
    allow_many_threads();
  }

  int concurrency() const override { return threads_; }

  void run(std::int64_t count, const std::function<void(std::int64_t)>& task) override {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (threads_ == 1 || !lock.owns_lock() || !may_start_threads()) {
      for (std::int64_t i = 0; i < count; ++i) task(i);
      return;
    }
    run_in_arena(count, task);
  }

 private:
  void run_in_arena(std::int64_t count, const std::function<void(std::int64_t)>& task) {
    char to_worker = 0;  // only their addresses are used
    char to_caller = 0;
    hand_over(&to_worker);
    arena_.execute([&] {
      tbb::parallel_for(
          tbb::blocked_range<std::int64_t>(0, count, 1),
          [&](const tbb::blocked_range<std::int64_t>& range) {
            take_over(&to_worker);
            for (std::int64_t i = range.begin(); i != range.end(); ++i) task(i);
            hand_over(&to_caller);
          },
          tbb::simple_partitioner());
    });
    take_over(&to_caller);
  }

  int threads_;
  std::mutex mutex_;
  tbb::task_arena arena_;
};

}  // namespace

std::shared_ptr<Executor> make_pool_executor(int threads) {
  return std::make_shared<PoolExecutor>(threads);
}

}  // namespace fovea
