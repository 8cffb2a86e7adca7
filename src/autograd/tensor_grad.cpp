// The methods of Tensor that speak with the tape.
#include "autograd/tape.h"
#include "core/check.h"
#include "fovea/autograd.h"

namespace fovea {

bool Tensor::requires_grad() const {
  return autograd::wants_grad(*this);
}

Tensor& Tensor::set_requires_grad(bool value) {
  FOVEA_CHECK(is_floating(dtype()),
              "set_requires_grad: {} has no gradient; only float32 and float64 have", describe());
  std::unique_ptr<AutogradMeta>& meta = impl()->autograd;
  FOVEA_CHECK(meta == nullptr || meta->node == nullptr,
              "set_requires_grad: this tensor was computed from others; only a leaf can be "
              "switched. Use detach() first");
  if (meta == nullptr) meta = std::make_unique<AutogradMeta>();
  meta->requires_grad = value;
  return *this;
}

Tensor Tensor::grad() const {
  const AutogradMeta* meta = defined() ? impl()->autograd.get() : nullptr;
  return meta == nullptr ? Tensor() : meta->grad;
}

void Tensor::set_grad(const Tensor& grad) {
  FOVEA_CHECK(!grad.defined() || (grad.shape() == shape() && grad.dtype() == dtype()),
              "set_grad: the gradient is {}, but this tensor is {}", grad.describe(), describe());
  if (impl()->autograd == nullptr) impl()->autograd = std::make_unique<AutogradMeta>();
  impl()->autograd->grad = grad;
}

void Tensor::backward() const {
  fovea::backward({*this});
}

Tensor Tensor::detach() const {
  return is_abstract() ? allocate_tensor(spec_of(*this), true)
                       : view::strided(*this, 0, shape(), strides());
}

}  // namespace fovea
