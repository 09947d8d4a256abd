// ilre ingest NAME FILE|-
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "cli/settings.h"

namespace ilre::cli {

struct IngestArguments {
  std::string name, file, collection;
  bool replace = false;  // other content under the name is deleted first
  bool append = false;   // the file is added behind a finished document's end
  uint64_t max_bytes = uint64_t{512} << 20;
  int commit_blocks = 64;
  bool acknowledge = false;  // prints a line with the offset after each commit, for scripts that watch
};

absl::Status RunIngest(const Settings& settings, const IngestArguments& arguments);

}  // namespace ilre::cli
