// The weights of the CPU decoder: how they are kept, and how they are read from a checkpoint.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "common/base/thread_pool.h"
#include "common/kernels/linear.h"
#include "common/kernels/quantized_linear.h"
#include "common/model/checkpoint.h"
#include "common/model/decoder.h"
#include "common/model/loaded_tensors.h"

namespace ilre {

// In what a call computes its linear layers.
enum class Exactness {
  kFloat32,    // float32 over bfloat16 weights, where a layer has them: streams, and whatever is compared with streams
  kQuantized,  // int8 dot products over the file's own codes, where a layer has them
};

// One linear layer in one or both of its forms.
struct CpuLinear {
  kernels::PackedLinear packed;        // bfloat16
  kernels::QuantizedLinear quantized;  // as the file quantises it

  bool has_packed() const { return packed.out_features() > 0; }
  bool has_quantized() const { return quantized.out_features() > 0; }

  // PackedLinear::Apply or QuantizedLinear::Apply.
  void Apply(Exactness exactness, const float* x, int64_t rows, float* y, ThreadPool& pool,
             kernels::Accumulate accumulate = kernels::Accumulate::kStore) const {
    if (has_quantized() && (exactness == Exactness::kQuantized || !has_packed())) {
      quantized.Apply(x, rows, y, pool, accumulate);
    } else {
      packed.Apply(x, rows, y, pool, accumulate);
    }
  }

  // A row of W as [in] floats: rounded to bfloat16 for kFloat32, whichever form it comes from.
  void CopyRow(Exactness exactness, int64_t output, float* weights) const;
};

struct CpuLayer {
  std::vector<float> attention_norm, ffn_norm;            // [D]
  std::vector<float> query_norm, key_norm;                // [d], or empty
  std::vector<float> post_attention_norm, post_ffn_norm;  // [D], or empty: of what is added to x
  CpuLinear qkv;                                          // [(H + 2G) d, D]: queries, keys, values
  CpuLinear output;                                       // [D, H d]
  CpuLinear gate_up;                                      // [2F, D]: gates, then ups
  CpuLinear down;                                         // [D, F]
};

// The gates of a feed-forward layer (kernels/elementwise.h), as the model has them.
void MulByGates(const ModelConfig& config, const float* gate_up, int64_t rows, int64_t size, float* out,
                ThreadPool& pool, int64_t in_stride = 0, int64_t out_stride = 0);

// Row `id` of the embedding [V, D], as the first layer takes it.
void EmbedToken(const ModelConfig& config, const CpuLinear& embedding, Exactness exactness, TokenId id, float* x);

// Which forms of a layer to load.
struct LinearForms {
  bool packed = true;
  // kAuto: quantised too where the file is; then `packed` says whether both. kFloat32: never. kQuantized: or an error.
  Arithmetic arithmetic = Arithmetic::kAuto;
};

// Reads tensors of a checkpoint and remembers which, so that what nobody read can be named.
class TensorReader {
 public:
  explicit TensorReader(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  absl::StatusOr<std::vector<float>> Floats(const std::string& name, int64_t size);

  struct Part {
    std::string name;  // without ".weight"
    int64_t rows;
  };
  // One layer out of several weights, one below the other, with their biases if `bias`.
  absl::StatusOr<CpuLinear> Linear(const std::vector<Part>& parts, int64_t columns, const LinearForms& forms,
                                   bool bias = false);
  absl::StatusOr<CpuLayer> Layer(int index, const LinearForms& forms);

  // An error naming a weight that was never read.
  absl::Status CheckAllRead() const { return read_.CheckNoneLeft(checkpoint_); }

 private:
  absl::StatusOr<kernels::PackedLinear> Packed(const std::vector<Part>& parts, int64_t columns, const float* bias);
  // An empty layer where the file has not all parts in one format that is multiplied as it is.
  absl::StatusOr<kernels::QuantizedLinear> Quantized(const std::vector<Part>& parts, int64_t columns,
                                                     const float* bias);

  const Checkpoint& checkpoint_;
  LoadedTensors read_;
};

}  // namespace ilre
