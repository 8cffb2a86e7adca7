// fovea train: a network from nothing to a .fovea file, or on from a checkpoint.
//
// Everything that can be wrong is looked for before the first batch: names, shapes, and whether the
// results can be written. Checkpoints are written and interrupts are answered between two steps,
// where the state is whole. The order at the end of an epoch is log, then checkpoint: who is killed
// in between trains and logs the rest of the epoch again.
#include <fmt/format.h>

#include <charconv>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "commands.h"
#include "interrupt.h"
#include "pictures.h"
#include "recipe.h"
#include "scoring.h"
#include "support.h"
#include "train_files.h"
#include "train_settings.h"
#include "training.h"

namespace cli {
namespace {

namespace fv = fovea;

// How often a checkpoint is written within an epoch: every so many batches, or by the clock.
struct SaveInterval {
  std::int64_t batches = 0;
  double seconds = 30;
};

struct TrainOptions {
  TrainSettings settings;
  std::string run;
  std::string out;
  std::string log;
  std::string recipe;
  std::string checkpoint_every;
  std::string plan_file;
  SaveInterval interval;  // which is that
  bool resume = false;
  bool json = false;
};

// "100" or "30s"
SaveInterval parse_interval(const std::string& text) {
  if (text.empty()) return {};
  const bool seconds = text.ends_with('s');
  const char* const end = text.data() + text.size() - (seconds ? 1 : 0);
  std::int64_t count = 0;
  const auto [after, error] = std::from_chars(text.data(), end, count);
  if (error != std::errc() || after != end || count < 1) {
    throw Misuse(fmt::format(
        "--checkpoint-every: must be a number of batches, as 100, or of seconds, as 30s, but is "
        "'{}'",
        text));
  }
  return seconds ? SaveInterval{.batches = 0, .seconds = static_cast<double>(count)}
                 : SaveInterval{.batches = count, .seconds = 0};
}

// Bytes that are not UTF-8, as a path may have, are replaced.
std::string text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// The notes of a checkpoint, which is a file from outside.
class StoredNotes {
 public:
  StoredNotes(fv::Notes notes, const std::string& file) : notes_(std::move(notes)), file_(file) {}

  bool has(const std::string& name) const { return notes_.contains(name); }
  const std::string& text(const std::string& name) const {
    const auto found = notes_.find(name);
    if (found == notes_.end())
      throw fv::Error(fmt::format("'{}' was not written by `fovea train`", file_));
    return found->second;
  }

  // Calls use(json); what it misses there is an Error that names the file.
  template <class Use>
  void read(const std::string& name, const Use& use) const {
    try {
      use(Json::parse(text(name)));
    } catch (const Json::exception& error) {
      throw fv::Error(fmt::format("'{}' has damaged {} ({})", file_, name, error.what()));
    }
  }

 private:
  fv::Notes notes_;
  const std::string& file_;
};

// Throws Error if the folder of --run holds a training.
void require_unused(const TrainFiles& files) {
  if (files.folder.empty()) return;
  for (const std::string& file : {files.checkpoint, files.log, files.network, files.best}) {
    if (exists(file)) {
      throw fv::Error(
          fmt::format("'{}' holds a training already ({}); go on with `{}`, or name another folder",
                      files.folder, file, files.resume));
    }
  }
}

// The most that tensors needed so far; not in the log, which is the same for every way there.
Json with_memory(Json epoch) {
  epoch["peak_tensor_bytes"] = fv::memory_stats().high_water;
  return epoch;
}

// What there is beside accuracy: "  IoU  91.20 %", "  AUC 0.8912".
std::string other_measures(const std::optional<double>& mean_iou,
                           const std::optional<double>& auc) {
  return (mean_iou ? fmt::format("  IoU {:6.2f} %", 100 * *mean_iou) : "") +
         (auc ? fmt::format("  AUC {:.4f}", *auc) : "");
}

// With the loss that was scored, where the best epoch is chosen by it.
void print_epoch(const EpochReport& report, std::int64_t epochs, bool with_loss) {
  fmt::print(
      "epoch {:>{}}/{}  loss {:.4f}  train {:6.2f} %  {} {:6.2f} %{}{}  {:5.1f} s  {:>7} "
      "images/s\n",
      report.epoch, std::to_string(epochs).size(), epochs, report.train.loss(),
      100 * report.train.accuracy(), report.scored_name, 100 * report.scored.accuracy(),
      with_loss ? fmt::format("  loss {:.4f}", report.scored.loss()) : "",
      other_measures(report.mean_iou, report.auc), report.seconds,
      grouped(static_cast<std::int64_t>(report.images_per_second())));
  std::fflush(stdout);
}

// "54,000 training, 6,000 validation and 10,000 test samples"
std::string sample_counts(const TrainData& data) {
  std::string text = fmt::format("{} training", grouped(data.train->size()));
  if (data.validation) {
    text +=
        fmt::format("{} {} validation", data.test ? "," : " and", grouped(data.validation->size()));
  }
  if (data.test) text += fmt::format(" and {} test", grouped(data.test->size()));
  return text + " samples";
}

void print_start(const TrainSettings& settings, const fv::nn::Model& model, const TrainData& data) {
  fmt::print("{}: {} parameters; {}: {} of {}; threads: {}\n", settings.network,
             grouped(model.module().parameter_count()), settings.data, sample_counts(data),
             join_sizes(data.train->sample_shape()), fv::num_threads());
  for (const std::string& how : model.info.adapted) fmt::print("adapted: {}\n", how);
  std::fflush(stdout);
}

// One run of the command: a training, its files, and when to write them.
class Run {
 public:
  // `plans`: the text of the plan file in use, or nothing.
  Run(const TrainOptions& options, const TrainSettings& settings, const TrainFiles& files,
      const std::string& plans)
      : settings_(settings),
        interval_(options.interval),
        json_(options.json),
        files_(files),
        data_(open_data(settings)),
        training_(settings_, data_),
        log_(files.log) {
    notes_ = {{"settings", text_of(settings_json(settings))},
              {"data", text_of(data_json(data_))},
              {"simd", fv::simd_target()},
              {"log-file", text_of(files.log)}};
    if (!plans.empty()) notes_["plans"] = plans;
  }

  void start() {
    if (!files_.folder.empty()) lock_ = FolderLock(files_.folder);
    require_unused(files_);
    fv::require_writable(files_.network);
    const std::vector<std::string> notes = training_.start();
    if (!files_.folder.empty()) {
      fv::write_text(files_.config, config());
      save();  // a run can be resumed from its very start
    }
    log_.start();  // behind all that can fail: it empties the file
    if (json_) return;
    print_start(settings_, training_.model(), data_);
    for (const std::string& note : notes) fmt::print("{}\n", note);
    std::fflush(stdout);
  }

  void resume() {
    const StoredNotes stored(fv::load_checkpoint(files_.checkpoint, training_.state()),
                             files_.checkpoint);
    stored.read("data", [&](const Json& data) { check_data(data); });
    stored.read("sums", [&](const Json& sums) { training_.set_sums(sums); });
    training_.check_epochs();
    fv::require_writable(files_.network);
    log_.resume(stored.text("log"));
    compare_simd(stored.text("simd"));
    saved_ = true;
    if (json_) return;
    print_start(settings_, training_.model(), data_);
    fmt::print("goes on from {}\n", training_.done() ? "its end" : training_.place());
    std::fflush(stdout);
  }

  void train() {
    last_saved_ = seconds_now();
    double seconds = 0;
    while (!training_.done()) {
      training_.run_epoch([this] { between_steps(); });
      const Evaluation evaluation = score_on(data_.scored());
      const EpochReport report = training_.finish_epoch(evaluation);
      seconds += report.seconds;
      log_.append(report.json().dump());
      if (!files_.folder.empty()) {
        write_pictures(evaluation.confusion);
        if (data_.validation && training_.is_best()) fv::save(training_.result(), files_.best);
        save();
      }
      if (json_)
        print_json(with_memory(report.json()));
      else
        print_epoch(report, settings_.epochs, settings_.select == Measure::loss);
    }
    finish(seconds);
  }

  // What to do after a failure, or nothing.
  std::string advice() const {
    return saved_ ? fmt::format("; `{}` goes on from the last checkpoint", files_.resume) : "";
  }

 private:
  // The settings, and what the data are.
  std::string config() const {
    return Json{{"settings", settings_json(settings_)}, {"data", data_json(data_)}}.dump(
               2, ' ', false, Json::error_handler_t::replace) +
           "\n";
  }

  void write_pictures(const Confusion& confusion) const {
    fv::write_text(files_.curves, curves_svg(log_.text()));
    fv::write_text(files_.confusion, confusion_svg(confusion, data_.train->classes()));
  }

  Evaluation score_on(const std::shared_ptr<const fv::data::Dataset>& dataset) {
    return score(training_.result(), dataset, settings_.batch, [this] { answer_interrupt(); });
  }

  // Saves the network, the best one where training stopped early; scores it on the test samples if
  // no epoch was.
  void finish(double seconds) {
    const bool early = training_.stopped_early() && !files_.folder.empty();
    if (early) {
      fv::load_weights(training_.result().module(), files_.best);
      if (!json_) {
        fmt::print(
            "stopped: no better {} on the validation samples than that of epoch {} in {} epochs; "
            "{} is the network of that epoch\n",
            training_.measure_name(), training_.best_epoch(), settings_.early_stopping,
            files_.network);
      }
    }
    fv::save(training_.result(), files_.network);
    if (data_.validation && data_.test) report_test(score_on(data_.test));
    if (!json_ && data_.validation && !files_.folder.empty()) {
      fmt::print("best {} on the validation samples: that of epoch {}, which {} has\n",
                 training_.measure_name(), training_.best_epoch(), files_.best);
    }
    if (files_.folder.empty()) {  // the network is whole, and nothing is left to go on with
      std::error_code ignored;
      std::filesystem::remove(files_.checkpoint, ignored);
    }
    if (!json_) {
      fmt::print("trained in {:.1f} s, at most {} of tensors, saved as {}\n", seconds,
                 readable_bytes(static_cast<double>(fv::memory_stats().high_water)),
                 files_.network);
    }
  }

  void report_test(const Evaluation& test) const {
    if (json_) {
      Json json = {{"test_accuracy", test.total.accuracy()}, {"test_loss", test.total.loss()}};
      if (const auto iou = test.mean_iou()) json["test_mean_iou"] = *iou;
      if (test.auc) json["test_auc"] = *test.auc;
      print_json(json);
      return;
    }
    fmt::print("test {:.2f} %{}\n", 100 * test.total.accuracy(),
               other_measures(test.mean_iou(), test.auc));
  }

  void save() {
    notes_["sums"] = text_of(training_.sums_json());
    notes_["log"] = log_.text();
    fv::save_checkpoint(files_.checkpoint, training_.state(), notes_);
    saved_ = true;
    last_saved_ = seconds_now();
    steps_ = 0;
  }

  void between_steps() {
    answer_interrupt();
    if (files_.folder.empty()) return;
    ++steps_;
    if (interval_.batches > 0 ? steps_ >= interval_.batches
                              : seconds_now() - last_saved_ >= interval_.seconds) {
      save();
    }
  }

  void answer_interrupt() {
    const int signal = interrupted();
    if (signal == 0) return;
    save();
    throw Interrupted(signal, fmt::format("interrupted in {}; saved as {}. Go on with\n  {}",
                                          training_.place(), files_.checkpoint, files_.resume));
  }

  void check_data(const Json& stored) const {
    const Json now = data_json(data_);
    for (const auto& [key, value] : now.items()) {
      if (stored.at(key) == value) continue;
      throw fv::Error(
          fmt::format("'{}' is not the data that this training was started with: {} was {}, now {}",
                      settings_.data, key, stored.at(key).dump(), value.dump()));
    }
  }

  static void compare_simd(const std::string& before) {
    if (before == fv::simd_target()) return;
    fmt::print(stderr,
               "fovea: this training was started with {}, which rounds otherwise than {} here: the "
               "result will not be the same to the last bit\n",
               before, fv::simd_target());
  }

  const TrainSettings& settings_;
  const SaveInterval interval_;
  const bool json_;
  const TrainFiles& files_;
  FolderLock lock_;
  TrainData data_;
  Training training_;
  EpochLog log_;
  fv::Notes notes_;     // of the next checkpoint
  bool saved_ = false;  // there is a checkpoint
  double last_saved_ = 0;
  std::int64_t steps_ = 0;  // since then
};

// Runs, and says after a failure what can still be done.
void run(const TrainOptions& options, const TrainSettings& settings, const TrainFiles& files,
         const std::string& plans) {
  std::optional<Run> run;
  std::string advice = options.resume ? fmt::format("; {} is as it was", files.checkpoint) : "";
  try {
    run.emplace(options, settings, files, plans);
    catch_interrupts();
    options.resume ? run->resume() : run->start();
    run->train();
  } catch (const Diverged&) {
    throw;
  } catch (const fv::Error& error) {
    if (run) advice = run->advice();
    throw fv::Error(error.what() + advice);
  } catch (const std::bad_alloc&) {
    if (run) advice = run->advice();
    throw fv::Error("memory: the system has none left" + advice);
  }
}

// Takes the plan file that was asked for into use; its text.
std::string plans_of(const TrainOptions& options) {
  if (options.plan_file.empty()) return {};
  const fv::PlanFile plans = fv::load_plan_file(options.plan_file);
  fv::use_plan_file(plans);
  return plans.to_string();
}

// The same for a training that goes on: it keeps the plans that it was started with, or its bits
// would change. On another SIMD target they do so anyhow, and its plans do not hold.
std::string plans_of(const TrainOptions& options, const StoredNotes& stored,
                     const std::string& checkpoint) {
  std::string before = stored.has("plans") ? stored.text("plans") : "";
  if (!options.plan_file.empty() && fv::load_plan_file(options.plan_file).to_string() != before) {
    throw Misuse(
        fmt::format("--plan-file: '{}' holds other plans than this training was started "
                    "with, which its checkpoint has",
                    options.plan_file));
  }
  if (before.empty() || stored.text("simd") != fv::simd_target()) return {};
  fv::use_plan_file(fv::PlanFile::parse(before, fmt::format("'{}': its plans", checkpoint)));
  return before;
}

void start(const TrainOptions& options) {
  check_settings(options.settings);
  if (options.settings.early_stopping > 0 && options.run.empty())
    throw Misuse("--early-stopping needs --run, where the best network is kept");
  const std::string out = options.out.empty() ? options.settings.network + ".fovea" : options.out;
  const TrainFiles files = train_files(options.run, out, options.log);
  require_unused(files);
  if (files.folder.empty() && exists(files.checkpoint)) {
    fmt::print(stderr,
               "fovea: {} holds an interrupted training and will be replaced; to go on with that "
               "one: {}\n",
               files.checkpoint, files.resume);
  }
  run(options, options.settings, files, plans_of(options));
}

void resume(const TrainOptions& options, const CLI::App& app) {
  std::string out = options.out;
  if (out.empty() && !options.settings.network.empty()) out = options.settings.network + ".fovea";
  if (options.run.empty() && out.empty())
    throw Misuse("--resume needs the folder, --run DIR, or the --out of what was interrupted");
  TrainFiles files = train_files(options.run, out, options.log);
  if (!exists(files.checkpoint)) {
    throw fv::Error(
        fmt::format("there is nothing to go on with: no such file as '{}'", files.checkpoint));
  }
  FolderLock lock;
  if (!files.folder.empty()) lock = FolderLock(files.folder);
  const StoredNotes stored(fv::load_notes(files.checkpoint), files.checkpoint);
  TrainSettings settings;
  stored.read("settings", [&](const Json& json) {
    settings = merge(settings_of(json, files.checkpoint), options.settings, app);
  });
  if (files.folder.empty() && files.log.empty())
    stored.read("log-file", [&](const Json& json) { files.log = json.get<std::string>(); });
  run(options, settings, files, plans_of(options, stored, files.checkpoint));
}

}  // namespace

Action train_command(CLI::App& app) {
  const auto options = std::make_shared<TrainOptions>();
  add_settings(app, options->settings);
  add_threads(app);
  add_plan_file(app, options->plan_file);
  CLI::Option* out = app.add_option("--out", options->out,
                                    "Where to save the trained network (default: NETWORK.fovea)")
                         ->type_name("FILE");
  CLI::Option* log =
      app.add_option("--log", options->log, "Write one JSON object per epoch to this file")
          ->type_name("FILE");
  CLI::Option* run =
      app.add_option("--run", options->run,
                     "Keep everything in this folder: model.fovea, best.fovea by --select, "
                     "config.json, log.jsonl, curves.svg, confusion.svg, and last.checkpoint, "
                     "from which a training that was stopped or killed goes on")
          ->excludes(out)
          ->excludes(log)
          ->type_name("DIR");
  app.add_flag("--resume", options->resume,
               "Go on with the training of --run, or with the interrupted one of --out, to the "
               "same bits as without a stop. The other options are those it was started with; "
               "--epochs may change (the schedule is then that of so many epochs), and --data "
               "where the same data have moved");
  app.add_option("--recipe", options->recipe,
                 "Read options from this file, in lines such as epochs = 20; those given here "
                 "have the last word")
      ->type_name("FILE");
  app.add_option(
         "--checkpoint-every", options->checkpoint_every,
         "With --run, how often to save within an epoch: a number of batches, or of seconds "
         "as 30s (default: 30s); the end of each epoch is always saved")
      ->needs(run)
      ->type_name("N|Ns");
  app.add_flag("--json", options->json, "Print one JSON object per epoch");
  app.footer(
      "Ctrl-C, SIGTERM and SIGHUP finish the batch, save a checkpoint (in DIR, or beside --out as\n"
      "NAME.checkpoint), print the command that goes on, and exit with 130, 143 or 129.\n"
      "Examples:\n"
      "  fovea train lenet5 --data fashion-mnist --epochs 10 --out lenet5.fovea\n"
      "  fovea train lenet5 --data fashion-mnist --augment flip,crop=2 --run runs/lenet5\n"
      "  fovea train --resume --run runs/lenet5");
  return [options, &app] {
    if (!options->recipe.empty()) apply_recipe(options->recipe, app);
    options->interval = parse_interval(options->checkpoint_every);
    options->resume ? resume(*options, app) : start(*options);
  };
}

}  // namespace cli
