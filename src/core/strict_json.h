// JSON from files that are not trusted.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace fovea {

// Throws Error, which starts with `what` ("op: 'path': the header"), if the text is no JSON, nests
// deeper than `depth` or gives a key twice, where the parser by itself would take the last.
nlohmann::json parse_strictly(std::string_view text, const std::string& what, int depth);

}  // namespace fovea
