// See strict_json.h.
#include "core/strict_json.h"

#include <set>
#include <vector>

#include "core/check.h"
#include "core/printable.h"

namespace fovea {

nlohmann::json parse_strictly(std::string_view text, const std::string& what, int depth) {
  using Json = nlohmann::json;
  using Event = Json::parse_event_t;
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int level, Event event, Json& value) {
    if (event == Event::object_start || event == Event::array_start) {
      FOVEA_CHECK(level <= depth, "{} nests deeper than the format does", what);
    }
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key) {
      const auto& key = value.get_ref<const std::string&>();
      FOVEA_CHECK(keys.back().insert(key).second, "{} has '{}' twice", what, printable(key));
    }
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const Json::exception& error) {
    throw_error(fmt::format("{} is not valid JSON ({})", what, printable(error.what())));
  }
}

}  // namespace fovea
