// parallel_for: its contract, with the library's own pool and with a host's executor.
#include "fovea/executor.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <limits>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/errors.h"
#include "support/settings.h"

namespace fovea::testing {
namespace {

TEST(ParallelFor, CallsEveryIndexOnce) {
  for (const int threads : {1, 2, 5}) {
    const ThreadGuard guard(threads);
    std::vector<int> calls(1000);
    parallel_for(1000, [&](std::int64_t i) { ++calls[static_cast<std::size_t>(i)]; });
    EXPECT_EQ(calls, std::vector<int>(1000, 1));
  }
}

TEST(ParallelFor, RangesCoverEverythingOnce) {
  std::vector<std::atomic<int>> calls(1001);
  parallel_ranges(1001, 64, [&](std::int64_t first, std::int64_t last) {
    EXPECT_LE(last - first, 64);
    for (std::int64_t i = first; i < last; ++i) ++calls[static_cast<std::size_t>(i)];
  });
  for (const auto& count : calls) EXPECT_EQ(count, 1);
}

TEST(ParallelFor, NestedCallsRunInline) {
  const ThreadGuard guard(3);
  std::atomic<int> calls = 0;
  std::atomic<bool> moved = false;
  parallel_for(4, [&](std::int64_t) {
    const auto self = std::this_thread::get_id();
    parallel_for(8, [&](std::int64_t) {
      ++calls;
      if (std::this_thread::get_id() != self) moved = true;
    });
  });
  EXPECT_EQ(calls, 32);
  EXPECT_FALSE(moved);
}

TEST(ParallelFor, RethrowsTheExceptionOfTheLowestIndexAfterAllHaveFinished) {
  for (const int threads : {1, 3}) {
    const ThreadGuard guard(threads);
    std::atomic<int> calls = 0;
    try {
      parallel_for(100, [&](std::int64_t i) {
        ++calls;
        if (i % 10 == 7) throw std::runtime_error(std::to_string(i));
      });
      FAIL() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "7");
    }
    EXPECT_EQ(calls, 100);
  }
}

TEST(ParallelFor, MayBeCalledFromManyThreadsAtOnce) {
  const ThreadGuard guard(2);
  std::vector<std::thread> callers;
  std::vector<std::int64_t> sums(8);
  for (std::size_t t = 0; t < sums.size(); ++t) {
    callers.emplace_back([&, t] {
      for (int round = 0; round < 50; ++round) {
        std::vector<std::int64_t> values(64);
        parallel_for(64, [&](std::int64_t i) { values[static_cast<std::size_t>(i)] = i; });
        sums[t] += std::accumulate(values.begin(), values.end(), std::int64_t{0});
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sums, std::vector<std::int64_t>(8, 50 * 64 * 63 / 2));
}

// The sum of 0 ... 99, each added by a task of its own, in a child of this process.
void expect_loops_work_in_a_child() {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(60);  // a loop that hangs is a failure
    std::atomic<std::int64_t> sum = 0;
    for (int round = 0; round < 3; ++round) parallel_for(100, [&](std::int64_t i) { sum += i; });
    set_num_threads(2);
    parallel_for(100, [&](std::int64_t i) { sum += i; });
    _exit(sum == 4 * 4950 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(ParallelFor, WorksInAChildThatForkedBeforeFirstUse) {
  // A new pool, which has not started a thread yet.
  const ThreadGuard guard(2);
  expect_loops_work_in_a_child();
}

TEST(ParallelFor, WorksInAChildThatForkedAfterFirstUse) {
  const ThreadGuard guard(3);
  parallel_for(100, [](std::int64_t) {});
  expect_loops_work_in_a_child();
  expect_loops_work_in_a_child();          // by now the workers are asleep
  parallel_for(100, [](std::int64_t) {});  // and still in the parent
}

TEST(ParallelFor, ThrowsOutOfNestedCalls) {
  const ThreadGuard guard(3);
  std::atomic<int> calls = 0;
  try {
    parallel_for(4, [&](std::int64_t outer) {
      parallel_for(8, [&](std::int64_t inner) {
        ++calls;
        if (outer >= 1 && inner == 5) throw std::runtime_error(std::to_string(outer));
      });
    });
    FAIL() << "nothing was thrown";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "1");
  }
  EXPECT_EQ(calls, 32);
  parallel_for(4, [&](std::int64_t) { ++calls; });  // the pool is as good as before
  EXPECT_EQ(calls, 36);
}

TEST(ParallelFor, RunsWhileTheNumberOfThreadsChanges) {
  const ThreadGuard guard(2);
  std::atomic<bool> stop = false;
  std::atomic<std::int64_t> wrong = 0;
  std::vector<std::thread> callers;
  for (int t = 0; t < 3; ++t) {
    callers.emplace_back([&] {
      while (!stop) {
        std::vector<int> values(50);
        parallel_for(50, [&](std::int64_t i) { ++values[static_cast<std::size_t>(i)]; });
        if (values != std::vector<int>(50, 1)) ++wrong;
      }
    });
  }
  for (int round = 0; round < 50; ++round) {
    set_num_threads(1 + round % 4);
    parallel_for(8, [](std::int64_t) {});
  }
  stop = true;
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

TEST(ParallelFor, GoesThroughTheExecutorOfTheHost) {
  class Backwards : public Executor {
   public:
    int concurrency() const override { return 7; }
    void run(std::int64_t count, const std::function<void(std::int64_t)>& task) override {
      for (std::int64_t i = count; i-- > 0;) task(i);
    }
  };
  set_executor(std::make_shared<Backwards>());
  std::vector<std::int64_t> order;
  parallel_for(3, [&](std::int64_t i) { order.push_back(i); });
  const int threads = num_threads();
  set_executor(nullptr);
  EXPECT_EQ(order, (std::vector<std::int64_t>{2, 1, 0}));
  EXPECT_EQ(threads, 7);
}

#ifdef __SANITIZE_THREAD__
TEST(ParallelFor, ARaceBetweenTwoTasksIsSeenByTheThreadSanitizer) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto race = [] {
    const ThreadGuard guard(2);
    std::atomic<int> arrived = 0;
    int both = 0;
    parallel_for(2, [&](std::int64_t) {
      arrived.fetch_add(1, std::memory_order_relaxed);
      while (arrived.load(std::memory_order_relaxed) < 2) std::this_thread::yield();
      ++both;
    });
  };
  EXPECT_DEATH(race(), "data race");
}
#endif

TEST(Threads, AreNotMoreThanALoopCanSearch) {
  const ThreadGuard guard(std::numeric_limits<int>::max());
  EXPECT_GE(num_threads(), 1024);
  EXPECT_LT(num_threads(), 1 << 16);
}

TEST(Threads, CountIsChecked) {
  EXPECT_CONTAINS(error_of([] { set_num_threads(0); }), "at least 1");
  const ThreadGuard guard(3);
  EXPECT_EQ(num_threads(), 3);
}

}  // namespace
}  // namespace fovea::testing
