// See split_source.h.
//
// A part that is taken from the training samples is a share of each class, drawn by the seed, or
// the samples whose names end in a number of a range. It is decided from names and labels, before a
// file is opened: a file that is broken or not changes no other one's place.
#include "data/split_source.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <iterator>
#include <numeric>
#include <utility>

#include "core/check.h"
#include "fovea/random.h"

namespace fovea::data {
namespace {

// Apart from the streams of initial weights, which count from 0, and of the loader, from 2^63.
constexpr std::uint64_t kSplitStreams = std::uint64_t{1} << 62;
constexpr double kTestShare = 0.2;  // where there is neither a test set nor an option
constexpr std::int64_t kKeepMiB = 1024;

using Indices = std::vector<std::int64_t>;

// "0.1", or "0-4".
struct PartRule {
  double share = 0;
  std::optional<std::pair<std::int64_t, std::int64_t>> range;
  bool any() const { return share > 0 || range.has_value(); }
};

PartRule part_rule(const Arguments& arguments, std::string_view key, PartBy by, double fallback) {
  const auto text = arguments.find(key);
  const std::size_t dash = text ? text->find('-', 1) : std::string::npos;
  if (dash == std::string::npos)
    return {.share = arguments.number(key, 0, 0.999999, fallback), .range = std::nullopt};
  if (by == PartBy::share)
    arguments.fail(key,
                   "a share such as 0.1: these samples have no files whose names have numbers");
  const char* const begin = text->data();
  const char* const end = begin + text->size();
  std::int64_t first = 0;
  std::int64_t last = 0;
  const auto [middle, bad_first] = std::from_chars(begin, end, first);
  const auto [after, bad_last] = std::from_chars(begin + dash + 1, end, last);
  if (bad_first != std::errc() || bad_last != std::errc() || middle != begin + dash ||
      after != end || first > last)
    arguments.fail(key, "a share such as 0.1, or a range of numbers in file names such as 0-4");
  return {.share = 0, .range = std::pair(first, last)};
}

// The last number in the name of a file, its ending left out: 3 of "7_theo_3.wav".
std::optional<std::int64_t> number_in(const std::string& name) {
  std::string stem = name.substr(name.rfind('/') + 1);
  stem = stem.substr(0, stem.find('.'));
  const std::size_t last = stem.find_last_of("0123456789");
  if (last == std::string::npos) return std::nullopt;
  const std::size_t before = stem.find_last_not_of("0123456789", last);
  const std::size_t first = before == std::string::npos ? 0 : before + 1;
  std::int64_t number = 0;
  const auto [after, error] = std::from_chars(stem.data() + first, stem.data() + last + 1, number);
  return error == std::errc() ? std::optional(number) : std::nullopt;
}

// Takes what `rule` says out of `indices`; the rest stays, both in their order.
Indices take_part(const Samples& samples, Indices& indices, const PartRule& rule,
                  std::uint64_t seed, Split split) {
  std::vector<bool> taken(static_cast<std::size_t>(samples.size()), false);
  if (rule.range) {
    for (const std::int64_t index : indices) {
      const auto number = number_in(samples.name(index));
      taken[static_cast<std::size_t>(index)] =
          number && *number >= rule.range->first && *number <= rule.range->second;
    }
  } else {
    std::map<std::int64_t, Indices> classes;
    for (const std::int64_t index : indices) classes[samples.label(index)].push_back(index);
    Generator generator{.seed = seed,
                        .next_stream = kSplitStreams + (static_cast<std::uint64_t>(split) << 32)};
    for (const auto& [label, members] : classes) {
      const auto count = static_cast<std::int64_t>(members.size());
      const Indices order = permutation(count, generator);
      const auto part = std::llround(rule.share * static_cast<double>(count));
      for (std::int64_t i = 0; i < part; ++i) {
        const auto place = static_cast<std::size_t>(order[static_cast<std::size_t>(i)]);
        taken[static_cast<std::size_t>(members[place])] = true;
      }
    }
  }
  Indices part;
  Indices rest;
  for (const std::int64_t index : indices)
    (taken[static_cast<std::size_t>(index)] ? part : rest).push_back(index);
  indices = std::move(rest);
  return part;
}

struct SplitRules {
  SampleSetOptions set;
  std::uint64_t seed = 1;
  PartRule validation;
  PartRule test;
};

SplitRules rules_from(const Arguments& arguments, const Collection& collection) {
  SplitRules rules{
      .set = {.op = arguments.op(),
              .skip_broken = arguments.choice("broken", {"fail", "skip"}) == 1,
              .keep = arguments.whole("keep", 0, 1 << 30, kKeepMiB) << 20},
      .seed = static_cast<std::uint64_t>(arguments.whole("seed", 0, INT64_MAX, 1)),
      .validation = part_rule(arguments, "validation", collection.parts, 0),
      .test = part_rule(arguments, "test", collection.parts, collection.test ? 0 : kTestShare)};
  FOVEA_CHECK(!collection.validation || !rules.validation.any(),
              "{}: validation is given, but the data set has validation samples of its own",
              arguments.op());
  FOVEA_CHECK(!collection.test || !rules.test.any(),
              "{}: test is given, but the data set has test samples of its own", arguments.op());
  return rules;
}

class SplitSource : public Source {
 public:
  SplitSource(SplitRules rules, Collection collection)
      : rules_(std::move(rules)), collection_(std::move(collection)) {}

  bool has(Split split) const override {
    return split == Split::train ||
           (split == Split::test && (collection_.test || rules_.test.any())) ||
           (split == Split::validation && (collection_.validation || rules_.validation.any()));
  }

  std::shared_ptr<const Dataset> open(Split split) const override {
    const std::lock_guard lock(mutex_);
    FOVEA_CHECK(
        has(split), "{}: there are no {} samples{}", rules_.set.op, fovea::data::name(split),
        split == Split::validation ? "; validation=0.1 takes a tenth of the training samples" : "");
    return set_of(split);
  }

 private:
  struct Part {
    std::shared_ptr<const Samples> samples;
    Indices indices;
  };

  std::shared_ptr<const SampleSet> set_of(Split split) const {
    auto& opened = sets_[static_cast<std::size_t>(split)];
    if (opened != nullptr) return opened;
    std::optional<Statistics> statistics = collection_.statistics;
    if (!statistics && split != Split::train) statistics = set_of(Split::train)->statistics();
    Part part = part_of(split);
    FOVEA_CHECK(!part.indices.empty(), "{}: there are no {} samples{}", rules_.set.op,
                fovea::data::name(split),
                split == Split::train ? "" : " in the part that was asked for");
    auto set =
        std::make_shared<const SampleSet>(part.samples, std::move(part.indices),
                                          collection_.classes, rules_.set, std::move(statistics));
    FOVEA_CHECK(set->size() > 0, "{}: none of the {} {} samples can be read; the first: {}",
                rules_.set.op, set->broken().size(), fovea::data::name(split),
                set->broken()[0].reason);
    if (split != Split::train) check_same_shape(*set);
    opened = std::move(set);
    return opened;
  }

  void check_same_shape(const SampleSet& set) const {
    const auto& train = sets_[static_cast<std::size_t>(Split::train)];
    FOVEA_CHECK(train == nullptr || set.raw_shape() == train->raw_shape(),
                "{}: '{}' is {}, but the training samples are {}{}", rules_.set.op, set.name(0),
                set.raw_shape(), train->raw_shape(), train->advice());
  }

  Part part_of(Split split) const {
    const SampleReader& reader = split == Split::test         ? collection_.test
                                 : split == Split::validation ? collection_.validation
                                                              : nullptr;
    if (reader) return whole(reader());
    if (train_ == nullptr) cut_training_samples();
    return {.samples = train_, .indices = cuts_[static_cast<std::size_t>(split)]};
  }

  static Part whole(std::shared_ptr<const Samples> samples) {
    Indices indices(static_cast<std::size_t>(samples->size()));
    std::iota(indices.begin(), indices.end(), 0);
    return {.samples = std::move(samples), .indices = std::move(indices)};
  }

  void cut_training_samples() const {
    Part all = whole(collection_.train());
    if (rules_.test.any())
      cuts_[static_cast<std::size_t>(Split::test)] =
          take_part(*all.samples, all.indices, rules_.test, rules_.seed, Split::test);
    if (rules_.validation.any())
      cuts_[static_cast<std::size_t>(Split::validation)] =
          take_part(*all.samples, all.indices, rules_.validation, rules_.seed, Split::validation);
    cuts_[static_cast<std::size_t>(Split::train)] = std::move(all.indices);
    train_ = std::move(all.samples);
  }

  const SplitRules rules_;
  const Collection collection_;

  mutable std::mutex mutex_;  // of what follows, which is filled when it is needed
  mutable std::shared_ptr<const Samples> train_;
  mutable std::array<Indices, 3> cuts_;  // of the training samples, by split
  mutable std::array<std::shared_ptr<const SampleSet>, 3> sets_;
};

}  // namespace

std::vector<SourceOption> split_options(PartBy by) {
  const SourceOption validation =
      by == PartBy::share
          ? SourceOption{"validation", "SHARE",
                         "this share of each class's training samples is set aside for validation, "
                         "drawn by the seed (default: 0)"}
          : SourceOption{"validation", "SHARE or A-B",
                         "this share of each class's training samples is set aside for validation, "
                         "drawn by the seed; or those whose file names end in a number from A to B "
                         "(default: 0)"};
  return {validation, {"seed", "N", "of the parts that are drawn (default: 1)"}};
}

std::vector<SourceOption> test_options(PartBy by) {
  return {{"test", by == PartBy::share ? "SHARE" : "SHARE or A-B",
           "as validation, for the test samples, where the data have none apart (default: 0.2)"}};
}

std::vector<SourceOption> file_options() {
  return {{"broken", "fail or skip",
           "what to do about a sample that cannot be read: stop and name it, or leave it out and "
           "count it (default: fail)"},
          {"keep", "MIB",
           "decoded samples of a split stay in memory if they need no more than this; otherwise "
           "each is decoded when it is needed (default: 1024)"}};
}

std::vector<SourceOption> joined(std::initializer_list<std::vector<SourceOption>> lists) {
  std::vector<SourceOption> all;
  for (const std::vector<SourceOption>& list : lists)
    all.insert(all.end(), list.begin(), list.end());
  return all;
}

std::shared_ptr<const Source> split_source(const Arguments& arguments, Collection collection) {
  SplitRules rules = rules_from(arguments, collection);
  return std::make_shared<SplitSource>(std::move(rules), std::move(collection));
}

std::shared_ptr<const Source> split_source(const std::string& op, Collection collection) {
  SplitRules rules;
  rules.set.op = op;
  return std::make_shared<SplitSource>(std::move(rules), std::move(collection));
}

}  // namespace fovea::data
