// Weights, sizes and tokenizer of a model on disk, whichever format they are in.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "common/model/ggml_type.h"
#include "common/model/model_config.h"
#include "common/model/tokenizer_spec.h"

namespace ilre {

// Where row `row` of heads with rotary pairs (i, i + d/2) is where they are kept as (2i, 2i + 1).
inline int64_t InterleavedRow(int64_t row, int64_t head_dim) {
  const int64_t in_head = row % head_dim, pair = in_head % (head_dim / 2), half = in_head / (head_dim / 2);
  return row - in_head + 2 * pair + half;
}

// A model file or folder, opened and checked. Tensors go by the names of Hugging Face's Llama code, for example
// "model.embed_tokens.weight", "model.layers.3.self_attn.q_proj.weight", "model.norm.weight", "lm_head.weight", and
// have that code's layout: rotary pairs are (i, i + d/2), whatever the file keeps.
//
// Thread-safe: constant after Open. Nothing is read from disk before it is asked for, but the file's directory of
// tensors is checked whole at Open, so that a truncated file is an error there.
class Checkpoint {
 public:
  // `path` is a .gguf file, or a folder with config.json, *.safetensors (one or the shards of an index) and
  // tokenizer.json. Errors, each naming the file: NOT_FOUND; INVALID_ARGUMENT with reason NOT_A_MODEL (neither kind) or
  // BAD_MODEL_FILE (of a kind, but broken, truncated, or of an architecture or type that is not supported).
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Open(const std::string& path);
  virtual ~Checkpoint() = default;

  const std::string& path() const { return path_; }
  const ModelConfig& config() const { return config_; }
  const TokenizerSpec& tokenizer() const { return tokenizer_; }

  // 16 hexadecimal digits that name the weights' content: equal for the same file wherever it lies. From the sizes, the
  // directory of tensors and a sample of each tensor's bytes, so that it takes milliseconds.
  const std::string& fingerprint() const { return fingerprint_; }

  virtual bool HasTensor(absl::string_view name) const = 0;
  virtual std::vector<std::string> TensorNames() const = 0;

  // Reads a whole tensor, dequantised, row-major. `shape` is what the caller expects, outermost dimension first; `out`
  // has room for its product. Errors name the tensor: missing, of another shape, not finite where checked.
  virtual absl::Status ReadTensor(absl::string_view name, absl::Span<const int64_t> shape,
                                  absl::Span<float> out) const = 0;
  // The same rounded to bfloat16 (nearest, ties to even), as raw bits.
  virtual absl::Status ReadTensorBf16(absl::string_view name, absl::Span<const int64_t> shape,
                                      absl::Span<uint16_t> out) const = 0;

  // A matrix whose rows lie in the file as blocks of a quantised type.
  struct Blocks {
    GgmlType type;
    const uint8_t* bytes;  // of the first row in the file; valid as long as the checkpoint
    int64_t row_bytes;
    // Dimension of the heads whose rows lie as rotary pairs (2i, 2i + 1); 0 where rows lie in their order.
    int64_t interleaved_head_dim = 0;

    // Row `index` of the tensor as ReadTensor gives it.
    const uint8_t* row(int64_t index) const {
      return bytes + (interleaved_head_dim == 0 ? index : InterleavedRow(index, interleaved_head_dim)) * row_bytes;
    }
  };
  // Nothing where the tensor is not quantised. Errors: missing, of another shape. Whether its numbers are finite has
  // not been looked at.
  virtual absl::StatusOr<absl::optional<Blocks>> FindBlocks(absl::string_view name,
                                                            absl::Span<const int64_t> shape) const {
    return absl::optional<Blocks>();
  }

 protected:
  std::string path_;
  ModelConfig config_;
  TokenizerSpec tokenizer_;
  std::string fingerprint_;
};

}  // namespace ilre
