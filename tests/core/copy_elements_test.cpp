// Copies between memory orders, element by element.
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "core/tensor_impl.h"
#include "fovea/tensor.h"
#include "support/settings.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

// Element i of a tensor in row-major order, wherever it lies.
double element(const Tensor& tensor, std::int64_t i) {
  std::vector<std::int64_t> index(static_cast<std::size_t>(tensor.rank()));
  for (int axis = tensor.rank(); axis-- > 0;) {
    index[static_cast<std::size_t>(axis)] = i % tensor.shape()[axis];
    i /= tensor.shape()[axis];
  }
  return tensor.at(Shape(std::span<const std::int64_t>(index)));
}

void expect_copied(const Tensor& source, Tensor target) {
  copy_elements(source, target);
  for (std::int64_t i = 0; i < source.numel(); ++i)
    ASSERT_EQ(element(target, i), element(source, i)) << i;
}

Tensor numbered(const Shape& shape, DType dtype) {
  std::vector<double> values(static_cast<std::size_t>(shape.numel()));
  std::iota(values.begin(), values.end(), 0);
  return Tensor::from<double>(values, shape).to(dtype);
}

TEST(CopyElements, GoesFromAnyMemoryOrderToAny) {
  const std::vector<Shape> orders = {{0, 1, 2, 3}, {0, 2, 3, 1}, {3, 2, 1, 0}, {2, 0, 3, 1}};
  for (const Shape& shape : {Shape{2, 3, 17, 5}, Shape{1, 40, 4, 33}, Shape{3, 1, 1, 16}}) {
    for (const Shape& order : orders) {
      const Tensor source = numbered(shape, DType::float32).permute(order);
      for (const Layout layout : {Layout::row_major, Layout::channels_last})
        expect_copied(source, Tensor::zeros(source.shape(), DType::float32, layout));
    }
  }
}

TEST(CopyElements, TakesViewsAndRepeats) {
  const Tensor base = numbered({3, 20, 30}, DType::float64);
  const Tensor part = base.slice(1, 2, 19).slice(2, 1, 28).permute({2, 0, 1});
  Tensor room = Tensor::zeros({40, 3, 50}, DType::float64);
  expect_copied(part, room.slice(0, 5, 32).slice(2, 3, 20));
  expect_copied(view::broadcast(base.slice(1, 0, 1), {3, 20, 30}),
                numbered({3, 20, 30}, DType::float64));
  expect_copied(Tensor::full({}, 7), Tensor::zeros({}));
}

TEST(CopyElements, ConvertsOnTheWay) {
  const Tensor source = numbered({2, 5, 7, 3}, DType::uint8).permute({0, 3, 1, 2});
  for (const DType dtype : {DType::float32, DType::float64, DType::int64, DType::uint8})
    expect_copied(source, Tensor::zeros(source.shape(), dtype));
}

TEST(CopyElements, OfManyIsCutAmongThreads) {
  const ThreadGuard threads(3);
  const Tensor source = numbered({2, 65, 70, 31}, DType::float32);
  const Tensor turned = source.contiguous(Layout::channels_last);
  expect_identical(turned.contiguous(Layout::row_major), source);
  const Tensor run = numbered({200'000}, DType::float32);
  expect_identical(run.clone(), run);
}

}  // namespace
}  // namespace fovea::testing
