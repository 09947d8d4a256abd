// Blocks of GGUF's element types into plain numbers.
//
// Results equal those of the `gguf` Python package, the format's reference, bit for bit in float32. Numbers that are
// not finite pass through (an infinite scale gives infinities and NaNs): whoever reads a file from outside looks at the
// result with AllFinite.
#pragma once

#include <bit>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/base/half.h"
#include "common/model/ggml_type.h"

namespace ilre {

// Dequantises whole blocks: out.size() is a multiple of the type's block and `bytes` exactly as long as it takes.
// About 1 ns for an element.
void Dequantize(GgmlType type, absl::string_view bytes, absl::Span<float> out);

// The same rounded to bfloat16 (nearest, ties to even), as raw bits.
void DequantizeToBf16(GgmlType type, absl::string_view bytes, absl::Span<uint16_t> out);

// Rounds to the nearest bfloat16, ties to even; a NaN stays one.
inline uint16_t FloatToBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
  const uint32_t quiet_nan = bits >> 16 | 0x40;
  return static_cast<uint16_t>((bits & 0x7FFFFFFF) > 0x7F800000u ? quiet_nan : rounded);
}

bool AllFinite(absl::Span<const float> values);
bool AllFiniteBf16(absl::Span<const uint16_t> values);

}  // namespace ilre
