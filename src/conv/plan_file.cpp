// Plan files: reading, checking and writing them, and the one in use.
//
// {"format": "fovea plan", "version": 1, "simd": "AVX3", "processor": "...", "threads": 2,
//  "entries": [{"problem": "mb1ic64ih56oc64kh3ph1", "pass": "forward", "algorithm": "winograd",
//               "seconds": 0.00031}, ...]}
//
// The file is not trusted: it is small, its numbers are checked, and each entry must be a problem
// that its algorithm accepts. A change that older readers would misread raises the version.
#include "conv/plan_file.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <mutex>
#include <set>
#include <utility>

#include "conv/padding_mode.h"
#include "core/atomic_file.h"
#include "core/check.h"
#include "core/input_file.h"
#include "core/printable.h"
#include "core/strict_json.h"
#include "fovea/executor.h"
#include "kernels/simd.h"

namespace fovea {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kFormat = "fovea plan";
constexpr std::int64_t kVersion = 1;
constexpr std::int64_t kMaxBytes = std::int64_t{16} << 20;
constexpr int kMaxDepth = 3;  // {"entries": [{

std::string processor_name() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

// Throws Error if the file is of another target, or an entry cannot be.
void check_plan_file(const PlanFile& file, const std::string& source) {
  const std::string here = kernels::simd_name();
  FOVEA_CHECK(file.simd == here,
              "{}: its plans hold for the SIMD target '{}', but '{}' is in use; search again here, "
              "or set FOVEA_SIMD",
              source, printable(file.simd), here);
  std::set<std::pair<std::string, Pass>> seen;
  for (std::size_t i = 0; i < file.entries.size(); ++i) {
    const PlanEntry& entry = file.entries[i];
    const std::string where = fmt::format("{}: entry {}", source, i + 1);
    entry.problem.validate(where);
    const std::string problem = entry.problem.to_string();
    const conv::ConvAlgorithm* algorithm = conv::find_algorithm(entry.algorithm);
    FOVEA_CHECK(algorithm != nullptr, "{}: there is no algorithm '{}'", where,
                printable(entry.algorithm));
    const auto refusal = conv::refusal(*algorithm, entry.problem, entry.pass);
    FOVEA_CHECK(!refusal, "{}: '{}' refuses {} of {}: {}", where, entry.algorithm, name(entry.pass),
                problem, refusal.value_or(""));
    FOVEA_CHECK(std::isfinite(entry.seconds) && entry.seconds >= 0,
                "{}: seconds is {}, but must be at least 0", where, entry.seconds);
    FOVEA_CHECK(seen.emplace(problem, entry.pass).second, "{}: {} of {} stands twice", where,
                name(entry.pass), problem);
  }
}

class Reader {
 public:
  explicit Reader(const std::string& source) : source_(source) {}

  PlanFile read(std::string_view text) const {
    const Json json = parse_strictly(text, source_ + ": the text", kMaxDepth);
    FOVEA_CHECK(json.is_object() && json.contains("format") && json["format"] == kFormat,
                "{}: this is not a plan file; its format is not \"{}\"", source_, kFormat);
    const std::int64_t version = integer(json, source_, "version");
    FOVEA_CHECK(version == kVersion,
                "{}: it is of version {}, but this library reads version {}; search again", source_,
                version, kVersion);
    PlanFile file;
    file.simd = text_of(json, source_, "simd");
    file.processor = text_of(json, source_, "processor");
    file.threads = static_cast<int>(integer(json, source_, "threads"));
    FOVEA_CHECK(json.contains("entries") && json["entries"].is_array(), "{}: it has no entries",
                source_);
    for (const Json& entry : json["entries"]) {
      file.entries.push_back(
          read_entry(entry, fmt::format("{}: entry {}", source_, file.entries.size() + 1)));
    }
    return file;
  }

 private:
  static PlanEntry read_entry(const Json& json, const std::string& where) {
    FOVEA_CHECK(json.is_object(), "{} is not an object", where);
    const std::string problem = text_of(json, where, "problem");
    PlanEntry entry;
    try {
      entry.problem = ConvProblem::parse(problem);
    } catch (const Error& error) {
      throw_error(fmt::format("{}: {}", where, error.what()));
    }
    entry.pass = read_pass(json, where);
    entry.algorithm = text_of(json, where, "algorithm");
    FOVEA_CHECK(json.contains("seconds") && json["seconds"].is_number(),
                "{} has no number of seconds", where);
    entry.seconds = json["seconds"].get<double>();
    return entry;
  }

  static Pass read_pass(const Json& json, const std::string& where) {
    const std::string wanted = text_of(json, where, "pass");
    for (const Pass pass : kPasses)
      if (name(pass) == wanted) return pass;
    throw_error(fmt::format("{}: there is no pass '{}'", where, printable(wanted)));
  }

  static std::string text_of(const Json& json, const std::string& where, const char* key) {
    FOVEA_CHECK(json.contains(key) && json[key].is_string(), "{} has no text for '{}'", where, key);
    return json[key].get<std::string>();
  }

  static std::int64_t integer(const Json& json, const std::string& where, const char* key) {
    FOVEA_CHECK(json.contains(key) && json[key].is_number_unsigned() &&
                    json[key].get<std::uint64_t>() <= INT32_MAX,
                "{} has no natural number for '{}'", where, key);
    return json[key].get<std::int64_t>();
  }

  const std::string& source_;
};

// A string as JSON; bytes that are no UTF-8 are replaced.
std::string json_text(std::string_view text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

// ---- The one in use.

struct InUse {
  std::mutex mutex;
  std::shared_ptr<const PlanFile> file;
  std::atomic<std::uint64_t> generation = 0;
};

InUse& in_use() {
  static InUse state;
  return state;
}

}  // namespace

PlanFile PlanFile::here() {
  return {.simd = kernels::simd_name(),
          .processor = processor_name(),
          .threads = num_threads(),
          .entries = {}};
}

PlanFile PlanFile::parse(std::string_view text, const std::string& source) {
  PlanFile file = Reader(source).read(text);
  check_plan_file(file, source);
  return file;
}

std::string PlanFile::to_string() const {
  std::string text = fmt::format(
      "{{\n  \"format\": {},\n  \"version\": {},\n  \"simd\": {},\n  \"processor\": {},\n"
      "  \"threads\": {},\n  \"entries\": [",
      json_text(kFormat), kVersion, json_text(simd), json_text(processor), threads);
  std::string_view separator = "\n";
  for (const PlanEntry& entry : entries) {
    text +=
        fmt::format("{}    {{\"problem\": {}, \"pass\": {}, \"algorithm\": {}, \"seconds\": {}}}",
                    separator, json_text(entry.problem.to_string()), json_text(name(entry.pass)),
                    json_text(entry.algorithm), Json(entry.seconds).dump());
    separator = ",\n";
  }
  return text + "\n  ]\n}\n";
}

void PlanFile::set(const PlanEntry& entry) {
  const auto same = [&](const PlanEntry& one) {
    return one.problem == entry.problem && one.pass == entry.pass;
  };
  const auto found = std::find_if(entries.begin(), entries.end(), same);
  if (found == entries.end()) {
    entries.push_back(entry);
  } else {
    *found = entry;
  }
}

const PlanEntry* PlanFile::find(const ConvProblem& problem, Pass pass) const {
  for (const PlanEntry& entry : entries)
    if (entry.pass == pass && entry.problem == problem) return &entry;
  return nullptr;
}

PlanFile load_plan_file(const std::string& path) {
  const std::string text = read_text_file("load_plan_file", path, kMaxBytes);
  return PlanFile::parse(text, fmt::format("load_plan_file: '{}'", path));
}

void save_plan_file(const PlanFile& file, const std::string& path) {
  write_text_file("save_plan_file", path, file.to_string());
}

void use_plan_file(const PlanFile& file) {
  if (!file.entries.empty()) check_plan_file(file, "use_plan_file");
  InUse& state = in_use();
  const std::lock_guard lock(state.mutex);
  state.file = file.entries.empty() ? nullptr : std::make_shared<const PlanFile>(file);
  ++state.generation;
}

namespace conv {

std::shared_ptr<const PlanFile> plan_file_in_use() {
  InUse& state = in_use();
  const std::lock_guard lock(state.mutex);
  return state.file;
}

std::uint64_t plan_file_generation() {
  return in_use().generation.load(std::memory_order_acquire);
}

}  // namespace conv
}  // namespace fovea
