// Proof that a checkpoint was used up: which of its tensors were read, and whether one was left over.
#pragma once

#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "common/model/checkpoint.h"

namespace ilre {

class LoadedTensors {
 public:
  void Add(const std::string& name) { names_.insert(name); }

  // BAD_MODEL_FILE naming a tensor of `checkpoint` that was not added. Copies are let pass: an output projection that
  // is tied to the embedding, and rotary frequencies, which old versions of transformers saved.
  absl::Status CheckNoneLeft(const Checkpoint& checkpoint) const;

 private:
  absl::flat_hash_set<std::string> names_;
};

}  // namespace ilre
