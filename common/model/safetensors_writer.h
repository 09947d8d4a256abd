// Writes a safetensors file of float32 tensors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace ilre {

struct TensorToWrite {
  std::string name;
  std::vector<int64_t> shape;    // outermost dimension first
  absl::Span<const float> data;  // borrowed for the call; as many numbers as the shape has
};

// Writes `path` atomically. Format: https://huggingface.co/docs/safetensors (8 bytes of header length, JSON, data).
absl::Status WriteSafetensors(const std::string& path, const std::vector<TensorToWrite>& tensors);

}  // namespace ilre
