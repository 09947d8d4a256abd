#include "cli/content_digest.h"

#include <xxhash.h>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"

namespace ilre::cli {

std::string ContentDigest(absl::string_view bytes) {
  return absl::StrFormat("%016x", XXH3_64bits(bytes.data(), bytes.size()));
}

absl::StatusOr<std::string> FileDigest(const std::string& path) {
  ILRE_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  return ContentDigest(file->bytes());
}

absl::StatusOr<std::string> FilesDigest(const std::vector<std::string>& paths) {
  std::vector<std::string> digests;
  for (const std::string& path : paths) {
    ILRE_ASSIGN_OR_RETURN(digests.emplace_back(), FileDigest(path));
  }
  return absl::StrJoin(digests, "-");
}

}  // namespace ilre::cli
