// One safetensors file, checked and mapped.
//
// Format: https://github.com/huggingface/safetensors#format
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "common/base/file.h"
#include "common/model/ggml_type.h"

namespace ilre {

struct SafetensorsTensor {
  std::string name;
  std::string dtype;           // the format's name, for example "BF16" or "I64"
  std::vector<int64_t> shape;  // outermost dimension first; empty for a scalar; a size may be 0
  absl::string_view bytes;     // within the mapped file; exactly as long as dtype and shape say
};

// The type under which a dtype's bytes are read (F32, F16 and BF16); none for the others, which can only be listed.
absl::optional<GgmlType> ReadableType(absl::string_view dtype);

// Thread-safe: constant after Open.
class SafetensorsFile {
 public:
  // Errors: NOT_A_MODEL where the file does not begin as this format does, BAD_MODEL_FILE for everything else that is
  // wrong: a tensor of unknown dtype, of a size other than its place in the file, tensors that overlap or leave gaps,
  // bytes missing or left over at the end.
  static absl::StatusOr<std::shared_ptr<const SafetensorsFile>> Open(const std::string& path);
  // The same over bytes that the caller keeps alive; `path` is only for messages.
  static absl::StatusOr<std::shared_ptr<const SafetensorsFile>> Parse(std::string path, absl::string_view bytes);

  const std::string& path() const { return path_; }

  // nullptr if there is none.
  const SafetensorsTensor* FindTensor(absl::string_view name) const;
  // In the order of their bytes.
  const std::vector<SafetensorsTensor>& tensors() const { return tensors_; }

 private:
  friend class SafetensorsParser;
  std::string path_;
  std::shared_ptr<const MappedFile> file_;  // null after Parse
  std::vector<SafetensorsTensor> tensors_;
  absl::flat_hash_map<std::string, size_t> tensor_index_;
};

}  // namespace ilre
