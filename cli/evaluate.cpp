// fovea evaluate: how well a trained network does on a data set, class by class, and where it errs.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "commands.h"
#include "pictures.h"
#include "scoring.h"
#include "support.h"

namespace cli {
namespace {

using fovea::data::Split;

struct EvaluateOptions {
  std::string model;
  std::string data;
  Split split = Split::test;
  std::int64_t batch = 256;
  std::string plan_file;
  std::string mistakes;
  std::int64_t count = 64;
  bool json = false;
};

using Names = std::vector<std::string>;

const std::string& name_of(const Names& classes, std::int64_t label) {
  return classes[static_cast<std::size_t>(label)];
}

Json evaluation_json(const Evaluation& evaluation, const Names& classes) {
  Json json = {{"accuracy", evaluation.total.accuracy()},
               {"loss", evaluation.total.loss()},
               {"samples", evaluation.total.samples}};
  if (evaluation.masks)
    json["mean_iou"] = *evaluation.mean_iou();
  else
    json["top5"] = evaluation.top5();
  if (evaluation.auc) json["auc"] = *evaluation.auc;
  const Confusion& confusion = evaluation.confusion;
  Json rows = Json::array();
  Json matrix = Json::array();
  for (std::size_t c = 0; c < classes.size(); ++c) {
    rows.push_back({{"class", classes[c]},
                    {"precision", confusion.precision(c)},
                    {"recall", confusion.recall(c)},
                    {evaluation.masks ? "pixels" : "samples", confusion.labelled(c)}});
    if (evaluation.masks) {
      rows.back()["iou"] = confusion.iou(c);
      rows.back()["dice"] = confusion.dice(c);
    }
    Json row = Json::array();
    for (std::size_t other = 0; other < classes.size(); ++other)
      row.push_back(confusion.at(c, other));
    matrix.push_back(row);
  }
  json["classes"] = rows;
  json["confusion"] = matrix;
  return json;
}

void print_classes_of_masks(const Confusion& confusion, const Names& classes) {
  const auto percent = [](double share) { return fmt::format("{:.2f} %", 100 * share); };
  Table table({"class", "IoU", "Dice", "precision", "recall", "pixels"}, 1);
  for (std::size_t c = 0; c < classes.size(); ++c) {
    table.add({classes[c], percent(confusion.iou(c)), percent(confusion.dice(c)),
               percent(confusion.precision(c)), percent(confusion.recall(c)),
               grouped(confusion.labelled(c))});
  }
  table.print();
}

void print_evaluation(const Evaluation& evaluation, const Names& classes) {
  const Score& total = evaluation.total;
  fmt::print("accuracy {:.2f} %  loss {:.4f}  samples {}", 100 * total.accuracy(), total.loss(),
             grouped(total.samples));
  if (evaluation.masks)
    fmt::print("  mean IoU {:.2f} %", 100 * *evaluation.mean_iou());
  else if (classes.size() > 5)
    fmt::print("  top-5 {:.2f} %", 100 * evaluation.top5());
  if (evaluation.auc) fmt::print("  AUC {:.4f}", *evaluation.auc);
  fmt::print("\n");
  if (evaluation.masks) {
    print_classes_of_masks(evaluation.confusion, classes);
    return;
  }
  Table table({"class", "precision", "recall", "samples"}, 1);
  for (std::size_t c = 0; c < classes.size(); ++c) {
    table.add({classes[c], fmt::format("{:.2f} %", 100 * evaluation.confusion.precision(c)),
               fmt::format("{:.2f} %", 100 * evaluation.confusion.recall(c)),
               grouped(evaluation.confusion.labelled(c))});
  }
  table.print();
}

constexpr std::int64_t kColumns = 8;

// A sample of masks as it is, with its mask, and with the answer.
void add_answer(std::vector<fovea::Tensor>& pictures, const fovea::nn::Model& model,
                const fovea::data::Dataset& dataset, std::int64_t index) {
  std::vector<float> values(static_cast<std::size_t>(dataset.sample_shape().numel()));
  dataset.read(index, values);
  const fovea::Tensor picture =
      picture_of(values, dataset.sample_shape(), dataset.mean(), dataset.stddev());
  pictures.push_back(with_mask(picture, std::vector<std::int64_t>(values.size())));
  pictures.push_back(picture_of(dataset, index));
  pictures.push_back(with_mask(picture, mask_answered(model, dataset, index)));
}

// The most confident ones, as a sheet; returns them.
std::vector<Mistake> write_mistakes(const EvaluateOptions& options, const fovea::nn::Model& model,
                                    const Evaluation& evaluation,
                                    const fovea::data::Dataset& dataset) {
  std::vector<Mistake> shown = evaluation.mistakes;
  shown.resize(std::min(shown.size(), static_cast<std::size_t>(options.count)));
  std::vector<fovea::Tensor> pictures;
  for (const Mistake& mistake : shown) {
    if (evaluation.masks)
      add_answer(pictures, model, dataset, mistake.index);
    else
      pictures.push_back(picture_of(dataset, mistake.index));
  }
  if (!pictures.empty())
    fovea::data::write_png(options.mistakes, sheet_of(pictures, evaluation.masks ? 3 : kColumns));
  return shown;
}

Json mistakes_json(const std::vector<Mistake>& mistakes, const Names& classes, bool masks) {
  Json rows = Json::array();
  for (const Mistake& mistake : mistakes) {
    if (masks) {
      rows.push_back({{"index", mistake.index}, {"wrong", mistake.confidence}});
      continue;
    }
    rows.push_back({{"index", mistake.index},
                    {"class", name_of(classes, mistake.label)},
                    {"predicted", name_of(classes, mistake.predicted)},
                    {"probability", mistake.confidence}});
  }
  return rows;
}

void print_mistakes(const std::string& file, const std::vector<Mistake>& mistakes,
                    const Names& classes, bool masks) {
  if (mistakes.empty()) {
    fmt::print("no mistakes: {} is not written\n", file);
    return;
  }
  if (masks) {
    fmt::print(
        "{}: the {} samples with the most wrong pixels, each with its mask and the answer;\n{}:\n",
        file, mistakes.size(), mask_colours(classes));
    Table table({"sample", "wrong pixels"}, 0);
    for (const Mistake& mistake : mistakes) {
      table.add({std::to_string(mistake.index), fmt::format("{:.2f} %", 100 * mistake.confidence)});
    }
    table.print();
    return;
  }
  fmt::print("{}: the {} most confident mistakes, in rows of {}:\n", file, mistakes.size(),
             kColumns);
  Table table({"sample", "class", "predicted", "probability"}, 3);
  for (const Mistake& mistake : mistakes) {
    table.add({std::to_string(mistake.index), name_of(classes, mistake.label),
               name_of(classes, mistake.predicted),
               fmt::format("{:.2f} %", 100 * mistake.confidence)});
  }
  table.print();
}

// A network answers by number; where its classes are called otherwise, that may be a mistake.
void note_other_names(const EvaluateOptions& options, const Names& trained, const Names& names) {
  if (trained.size() != names.size() || trained == names) return;
  const auto first = std::mismatch(trained.begin(), trained.end(), names.begin());
  const auto some = [](Names::const_iterator name, Names::const_iterator end) {
    constexpr std::ptrdiff_t kNamed = 3;
    const auto last = name + std::min(kNamed, end - name);
    return fmt::format("{}{}", fmt::join(name, last, ", "), last == end ? "" : ", ...");
  };
  fmt::print(stderr, "note: {} was trained on {}; these are {}\n", options.model,
             some(first.first, trained.end()), some(first.second, names.end()));
}

void evaluate(const EvaluateOptions& options) {
  use_plan_file(options.plan_file);
  if (!options.mistakes.empty()) require_png(options.mistakes);
  const fovea::nn::Model model = load_model(options.model);
  const auto dataset = fovea::data::open(options.data, options.split);
  check_fits(model, *dataset, options.data);
  note_other_names(options, model.info.classes, dataset->classes());
  const Evaluation evaluation = score(model, dataset, options.batch);
  const Names& classes = dataset->classes();
  std::vector<Mistake> mistakes;
  if (!options.mistakes.empty()) mistakes = write_mistakes(options, model, evaluation, *dataset);
  if (options.json) {
    Json json = evaluation_json(evaluation, classes);
    if (!options.mistakes.empty())
      json["mistakes"] = mistakes_json(mistakes, classes, evaluation.masks);
    print_json(json);
    return;
  }
  print_evaluation(evaluation, classes);
  if (!options.mistakes.empty())
    print_mistakes(options.mistakes, mistakes, classes, evaluation.masks);
}

}  // namespace

Action evaluate_command(CLI::App& app) {
  const auto options = std::make_shared<EvaluateOptions>();
  app.add_option("model", options->model, "A .fovea file")->required()->type_name("MODEL");
  add_data(app, options->data);
  add_split(app, options->split);
  app.add_option("--batch", options->batch, "Samples at a time")
      ->check(whole_number(1))
      ->capture_default_str()
      ->type_name("N");
  add_threads(app);
  add_plan_file(app, options->plan_file);
  app.add_option(
         "--mistakes", options->mistakes,
         "Write the most confident mistakes, of masks the samples with the most wrong pixels, "
         "as a sheet of pictures, and list them")
      ->type_name("FILE.png");
  app.add_option("--count", options->count, "How many of them at most")
      ->check(whole_number(1, 1000))
      ->capture_default_str()
      ->type_name("N");
  app.add_flag("--json", options->json,
               "Print one JSON object: accuracy, loss, samples, top5, classes, confusion");
  app.footer(
      "Examples:\n  fovea evaluate lenet5.fovea --data fashion-mnist\n"
      "  fovea evaluate lenet5.fovea --data fashion-mnist --mistakes mistakes.png");
  return [options] { evaluate(*options); };
}

}  // namespace cli
