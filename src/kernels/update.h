// One step of an optimiser on raw memory, in one pass over weights, gradients and state.
#pragma once

#include <cstdint>

namespace fovea::kernels {

struct SgdStep {
  double lr = 0;
  double momentum = 0;
  double weight_decay = 0;
  bool nesterov = false;
};

// velocity may be null where momentum is 0. T is float or double.
template <class T>
void sgd_update(const SgdStep& step, std::int64_t count, const T* gradient, T* velocity, T* weight);

struct AdamStep {
  double lr = 0;
  double beta1 = 0;
  double beta2 = 0;
  double eps = 0;
  double weight_decay = 0;
  double correction1 = 1;  // 1 - beta1^t
  double correction2 = 1;  // 1 - beta2^t
};

template <class T>
void adam_update(const AdamStep& step, std::int64_t count, const T* gradient, T* first, T* second,
                 T* weight);

}  // namespace fovea::kernels
