// Tensor: shared storage, shape, strides and element type.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "fovea/dtype.h"
#include "fovea/export.h"
#include "fovea/shape.h"

namespace fovea {

// How a dense tensor lies in memory. row_major: the last axis is contiguous. channels_last: axis 1
// (channels) is contiguous and the spatial axes keep their order, as N,H,W,C. Axes of size one
// never decide a layout.
enum class Layout : std::uint8_t { row_major, channels_last };

struct TensorImpl;
struct AutogradMeta;

// A handle to an n-dimensional array. Copying the handle shares the data; `clone` copies the data.
// Shapes are always written [N, C, spatial...], whatever the memory order.
class FOVEA_API Tensor {
 public:
  Tensor() = default;  // undefined: holds nothing

  // Uninitialised memory of the given shape.
  static Tensor empty(const Shape& shape, DType dtype = DType::float32,
                      Layout layout = Layout::row_major);
  static Tensor zeros(const Shape& shape, DType dtype = DType::float32,
                      Layout layout = Layout::row_major);
  static Tensor full(const Shape& shape, double value, DType dtype = DType::float32,
                     Layout layout = Layout::row_major);
  static Tensor ones(const Shape& shape, DType dtype = DType::float32) {
    return full(shape, 1.0, dtype);
  }
  // A tensor of rank 0.
  static Tensor scalar(double value, DType dtype = DType::float32) {
    return full({}, value, dtype);
  }
  // Copies `values`, in row-major order. Throws Error unless there are shape.numel() of them.
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape);
  template <class T>
  static Tensor from(std::initializer_list<T> values, const Shape& shape) {
    return from(std::span<const T>(values.begin(), values.size()), shape);
  }
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape) {
    return from(std::span<const T>(values), shape);
  }
  // Wraps memory of the caller without copying; `release` runs when the last tensor on it is gone.
  // Empty strides mean row-major.
  template <class T>
  static Tensor from_blob(T* data, const Shape& shape, const Strides& strides = {},
                          std::function<void()> release = {}) {
    return wrap(data, dtype_of<T>, shape, strides, std::move(release));
  }

  bool defined() const { return impl_ != nullptr; }
  // True for a tensor that has a shape but no data, as inside a trace that only asks for shapes.
  bool is_abstract() const;
  const Shape& shape() const;
  const Strides& strides() const;
  int rank() const { return shape().rank(); }
  // Size of one axis; negative axes count from the end. Throws Error if there is no such axis.
  std::int64_t size(int axis) const;
  std::int64_t numel() const;
  DType dtype() const;
  bool is_contiguous(Layout layout = Layout::row_major) const;
  // "float32 [8, 1, 28, 28]"
  std::string describe() const;

  // First element. T must match dtype(); throws Error otherwise. The tensor need not be contiguous:
  // see strides().
  template <class T>
  const T* data() const {
    return static_cast<const T*>(raw_data(dtype_of<T>));
  }
  // As data(), for writing. Raises the version, by which a saved tensor that was changed is
  // detected. Whoever holds the pointer may write at any time, so such a tensor's weights are
  // packed anew for each convolution; copy_from() and fill() leave no such doubt.
  template <class T>
  T* mutable_data() {
    return static_cast<T*>(raw_mutable_data(dtype_of<T>));
  }
  // The only element, converted to T. Throws Error unless numel() == 1.
  template <class T>
  T item() const;
  // One element, converted to double.
  double at(const Shape& index) const;
  // All elements in row-major order, converted to T.
  template <class T>
  std::vector<T> to_vector() const;

  // Views and copies; recorded for gradients as every operator is.
  Tensor permute(
      const Shape& axes) const;  // axis i of the result is axis axes[i] of this; never copies
  Tensor reshape(
      const Shape& shape) const;  // one size may be -1; copies only where strides demand it
  Tensor slice(int axis, std::int64_t begin, std::int64_t end,
               std::int64_t step = 1) const;                   // never copies
  Tensor contiguous(Layout layout = Layout::row_major) const;  // itself where it already is
  Tensor to(DType dtype) const;
  Tensor clone() const;

  // Overwrites the elements with those of `source`, of the same shape, converting as needed. Not
  // recorded.
  void copy_from(const Tensor& source);
  void fill(double value);

  // Gradients.
  bool requires_grad() const;
  Tensor& set_requires_grad(bool value = true);  // throws Error unless floating and a leaf
  // The gradient that backward() left here; undefined before. [same shape]
  Tensor grad() const;
  void set_grad(const Tensor& grad);
  // Adds d(this)/d(leaf) to the gradient of every leaf that requires one; this must have one
  // element.
  void backward() const;
  // The same data without history.
  Tensor detach() const;

  // How often the data was written through any tensor on this storage.
  std::uint64_t version() const;

  // For the library's own rooms.
  explicit Tensor(std::shared_ptr<TensorImpl> impl) : impl_(std::move(impl)) {}
  const std::shared_ptr<TensorImpl>& impl() const { return impl_; }

 private:
  static Tensor wrap(void* data, DType dtype, const Shape& shape, const Strides& strides,
                     std::function<void()> release);
  const void* raw_data(DType expected) const;
  void* raw_mutable_data(DType expected);

  std::shared_ptr<TensorImpl> impl_;
};

// Prints values (the middle of long axes left out) and the description.
FOVEA_API std::ostream& operator<<(std::ostream& out, const Tensor& tensor);

}  // namespace fovea
