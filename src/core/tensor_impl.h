// What a Tensor handle points to, and views made without recording.
#pragma once

#include <memory>

#include "core/storage.h"
#include "fovea/tensor.h"

namespace fovea {

// A recorded operator; the tape derives its node from it (autograd/tape.h).
struct TapeNode {
  virtual ~TapeNode() = default;
};

// What the tape knows of a tensor.
struct AutogradMeta {
  bool requires_grad = false;
  Tensor grad;                     // of a leaf
  std::shared_ptr<TapeNode> node;  // that made this tensor; null for a leaf
  int output = 0;                  // which output of `node` this is
};

struct TensorImpl {
  std::shared_ptr<Storage> storage;  // null: abstract
  std::int64_t offset = 0;           // of the first element, in elements
  Shape shape;
  Strides strides;
  DType dtype = DType::float32;
  std::unique_ptr<AutogradMeta> autograd;
};

// Shape, type and memory order of a tensor: all that can be known of it without its data.
struct TensorSpec {
  Shape shape;
  DType dtype = DType::float32;
  Strides strides;
  bool defined = true;  // false for an optional input that is absent

  std::int64_t numel() const { return shape.numel(); }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype); }
};

Strides strides_of(const Shape& shape, Layout layout);
// Strides of a dense tensor of `shape` whose axes lie in the same order as those of `like` (same
// rank).
Strides strides_like(const Shape& shape, const Strides& like);
bool is_dense(const Shape& shape, const Strides& strides, Layout layout);
// Whether the elements fill one block of memory without holes, in any order of axes.
bool is_dense(const Shape& shape, const Strides& strides);

TensorSpec spec_of(const Tensor& tensor);
TensorSpec make_spec(const Shape& shape, DType dtype, Layout layout = Layout::row_major);

// Uninitialised memory for `spec`; `abstract`: none at all.
Tensor allocate_tensor(const TensorSpec& spec, bool abstract = false);

// The library's own way to write: as Tensor::mutable_data, but the pointer is not kept.
template <class T>
T* writable(Tensor& tensor) {
  T* data = const_cast<T*>(tensor.data<T>());
  tensor.impl()->storage->bump_version();
  return data;
}

// From a negative or positive axis to 0 ... rank - 1; throws Error, naming `op`, if there is none
// such.
int normalize_axis(std::int64_t axis, int rank, std::string_view op);

// Unrecorded views; the public methods of the same names record.
namespace view {
Tensor strided(const Tensor& base, std::int64_t extra_offset, const Shape& shape,
               const Strides& strides);
Tensor permute(const Tensor& tensor, const Shape& axes);
// Undefined where the strides do not allow a view.
Tensor reshape(const Tensor& tensor, const Shape& shape);
Tensor broadcast(const Tensor& tensor, const Shape& shape);
}  // namespace view

// Unrecorded: a dense copy in `layout`, or the tensor itself where it is dense already.
Tensor dense(const Tensor& tensor, Layout layout);
// Copies elements between tensors of one shape, converting types; any strides.
void copy_elements(const Tensor& source, Tensor& target);

}  // namespace fovea
