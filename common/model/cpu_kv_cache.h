// The KV cache of the CPU decoder.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "common/kernels/aligned.h"
#include "common/model/decoder.h"

namespace ilre {

// Keys (rotated) and values of all layers in one piece of memory, which the system hands out as it is filled.
class CpuKvCache : public KvCache {
 public:
  // Throws std::bad_alloc.
  CpuKvCache(int64_t num_layers, int64_t capacity, int64_t width)
      : capacity_(capacity), layer_floats_(capacity * width) {
    memory_.reset(static_cast<float*>(
        kernels::AllocateAligned(static_cast<size_t>(2 * num_layers * layer_floats_) * sizeof(float))));
  }

  int64_t num_tokens() const override { return length_; }
  void Truncate(int64_t num_tokens) override { length_ = std::min(length_, std::max<int64_t>(num_tokens, 0)); }

  int64_t capacity() const { return capacity_; }
  void set_length(int64_t length) { length_ = length; }
  float* keys(int layer) { return memory_.get() + 2 * layer * layer_floats_; }  // [capacity, width]
  float* values(int layer) { return keys(layer) + layer_floats_; }              // [capacity, width]

 private:
  struct Free {
    void operator()(float* memory) const { kernels::FreeAligned(memory); }
  };
  int64_t length_ = 0, capacity_, layer_floats_;
  std::unique_ptr<float, Free> memory_;
};

}  // namespace ilre
