#include "common/model/checkpoint.h"

#include <filesystem>
#include <system_error>

#include "common/model/gguf_checkpoint.h"
#include "common/model/hf_checkpoint.h"

namespace ilre {

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(const std::string& path) {
  std::error_code ignored;  // what cannot be looked at is opened as a file, which says why it cannot
  return std::filesystem::is_directory(path, ignored) ? OpenHfCheckpoint(path) : OpenGgufCheckpoint(path);
}

}  // namespace ilre
