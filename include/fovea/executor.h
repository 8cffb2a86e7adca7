// Threads: every parallel loop of the library goes through one Executor, which a host application
// may replace.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "fovea/export.h"

namespace fovea {

// Runs independent tasks. The library cuts work into tasks from the problem alone, so no result
// depends on how many threads an executor has.
class FOVEA_API Executor {
 public:
  virtual ~Executor();
  // How many tasks may run at once.
  virtual int concurrency() const = 0;
  // Calls task(0) ... task(count - 1), in any order and on any thread, and returns when all have
  // finished. Tasks handed in by the library never throw. May be called from several threads at
  // once, but never from inside a task.
  virtual void run(std::int64_t count, const std::function<void(std::int64_t)>& task) = 0;
};

// Replaces the library's own thread pool; nullptr brings it back.
FOVEA_API void set_executor(std::shared_ptr<Executor> executor);

// Size of the library's own pool; the start value is FOVEA_THREADS, or else the number of usable
// cores; at most 1024, or the number of cores where it is larger. Throws Error for count < 1.
FOVEA_API void set_num_threads(int count);
FOVEA_API int num_threads();

// Calls body(0) ... body(count - 1). Nested calls run inline on the calling thread; of several
// exceptions the one of the lowest index is rethrown, after every task has finished; may be called
// from many threads at once; no thread is started before the first call that has more than one
// task.
FOVEA_API void parallel_for(std::int64_t count, const std::function<void(std::int64_t)>& body);

// Cuts [0, count) into ranges of `grain` and calls body(first, last) for each: for loops over
// elements.
FOVEA_API void parallel_ranges(std::int64_t count, std::int64_t grain,
                               const std::function<void(std::int64_t, std::int64_t)>& body);

}  // namespace fovea
