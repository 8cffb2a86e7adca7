// Checkpoints: what goes on from one is the same bits as what never stopped.
#include "fovea/checkpoint.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fovea/data.h"
#include "fovea/functions.h"
#include "fovea/random.h"
#include "fovea/save.h"
#include "support/errors.h"
#include "support/files.h"
#include "support/idx.h"
#include "support/tensors.h"

namespace fovea {
namespace {

using testing::error_of;
using testing::expect_identical;
using testing::read_file;
using testing::TempFolder;

// Convolution, dropout, and a buffer that training changes: the mean of all that it has seen.
class Network : public nn::Module {
 public:
  explicit Network(std::uint64_t seed, std::int64_t classes = 10)
      : generator_{.seed = seed},
        conv_(1, 4, 3, {}, generator_),
        drop_(0.5, seed),
        fc_(4 * 2 * 1, classes, generator_),
        seen_(Tensor::zeros({1})) {
    add_module("conv", conv_);
    add_module("drop", drop_);
    add_module("fc", fc_);
    add_buffer("seen", seen_);
  }
  std::string describe() const override { return "Network()"; }

 protected:
  Tensor forward(const Tensor& input) override {
    seen_.fill(0.9 * seen_.item<double>() + 0.1 * mean(input).item<double>());
    return fc_(flatten(drop_(relu(conv_(input)))));
  }

 private:
  Generator generator_;
  nn::Conv2d conv_;
  nn::Dropout drop_;
  nn::Linear fc_;
  Tensor seen_;
};

enum class Method { sgd, adam };

// A small training, all of it.
struct Loop {
  explicit Loop(const std::shared_ptr<const data::Dataset>& dataset, Method method = Method::adam,
                std::uint64_t seed = 1)
      : network(seed),
        mean_network(seed),
        loader(dataset, {.batch = 4, .shuffle = true, .seed = 5}),
        average(network.state(), mean_network.state(), {.decay = 0.9}) {
    if (method == Method::adam)
      optimizer = std::make_unique<optim::Adam>(network.parameters());
    else
      optimizer = std::make_unique<optim::Sgd>(network.parameters(),
                                               optim::SgdOptions{.lr = 0.1, .momentum = 0.9});
  }
  TrainingState state() {
    return {.module = network, .optimizer = *optimizer, .loader = &loader, .average = &average};
  }

  // At most `steps` steps, until there were three epochs; the losses.
  std::vector<double> train(int steps) {
    std::vector<double> losses;
    while (loader.position().epoch < 3 && steps > 0) {
      for (const auto& [images, labels] : loader) {
        const Tensor loss = cross_entropy(network(images), labels);
        optimizer->zero_grad();
        loss.backward();
        optimizer->step();
        average.update();
        losses.push_back(loss.item<double>());
        after_step();
        if (--steps == 0) break;
      }
    }
    return losses;
  }

  Network network;
  Network mean_network;
  data::Loader loader;
  optim::MovingAverage average;
  std::unique_ptr<optim::Optimizer> optimizer;
  std::function<void()> after_step = [] {};
};

class CheckpointTest : public ::testing::Test {
 protected:
  CheckpointTest() {
    testing::write_small_mnist(folder_.path(), 18);  // 5 batches, the last of 2
    dataset_ = data::mnist(folder_.path(), data::Split::train);
  }

  // The error of loading a checkpoint whose metadata were changed so; nothing else may happen.
  std::string error_with(const std::string& key, const std::string& value) {
    Loop loop(dataset_);
    loop.train(2);
    save_checkpoint(path_, loop.state());
    TensorFile file = read_safetensors(path_);
    if (value.empty())
      file.metadata.erase(key);
    else
      file.metadata[key] = value;
    write_safetensors(path_, file);
    return refusal(Loop(dataset_, Method::adam, 2));
  }

  // The error of loading the checkpoint into `loop`, which must not be changed by it.
  std::string refusal(Loop&& loop) {
    const std::string before = folder_ / "before";
    const std::string after = folder_ / "after";
    save_checkpoint(before, loop.state());
    std::string message = error_of([&] { load_checkpoint(path_, loop.state()); });
    EXPECT_CONTAINS(message, "'" + path_ + "'");
    save_checkpoint(after, loop.state());
    EXPECT_TRUE(read_file(before) == read_file(after)) << message;
    return message;
  }

  TempFolder folder_;
  std::string path_ = folder_ / "checkpoint";
  std::shared_ptr<const data::Dataset> dataset_;
};

TEST_F(CheckpointTest, GoesOnToTheSameBits) {
  for (const Method method : {Method::sgd, Method::adam}) {
    Loop whole(dataset_, method);
    const std::vector<double> losses = whole.train(100);
    ASSERT_EQ(losses.size(), 15U);
    for (const int stop : {0, 3, 5, 14, 15}) {  // 5: at the very end of an epoch
      Loop first(dataset_, method);
      first.train(stop);
      save_checkpoint(path_, first.state());
      Loop second(dataset_, method, 99);  // of other weights and masks
      load_checkpoint(path_, second.state());
      EXPECT_EQ(second.loader.position(), first.loader.position());
      const std::vector<double> rest = second.train(100);
      EXPECT_EQ(rest, std::vector<double>(losses.begin() + stop, losses.end())) << stop;
      const auto expected = whole.network.named_parameters();
      const auto actual = second.network.named_parameters();
      for (std::size_t i = 0; i < expected.size(); ++i)
        expect_identical(actual[i].tensor.detach(), expected[i].tensor.detach());
      expect_identical(second.network.named_buffers().at(0).tensor,
                       whole.network.named_buffers().at(0).tensor);
      for (std::size_t i = 0; i < whole.average.averages().size(); ++i)
        expect_identical(second.average.averages()[i].detach(),
                         whole.average.averages()[i].detach());
    }
  }
}

TEST_F(CheckpointTest, SavingChangesNothing) {
  Loop whole(dataset_);
  Loop saved(dataset_);
  saved.after_step = [&] { save_checkpoint(path_, saved.state()); };
  whole.train(7);
  saved.train(7);
  save_checkpoint(folder_ / "whole", whole.state());
  save_checkpoint(folder_ / "saved", saved.state());
  EXPECT_TRUE(read_file(folder_ / "whole") == read_file(folder_ / "saved"));
}

// A layer that draws or remembers something without saying so would show here.
TEST_F(CheckpointTest, EveryLayerGoesOnWhereItWas) {
  for (const auto& def : nn::layers()) {
    SCOPED_TRACE(def.name);
    Generator generator{.seed = 1};
    const auto layer = def.example(generator);
    const auto other = def.example(generator);
    Tensor own = Tensor::ones({1}).set_requires_grad();  // for layers without parameters
    optim::Sgd sgd({own}, {});
    const Tensor input = testing::random_tensor(def.example_input, 2, DType::float32);
    (*layer)(input);
    (*layer)(input);
    save_checkpoint(path_, {.module = *layer, .optimizer = sgd});
    load_checkpoint(path_, {.module = *other, .optimizer = sgd});
    expect_identical((*other)(input).detach(), (*layer)(input).detach());
    expect_identical((*other)(input).detach(), (*layer)(input).detach());
  }
}

TEST_F(CheckpointTest, NotesComeBack) {
  Loop loop(dataset_);
  const Notes notes = {{"best", "0.91"}, {"", "empty name"}, {"text", "a \"b\"\n\xc3\xa9"}};
  save_checkpoint(path_, loop.state(), notes);
  EXPECT_EQ(load_notes(path_), notes);
  EXPECT_EQ(load_checkpoint(path_, loop.state()), notes);
}

TEST_F(CheckpointTest, ALoaderIsOptional) {
  Loop loop(dataset_);
  loop.train(2);
  const TrainingState without{.module = loop.network, .optimizer = *loop.optimizer};
  save_checkpoint(path_, without);
  load_checkpoint(path_, without);
  EXPECT_CONTAINS(refusal(Loop(dataset_)), "without a loader");
}

TEST_F(CheckpointTest, AMovingAverageIsOptional) {
  Loop loop(dataset_);
  TrainingState without = loop.state();
  without.average = nullptr;
  save_checkpoint(path_, without);
  load_checkpoint(path_, without);
  EXPECT_CONTAINS(refusal(Loop(dataset_)), "without a moving average");
  EXPECT_CONTAINS(error_with("average", R"({"steps":-1})"), "-1 steps of its moving average");
  EXPECT_CONTAINS(error_with("average", R"({"steps":[]})"), "whole number");
}

TEST_F(CheckpointTest, WhatDoesNotFitIsNamedAndChangesNothing) {
  Loop loop(dataset_);
  loop.train(2);
  save_checkpoint(path_, loop.state());
  EXPECT_CONTAINS(refusal(Loop(dataset_, Method::sgd)), "this is sgd", "'adam'");
  {
    Network wide(1, 12);
    optim::Adam adam(wide.parameters());
    EXPECT_CONTAINS(error_of([&] { load_checkpoint(path_, {.module = wide, .optimizer = adam}); }),
                    "does not fit the network", "fc.weight: file [10, 8], network [12, 8]");
  }
  {
    Loop other(dataset_);
    other.network.to(DType::float64);
    other.mean_network.to(DType::float64);
    other.optimizer = std::make_unique<optim::Adam>(other.network.parameters());
    EXPECT_CONTAINS(refusal(std::move(other)), "conv.weight", "float64");
  }
  {
    data::Loader wrong(dataset_, {.batch = 3, .shuffle = true, .seed = 5});
    EXPECT_CONTAINS(error_of([&] {
                      load_checkpoint(
                          path_,
                          {.module = loop.network, .optimizer = *loop.optimizer, .loader = &wrong});
                    }),
                    "batch 4", "the loader has 3");
  }
}

TEST_F(CheckpointTest, FilesThatAreNoCheckpointsAreRefused) {
  Loop loop(dataset_);
  save(loop.network, path_);
  EXPECT_CONTAINS(refusal(Loop(dataset_)), "is no checkpoint");
  testing::write_file(path_, "garbage");
  EXPECT_CONTAINS(refusal(Loop(dataset_)), "safetensors");
  EXPECT_CONTAINS(error_of([&] { load_notes(path_); }), path_);
  EXPECT_CONTAINS(error_of([&] { load_checkpoint(folder_ / "none", loop.state()); }), "none");
}

TEST_F(CheckpointTest, DamagedMetadataIsRefused) {
  EXPECT_CONTAINS(error_with("format_version", "2"), "version 2");
  EXPECT_CONTAINS(error_with("optimizer", ""), "has no 'optimizer'");
  EXPECT_CONTAINS(error_with("generators", ""), "has no 'generators'");
  for (const std::string key : {"optimizer", "generators", "loader", "average"}) {
    for (const std::string value : {"", "{", "[]", "null", "7", "\"x\"", "{}", "[[[[[[[[[["})
      EXPECT_CONTAINS(error_with(key, value), path_);
  }
  const auto loader = [](const std::string& epoch, const std::string& batch) {
    return R"({"epoch":)" + epoch + R"(,"batch":)" + batch +
           R"(,"options":{"samples":18,"batch":4,"shuffle":true,"seed":5,"drop_last":false,"augment":""}})";
  };
  EXPECT_CONTAINS(error_with("loader", loader("0", "6")), "batch 6", "5 batches");
  EXPECT_CONTAINS(error_with("loader", loader("-1", "0")), "epoch -1");
  EXPECT_CONTAINS(error_with("loader", loader("1e300", "0")), "whole number");
  EXPECT_CONTAINS(error_with("loader", loader("\"x\"", "0")), "whole number");
  EXPECT_CONTAINS(error_with("optimizer", R"({"method":"adam","steps":-1,"lr":0.1})"), "-1 steps");
  EXPECT_CONTAINS(error_with("optimizer", R"({"method":"adam","steps":1,"lr":-0.1})"),
                  "lr is -0.1");
  EXPECT_CONTAINS(error_with("optimizer", R"({"method":"\u001b[2J","steps":1,"lr":0.1})"),
                  "'\\x1b[2J'");
  EXPECT_CONTAINS(error_with("generators", R"({"drop.generator":[1]})"), "generators");
  EXPECT_CONTAINS(error_with("generators", R"({"other":[1,2]})"), "drop.generator");
}

}  // namespace
}  // namespace fovea
