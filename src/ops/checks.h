// What many operators share: checks, each of which throws Error with the operator's name, and the
// spatial part of a shape.
#pragma once

#include <string_view>

#include "core/tensor_impl.h"

namespace fovea::ops {

// `what` says which input: "input", "weight".
void require_floating(std::string_view op, const TensorSpec& spec, std::string_view what = "input");
void require_same_dtype(std::string_view op, const TensorSpec& a, const TensorSpec& b);
void require_same_shape(std::string_view op, const TensorSpec& a, std::string_view a_name,
                        const TensorSpec& b, std::string_view b_name);
void require_rank(std::string_view op, const TensorSpec& spec, std::string_view what, int rank);

// That the last axis of an input is what weights [out, in] need.
void require_features(std::string_view op, const Shape& input, const Shape& weight);

// How many spatial axes [N, C, spatial...] has: Error, naming `op`, unless they are one to three.
int spatial_dims(std::string_view op, const Tensor& input);

// The sizes behind [N, C].
Shape spatial_of(const Shape& shape);

}  // namespace fovea::ops
