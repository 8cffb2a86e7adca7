// What follows the sum of a forward pass: y = activation(sum + bias + residual).
//
// The bias is each algorithm's own, as the start of its sum. For the rest it holds a Finish: its
// kernels do at_store() as they store, and rest() follows while the results are in the cache; one
// whose kernels store plain sums calls all() on each piece that it has stored; one for teaching
// ends with finish_results(). A new activation is a name in fovea/conv.h, and a line in the tables
// of epilogue.cpp here and in ops.
#pragma once

#include <cstdint>

#include "conv/algorithms.h"
#include "kernels/epilogue.h"

namespace fovea::conv {

template <class T>
class Finish {
 public:
  explicit Finish(const ConvArgs& args);

  // The residual, and activations that are bounds; null where there is neither.
  const kernels::Epilogue<T>* at_store() const { return stores_ ? &epilogue_ : nullptr; }
  // Whether the activation is another one, which needs rest().
  bool remains() const { return remains_; }
  // That activation, of `count` neighbouring results that were stored with at_store(); RestOf for
  // those that lie apart.
  void rest(std::int64_t count, T* results) const;
  // Both, for results that were stored as plain sums.
  void all(std::int64_t count, T* results) const;

 private:
  kernels::Epilogue<T> epilogue_;
  Activation activation_;
  double slope_;
  bool stores_;
  bool remains_;
};

// rest() of pieces that are added one by one, neighbours together; the last at its end.
template <class T>
class RestOf {
 public:
  explicit RestOf(const Finish<T>& finish) : finish_(finish) {}
  ~RestOf() { finish_.rest(count_, begin_); }
  RestOf(const RestOf&) = delete;
  RestOf& operator=(const RestOf&) = delete;
  void add(std::int64_t count, T* results) {
    if (count_ > 0 && results == begin_ + count_) {
      count_ += count;
      return;
    }
    finish_.rest(count_, begin_);
    begin_ = results;
    count_ = count;
  }

 private:
  const Finish<T>& finish_;
  T* begin_ = nullptr;
  std::int64_t count_ = 0;
};

// All of a forward pass, in a pass of its own over its results.
template <class T>
void finish_results(const ConvProblem& problem, const ConvArgs& args);

// One value in double: the definition.
double activate(Activation activation, double slope, double value);

}  // namespace fovea::conv
