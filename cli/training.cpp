// See training.h. The learning rate follows the schedule batch by batch; the number of the step is
// where the loader stands, so there is nothing else to remember.
#include "training.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "commands.h"
#include "progress.h"

namespace cli {
namespace {

namespace fv = fovea;

fv::nn::Model new_model(const TrainSettings& settings, const TrainData& data) {
  fv::nn::Model model = build_network(
      settings.network, {.classes = static_cast<std::int64_t>(data.train->classes().size()),
                         .seed = settings.seed,
                         .input = data.train->sample_shape()});
  check_fits(model, *data.train, settings.data);
  check_fits(model, *data.test, settings.data);
  fv::data::describe(model, *data.train);
  return model;
}

}  // namespace

TrainData open_data(const std::string& source) {
  return {.train = fv::data::open(source, fv::data::Split::train),
          .test = fv::data::open(source, fv::data::Split::test)};
}

Json data_json(const TrainData& data) {
  return {{"training samples", data.train->size()},
          {"test samples", data.test->size()},
          {"classes", data.train->classes().size()},
          {"mean", data.train->mean()},
          {"deviation", data.train->stddev()}};
}

double EpochReport::images_per_second() const {
  return static_cast<double>(train.samples) / std::max(seconds, 1e-9);
}

Json EpochReport::json() const {
  return {{"epoch", epoch},
          {"loss", train.loss()},
          {"train_accuracy", train.accuracy()},
          {"test_accuracy", test.accuracy()},
          {"test_loss", test.loss()},
          {"lr", lr},
          {"seconds", seconds},
          {"images_per_second", images_per_second()}};
}

Training::Training(const TrainSettings& settings, const TrainData& data)
    : settings_(settings),
      model_(new_model(settings, data)),
      loader_(data.train, {.batch = settings.batch, .shuffle = true, .seed = settings.seed}),
      optimizer_(new_optimizer(settings, model_)),
      schedule_{.kind = settings.schedule, .peak = learning_rate(settings)} {}

void Training::run_epoch(const std::function<void()>& between) {
  const fv::data::LoaderPosition start = loader_.position();
  const std::int64_t batches = loader_.batches();
  const auto last_step =
      static_cast<double>(std::max<std::int64_t>(settings_.epochs * batches - 1, 1));
  const EpochReport before = report_;
  const double started = seconds_now();
  report_.epoch = start.epoch + 1;
  Progress progress(fmt::format("epoch {}/{}", report_.epoch, settings_.epochs), batches,
                    start.batch);
  model_.train();
  std::int64_t done = start.batch;
  for (const auto& batch : loader_) {
    const auto step = static_cast<double>(start.epoch * batches + done);
    optimizer_->set_lr(fv::optim::learning_rate(schedule_, step / last_step));
    train_batch(batch);
    report_.seconds = before.seconds + seconds_now() - started;
    progress.update(++done, report_.train.samples - before.train.samples, report_.train.loss());
    between();
  }
  loader_.seek({.epoch = start.epoch, .batch = batches});  // not over before it is reported
}

void Training::train_batch(const fv::data::Batch& batch) {
  const fv::Tensor logits = model_(batch.images);
  const fv::Tensor loss = fv::cross_entropy(logits, batch.labels);
  const double value = loss.item<double>();
  if (!std::isfinite(value)) {
    throw Diverged(
        fmt::format("training diverged in epoch {}: the loss is {}; no network was saved. Try a "
                    "lower --lr (it was at most {})",
                    report_.epoch, value, schedule_.peak));
  }
  optimizer_->zero_grad();
  loss.backward();
  optimizer_->step();
  report_.train.add(logits, batch.labels, value);
}

EpochReport Training::finish_epoch(const Score& test) {
  EpochReport report = std::exchange(report_, {});
  report.epoch = loader_.position().epoch + 1;
  report.test = test;
  report.lr = optimizer_->lr();
  loader_.seek({.epoch = report.epoch, .batch = 0});
  return report;
}

fv::TrainingState Training::state() {
  return {.module = model_.module(), .optimizer = *optimizer_, .loader = &loader_};
}

Json Training::sums_json() const {
  return {{"loss", report_.train.loss_sum},
          {"correct", report_.train.correct},
          {"samples", report_.train.samples},
          {"seconds", report_.seconds}};
}

void Training::set_sums(const Json& sums) {
  report_.train.loss_sum = sums.at("loss").get<double>();
  report_.train.correct = sums.at("correct").get<std::int64_t>();
  report_.train.samples = sums.at("samples").get<std::int64_t>();
  report_.seconds = sums.at("seconds").get<double>();
}

std::string Training::place() const {
  const fv::data::LoaderPosition position = loader_.position();
  return fmt::format("epoch {} of {}, batch {} of {}", position.epoch + 1, settings_.epochs,
                     position.batch, loader_.batches());
}

void Training::check_epochs() const {
  const fv::data::LoaderPosition position = loader_.position();
  const std::int64_t begun = position.epoch + (position.batch > 0 ? 1 : 0);
  if (begun > settings_.epochs) {
    throw Misuse(fmt::format("--epochs is {}, but this training has begun its epoch {}",
                             settings_.epochs, begun));
  }
}

}  // namespace cli
