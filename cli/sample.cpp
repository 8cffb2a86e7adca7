// fovea sample: one sample of a data set, written as an image: of a volume its middle slice, of a
// signal a plot.
#include <fmt/format.h>

#include <memory>

#include "commands.h"
#include "pictures.h"
#include "support.h"

namespace cli {
namespace {

using fovea::data::Split;

struct SampleOptions {
  std::string data;
  std::int64_t index = 0;
  Split split = Split::test;
  std::string out;
  bool json = false;
};

void sample(const SampleOptions& options) {
  require_png(options.out);
  const auto dataset = fovea::data::open(options.data, options.split);
  if (options.index >= dataset->size()) {
    throw fovea::Error(fmt::format("sample: there is no sample {}; '{}' has {}, numbered from 0",
                                   options.index, options.data, dataset->size()));
  }
  fovea::data::write_png(options.out, picture_of(*dataset, options.index));
  if (dataset->has_masks()) {
    if (options.json)
      print_json({{"file", options.out}, {"index", options.index}});
    else
      fmt::print("{}: sample {} of {}, with its mask\n{}\n", options.out, options.index,
                 options.data, mask_colours(dataset->classes()));
    return;
  }
  const std::int64_t label = dataset->label(options.index);
  const std::string& name = dataset->classes().at(static_cast<std::size_t>(label));
  if (options.json) {
    print_json(
        {{"file", options.out}, {"index", options.index}, {"class", name}, {"label", label}});
  } else {
    fmt::print("{}: sample {} of {}, labelled {}\n", options.out, options.index, options.data,
               name);
  }
}

}  // namespace

Action sample_command(CLI::App& app) {
  const auto options = std::make_shared<SampleOptions>();
  add_data(app, options->data);
  app.add_option("--index", options->index, "Which sample, from 0")
      ->check(whole_number(0))
      ->capture_default_str()
      ->type_name("N");
  add_split(app, options->split);
  app.add_option("--out", options->out, "The PNG to write")->required()->type_name("FILE.png");
  app.add_flag("--json", options->json, "Print one JSON object");
  app.footer("Example:\n  fovea sample --data fashion-mnist --index 0 --out shoe.png");
  return [options] { sample(*options); };
}

}  // namespace cli
