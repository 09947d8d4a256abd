// The KV cache of the CPU decoder.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "common/kernels/aligned.h"
#include "common/kernels/cached_attention.h"
#include "common/model/decoder.h"
#include "common/model/model_config.h"

namespace ilre {

// Keys (rotated) and values of all layers in one piece of memory, which the system hands out as it is filled.
class CpuKvCache : public KvCache {
 public:
  // Room for max_tokens tokens. Throws std::bad_alloc.
  CpuKvCache(int64_t num_layers, int64_t max_tokens, const ModelConfig& config, kernels::CacheNumbers numbers)
      : num_layers_(num_layers), max_tokens_(max_tokens) {
    shape_.num_kv_heads = static_cast<int>(config.num_kv_heads);
    shape_.head_dim = static_cast<int>(config.head_dim);
    shape_.capacity = kernels::LayerCache::Capacity(max_tokens);
    Allocate(numbers);
  }

  int64_t num_tokens() const override { return length_; }
  void Truncate(int64_t num_tokens) override { length_ = std::min(length_, std::max<int64_t>(num_tokens, 0)); }

  int64_t max_tokens() const { return max_tokens_; }
  void set_length(int64_t length) { length_ = length; }

  // What tokens to come are kept as, if the cache is empty; else it keeps what it has. Throws std::bad_alloc.
  void UseNumbers(kernels::CacheNumbers numbers) {
    if (length_ == 0 && numbers != shape_.numbers) Allocate(numbers);
  }

  kernels::LayerCache layer(int index) {
    kernels::LayerCache layer = shape_;
    layer.keys = memory_.get() + 2 * index * part_bytes_;
    layer.values = memory_.get() + (2 * index + 1) * part_bytes_;
    return layer;
  }

 private:
  struct Free {
    void operator()(uint8_t* memory) const { kernels::FreeAligned(memory); }
  };

  void Allocate(kernels::CacheNumbers numbers) {
    const int64_t bytes = kernels::LayerCache::Bytes(numbers, shape_.capacity, shape_.num_kv_heads, shape_.head_dim);
    memory_.reset(static_cast<uint8_t*>(kernels::AllocateAligned(static_cast<size_t>(2 * num_layers_ * bytes))));
    part_bytes_ = bytes;
    shape_.numbers = numbers;
  }

  int64_t length_ = 0, num_layers_, max_tokens_, part_bytes_ = 0;
  kernels::LayerCache shape_;  // of each layer
  std::unique_ptr<uint8_t, Free> memory_;
};

}  // namespace ilre
