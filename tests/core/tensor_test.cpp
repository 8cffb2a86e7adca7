// Tensor: storage, views, layouts, access, printing.
#include "fovea/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <set>
#include <sstream>
#include <vector>

#include "core/abstract_scope.h"
#include "core/tensor_impl.h"
#include "fovea/memory.h"
#include "fovea/random.h"
#include "support/errors.h"
#include "support/tensors.h"

namespace fovea::testing {
namespace {

Tensor counting(const Shape& shape) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < shape.numel(); ++i) values.push_back(static_cast<float>(i));
  return Tensor::from(values, shape);
}

TEST(Tensor, CopiesOfTheHandleShareTheData) {
  Tensor a = Tensor::zeros({2});
  Tensor b = a;
  b.mutable_data<float>()[1] = 5;
  EXPECT_EQ(a.at({1}), 5);
  Tensor c = a.clone();
  c.fill(9);
  EXPECT_EQ(a.at({1}), 5);
}

TEST(Tensor, PermuteIsAViewWithMovedStrides) {
  const Tensor nhwc = counting({2, 3, 4, 5});
  const Tensor nchw = nhwc.permute({0, 3, 1, 2});
  EXPECT_EQ(nchw.shape(), (Shape{2, 5, 3, 4}));
  EXPECT_EQ(nchw.data<float>(), nhwc.data<float>());
  EXPECT_TRUE(nchw.is_contiguous(Layout::channels_last));
  EXPECT_FALSE(nchw.is_contiguous());
  EXPECT_EQ(nchw.at({1, 4, 2, 3}), nhwc.at({1, 2, 3, 4}));
  EXPECT_CONTAINS(error_of([&] { nhwc.permute({0, 1, 2}); }), "permute");
  EXPECT_CONTAINS(error_of([&] { nhwc.permute({0, 1, 2, 2}); }), "permute");
}

TEST(Tensor, ReshapeCopiesOnlyWhereStridesDemandIt) {
  const Tensor a = counting({4, 6});
  EXPECT_EQ(a.reshape({2, 2, 3, 2}).data<float>(), a.data<float>());
  EXPECT_EQ(a.reshape({-1}).shape(), (Shape{24}));
  const Tensor turned = a.permute({1, 0});
  EXPECT_EQ(turned.reshape({2, 3, 4}).data<float>(),
            a.data<float>());  // splits an axis: still a view
  const Tensor merged = turned.reshape({24});
  EXPECT_NE(merged.data<float>(), a.data<float>());
  EXPECT_EQ(merged.at({1}), 6);
  EXPECT_CONTAINS(error_of([&] { a.reshape({5, 5}); }), "reshape");
  EXPECT_CONTAINS(error_of([&] { a.reshape({-1, -1}); }), "reshape");
  EXPECT_CONTAINS(error_of([&] { a.reshape({-1, 7}); }), "reshape");
}

TEST(Tensor, SliceTakesEveryStepthElementWithoutCopying) {
  const Tensor a = counting({10, 2});
  const Tensor b = a.slice(0, 1, 9, 3);
  EXPECT_EQ(b.to_vector<float>(), (std::vector<float>{2, 3, 8, 9, 14, 15}));
  EXPECT_EQ(b.data<float>(), a.data<float>() + 2);
  EXPECT_EQ(a.slice(0, -2, 100).shape(), (Shape{2, 2}));
  EXPECT_EQ(a.slice(-1, 1, 2).at({3, 0}), 7);
  EXPECT_CONTAINS(error_of([&] { a.slice(2, 0, 1); }), "axis 2");
  EXPECT_CONTAINS(error_of([&] { a.slice(0, 0, 1, 0); }), "step");
}

TEST(Tensor, AxesOfSizeOneNeverDecideALayout) {
  const Tensor one_channel = counting({2, 1, 3, 3});
  EXPECT_TRUE(one_channel.is_contiguous(Layout::channels_last));
  EXPECT_TRUE(one_channel.is_contiguous(Layout::row_major));
  const Tensor one_pixel = counting({2, 3, 1, 1});
  EXPECT_TRUE(one_pixel.is_contiguous(Layout::channels_last));
}

TEST(Tensor, ContiguousConvertsBetweenLayouts) {
  const Tensor a = counting({2, 3, 4, 5});
  const Tensor b = a.contiguous(Layout::channels_last);
  EXPECT_EQ(b.strides(), (Strides{60, 1, 15, 3}));
  EXPECT_EQ(b.to_vector<float>(), a.to_vector<float>());
  EXPECT_EQ(a.contiguous().data<float>(), a.data<float>());
}

TEST(Tensor, FromBlobWrapsMemoryAndReleasesIt) {
  float values[6] = {1, 2, 3, 4, 5, 6};
  bool released = false;
  {
    const Tensor a = Tensor::from_blob(values, {2, 3}, {}, [&] { released = true; });
    const Tensor view = a.permute({1, 0});
    values[1] = 9;
    EXPECT_EQ(view.at({1, 0}), 9);
    EXPECT_FALSE(released);
  }
  EXPECT_TRUE(released);
  const Tensor strided = Tensor::from_blob(values, {3}, {2});
  EXPECT_EQ(strided.to_vector<float>(), (std::vector<float>{1, 3, 5}));
  EXPECT_CONTAINS(error_of([&] { Tensor::from_blob(values, {2, 3}, {1}); }), "strides");
  EXPECT_CONTAINS(error_of([&] { Tensor::from_blob(values + 5, {6}, {-1}); }), "strides");
}

TEST(Tensor, ConvertsBetweenTypes) {
  const Tensor a = Tensor::from({1.5, -2.0, 300.0}, {3});
  EXPECT_EQ(a.to(DType::float32).to_vector<float>(), (std::vector<float>{1.5F, -2, 300}));
  EXPECT_EQ(a.to(DType::int64).to_vector<std::int64_t>(), (std::vector<std::int64_t>{1, -2, 300}));
  EXPECT_EQ(Tensor::from<std::uint8_t>({7, 255}, {2}).to(DType::float64).at({1}), 255);
}

TEST(Tensor, ConversionIsDefinedForEveryValue) {
  const Tensor wild = Tensor::from<double>({-1, 300, 1e300, -1e300, std::nan("")}, {5});
  EXPECT_EQ(wild.to(DType::uint8).to_vector<std::uint8_t>(),
            (std::vector<std::uint8_t>{0, 255, 255, 0, 0}));
  EXPECT_EQ(wild.to(DType::int64).to_vector<std::int64_t>(),
            (std::vector<std::int64_t>{-1, 300, INT64_MAX, INT64_MIN, 0}));
  constexpr std::int64_t kOdd = (std::int64_t{1} << 60) + 1;
  EXPECT_EQ(Tensor::from({kOdd}, {1}).item<std::int64_t>(), kOdd);
}

TEST(Tensor, AccessChecksTypeAndCount) {
  const Tensor a = Tensor::scalar(2.5);
  EXPECT_EQ(a.item<double>(), 2.5);
  EXPECT_EQ(a.rank(), 0);
  EXPECT_CONTAINS(error_of([&] { (void)a.data<double>(); }),
                  "float64 was asked for, but this is float32 []");
  EXPECT_CONTAINS(error_of([] { (void)Tensor::zeros({2}).item<float>(); }), "one element");
  EXPECT_CONTAINS(error_of([] { (void)Tensor().shape(); }), "undefined");
  EXPECT_CONTAINS(error_of([] { (void)Tensor::zeros({2, 2}).at({0, 2}); }), "outside");
  EXPECT_CONTAINS(error_of([] {
                    Tensor::from({1.0F, 2.0F}, {3});
                  }),
                  "2 values given, but shape [3] needs 3");
}

TEST(Tensor, RefusesShapesThatCannotBe) {
  EXPECT_CONTAINS(error_of([] { Tensor::zeros({2, -1}); }), "negative");
  EXPECT_CONTAINS(error_of([] { Tensor::zeros({1LL << 40, 1LL << 40}); }), "63 bits");
  EXPECT_CONTAINS(error_of([] { Tensor::zeros({1LL << 46}); }), "no ");
  EXPECT_CONTAINS(error_of([] { Shape({1, 2, 3, 4, 5, 6, 7, 8, 9}); }), "at most 8");
}

TEST(Tensor, RefusesStridesThatCannotBeCounted) {
  const std::int64_t large = std::int64_t{1} << 62;
  EXPECT_CONTAINS(error_of([&] { Tensor::empty({0, large, 4}); }), "strides");
  EXPECT_CONTAINS(error_of([&] {
                    Tensor::empty({0, 4, large}, DType::float32, Layout::channels_last);
                  }),
                  "strides");
}

TEST(Tensor, AbstractOnesHaveShapesButNoValues) {
  reset_high_water();
  const std::size_t before = memory_stats().high_water;
  std::vector<Tensor> tensors;
  {
    const AbstractScope scope;
    Generator generator;
    tensors = {Tensor::empty({1 << 20, 1 << 10}), Tensor::zeros({1 << 20, 1 << 10}),
               Tensor::ones({1 << 20, 1 << 10}), uniform({1 << 20, 1 << 10}, 0, 1, generator)};
    EXPECT_EQ(generator.next_stream, 1U);  // as if it had been drawn
    tensors[0].fill(1);
    tensors[0].copy_from(tensors[1]);
  }
  EXPECT_EQ(memory_stats().high_water, before);
  for (const Tensor& tensor : tensors) {
    EXPECT_TRUE(tensor.is_abstract());
    EXPECT_EQ(tensor.shape(), Shape({1 << 20, 1 << 10}));
    EXPECT_CONTAINS(error_of([&] { tensor.at({0, 0}); }), "a shape but no data");
    EXPECT_CONTAINS(error_of([&] { tensor.to_vector<float>(); }), "a shape but no data");
  }
  EXPECT_FALSE(Tensor::empty({1}).is_abstract());
}

TEST(Tensor, EmptyTensorsWork) {
  const Tensor a = Tensor::zeros({0, 3});
  EXPECT_EQ(a.numel(), 0);
  EXPECT_TRUE(a.to_vector<float>().empty());
  EXPECT_EQ(a.reshape({3, 0}).shape(), (Shape{3, 0}));
  std::ostringstream out;
  out << a;
  EXPECT_EQ(out.str(), "[] (float32 [0, 3])");
}

TEST(Tensor, WritingRaisesTheVersion) {
  Tensor a = Tensor::zeros({4});
  const std::uint64_t before = a.version();
  (void)a.data<float>();
  EXPECT_EQ(a.version(), before);
  a.slice(0, 1, 2).fill(3);
  EXPECT_GT(a.version(), before);
}

TEST(Tensor, PrintsAsNumPyDoes) {
  std::ostringstream out;
  out << Tensor::from<float>({1, 2.5, -3, 4}, {2, 2});
  EXPECT_EQ(out.str(), "[[  1, 2.5],\n [ -3,   4]] (float32 [2, 2])");
  std::ostringstream line;
  line << counting({100});
  EXPECT_EQ(line.str(), "[ 0,  1,  2, ..., 97, 98, 99] (float32 [100])");
  std::ostringstream labels;
  labels << Tensor::from<std::int64_t>({3, 14}, {2});
  EXPECT_EQ(labels.str(), "[ 3, 14] (int64 [2])");
}

TEST(Memory, HighWaterMarkCountsWhatIsInUse) {
  release_cached_memory();
  const std::size_t before = memory_stats().in_use;
  const std::size_t cached = memory_stats().cached;  // beside what other tests left in use
  reset_high_water();
  {
    const Tensor a = Tensor::zeros({1 << 20});
    EXPECT_GE(memory_stats().in_use, before + (4U << 20));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a.data<float>()) % kAlignment, 0U);
  }
  EXPECT_EQ(memory_stats().in_use, before);
  EXPECT_GE(memory_stats().high_water, before + (4U << 20));
  EXPECT_LT(memory_stats().high_water, before + (6U << 20));
  release_cached_memory();
  EXPECT_EQ(memory_stats().cached, cached);
}

TEST(Tensor, LargeOnesBeginAtDifferentLinesOfAPage) {
  release_cached_memory();
  std::vector<Tensor> kept;
  std::set<std::uintptr_t> lines;
  for (int i = 0; i < 8; ++i) {
    const Tensor& tensor = kept.emplace_back(Tensor::zeros({256, 1024}));
    const auto address = reinterpret_cast<std::uintptr_t>(tensor.data<float>());
    EXPECT_EQ(address % kAlignment, 0U);
    lines.insert(address % 4096);
  }
  EXPECT_EQ(lines.size(), 8U);
}

TEST(Strides, LikeAnotherTensorKeepsTheOrderOfAxes) {
  EXPECT_EQ(strides_like({2, 3, 4, 5}, {60, 1, 15, 3}), (Strides{60, 1, 15, 3}));
  EXPECT_EQ(strides_like({2, 3}, {1, 2}), (Strides{1, 2}));
  EXPECT_TRUE(is_dense({2, 3, 4}, {12, 1, 3}));
  EXPECT_TRUE(is_dense({2, 1, 4}, {4, 77, 1}));
  EXPECT_FALSE(is_dense({2, 3}, {4, 1}));
  EXPECT_FALSE(is_dense({2, 3}, {0, 1}));
}

}  // namespace
}  // namespace fovea::testing
