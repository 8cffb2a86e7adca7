// The library's own executor.
#pragma once

#include <memory>

#include "fovea/executor.h"

namespace fovea {

// Runs on up to `threads` threads, the caller's among them; starts none before it is needed.
std::shared_ptr<Executor> make_pool_executor(int threads);

}  // namespace fovea
