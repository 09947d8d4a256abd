// JSON as the commands print it: one line, always valid UTF-8.
#pragma once

#include <string>

#include "nlohmann/json.hpp"

namespace ilre::cli {

using Json = nlohmann::ordered_json;

// A span may begin or end within a character; what is not a character is printed as U+FFFD.
inline std::string DumpLine(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

}  // namespace ilre::cli
