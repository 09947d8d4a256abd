// A model in one GGUF file.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "common/model/checkpoint.h"
#include "common/model/gguf_file.h"

namespace ilre {

// As Checkpoint::Open, for a path that is a file.
absl::StatusOr<std::unique_ptr<Checkpoint>> OpenGgufCheckpoint(const std::string& path);
// The same for a file that is open.
absl::StatusOr<std::unique_ptr<Checkpoint>> MakeGgufCheckpoint(std::shared_ptr<const GgufFile> file);

// Hugging Face's name of a tensor: "blk.3.attn_q.weight" gives "model.layers.3.self_attn.q_proj.weight". None for a
// name that has no counterpart.
absl::optional<std::string> HuggingFaceTensorName(absl::string_view gguf_name, bool post_norms = false);

}  // namespace ilre
