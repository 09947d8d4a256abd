// GGUF, the model format of llama.cpp (version 2 and 3, little-endian), checked and mapped.
//
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/base/file.h"
#include "common/model/ggml_type.h"

namespace ilre {

struct GgufTensor {
  std::string name;
  GgmlType type;
  std::vector<int64_t> shape;  // outermost dimension first (the reverse of the file's order)
  absl::string_view bytes;     // within the mapped file; exactly as long as type and shape say
};

// One value of the metadata. Strings and arrays are views into the file.
struct GgufValue {
  enum class Kind { kInteger, kFloat, kBool, kString, kIntegerArray, kFloatArray, kBoolArray, kStringArray };
  Kind kind;
  int64_t integer = 0;  // kInteger, kBool
  double real = 0;      // kFloat
  absl::string_view string;
  std::vector<int64_t> integers;  // kIntegerArray, kBoolArray
  std::vector<double> reals;      // kFloatArray
  std::vector<absl::string_view> strings;
};

// Thread-safe: constant after Open.
class GgufFile {
 public:
  // Errors: NOT_A_MODEL where the magic is another, BAD_MODEL_FILE for everything else that is wrong, naming what and
  // where.
  static absl::StatusOr<std::shared_ptr<const GgufFile>> Open(const std::string& path);
  // The same over bytes that the caller keeps alive; `path` is only for messages.
  static absl::StatusOr<std::shared_ptr<const GgufFile>> Parse(std::string path, absl::string_view bytes);

  const std::string& path() const { return path_; }

  // nullptr if there is none.
  const GgufValue* FindValue(absl::string_view key) const;
  const GgufTensor* FindTensor(absl::string_view name) const;
  const std::vector<GgufTensor>& tensors() const { return tensors_; }

 private:
  friend class GgufParser;
  std::string path_;
  std::shared_ptr<const MappedFile> file_;  // null after Parse
  absl::flat_hash_map<std::string, GgufValue> values_;
  std::vector<GgufTensor> tensors_;
  absl::flat_hash_map<std::string, size_t> tensor_index_;
};

}  // namespace ilre
