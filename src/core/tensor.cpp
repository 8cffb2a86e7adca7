// Tensor: creation, access, and the unrecorded half of its methods. What is recorded for gradients
// (permute, reshape, slice, contiguous, to, clone, backward) stands in src/autograd/functions.cpp.
#include "fovea/tensor.h"

#include <algorithm>
#include <cstring>

#include "core/abstract_scope.h"
#include "core/check.h"
#include "core/convert.h"
#include "core/dispatch.h"
#include "core/tensor_impl.h"

namespace fovea {
namespace {

thread_local int abstract_scopes = 0;  // that live on this thread

const TensorImpl& checked(const std::shared_ptr<TensorImpl>& impl) {
  FOVEA_CHECK(impl != nullptr,
              "tensor: this one is undefined (default-constructed); give it a value first");
  return *impl;
}

// Bytes of a shape; throws Error if they cannot be counted or a size is negative.
std::size_t byte_count(const Shape& shape, DType dtype) {
  for (const std::int64_t size : shape) {
    FOVEA_CHECK(size >= 0, "tensor: shape {} has a negative size", shape);
  }
  const std::int64_t count = shape.numel();
  FOVEA_CHECK(count <= INT64_MAX / 8, "tensor: shape {} is too large", shape);
  return static_cast<std::size_t>(count) * size_of(dtype);
}

void require_data(const TensorImpl& impl) {
  FOVEA_CHECK(impl.storage != nullptr,
              "tensor: {} {} has a shape but no data, because only shapes are being traced; the "
              "code asked for its values",
              name(impl.dtype), impl.shape);
}

template <class T>
T* element_pointer(const TensorImpl& impl) {
  require_data(impl);
  return static_cast<T*>(impl.storage->data()) + impl.offset;
}

// Calls f(T*) with the first element, of whatever type.
template <class F>
decltype(auto) with_data(const Tensor& tensor, F&& f) {
  return dispatch_all(tensor.dtype(), [&](auto tag) -> decltype(auto) {
    using T = typename decltype(tag)::type;
    return f(const_cast<T*>(tensor.data<T>()));
  });
}

// Calls f(offset in a, offset in b) for every index of `shape`, row by row of the last axis: f(a0,
// b0, count) per row.
template <class F>
void for_each_row(const Shape& shape, const Strides& a, const Strides& b, F&& f) {
  if (shape.empty()) return f(std::int64_t{0}, std::int64_t{0}, std::int64_t{1});
  const int last = shape.rank() - 1;
  if (shape.numel() == 0) return;
  Shape index = Shape::filled(shape.rank(), 0);
  std::int64_t offset_a = 0;
  std::int64_t offset_b = 0;
  while (true) {
    f(offset_a, offset_b, shape[last]);
    int axis = last - 1;
    for (; axis >= 0; --axis) {
      offset_a += a[axis];
      offset_b += b[axis];
      if (++index[axis] < shape[axis]) break;
      offset_a -= a[axis] * shape[axis];
      offset_b -= b[axis] * shape[axis];
      index[axis] = 0;
    }
    if (axis < 0) return;
  }
}

Tensor scalar_of(double value, DType dtype) {
  Tensor tensor = allocate_tensor(make_spec({}, dtype));
  with_data(tensor,
            [&](auto* data) { *data = convert<std::remove_pointer_t<decltype(data)>>(value); });
  return tensor;
}

// The axes of `strides`, those with the longest steps first; axes of size one keep to the end.
Shape by_step(const Shape& shape, const Strides& strides) {
  Shape order;
  for (int i = 0; i < shape.rank(); ++i) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t i, std::int64_t j) {
    const int a = static_cast<int>(i);
    const int b = static_cast<int>(j);
    return strides[a] > strides[b];
  });
  return order;
}

Shape gather(const Shape& values, const Shape& axes) {
  Shape result;
  for (const std::int64_t axis : axes) result.push_back(values[static_cast<int>(axis)]);
  return result;
}

// The step of the next axis outwards. An axis of size zero counts as one: the tensor is empty, but
// its strides must be numbers as well.
std::int64_t next_step(std::int64_t step, std::int64_t size, const Shape& shape) {
  FOVEA_CHECK(!__builtin_mul_overflow(step, std::max<std::int64_t>(size, 1), &step),
              "tensor: the shape {} needs strides of more than 63 bits", shape);
  return step;
}

}  // namespace

Strides strides_of(const Shape& shape, Layout layout) {
  Strides strides = Shape::filled(shape.rank(), 1);
  std::int64_t step = 1;
  const auto place = [&](int axis) {
    strides[axis] = step;
    step = next_step(step, shape[axis], shape);
  };
  const bool channels_last = layout == Layout::channels_last && shape.rank() > 2;
  if (channels_last) place(1);
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    if (!(channels_last && axis == 1)) place(axis);
  }
  return strides;
}

Strides strides_like(const Shape& shape, const Strides& like) {
  // Axes that carry no step of their own (size one, or broadcast) follow row-major order behind the
  // others.
  const Shape order = by_step(shape, like);
  Strides strides = Shape::filled(shape.rank(), 1);
  std::int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    const int axis = static_cast<int>(order[i]);
    strides[axis] = step;
    step = next_step(step, shape[axis], shape);
  }
  return strides;
}

bool is_dense(const Shape& shape, const Strides& strides, Layout layout) {
  const Strides expected = strides_of(shape, layout);
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (shape[axis] != 1 && strides[axis] != expected[axis]) return false;
  }
  return true;
}

bool is_dense(const Shape& shape, const Strides& strides) {
  const Strides expected = strides_like(shape, strides);
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (shape[axis] > 1 && strides[axis] != expected[axis]) {
      // Axes of size one may have put the others in a different order: compare without them.
      Shape kept_shape;
      Strides kept;
      for (int i = 0; i < shape.rank(); ++i) {
        if (shape[i] == 1) continue;
        kept_shape.push_back(shape[i]);
        kept.push_back(strides[i]);
      }
      return kept == strides_like(kept_shape, kept);
    }
  }
  return true;
}

TensorSpec spec_of(const Tensor& tensor) {
  if (!tensor.defined())
    return {.shape = {}, .dtype = DType::float32, .strides = {}, .defined = false};
  return {.shape = tensor.shape(),
          .dtype = tensor.dtype(),
          .strides = tensor.strides(),
          .defined = true};
}

TensorSpec make_spec(const Shape& shape, DType dtype, Layout layout) {
  return {.shape = shape, .dtype = dtype, .strides = strides_of(shape, layout), .defined = true};
}

AbstractScope::AbstractScope() {
  ++abstract_scopes;
}
AbstractScope::~AbstractScope() {
  --abstract_scopes;
}
bool AbstractScope::active() {
  return abstract_scopes > 0;
}

Tensor allocate_tensor(const TensorSpec& spec, bool abstract) {
  auto impl = std::make_shared<TensorImpl>();
  const std::size_t bytes = byte_count(spec.shape, spec.dtype);
  if (!abstract) impl->storage = std::make_shared<Storage>(bytes);
  impl->shape = spec.shape;
  impl->strides = spec.strides;
  impl->dtype = spec.dtype;
  return Tensor(std::move(impl));
}

int normalize_axis(std::int64_t axis, int rank, std::string_view op) {
  FOVEA_CHECK(axis >= -rank && axis < rank,
              "{}: axis {} is outside the {} axes of the tensor; give {} to {}", op, axis, rank,
              -rank, rank - 1);
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

namespace view {

Tensor strided(const Tensor& base, std::int64_t extra_offset, const Shape& shape,
               const Strides& strides) {
  auto impl = std::make_shared<TensorImpl>();
  impl->storage = base.impl()->storage;
  impl->offset = base.impl()->offset + extra_offset;
  impl->shape = shape;
  impl->strides = strides;
  impl->dtype = base.dtype();
  return Tensor(std::move(impl));
}

Tensor permute(const Tensor& tensor, const Shape& axes) {
  return strided(tensor, 0, gather(tensor.shape(), axes), gather(tensor.strides(), axes));
}

Tensor reshape(const Tensor& tensor, const Shape& shape) {
  // Both shapes are cut into the shortest blocks of equal size; a block of old axes can take new
  // axes if its strides are those of one contiguous run.
  const Shape& old_shape = tensor.shape();
  Strides strides = Shape::filled(shape.rank(), 1);
  if (old_shape.numel() == 0)
    return strided(tensor, 0, shape, strides_of(shape, Layout::row_major));
  int from = 0;
  int to = 0;
  while (from < old_shape.rank() || to < shape.rank()) {
    const int first_from = from;
    const int first_to = to;
    std::int64_t old_size = from < old_shape.rank() ? old_shape[from++] : 1;
    std::int64_t new_size = to < shape.rank() ? shape[to++] : 1;
    while (old_size != new_size) {
      if (old_size < new_size) {
        old_size *= old_shape[from++];
      } else {
        new_size *= shape[to++];
      }
    }
    std::int64_t step =
        -1;  // stride of the innermost old axis of the block, and then of the run so far
    std::int64_t run = 1;
    for (int axis = from - 1; axis >= first_from; --axis) {
      if (old_shape[axis] == 1) continue;
      if (step < 0) {
        step = tensor.strides()[axis];
      } else if (tensor.strides()[axis] != step * run) {
        return {};
      }
      run *= old_shape[axis];
    }
    if (step < 0) step = 1;
    for (int axis = to - 1; axis >= first_to; --axis) {
      strides[axis] = step;
      step *= shape[axis];
    }
  }
  return strided(tensor, 0, shape, strides);
}

Tensor broadcast(const Tensor& tensor, const Shape& shape) {
  Strides strides = Shape::filled(shape.rank(), 0);
  const int offset = shape.rank() - tensor.rank();
  for (int axis = 0; axis < tensor.rank(); ++axis) {
    if (tensor.shape()[axis] != 1) strides[axis + offset] = tensor.strides()[axis];
  }
  return strided(tensor, 0, shape, strides);
}

}  // namespace view

Tensor dense(const Tensor& tensor, Layout layout) {
  if (tensor.is_contiguous(layout)) return tensor;
  Tensor copy = Tensor::empty(tensor.shape(), tensor.dtype(), layout);
  copy_elements(tensor, copy);
  return copy;
}

Tensor Tensor::empty(const Shape& shape, DType dtype, Layout layout) {
  byte_count(shape, dtype);  // before strides are multiplied
  return allocate_tensor(make_spec(shape, dtype, layout), AbstractScope::active());
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Layout layout) {
  Tensor tensor = empty(shape, dtype, layout);
  if (tensor.is_abstract()) return tensor;
  std::memset(tensor.impl_->storage->data(), 0, byte_count(shape, dtype));
  return tensor;
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype, Layout layout) {
  Tensor tensor = empty(shape, dtype, layout);
  tensor.fill(value);
  return tensor;
}

template <class T>
Tensor Tensor::from(std::span<const T> values, const Shape& shape) {
  FOVEA_CHECK(static_cast<std::int64_t>(values.size()) == shape.numel(),
              "tensor: {} values given, but shape {} needs {}", values.size(), shape,
              shape.numel());
  Tensor tensor = allocate_tensor(make_spec(shape, dtype_of<T>));
  std::copy(values.begin(), values.end(), writable<T>(tensor));
  return tensor;
}
template Tensor Tensor::from(std::span<const float>, const Shape&);
template Tensor Tensor::from(std::span<const double>, const Shape&);
template Tensor Tensor::from(std::span<const std::int64_t>, const Shape&);
template Tensor Tensor::from(std::span<const std::uint8_t>, const Shape&);

Tensor Tensor::wrap(void* data, DType dtype, const Shape& shape, const Strides& strides,
                    std::function<void()> release) {
  const std::size_t bytes = byte_count(shape, dtype);
  FOVEA_CHECK(data != nullptr || bytes == 0,
              "from_blob: the pointer is null, but shape {} has elements", shape);
  FOVEA_CHECK(strides.empty() || strides.rank() == shape.rank(),
              "from_blob: {} strides for the {} axes of shape {}", strides.rank(), shape.rank(),
              shape);
  for (const std::int64_t stride : strides) {
    FOVEA_CHECK(stride >= 0, "from_blob: strides {} are not all positive; copy the data instead",
                strides);
  }
  auto impl = std::make_shared<TensorImpl>();
  impl->storage = std::make_shared<Storage>(data, bytes, std::move(release));
  impl->shape = shape;
  impl->strides = strides.empty() ? strides_of(shape, Layout::row_major) : strides;
  impl->dtype = dtype;
  return Tensor(std::move(impl));
}

bool Tensor::is_abstract() const {
  return checked(impl_).storage == nullptr;
}
const Shape& Tensor::shape() const {
  return checked(impl_).shape;
}
const Strides& Tensor::strides() const {
  return checked(impl_).strides;
}
DType Tensor::dtype() const {
  return checked(impl_).dtype;
}
std::int64_t Tensor::numel() const {
  return shape().numel();
}
std::int64_t Tensor::size(int axis) const {
  return shape()[normalize_axis(axis, rank(), "size")];
}
bool Tensor::is_contiguous(Layout layout) const {
  return is_dense(shape(), strides(), layout);
}
std::string Tensor::describe() const {
  return defined() ? fmt::format("{} {}", name(dtype()), shape()) : "undefined tensor";
}

std::uint64_t Tensor::version() const {
  return is_abstract() ? 0 : impl_->storage->version();
}

const void* Tensor::raw_data(DType expected) const {
  const TensorImpl& impl = checked(impl_);
  FOVEA_CHECK(impl.dtype == expected,
              "tensor: data of type {} was asked for, but this is {}; use to(DType::{})",
              name(expected), describe(), name(expected));
  require_data(impl);
  return static_cast<const char*>(impl.storage->data()) +
         impl.offset * static_cast<std::int64_t>(size_of(impl.dtype));
}

void* Tensor::raw_mutable_data(DType expected) {
  void* data = const_cast<void*>(raw_data(expected));
  impl_->storage->bump_version();
  impl_->storage->expose();
  return data;
}

template <class T>
T Tensor::item() const {
  FOVEA_CHECK(numel() == 1, "item: needs a tensor of one element, but this is {}", describe());
  return with_data(*this, [](auto* data) { return convert<T>(*data); });
}
template float Tensor::item<float>() const;
template double Tensor::item<double>() const;
template std::int64_t Tensor::item<std::int64_t>() const;
template std::uint8_t Tensor::item<std::uint8_t>() const;
template int Tensor::item<int>() const;

double Tensor::at(const Shape& index) const {
  FOVEA_CHECK(index.rank() == rank(), "at: {} indices for {}", index.rank(), describe());
  std::int64_t offset = 0;
  for (int axis = 0; axis < rank(); ++axis) {
    FOVEA_CHECK(index[axis] >= 0 && index[axis] < shape()[axis], "at: index {} is outside {}",
                index, describe());
    offset += index[axis] * strides()[axis];
  }
  return with_data(*this, [&](auto* data) { return static_cast<double>(data[offset]); });
}

template <class T>
std::vector<T> Tensor::to_vector() const {
  require_data(checked(impl_));
  std::vector<T> values(static_cast<std::size_t>(numel()));
  Tensor target = from_blob(values.data(), shape());
  copy_elements(*this, target);
  return values;
}
template std::vector<float> Tensor::to_vector<float>() const;
template std::vector<double> Tensor::to_vector<double>() const;
template std::vector<std::int64_t> Tensor::to_vector<std::int64_t>() const;
template std::vector<std::uint8_t> Tensor::to_vector<std::uint8_t>() const;

void Tensor::copy_from(const Tensor& source) {
  FOVEA_CHECK(source.shape() == shape(),
              "copy_from: the source is {}, this is {}; shapes must be equal", source.describe(),
              describe());
  if (!is_abstract()) copy_elements(source, *this);
}

void Tensor::fill(double value) {
  if (is_abstract()) return;
  const Tensor source = scalar_of(value, dtype());
  copy_elements(view::broadcast(source, shape()), *this);
}

}  // namespace fovea
