// Building without memory: tensors that have a shape but no data.
#pragma once

namespace fovea {

// While one lives, what this thread makes by empty(), zeros(), full(), uniform() or normal() is
// abstract, and filling it does nothing: a network can be built to learn its shapes.
class AbstractScope {
 public:
  AbstractScope();
  ~AbstractScope();
  AbstractScope(const AbstractScope&) = delete;
  AbstractScope& operator=(const AbstractScope&) = delete;
  static bool active();
};

}  // namespace fovea
