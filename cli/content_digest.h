// What work folders are keyed by: what files hold, not where they lie.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ilre::cli {

// 16 hexadecimal digits; not for secrets.
std::string ContentDigest(absl::string_view bytes);
absl::StatusOr<std::string> FileDigest(const std::string& path);
// Of several, in their order; of one the same as FileDigest.
absl::StatusOr<std::string> FilesDigest(const std::vector<std::string>& paths);

}  // namespace ilre::cli
