#include "common/model/loaded_tensors.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/model/layer_names.h"

namespace ilre {

absl::Status LoadedTensors::CheckNoneLeft(const Checkpoint& checkpoint) const {
  for (const std::string& name : checkpoint.TensorNames()) {
    if (names_.contains(name) || absl::EndsWith(name, "rotary_emb.inv_freq")) continue;
    if (name == kOutputName && checkpoint.config().tied_embeddings) continue;
    return errors::BadModelFile(checkpoint.path(), absl::StrCat("tensor ", name, " is not part of the architecture ",
                                                                checkpoint.config().architecture));
  }
  return absl::OkStatus();
}

}  // namespace ilre
