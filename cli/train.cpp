// fovea train: a network from nothing to a .fovea file.
//
// Everything that can be wrong is looked for before the first batch: names, shapes, and whether the
// results can be written. The learning rate follows the schedule batch by batch.
#include <fmt/format.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "commands.h"
#include "progress.h"
#include "scoring.h"
#include "support.h"

namespace cli {
namespace {

namespace fv = fovea;
using fv::optim::Schedule;

enum class Method { adam, sgd };

struct TrainOptions {
  std::string network;
  std::string data;
  std::string out;
  std::string log;
  std::int64_t epochs = 10;
  std::int64_t batch = 64;
  Method method = Method::adam;
  std::optional<double> lr;  // the method's own default otherwise
  std::optional<double> momentum;
  double weight_decay = 0;
  Schedule::Kind schedule = Schedule::Kind::one_cycle;
  std::uint64_t seed = 1;
  bool json = false;
};

constexpr double kAdamRate = 3e-3;
constexpr double kSgdRate = 0.1;
constexpr double kSgdMomentum = 0.9;

struct EpochReport {
  std::int64_t epoch = 0;
  Score train;
  Score test;
  double lr = 0;       // of the last batch
  double seconds = 0;  // of training, without the test
};

// Where a path leads, as far as it exists.
std::filesystem::path canonical(const std::string& path) {
  std::error_code failed;
  // Of a relative path, only what exists would be made absolute.
  std::filesystem::path found =
      std::filesystem::weakly_canonical(std::filesystem::current_path(failed) / path, failed);
  return failed ? std::filesystem::path(path) : found;
}

// One JSON object per epoch, or nothing where no path was given.
class Log {
 public:
  explicit Log(std::string path) : path_(std::move(path)) {
    if (path_.empty()) return;
    file_.open(path_, std::ios::trunc);
    check();
  }
  void write(const Json& entry) {
    if (path_.empty()) return;
    file_ << entry.dump() << std::endl;  // flushed, so that it can be followed
    check();
  }

 private:
  void check() {
    if (!file_) throw fv::Error(fmt::format("cannot write '{}': {}", path_, std::strerror(errno)));
  }

  std::string path_;
  std::ofstream file_;
};

fv::nn::Model new_model(const TrainOptions& options, const fv::data::Dataset& train,
                        const fv::data::Dataset& test) {
  fv::nn::Model model = fv::models::build(
      options.network,
      {.classes = static_cast<std::int64_t>(train.classes().size()), .seed = options.seed});
  check_fits(model, train, options.data);
  check_fits(model, test, options.data);
  fv::data::describe(model, train);
  return model;
}

double rate(const TrainOptions& options) {
  return options.lr.value_or(options.method == Method::adam ? kAdamRate : kSgdRate);
}

std::unique_ptr<fv::optim::Optimizer> new_optimizer(const TrainOptions& options,
                                                    const fv::nn::Model& model) {
  if (options.method == Method::adam) {
    return std::make_unique<fv::optim::Adam>(
        model.parameters(),
        fv::optim::AdamOptions{.lr = rate(options), .weight_decay = options.weight_decay});
  }
  return std::make_unique<fv::optim::Sgd>(
      model.parameters(), fv::optim::SgdOptions{.lr = rate(options),
                                                .momentum = options.momentum.value_or(kSgdMomentum),
                                                .weight_decay = options.weight_decay});
}

class Training {
 public:
  Training(const TrainOptions& options, fv::nn::Model model,
           std::shared_ptr<const fv::data::Dataset> dataset)
      : options_(options),
        model_(std::move(model)),
        loader_(std::move(dataset),
                {.batch = options_.batch, .shuffle = true, .seed = options_.seed}),
        optimizer_(new_optimizer(options_, model_)),
        schedule_{.kind = options_.schedule, .peak = rate(options_)} {}

  // The next epoch, numbered from 1.
  EpochReport run_epoch() {
    const std::int64_t epoch = ++epoch_;
    const std::int64_t last_step =
        std::max<std::int64_t>(options_.epochs * loader_.batches() - 1, 1);
    Progress progress(fmt::format("epoch {}/{}", epoch, options_.epochs), loader_.batches());
    EpochReport report{.epoch = epoch, .train = {}, .test = {}};
    const double start = seconds_now();
    std::int64_t done = 0;
    model_.train();
    for (const auto& batch : loader_) {
      report.lr = fv::optim::learning_rate(
          schedule_, static_cast<double>(step_++) / static_cast<double>(last_step));
      optimizer_->set_lr(report.lr);
      train_batch(batch, report.train);
      progress.update(++done, report.train.samples, report.train.loss());
    }
    report.seconds = seconds_now() - start;
    return report;
  }

  const fv::nn::Model& model() const { return model_; }

 private:
  void train_batch(const fv::data::Batch& batch, Score& score) {
    const fv::Tensor logits = model_(batch.images);
    const fv::Tensor loss = fv::cross_entropy(logits, batch.labels);
    const double value = loss.item<double>();
    if (!std::isfinite(value)) {
      throw fv::Error(fmt::format(
          "training diverged in epoch {}: the loss is {}; nothing was saved. Try a lower --lr "
          "(it was at most {})",
          epoch_, value, rate(options_)));
    }
    optimizer_->zero_grad();
    loss.backward();
    optimizer_->step();
    score.add(logits, batch.labels, value);
  }

  const TrainOptions& options_;
  fv::nn::Model model_;
  fv::data::Loader loader_;
  std::unique_ptr<fv::optim::Optimizer> optimizer_;
  Schedule schedule_;
  std::int64_t epoch_ = 0;
  std::int64_t step_ = 0;
};

double images_per_second(const EpochReport& report) {
  return static_cast<double>(report.train.samples) / std::max(report.seconds, 1e-9);
}

Json epoch_json(const EpochReport& report) {
  return {{"epoch", report.epoch},
          {"loss", report.train.loss()},
          {"train_accuracy", report.train.accuracy()},
          {"test_accuracy", report.test.accuracy()},
          {"test_loss", report.test.loss()},
          {"lr", report.lr},
          {"seconds", report.seconds},
          {"images_per_second", images_per_second(report)}};
}

void print_epoch(const EpochReport& report, std::int64_t epochs) {
  fmt::print(
      "epoch {:>{}}/{}  loss {:.4f}  train {:6.2f} %  test {:6.2f} %  {:5.1f} s  {:>7} images/s\n",
      report.epoch, std::to_string(epochs).size(), epochs, report.train.loss(),
      100 * report.train.accuracy(), 100 * report.test.accuracy(), report.seconds,
      grouped(static_cast<std::int64_t>(images_per_second(report))));
  std::fflush(stdout);
}

void print_start(const TrainOptions& options, const fv::nn::Model& model,
                 const fv::data::Dataset& train, const fv::data::Dataset& test) {
  fmt::print("{}: {} parameters; {}: {} training and {} test samples of {}; threads: {}\n",
             options.network, grouped(model.module().parameter_count()), options.data,
             grouped(train.size()), grouped(test.size()), join_sizes(train.sample_shape()),
             fv::num_threads());
  std::fflush(stdout);
}

void train(TrainOptions options) {
  if (options.method == Method::adam && options.momentum) {
    throw Misuse("--momentum is for --optimizer sgd; adam keeps moments of its own");
  }
  if (options.out.empty()) options.out = options.network + ".fovea";
  if (!options.log.empty() && canonical(options.log) == canonical(options.out)) {
    throw Misuse(fmt::format("--log and --out are the same file, '{}'", options.out));
  }
  fv::require_writable(options.out);
  const auto train_data = fv::data::open(options.data, fv::data::Split::train);
  const auto test_data = fv::data::open(options.data, fv::data::Split::test);
  Training training(options, new_model(options, *train_data, *test_data), train_data);
  const fv::nn::Model& model = training.model();
  Log log(options.log);  // behind all that can fail: it empties the file
  if (!options.json) print_start(options, model, *train_data, *test_data);
  double seconds = 0;
  for (std::int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    EpochReport report = training.run_epoch();
    report.test = score(model, test_data, options.batch);
    seconds += report.seconds;
    log.write(epoch_json(report));
    if (options.json)
      print_json(epoch_json(report));
    else
      print_epoch(report, options.epochs);
  }
  fv::save(model, options.out);
  if (!options.json) fmt::print("trained in {:.1f} s, saved as {}\n", seconds, options.out);
}

}  // namespace

Action train_command(CLI::App& app) {
  const auto options = std::make_shared<TrainOptions>();
  std::string networks;
  for (const auto& model : fv::models::list())
    networks += fmt::format("{}{}", networks.empty() ? "" : ", ", model.name);
  app.add_option("network", options->network, "One of: " + networks)
      ->required()
      ->check(known_network())
      ->type_name("NETWORK");
  add_data(app, options->data);
  app.add_option("--epochs", options->epochs, "Passes over the training data")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--batch", options->batch, "Samples per step")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--optimizer", options->method, "adam or sgd (default: adam)")
      ->transform(CLI::CheckedTransformer(
                      std::map<std::string, Method>{{"adam", Method::adam}, {"sgd", Method::sgd}})
                      .description(""))
      ->type_name("NAME");
  app.add_option("--lr", options->lr,
                 fmt::format("Highest learning rate (default: {} for adam, {} for sgd)", kAdamRate,
                             kSgdRate))
      ->check(CLI::PositiveNumber)
      ->type_name("X");
  app.add_option("--momentum", options->momentum, fmt::format("Of sgd (default: {})", kSgdMomentum))
      ->check(CLI::Range(0.0, 1.0))
      ->type_name("X");
  app.add_option("--weight-decay", options->weight_decay, "Added to the gradient, times the weight")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->type_name("X");
  app.add_option("--schedule", options->schedule,
                 "Learning rate over time: constant, cosine or one-cycle (default)")
      ->transform(CLI::CheckedTransformer(std::map<std::string, Schedule::Kind>{
                                              {"constant", Schedule::Kind::constant},
                                              {"cosine", Schedule::Kind::cosine},
                                              {"one-cycle", Schedule::Kind::one_cycle}})
                      .description(""))
      ->type_name("NAME");
  app.add_option("--seed", options->seed, "Of the weights and of the order of samples")
      ->capture_default_str()
      ->type_name("N");
  add_threads(app);
  app.add_option("--out", options->out,
                 "Where to save the trained network (default: NETWORK.fovea)")
      ->type_name("FILE");
  app.add_option("--log", options->log, "Write one JSON object per epoch to this file")
      ->type_name("FILE");
  app.add_flag("--json", options->json, "Print one JSON object per epoch");
  app.footer("Example:\n  fovea train lenet5 --data fashion-mnist --epochs 10 --out lenet5.fovea");
  return [options] { train(*options); };
}

}  // namespace cli
