// A Checkpoint over tensors that lie in mapped files, whatever the files' format.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/model/checkpoint.h"
#include "common/model/ggml_type.h"

namespace ilre {

// How the rows of a query or key projection are ordered within each head.
enum class RotaryOrder {
  kHalves,       // pairs are (i, i + d/2): what a Checkpoint gives out
  kInterleaved,  // pairs are (2i, 2i + 1): what GGUF keeps for the architecture "llama"
};

struct StoredTensor {
  GgmlType type;
  std::vector<int64_t> shape;  // outermost dimension first
  absl::string_view bytes;     // exactly as long as type and shape say
  RotaryOrder rotary_order = RotaryOrder::kHalves;
  float offset = 0;  // added to each element (Gemma's norms in Hugging Face's files are kept less 1)
};

// What a reader of a format has found.
struct StoredModel {
  std::string path;  // of the file or folder
  ModelConfig config;
  TokenizerSpec tokenizer;
  absl::flat_hash_map<std::string, StoredTensor> tensors;  // by Hugging Face's names
  std::vector<std::shared_ptr<const void>> files;          // keep the tensors' bytes alive
};

class StoredCheckpoint final : public Checkpoint {
 public:
  // Checks that the tensors are exactly those that the configuration calls for, by name and shape, and that each token
  // of the tokenizer has an embedding (there may be more embeddings than tokens: many models pad them). Errors:
  // BAD_MODEL_FILE naming the path and the tensor.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Create(StoredModel model);

  bool HasTensor(absl::string_view name) const override { return tensors_.contains(name); }
  std::vector<std::string> TensorNames() const override;  // sorted
  absl::Status ReadTensor(absl::string_view name, absl::Span<const int64_t> shape,
                          absl::Span<float> out) const override;
  absl::Status ReadTensorBf16(absl::string_view name, absl::Span<const int64_t> shape,
                              absl::Span<uint16_t> out) const override;
  absl::StatusOr<absl::optional<Blocks>> FindBlocks(absl::string_view name,
                                                    absl::Span<const int64_t> shape) const override;

 private:
  explicit StoredCheckpoint(StoredModel model);

  // The tensor, if it has this shape.
  absl::StatusOr<const StoredTensor*> Find(absl::string_view name, absl::Span<const int64_t> shape) const;
  template <typename T>
  absl::Status Read(absl::string_view name, absl::Span<const int64_t> shape, absl::Span<T> out) const;
  template <typename T>
  absl::Status ReadRows(absl::string_view name, const StoredTensor& tensor, absl::Span<T> out) const;

  absl::flat_hash_map<std::string, StoredTensor> tensors_;
  std::vector<std::shared_ptr<const void>> files_;
};

}  // namespace ilre
