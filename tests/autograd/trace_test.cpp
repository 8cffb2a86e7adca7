// The tracer: operators, values and layers of a piece of code.
#include "autograd/trace.h"

#include <gtest/gtest.h>

#include "fovea/functions.h"
#include "fovea/nn.h"
#include "support/errors.h"

namespace fovea::testing {
namespace {

using autograd::trace;
using autograd::Trace;

TEST(Trace, ListsOperatorsAndTheValuesBetweenThem) {
  const Trace list = trace({Tensor::ones({2, 3})}, false, [](const std::vector<Tensor>& in) {
    const Tensor a = relu(in[0]);
    return std::vector<Tensor>{a + sigmoid(a)};
  });
  ASSERT_EQ(list.calls.size(), 3U);
  EXPECT_EQ(list.calls[0].op->name, "relu");
  EXPECT_EQ(list.calls[1].op->name, "sigmoid");
  EXPECT_EQ(list.calls[2].op->name, "add");
  EXPECT_EQ(list.calls[2].inputs,
            (std::vector<int>{list.calls[0].outputs[0], list.calls[1].outputs[0]}));
  EXPECT_EQ(list.outputs, list.calls[2].outputs);
  EXPECT_EQ(list.calls[0].inputs, list.inputs);
}

TEST(Trace, KnowsTheLayersThatSpoke) {
  Generator generator{1};
  nn::Sequential net;
  net.add<nn::Conv2d>("conv", 1, 2, 3, nn::ConvLayerOptions{}, generator);
  net.add<nn::Relu>("act");
  const Trace list = trace({Tensor::ones({1, 1, 5, 5})}, false, [&](const std::vector<Tensor>& in) {
    return std::vector<Tensor>{net(in[0])};
  });
  ASSERT_EQ(list.calls.size(), 2U);
  EXPECT_EQ(list.scopes[static_cast<std::size_t>(list.calls[0].scope)].path, "conv");
  EXPECT_EQ(list.scopes[static_cast<std::size_t>(list.calls[1].scope)].path, "act");
}

TEST(Trace, OfShapesComputesNothing) {
  Generator generator{1};
  nn::Conv2d conv(512, 512, 3, {}, generator);
  // Would take minutes and terabytes if it were computed.
  const Trace list =
      trace({Tensor::ones({1, 512, 8, 8})}, true, [&](const std::vector<Tensor>& in) {
        EXPECT_TRUE(in[0].is_abstract());
        const Tensor large =
            broadcast_to(in[0].slice(2, 0, 1).slice(3, 0, 1), {1, 512, 40000, 40000});
        return std::vector<Tensor>{flatten(max_pool(relu(conv(large)), 2))};
      });
  EXPECT_EQ(list.values[static_cast<std::size_t>(list.outputs[0])].shape,
            (Shape{1, 512LL * 19999 * 19999}));
}

TEST(Trace, AskingForValuesOfAShapeIsAnError) {
  EXPECT_CONTAINS(error_of([] {
                    trace({Tensor::ones({2})}, true, [](const std::vector<Tensor>& in) {
                      (void)in[0].data<float>();
                      return in;
                    });
                  }),
                  "only shapes are being traced");
  // The failed trace has ended.
  EXPECT_FALSE(autograd::tracing());
}

TEST(Trace, DoesNotNest) {
  EXPECT_CONTAINS(error_of([] {
                    trace({}, false, [](const std::vector<Tensor>&) {
                      trace({}, false, [](const std::vector<Tensor>& in) { return in; });
                      return std::vector<Tensor>{};
                    });
                  }),
                  "already running");
}

}  // namespace
}  // namespace fovea::testing
