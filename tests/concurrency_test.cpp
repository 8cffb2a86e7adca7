// The library in many threads at once: whatever else runs, the bits are those of one thread alone.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "fovea/autograd.h"
#include "fovea/conv.h"
#include "fovea/data.h"
#include "fovea/functions.h"
#include "fovea/nn.h"
#include "fovea/optim.h"
#include "fovea/random.h"
#include "support/files.h"
#include "support/idx.h"
#include "support/settings.h"

namespace fovea::testing {
namespace {

constexpr std::size_t kThreads = 8;

using Bits = std::vector<float>;

// job(0) ... job(kThreads - 1), each on a thread of its own.
std::vector<Bits> at_once(const std::function<Bits(std::uint64_t)>& job) {
  std::vector<Bits> results(kThreads);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kThreads; ++i) threads.emplace_back([&, i] { results[i] = job(i); });
  for (std::thread& thread : threads) thread.join();
  return results;
}

std::vector<Bits> in_turn(const std::function<Bits(std::uint64_t)>& job) {
  const ThreadGuard alone(1);
  std::vector<Bits> results;
  for (std::size_t i = 0; i < kThreads; ++i) results.push_back(job(i));
  return results;
}

std::unique_ptr<nn::Sequential> small_network(std::uint64_t seed) {
  Generator generator{.seed = seed};
  auto net = std::make_unique<nn::Sequential>();
  net->add<nn::Conv2d>("conv", 1, 8, 3, nn::ConvLayerOptions{.padding = 1}, generator);
  net->add<nn::Relu>("act");
  net->add<nn::MaxPool>("pool", 2);
  net->add<nn::Flatten>("flatten");
  net->add<nn::Dropout>("dropout", 0.25, seed);
  net->add<nn::Linear>("fc", 8 * 6 * 6, 4, generator);
  return net;
}

Tensor images_of(std::uint64_t seed) {
  Generator generator{.seed = 100 + seed};
  return uniform({16, 1, 12, 12}, -1, 1, generator);
}

// All weights after a few steps of training.
Bits train(std::uint64_t seed) {
  const auto net = small_network(seed);
  optim::Adam adam(net->parameters(), {.lr = 1e-2});
  const Tensor images = images_of(seed);
  std::vector<std::int64_t> classes;
  for (int i = 0; i < 16; ++i) classes.push_back(i % 4);
  const Tensor labels = Tensor::from(classes, {16});
  for (int step = 0; step < 5; ++step) {
    const Tensor loss = cross_entropy((*net)(images), labels);
    adam.zero_grad();
    loss.backward();
    adam.step();
  }
  Bits weights;
  for (const Tensor& parameter : net->parameters())
    for (const float value : parameter.to_vector<float>()) weights.push_back(value);
  return weights;
}

TEST(Concurrency, EightTrainingsAtOnceGiveTheBitsOfOneThread) {
  const std::vector<Bits> expected = in_turn(train);
  EXPECT_NE(expected[0], expected[1]);
  for (const int threads : {1, 2}) {
    const ThreadGuard guard(threads);
    EXPECT_EQ(at_once(train), expected) << threads;
  }
}

TEST(Concurrency, TrainingDoesNotMindThatTheNumberOfThreadsChanges) {
  const std::vector<Bits> expected = in_turn(train);
  const ThreadGuard guard(2);
  EXPECT_EQ(at_once([](std::uint64_t seed) {
              set_num_threads(1 + static_cast<int>(seed) % 3);
              return train(seed);
            }),
            expected);
}

TEST(Concurrency, EightCallersOfOneNetworkGetTheBitsOfOneThread) {
  const auto net = small_network(1);
  net->train(false);
  const auto infer = [&](std::uint64_t seed) {
    const NoGrad no_grad;
    return (*net)(images_of(seed)).to_vector<float>();
  };
  // Twice: at first everybody wants the packed weights, and again after they have changed.
  for (int round = 0; round < 2; ++round) {
    const ThreadGuard guard(2);
    Generator generator{.seed = static_cast<std::uint64_t>(round)};
    for (Tensor parameter : net->parameters())
      parameter.copy_from(uniform(parameter.shape(), -1, 1, generator));
    const std::vector<Bits> together = at_once(infer);
    EXPECT_EQ(together, in_turn(infer));
    EXPECT_NE(together[0], together[1]);
  }
}

TEST(Concurrency, PlansAreTheSameInEveryThread) {
  const ConvProblem problem = ConvProblem::parse("mb2ic8ih10oc8kh3ph1");
  const auto plan = [&](std::uint64_t) {
    Bits bits;
    for (const Pass pass : kPasses) {
      for (const Candidate& candidate : make_plan(problem, pass).candidates)
        bits.push_back(static_cast<float>(candidate.workspace));
    }
    return bits;
  };
  EXPECT_EQ(at_once(plan), in_turn(plan));
}

TEST(Concurrency, LoadersShareOneDataSet) {
  const TempFolder folder;
  write_small_mnist(folder.path(), 30);
  const auto dataset = data::mnist(folder.path(), data::Split::train);
  const auto read_all = [&](std::uint64_t seed) {
    data::Loader loader(dataset, {.batch = 7, .shuffle = true, .seed = seed});
    Bits bits;
    for (int epoch = 0; epoch < 2; ++epoch) {
      for (const auto& batch : loader)
        for (const float value : batch.images.to_vector<float>()) bits.push_back(value);
    }
    return bits;
  };
  EXPECT_EQ(at_once(read_all), in_turn(read_all));
}

}  // namespace
}  // namespace fovea::testing
