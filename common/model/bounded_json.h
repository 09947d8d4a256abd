// JSON from untrusted files.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace ilre {

// What a parsed text may hold, so that memory stays within a small multiple of what a real file needs.
struct JsonLimits {
  int max_depth = 16;              // of nested objects and arrays
  int64_t max_values = 1'000'000;  // objects, arrays and scalars together
};

// Parses `text`, which must be one JSON object without a key that occurs twice. Errors: BAD_MODEL_FILE naming `path`
// and the place.
absl::StatusOr<nlohmann::json> ParseJsonObject(absl::string_view path, absl::string_view text,
                                               const JsonLimits& limits = {});

}  // namespace ilre
