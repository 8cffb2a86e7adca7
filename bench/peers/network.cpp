// fovea-peers train and infer: a network's training step or inference against libtorch, which
// starts from the same weights and must come to the same result.
#include <fovea/fovea.h>

#include <array>
#include <cstdint>
#include <memory>
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
  Measuring measuring;
};

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

Rivals make_rivals(const NetworkOptions& options) {
  if (!torch_has(options.network)) {
    throw fovea::Error("there is no '" + options.network +
                       "' in libtorch here; fovea-peers builds lenet5 and lenet5_1998");
  }
  Rivals rivals{.fovea = std::make_shared<bench::NetworkWork>(options.network, options.batch),
                .torch = {}};
  std::vector<Parameter> parameters;
  for (const auto& [name, tensor] : rivals.fovea->model().module().named_parameters())
    parameters.push_back({name, tensor.to_vector<float>()});
  const Batch batch{.images = rivals.fovea->images().to_vector<float>(),
                    .labels = rivals.fovea->labels().to_vector<std::int64_t>()};
  for (const TorchLayout layout : {TorchLayout::row_major, TorchLayout::channels_last}) {
    const char* suffix = layout == TorchLayout::row_major ? " nchw" : " nhwc";
    rivals.torch.push_back(
        {torch_version() + suffix,
         std::make_shared<TorchNetwork>(options.network, parameters, batch, layout)});
  }
  return rivals;
}

// Four losses agree only if forward, gradients and optimiser do.
void require_same_training(const Rivals& rivals) {
  constexpr int kSteps = 4;
  std::array<float, kSteps> own{};
  for (float& loss : own) loss = static_cast<float>(rivals.fovea->train());
  for (const Rivals::Torch& rival : rivals.torch) {
    std::array<float, kSteps> losses{};
    for (float& loss : losses) loss = static_cast<float>(rival.network->train_step());
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

Rivals start(const NetworkOptions& options, int threads) {
  set_torch_threads(threads);
  return make_rivals(options);
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
  const int threads = apply_settings(options.measuring);
  const Rivals rivals = start(options, threads);
  require_same_training(rivals);
  std::vector<bench::Side> sides = {{"fovea", [&] { rivals.fovea->train(); }}};
  for (const Rivals::Torch& rival : rivals.torch)
    sides.push_back({rival.name, [&rival] { rival.network->train_step(); }});
  finish(options, threads, sides);
}

void infer(const NetworkOptions& options) {
  const int threads = apply_settings(options.measuring);
  const Rivals rivals = start(options, threads);
  require_same_logits(rivals);
  std::vector<bench::Side> sides = {{"fovea", [&] { rivals.fovea->infer(); }}};
  for (const Rivals::Torch& rival : rivals.torch)
    sides.push_back({rival.name, [&rival] { rival.network->infer(); }});
  finish(options, threads, sides);
}

Action declare(CLI::App& app, void (*command)(const NetworkOptions&), std::int64_t batch) {
  const auto options = std::make_shared<NetworkOptions>();
  options->batch = batch;
  app.add_option("network", options->network, "lenet5 or lenet5_1998")
      ->required()
      ->type_name("NETWORK");
  app.add_option("--batch", options->batch, "Images at once")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str()
      ->type_name("N");
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
