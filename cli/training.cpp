// See training.h. The learning rate follows the schedule batch by batch; the number of the step is
// where the loader stands, so there is nothing else to remember.
#include "training.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
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
                         .input = data.train->sample_shape(),
                         .width = settings.width});
  check_fits(model, *data.train, settings.data);
  check_fits(model, *data.scored(), settings.data);
  fv::data::describe(model, *data.train);
  return model;
}

std::vector<std::string> freeze(const TrainSettings& settings, fv::nn::Module& module) {
  std::vector<std::string> frozen;
  for (const std::string& pattern : settings.freeze) {
    const std::vector<std::string> names = module.freeze(pattern);
    if (names.empty()) {
      throw Misuse(
          fmt::format("--freeze: no parameter of {} fits '{}'; `fovea inspect {}` lists "
                      "its layers",
                      settings.network, pattern, settings.network));
    }
    frozen.insert(frozen.end(), names.begin(), names.end());
  }
  const std::vector<fv::Tensor> left = module.parameters();
  if (std::none_of(left.begin(), left.end(), [](const auto& one) { return one.requires_grad(); }))
    throw Misuse("--freeze: nothing is left to train");
  return frozen;
}

// "balanced": samples / (classes * samples of the class), or cells of masks, so that each class
// counts alike.
std::vector<double> class_weights(const TrainSettings& settings, const fv::data::Dataset& dataset) {
  const std::size_t classes = dataset.classes().size();
  std::vector<double> weights;
  if (settings.class_weights == std::vector<std::string>{"balanced"}) {
    const std::vector<std::int64_t> counts = class_counts(dataset);
    const auto all =
        static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
    for (const std::int64_t count : counts) {
      weights.push_back(
          count == 0 ? 0 : all / static_cast<double>(count) / static_cast<double>(classes));
    }
    return weights;
  }
  for (const std::string& text : settings.class_weights) {
    double weight = -1;
    const char* const end = text.data() + text.size();
    const auto [after, error] = std::from_chars(text.data(), end, weight);
    if (error != std::errc() || after != end || !(weight >= 0) || !std::isfinite(weight)) {
      throw Misuse(
          fmt::format("--class-weights: must be balanced, or a number of at least 0 for each "
                      "class, but is '{}'",
                      text));
    }
    weights.push_back(weight);
  }
  if (!weights.empty() && weights.size() != classes) {
    throw Misuse(fmt::format("--class-weights: there are {} for the {} classes of '{}'",
                             weights.size(), classes, settings.data));
  }
  return weights;
}

// Throws Misuse where --select cannot be computed of the validation samples.
void check_select(Measure measure, const TrainData& data) {
  if (!data.validation)
    throw Misuse("--select needs --validation: the test samples are not to choose by");
  const fv::data::Dataset& scored = *data.validation;
  if (measure == Measure::iou && !scored.has_masks())
    throw Misuse("--select iou is for data with masks; these samples have labels");
  if (measure != Measure::auc) return;
  if (scored.has_masks() || scored.classes().size() != 2) {
    throw Misuse(fmt::format(
        "--select auc is for samples of two classes; these {}",
        scored.has_masks() ? "have masks" : fmt::format("have {}", scored.classes().size())));
  }
  const std::vector<std::int64_t> counts = class_counts(scored);
  for (std::size_t c = 0; c < counts.size(); ++c) {
    if (counts[c] > 0) continue;
    throw Misuse(
        fmt::format("--select auc compares two classes, but no validation sample is of class '{}'",
                    scored.classes()[c]));
  }
}

}  // namespace

TrainData open_data(const TrainSettings& settings) {
  using fv::data::Split;
  std::string text = settings.data;
  if (settings.validation > 0)
    text = with_option(text, fmt::format("validation={}", settings.validation));
  const auto source = fv::data::open(text);
  const auto part = [&](Split split) {
    return source->has(split) ? source->open(split) : std::shared_ptr<const fv::data::Dataset>();
  };
  TrainData data{.train = source->open(Split::train),
                 .validation = part(Split::validation),
                 .test = part(Split::test)};
  if (!data.scored()) {
    throw fv::Error(
        fmt::format("'{}' has neither validation nor test samples; --validation 0.1 "
                    "sets a tenth of the training samples apart",
                    settings.data));
  }
  if (settings.early_stopping > 0 && !data.validation)
    throw Misuse("--early-stopping needs --validation: the test samples are not to choose by");
  if (settings.select) check_select(*settings.select, data);
  return data;
}

Json data_json(const TrainData& data) {
  return {{"training samples", data.train->size()},
          {"validation samples", data.validation ? data.validation->size() : 0},
          {"test samples", data.test ? data.test->size() : 0},
          {"classes", data.train->classes().size()},
          {"mean", data.train->mean()},
          {"deviation", data.train->stddev()}};
}

double EpochReport::images_per_second() const {
  return static_cast<double>(train.samples) / std::max(seconds, 1e-9);
}

Json EpochReport::json() const {
  Json json = {{"epoch", epoch},
               {"loss", train.loss()},
               {"train_accuracy", train.accuracy()},
               {scored_name + "_accuracy", scored.accuracy()},
               {scored_name + "_loss", scored.loss()},
               {"lr", lr},
               {"seconds", seconds},
               {"images_per_second", images_per_second()}};
  if (mean_iou) json[scored_name + "_mean_iou"] = *mean_iou;
  if (auc) json[scored_name + "_auc"] = *auc;
  return json;
}

Training::Training(const TrainSettings& settings, const TrainData& data)
    : settings_(settings),
      measure_(
          settings.select.value_or(data.train->has_masks() ? Measure::iou : Measure::accuracy)),
      model_(new_model(settings, data)),
      frozen_(freeze(settings, model_.module())),
      loader_(data.train, {.batch = settings.batch,
                           .shuffle = true,
                           .seed = settings.seed,
                           .augment = settings.augment}),
      optimizer_(new_optimizer(settings, model_)),
      schedule_(schedule_of(settings)),
      loss_{.label_smoothing = settings.label_smoothing,
            .class_weights = class_weights(settings, *data.train)} {
  if (data.train->has_masks())
    loss_.ignored = fv::data::kIgnored;
  else if (settings.dice > 0)
    throw Misuse(fmt::format("--dice is for data with masks; the samples of '{}' have labels",
                             settings.data));
  report_.scored_name = data.scored_name();
  if (settings.ema == 0) return;
  averaged_ = new_model(settings, data);
  average_.emplace(model_.module().state(), averaged_.module().state(),
                   fv::optim::MovingAverageOptions{.decay = settings.ema});
}

std::vector<std::string> Training::start() {
  std::vector<std::string> notes;
  if (!settings_.weights.empty()) {
    const fv::LoadReport report =
        fv::load_weights(model_.module(), settings_.weights, {.strict = false});
    const std::size_t all = model_.module().state().size();
    if (report.fitting == 0) {
      throw fv::Error(fmt::format("'{}' has no weights that fit {}. {}", settings_.weights,
                                  settings_.network, report.to_string()));
    }
    notes.push_back(fmt::format("weights: {} of {} tensors from {}. {}", report.fitting, all,
                                settings_.weights, report.to_string()));
    if (average_) average_->set_state(model_.module().state(), 0);
  }
  if (!frozen_.empty()) {
    notes.push_back(fmt::format("frozen: {} of {} parameter tensors", frozen_.size(),
                                model_.parameters().size()));
  }
  return notes;
}

bool Training::done() const {
  return loader_.position().epoch >= settings_.epochs || stopped_early();
}

bool Training::stopped_early() const {
  const fv::data::LoaderPosition position = loader_.position();
  return settings_.early_stopping > 0 && position.batch == 0 && best_.epoch > 0 &&
         position.epoch - best_.epoch >= settings_.early_stopping;
}

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
    const auto count = static_cast<double>(batch.images.size(0));
    train_batch(batch, count / static_cast<double>(samples_of_step(done)));
    ++done;
    const bool stepped = done % settings_.accumulate == 0 || done == batches;
    if (stepped) {
      const auto place = static_cast<double>(start.epoch * batches + done - 1);
      optimizer_->set_lr(fv::optim::learning_rate(schedule_, place / last_step));
      step();
    }
    report_.seconds = before.seconds + seconds_now() - started;
    progress.update(done, report_.train.samples - before.train.samples, report_.train.loss());
    if (stepped) between();  // gradients are in no checkpoint
  }
  loader_.seek({.epoch = start.epoch, .batch = batches});  // not over before it is reported
}

// Gradients of the batches of a step add up to that of the mean over all their samples.
void Training::train_batch(const fv::data::Batch& batch, double share) {
  const fv::Tensor logits = model_(batch.images);
  const fv::Tensor loss = loss_of(logits, batch.labels);
  const double value = loss.item<double>();
  if (!std::isfinite(value)) {
    throw Diverged(
        fmt::format("training diverged in epoch {}: the loss is {}; no network was saved. Try a "
                    "lower --lr (it was at most {})",
                    report_.epoch, std::isnan(value) ? "nan" : "infinite", schedule_.peak));
  }
  if (share == 1)
    loss.backward();
  else
    (loss * share).backward();
  report_.train.add(logits, batch.labels, value);
}

// With --dice a mean of both.
fv::Tensor Training::loss_of(const fv::Tensor& logits, const fv::Tensor& labels) const {
  const double share = settings_.dice;
  if (share == 0) return fv::cross_entropy(logits, labels, loss_);
  const fv::Tensor dice = fv::dice_loss(logits, labels, {.ignored = loss_.ignored});
  return share == 1 ? dice : fv::cross_entropy(logits, labels, loss_) * (1 - share) + dice * share;
}

std::int64_t Training::samples_of_step(std::int64_t batch) const {
  const std::int64_t first = batch / settings_.accumulate * settings_.accumulate;
  const std::int64_t last = std::min(first + settings_.accumulate, loader_.batches());
  return std::min(last * settings_.batch, loader_.samples()) - first * settings_.batch;
}

void Training::step() {
  if (settings_.clip > 0) fv::optim::clip_norm(model_.parameters(), settings_.clip);
  optimizer_->step();
  optimizer_->zero_grad();
  if (average_) average_->update();
}

EpochReport Training::finish_epoch(const Evaluation& evaluation) {
  EpochReport report = std::exchange(report_, {});
  report_.scored_name = report.scored_name;
  report.epoch = loader_.position().epoch + 1;
  report.scored = evaluation.total;
  report.mean_iou = evaluation.mean_iou();
  report.auc = evaluation.auc;
  report.lr = optimizer_->lr();
  loader_.seek({.epoch = report.epoch, .batch = 0});
  const double value = value_of(report);
  if (best_.epoch == 0 || value > best_.value) best_ = {.epoch = report.epoch, .value = value};
  return report;
}

std::string Training::measure_name() const {
  switch (measure_) {
    case Measure::accuracy:
      return "accuracy";
    case Measure::loss:
      return "loss";
    case Measure::auc:
      return "AUC";
    case Measure::iou:
      return "mean IoU";
  }
  return {};
}

double Training::value_of(const EpochReport& report) const {
  double value = report.scored.accuracy();
  if (measure_ == Measure::loss) value = -report.scored.loss();
  if (measure_ == Measure::auc) value = report.auc.value();
  if (measure_ == Measure::iou) value = report.mean_iou.value();
  // A loss may be infinite or nan, which no checkpoint can hold.
  return std::isfinite(value) ? value : std::numeric_limits<double>::lowest();
}

fv::TrainingState Training::state() {
  return {.module = model_.module(),
          .optimizer = *optimizer_,
          .loader = &loader_,
          .average = average_ ? &*average_ : nullptr};
}

Json Training::sums_json() const {
  return {{"loss", report_.train.loss_sum}, {"correct", report_.train.correct},
          {"labels", report_.train.labels}, {"samples", report_.train.samples},
          {"seconds", report_.seconds},     {"best epoch", best_.epoch},
          {"best value", best_.value}};
}

void Training::set_sums(const Json& sums) {
  report_.train.loss_sum = sums.at("loss").get<double>();
  report_.train.correct = sums.at("correct").get<std::int64_t>();
  report_.train.labels = sums.at("labels").get<std::int64_t>();
  report_.train.samples = sums.at("samples").get<std::int64_t>();
  report_.seconds = sums.at("seconds").get<double>();
  best_ = {.epoch = sums.at("best epoch").get<std::int64_t>(),
           .value = sums.at("best value").get<double>()};
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
