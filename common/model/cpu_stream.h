// Streaming documents through the first layers on the processor: the other half of the CPU decoder.
//
// A block's rows are cut into slices, and a slice goes through a whole layer on one thread: everything in a layer but
// attention looks at a row alone. Threads meet once a layer, when all keys and values of the block are there.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/types/span.h"
#include "common/kernels/int8_linear.h"
#include "common/kernels/linear.h"
#include "common/model/cpu_weights.h"
#include "common/model/decoder.h"
#include "common/model/model_config.h"
#include "common/model/rotary_table.h"

namespace ilre {

// One layer's weights. Borrowed.
struct StreamLayer {
  const float* attention_norm;                 // [D]
  const float* ffn_norm;                       // [D]
  const float* query_norm = nullptr;           // [d], or null
  const float* key_norm = nullptr;             // [d], or null
  const float* post_attention_norm = nullptr;  // [D], or null
  const float* post_ffn_norm = nullptr;        // [D], or null
  const kernels::PackedLinear* qkv;            // [(H + 2G) d, D]: queries, keys, values
  const kernels::PackedLinear* output;         // [D, H d]
  const kernels::PackedLinear* gate_up;        // [2F, D]: gates, then ups
  const kernels::PackedLinear* down;           // [D, F]
};

// Thread-safe: constant to its callers. Everything given must outlive it.
class CpuStream {
 public:
  CpuStream(const ModelConfig& config, const CpuLinear& embedding, std::vector<StreamLayer> layers);
  ~CpuStream();

  // Decoder::StreamBlock, with arguments that have been checked. Runs on the threads of the default pool.
  void RunBlock(absl::Span<const TokenId> ids, absl::Span<const Tap> taps, StreamState* state,
                std::vector<std::vector<float>>* outputs) const;

 private:
  struct Int8Layer;
  class Block;

  // The layer's weights in int8, made when first needed.
  const Int8Layer& int8_layer(int layer) const;
  // Angles of at least `count` places from 0, in layers that see everything and in local ones.
  struct RotaryTables {
    RotaryTable global, local;  // the latter empty where no layer is local
    int64_t count = 0;
  };
  std::shared_ptr<const RotaryTables> Rotary(int64_t count) const;

  const ModelConfig& config_;
  const CpuLinear& embedding_;
  const std::vector<StreamLayer> layers_;
  const std::unique_ptr<Int8Layer[]> int8_layers_;
  mutable std::mutex rotary_mutex_;
  mutable std::shared_ptr<const RotaryTables> rotary_;
};

}  // namespace ilre
