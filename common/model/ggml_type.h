// Element types of GGUF tensors and the size of their blocks.
//
// Values and layouts: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and ggml-common.h of that project.
#pragma once

#include <cstdint>
#include <string>

namespace ilre {

// Element types of tensors; values are the format's own. Only these are read.
enum class GgmlType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kBF16 = 30,
};

// Elements are stored in blocks of equal size along a tensor's innermost dimension, which is a multiple of a block.
struct GgmlTypeInfo {
  const char* name;        // as llama.cpp writes it, for example "Q4_K"
  int64_t block_elements;  // elements in a block; 1 for plain numbers
  int64_t block_bytes;     // bytes that a block takes in the file
};

// nullptr for a type that is not read, whether or not the format knows it.
const GgmlTypeInfo* FindGgmlType(uint32_t type);
// `type` must be one of the enumerators.
const GgmlTypeInfo& GgmlTypeInfoOf(GgmlType type);

// A name for messages, also of types that are not read: "Q2_K", or "type 77" for what the format does not know either.
std::string GgmlTypeName(uint32_t type);

}  // namespace ilre
