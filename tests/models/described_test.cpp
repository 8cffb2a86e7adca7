// Networks in a text: what they compute, what is saved of them, and what their errors say.
#include <gtest/gtest.h>

#include <string>

#include "fovea/fovea.h"
#include "support/errors.h"
#include "support/files.h"
#include "support/tensors.h"

namespace fovea::models {
namespace {

using testing::error_of;

std::string error_in(const std::string& text) {
  return error_of([&] { described(text, "a.net"); });
}

TEST(Described, IsTheNetworkThatIsWrittenDown) {
  const nn::Model lenet = described(
      "input 1x28x28\n"
      "conv1: conv 6 kernel=5 padding=2   # 6x28x28\n"
      "relu\n"
      "max_pool 2\n"
      "conv2: conv 16 kernel=5\n"
      "relu\n"
      "max_pool 2\n"
      "flatten\n"
      "fc1: linear 120\nrelu\nfc2: linear 84\nrelu\nfc3: linear classes",
      "lenet.net");
  EXPECT_EQ(lenet.module().parameter_count(), 61706);
  nn::Model known = lenet5({.seed = 5});
  std::vector<Tensor> weights = lenet.parameters();
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i].copy_from(known.parameters()[i]);
  const Tensor x = testing::random_tensor({3, 1, 28, 28}, 1, DType::float32);
  testing::expect_identical(lenet(x), known(x));
}

TEST(Described, BranchesMeet) {
  const nn::Model net = described(
      "input 4x9\n"
      "a: conv 4 padding=same bias=false\n"
      "b: relu < input\n"
      "sum: add < a b\n"
      "both: concat < sum b a\n"
      "product: mul < both both\n"
      "global_avg_pool\nflatten\nlinear classes\nclasses 3\n",
      "a.net");
  const Tensor x = testing::random_tensor({2, 4, 9}, 1, DType::float32);
  const std::vector<Tensor> weights = net.parameters();
  const Tensor a = conv1d(x, weights[0], {}, {.padding = Padding::same()});
  const Tensor b = relu(x);
  const Tensor both = concat({a + b, b, a});
  const Tensor expected = linear(flatten(global_avg_pool(both * both)), weights[1], weights[2]);
  EXPECT_EQ(expected.shape(), (Shape{2, 10}));  // of classes, what stands above the layer counts
  testing::expect_identical(net(x), expected);
}

TEST(Described, TakesOtherSizesAndClasses) {
  const std::string text =
      "input 1x28x28\nclasses 10\nconv 8\nrelu\nglobal_avg_pool\nflatten\nlinear classes";
  const nn::Model net = described(text, "a.net", {.classes = 4, .input = {3, 40, 31}});
  EXPECT_EQ(net.info.input, (Shape{3, 40, 31}));
  EXPECT_EQ(net(Tensor::zeros({2, 3, 40, 31})).shape(), (Shape{2, 4}));
  EXPECT_EQ(net.info.adapted,
            (std::vector<std::string>{"it takes samples of 3x40x31 instead of 1x28x28",
                                      "`classes` is 4 instead of 10"}));
  EXPECT_TRUE(described(text, "a.net").info.adapted.empty());
}

TEST(Described, LinesThatJoinAreInspectedByTheirNames) {
  const nn::Model net = described(
      "input 4x9\na: relu\nb: tanh < input\nsum: add < a b\nglobal_avg_pool\nflatten\n"
      "linear classes\n",
      "a.net");
  const explain::NetworkReport report = explain::inspect(net.module(), {1, 4, 9});
  EXPECT_EQ(report.layers.at(2).path, "sum");
  EXPECT_EQ(report.layers.at(2).operation, "add");
  EXPECT_EQ(report.layers.at(3).path, "global_avg_pool4");
}

TEST(Described, IsSavedWithItsText) {
  const testing::TempFolder folder;
  const std::string text =
      "input 2x6x5x4\nconv 3 kernel=3x2x1\nbatch_norm\nelu\nflatten\nlinear classes\n";
  testing::write_file(folder / "volume.net", text);
  const nn::Model net = read_network(folder / "volume.net", {.classes = 7, .seed = 3});
  save(net, folder / "net.fovea");
  const nn::Model back = load(folder / "net.fovea");
  EXPECT_EQ(back.info.options.at("text"), text);
  net.eval();
  back.eval();
  const Tensor x = testing::random_tensor({2, 2, 6, 5, 4}, 1, DType::float32);
  testing::expect_identical(back(x), net(x));
}

TEST(Described, ErrorsNameTheLine) {
  EXPECT_CONTAINS(error_in(""), "a.net: has no line `input`");
  EXPECT_CONTAINS(error_in("input 1x28x28\n"), "a.net: has no layers");
  EXPECT_CONTAINS(error_in("relu\n"), "a.net:1: the first line must be `input`");
  EXPECT_CONTAINS(error_in("input 1x28x28\ninput 3\n"), "a.net:2: the input is given twice");
  EXPECT_CONTAINS(error_in("input 1x2x\n"), "a.net:1: ", "must be a whole number, but is ''");
  EXPECT_CONTAINS(error_in("input 1x0\n"), "a.net:1: every size of a sample is at least 1");
  EXPECT_CONTAINS(error_in("input 16777216x16777216\n"), "a.net:1: a sample has at most 2^40");
  const auto second = [](const std::string& line) { return error_in("input 3x8x8\n" + line); };
  EXPECT_CONTAINS(second("konv 3"), "a.net:2: there is no layer 'konv'; there are input, classes");
  EXPECT_CONTAINS(second("conv"), "a.net:2: conv needs the number of outputs");
  EXPECT_CONTAINS(second("conv x"),
                  "a.net:2: ", "or `classes`, of conv must be a whole number, but is 'x'");
  EXPECT_CONTAINS(second("conv 4 kernal=3"), "a.net:2: conv has no option 'kernal'; it has bias");
  EXPECT_CONTAINS(second("relu 3"), "a.net:2: relu has no use for '3'");
  EXPECT_CONTAINS(second("relu a=3"), "a.net:2: relu has no options, but 'a' is given");
  EXPECT_CONTAINS(second("conv 4 kernel=9"), "a.net:2: ", "kernel");
  EXPECT_CONTAINS(second("conv 4 kernel=3 kernel=3"), "a.net:2: 'kernel' is given twice");
  EXPECT_CONTAINS(second("linear 4"), "a.net:2: linear takes [N, features]", "flatten it first");
  EXPECT_CONTAINS(second("add"), "a.net:2: add joins two or more values");
  EXPECT_CONTAINS(second("relu < one"), "a.net:2: no line above is called 'one'");
  EXPECT_CONTAINS(second("relu < input input"), "a.net:2: relu takes one value, but 2 are named");
  EXPECT_CONTAINS(second("a: relu\na: relu"), "a.net:3: ", "'a'", "taken");
  EXPECT_CONTAINS(second("a.b: relu"), "a.net:2: ", "dot");
  EXPECT_CONTAINS(second("dropout much"), "a.net:2: ", "must be a number, but is 'much'");
  EXPECT_CONTAINS(second("conv 4 bias=no"), "a.net:2: bias=no is neither true nor false");
  EXPECT_CONTAINS(second("\x1b[2J 4"), R"(a.net:2: there is no layer '\x1b[2J')");
  EXPECT_CONTAINS(second("max_pool 3x3x3"), "a.net:2: ", "window");
}

TEST(Described, TakesEveryLayerOfTheRegistry) {
  const std::string unknown = error_in("input 1x2\nnothing");
  for (const nn::LayerDef& layer : nn::layers()) {
    std::string word;  // batch_norm for BatchNorm2d; Dropout2d is a layer of its own
    for (const char c : layer.name) {
      if (c >= 'A' && c <= 'Z' && !word.empty()) word += '_';
      word += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    if (word == "sequential") continue;  // as the text itself
    if (word != "dropout2d" && word.ends_with('d') && word[word.size() - 2] <= '3')
      word.resize(word.size() - 2);
    EXPECT_CONTAINS(unknown + ",", " " + word + ",");
  }
}

TEST(Described, UnpoolsWhereAPoolingLineFoundItsMaxima) {
  const nn::Model net = described(
      "input 2x4x6\n"
      "small: max_pool 2\n"
      "unfold 1\n"
      "fold 2x3 1\n"
      "max_unpool small\n"
      "lp_pool 2 2\n"
      "pad padding=1 padding_mode=replicate\n"
      "locally_connected 3 kernel=4x5\n"
      "flatten\nlayer_norm\nsoftmax\n",
      "a.net");
  const std::vector<Tensor> weights = net.parameters();
  const Tensor x = testing::random_tensor({3, 2, 4, 6}, 1, DType::float32);
  const auto [values, positions] = max_pool_with_positions(x, 2);
  const Tensor wide = pad(lp_pool(max_unpool(values, positions, {4, 6}), 2, 2), 1,
                          {.mode = PaddingMode::replicate});
  const Tensor y = locally_connected2d(wide, weights[0], {4, 5}, weights[1]);
  testing::expect_identical(net(x),
                            softmax(layer_norm(flatten(y), {3}, weights[2], weights[3]), 1));
  EXPECT_CONTAINS(error_in("input 1x4\na: relu\nmax_unpool a"),
                  "a.net:3: no max_pool above is called 'a'");
  EXPECT_CONTAINS(error_in("input 1x4\na: max_pool 2\nmax_unpool a\nmax_pool 2\nmax_unpool a"),
                  "a.net:5: ", "belongs to another MaxUnpool");
}

// docs/networks.md: its example is a network, and its table names every layer.
TEST(Described, IsWhatTheDocumentSays) {
  const std::string document = testing::read_file(FOVEA_SOURCE_DIR "/docs/networks.md");
  const std::string fence = "```\n";
  const std::size_t start = document.find(fence + "# A small residual network") + fence.size();
  const nn::Model net =
      described(document.substr(start, document.find(fence, start) - start), "networks.md");
  EXPECT_EQ(net(Tensor::zeros({2, 1, 28, 28})).shape(), (Shape{2, 10}));
  const std::string names = error_in("input 1x2\nnothing");
  std::string name;
  for (const char c : names.substr(names.find("there are ") + 10) + ",") {
    if (c != ',' && c != ' ') name += c;
    if (c != ',') continue;
    EXPECT_CONTAINS(document, "`" + name + "`");
    name.clear();
  }
}

}  // namespace
}  // namespace fovea::models
