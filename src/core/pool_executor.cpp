// The library's own executor: workers that look out for loops for a moment before they sleep.
//
// A convolution of a small map takes 25 us on two cores. Of a loop of 50 us and more oneTBB took 3
// to 5 us for itself; this takes 0.5. Every thread has a share of the tasks, the same in every loop
// of that many, so that it finds in its cache what it wrote the last time; whoever has finished
// helps the others. The caller waits for no worker that has not begun: on a machine with other
// work, whoever runs takes the tasks.
#include "core/pool_executor.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace fovea {
namespace {

// What different threads write lies in different lines of the cache.
constexpr std::size_t kLine = 64;

// How many forks lie between this process and the one that loaded the library, and how many did
// when a pool first started threads (-1: none has). A child has none of its parent's threads.
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

// Waits a little, and after some times lets others have the core.
class Patience {
 public:
  // False once it has lasted for some 100 us.
  bool wait() {
    constexpr int kPauses = 1000;
    constexpr int kYields = 200;
    times_ = std::min(times_ + 1, kPauses + kYields);
    if (times_ < kPauses) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    } else {
      std::this_thread::yield();
    }
    return times_ < kPauses + kYields;
  }

 private:
  int times_ = 0;
};

// Every loop looks at each thread's share.
int most_threads() {
  constexpr int kMost = 1024;
  return std::max(kMost, static_cast<int>(std::thread::hardware_concurrency()));
}

// Tasks of one caller at a time; a second caller meanwhile computes on its own thread, which keeps
// every core busy.
class PoolExecutor final : public Executor {
 public:
  explicit PoolExecutor(int threads)
      : threads_(std::min(threads, most_threads())), shares_(static_cast<std::size_t>(threads_)) {
    count_forks();
  }

  ~PoolExecutor() override {
    if (crew_ == nullptr) return;
    if (!may_start_threads()) {
      static_cast<void>(crew_.release());  // they are the parent's, and perhaps asleep
      return;
    }
    {
      const std::lock_guard lock(crew_->sleep);
      stops_ = true;
    }
    crew_->wake.notify_all();
    for (std::thread& worker : crew_->workers) worker.join();
  }

  int concurrency() const override { return threads_; }

  void run(std::int64_t count, const std::function<void(std::int64_t)>& task) override {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (threads_ == 1 || !lock.owns_lock() || !may_start_threads()) {
      for (std::int64_t i = 0; i < count; ++i) task(i);
      return;
    }
    if (crew_ == nullptr) start();
    task_ = &task;
    for (int i = 0; i < threads_; ++i) {
      Share& share = shares_[static_cast<std::size_t>(i)];
      share.next.store(i * count / threads_, std::memory_order_relaxed);
      share.end = (i + 1) * count / threads_;
    }
    ++loop_;  // open
    if (sleepers_ > 0) wake(count - 1);
    take_tasks(0);
    ++loop_;  // closed: whoever comes now finds out and leaves
    for (Patience patience; users_ > 0;) patience.wait();
  }

 private:
  struct alignas(kLine) Share {
    std::atomic<std::int64_t> next = 0;
    std::int64_t end = 0;
  };

  struct Crew {
    std::vector<std::thread> workers;
    std::mutex sleep;
    std::condition_variable wake;
  };

  static bool is_open(std::uint64_t loop) { return loop % 2 == 1; }

  // As many as the system allows.
  void start() {
    crew_ = std::make_unique<Crew>();
    crew_->workers.reserve(static_cast<std::size_t>(threads_ - 1));
    try {
      for (int i = 1; i < threads_; ++i) crew_->workers.emplace_back([this, i] { work(i); });
    } catch (const std::system_error&) {
    }
  }

  void wake(std::int64_t most) {
    const std::lock_guard lock(crew_->sleep);
    for (std::int64_t i = std::min<std::int64_t>(most, sleepers_); i > 0; --i)
      crew_->wake.notify_one();
  }

  void work(int place) {
    for (std::uint64_t seen = 0; wait_for_loop(seen);) {
      ++users_;
      // Either this sees that the loop has been closed, or the caller sees a user. It may be a
      // later loop than the one that was waited for.
      seen = loop_;
      if (is_open(seen)) take_tasks(place);
      users_.fetch_sub(1, std::memory_order_release);
    }
  }

  // For one that is open and has not been seen; false: there will be none.
  bool wait_for_loop(std::uint64_t seen) {
    const auto has_come = [&] {
      const std::uint64_t loop = loop_;
      return (is_open(loop) && loop != seen) || stops_;
    };
    for (Patience patience; patience.wait();)
      if (has_come()) return !stops_;
    std::unique_lock lock(crew_->sleep);
    ++sleepers_;
    crew_->wake.wait(lock, has_come);
    --sleepers_;
    return !stops_;
  }

  // Those of this place first, then those that are left of others.
  void take_tasks(int place) {
    for (int i = 0; i < threads_; ++i) {
      Share& share = shares_[static_cast<std::size_t>((place + i) % threads_)];
      while (share.next.load(std::memory_order_relaxed) < share.end) {
        const std::int64_t index = share.next.fetch_add(1, std::memory_order_relaxed);
        if (index < share.end) (*task_)(index);
      }
    }
  }

  int threads_;
  std::mutex mutex_;  // of the caller
  std::unique_ptr<Crew> crew_;
  const std::function<void(std::int64_t)>* task_ = nullptr;
  std::vector<Share> shares_;
  // Of each loop two numbers, an odd one while it is open.
  alignas(kLine) std::atomic<std::uint64_t> loop_ = 0;
  alignas(kLine) std::atomic<int> users_ = 0;  // workers that are in a loop, or look
  alignas(kLine) std::atomic<int> sleepers_ = 0;
  std::atomic<bool> stops_ = false;
};

}  // namespace

std::shared_ptr<Executor> make_pool_executor(int threads) {
  return std::make_shared<PoolExecutor>(threads);
}

}  // namespace fovea
