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
  double weight_decay = 0;  // added to the gradient
  double shrink = 1;        // factor of the weight: decay that passes the moments by
  double correction1 = 1;   // 1 - beta1^t
  double correction2 = 1;   // 1 - beta2^t
};

template <class T>
void adam_update(const AdamStep& step, std::int64_t count, const T* gradient, T* first, T* second,
                 T* weight);

struct RmsPropStep {
  double lr = 0;
  double alpha = 0;
  double eps = 0;
  double momentum = 0;
  double weight_decay = 0;
};

// velocity may be null where momentum is 0.
template <class T>
void rmsprop_update(const RmsPropStep& step, std::int64_t count, const T* gradient, T* square,
                    T* velocity, T* weight);

// average <- average + share (value - average)
void average_update(double share, std::int64_t count, const float* value, float* average);
void average_update(double share, std::int64_t count, const double* value, double* average);

}  // namespace fovea::kernels
