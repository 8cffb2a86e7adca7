// fovea-peers train and infer: a network's training step or inference against libtorch, which
// starts from the same weights and must come to the same result. With --memory one side runs alone,
// for what it takes.
#include <fovea/fovea.h>
#include <sys/resource.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "commands.h"
#include "harness.h"
#include "report.h"
#include "torch_network.h"
#include "workload.h"

namespace peers {
namespace {

struct NetworkOptions {
  std::string network;
  std::int64_t batch = 0;
  std::vector<std::int64_t> input;  // of one image; empty: the network's own
  std::string memory;               // the side that runs alone
  Measuring measuring;
};

struct TorchSide {
  const char* name;
  TorchLayout layout;
};
constexpr std::array<TorchSide, 2> kTorchSides = {
    {{"nchw", TorchLayout::row_major}, {"nhwc", TorchLayout::channels_last}}};

// The same network on both sides; libtorch twice, as it is faster now in one layout, now in the
// other.
struct Rivals {
  std::shared_ptr<bench::NetworkWork> fovea;
  struct Torch {
    std::string name;
    std::shared_ptr<TorchNetwork> network;
  };
  std::vector<Torch> torch;
};

std::shared_ptr<bench::NetworkWork> make_fovea(const NetworkOptions& options) {
  return std::make_shared<bench::NetworkWork>(options.network, options.batch,
                                              fovea::Shape(std::span(options.input)));
}

// With the weights and images of `fovea`.
std::shared_ptr<TorchNetwork> make_torch(const NetworkOptions& options, bench::NetworkWork& fovea,
                                         TorchLayout layout) {
  std::vector<Parameter> parameters;
  for (const auto& [name, tensor] : fovea.model().module().named_parameters())
    parameters.push_back({name, tensor.to_vector<float>()});
  const fovea::Shape& shape = fovea.images().shape();
  const Batch batch{.shape = {shape.begin(), shape.end()},
                    .images = fovea.images().to_vector<float>(),
                    .labels = fovea.labels().to_vector<std::int64_t>()};
  return std::make_shared<TorchNetwork>(options.network, parameters, batch, layout);
}

Rivals make_rivals(const NetworkOptions& options) {
  Rivals rivals{.fovea = make_fovea(options), .torch = {}};
  for (const TorchSide& side : kTorchSides) {
    rivals.torch.push_back(
        {torch_version() + " " + side.name, make_torch(options, *rivals.fovea, side.layout)});
  }
  return rivals;
}

// The second loss agrees only if forward, gradients and update do. Later ones amplify rounding:
// those of mobilenet_v2 in libtorch's own two layouts are 2 % apart after five steps.
void require_same_training(const Rivals& rivals) {
  constexpr int kSteps = 2;
  std::array<float, kSteps> own{};
  for (float& loss : own) loss = static_cast<float>(rivals.fovea->train(/*drop=*/false));
  for (const Rivals::Torch& rival : rivals.torch) {
    std::array<float, kSteps> losses{};
    for (float& loss : losses) loss = static_cast<float>(rival.network->train_step(/*drop=*/false));
    require_close(own, losses, "loss of the first steps, fovea and " + rival.name);
  }
}

void require_same_logits(const Rivals& rivals) {
  const std::vector<float> own = rivals.fovea->infer().to_vector<float>();
  for (const Rivals::Torch& rival : rivals.torch) {
    rival.network->infer();
    require_close(own, rival.network->logits(), "logits, fovea and " + rival.name);
  }
}

// What this process held at most so far.
std::int64_t peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

// Prints what some calls of one side, alone in this process, take more than it held before.
void measure_memory(const NetworkOptions& options, int threads, bool train) {
  constexpr int kCalls = 3;
  std::shared_ptr<bench::NetworkWork> fovea;
  std::shared_ptr<TorchNetwork> torch;
  const std::int64_t before = peak_bytes();
  if (options.memory == "fovea") {
    fovea = make_fovea(options);
    for (int i = 0; i < kCalls; ++i) train ? void(fovea->train()) : void(fovea->infer());
  } else {
    for (const TorchSide& side : kTorchSides) {
      if (options.memory == side.name)
        torch = make_torch(options, *make_fovea(options), side.layout);
    }
    fovea::release_cached_memory();  // of the network that the weights came from
    for (int i = 0; i < kCalls; ++i) train ? void(torch->train_step()) : torch->infer();
  }
  print_json({{"network", options.network},
              {"batch", options.batch},
              {"threads", threads},
              {"side", options.memory},
              {"peak_bytes", peak_bytes() - before}});
}

int start(const NetworkOptions& options) {
  if (!torch_has(options.network)) {
    throw fovea::Error("there is no '" + options.network +
                       "' in libtorch here; torch_models.cpp lists those that fovea-peers builds");
  }
  const int threads = apply_settings(options.measuring);
  set_torch_threads(threads);
  return threads;
}

// `peer` is the fastest of libtorch's layouts.
void finish(const NetworkOptions& options, int threads, const std::vector<bench::Side>& sides) {
  Json timed;
  add_times(timed, sides, "", {.seconds = options.measuring.seconds});
  print_json({{"network", options.network},
              {"batch", options.batch},
              {"threads", threads},
              {"ms", timed["ms"]},
              {"peer", timed["best_peer"]},
              {"peer_ms", timed["best_peer_ms"]},
              {"ratio", timed["best_ratio"]},
              {"ways", timed["ways"]},
              {"peer_blas", torch_blas()}});
}

void train(const NetworkOptions& options) {
  const int threads = start(options);
  if (!options.memory.empty()) return measure_memory(options, threads, /*train=*/true);
  const Rivals rivals = make_rivals(options);
  require_same_training(rivals);
  std::vector<bench::Side> sides = {{"fovea", [&] { rivals.fovea->train(); }}};
  for (const Rivals::Torch& rival : rivals.torch)
    sides.push_back({rival.name, [&rival] { rival.network->train_step(); }});
  finish(options, threads, sides);
}

void infer(const NetworkOptions& options) {
  const int threads = start(options);
  if (!options.memory.empty()) return measure_memory(options, threads, /*train=*/false);
  const Rivals rivals = make_rivals(options);
  require_same_logits(rivals);
  std::vector<bench::Side> sides = {{"fovea", [&] { rivals.fovea->infer(); }}};
  for (const Rivals::Torch& rival : rivals.torch)
    sides.push_back({rival.name, [&rival] { rival.network->infer(); }});
  finish(options, threads, sides);
}

Action declare(CLI::App& app, void (*command)(const NetworkOptions&), std::int64_t batch) {
  const auto options = std::make_shared<NetworkOptions>();
  options->batch = batch;
  app.add_option("network", options->network, "Its name")->required()->type_name("NETWORK");
  app.add_option("--batch", options->batch, "Images at once")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--input", options->input, "Sizes of one image, as 3,32,32 (default: its own)")
      ->delimiter(',')
      ->expected(3)
      ->check(CLI::Range(1, 1 << 16))
      ->type_name("C,H,W");
  app.add_option("--memory", options->memory,
                 "Run one side alone and print how many bytes more the process then holds")
      ->check(CLI::IsMember({"fovea", "nchw", "nhwc"}))
      ->type_name("SIDE");
  add_measuring(app, options->measuring);
  return [options, command] { command(*options); };
}

}  // namespace

Action train_command(CLI::App& app) {
  return declare(app, train, 64);
}

Action infer_command(CLI::App& app) {
  return declare(app, infer, 1);
}

}  // namespace peers
