// Blocks of GGUF's element types into plain numbers.
//
// Results equal those of the `gguf` Python package, the format's reference, bit for bit in float32. Numbers that are
// not finite pass through (an infinite scale gives infinities and NaNs): whoever reads a file from outside looks at the
// result with AllFinite.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/model/ggml_type.h"

namespace ilre {

// Dequantises whole blocks: out.size() is a multiple of the type's block and `bytes` exactly as long as it takes.
// About 1 ns for an element.
void Dequantize(GgmlType type, absl::string_view bytes, absl::Span<float> out);

// The same rounded to bfloat16 (nearest, ties to even), as raw bits.
void DequantizeToBf16(GgmlType type, absl::string_view bytes, absl::Span<uint16_t> out);

// The bits of IEEE half precision as a float. Exact.
float HalfToFloat(uint16_t half);

// Rounds to the nearest bfloat16, ties to even; a NaN stays one.
uint16_t FloatToBf16(float value);

bool AllFinite(absl::Span<const float> values);
bool AllFiniteBf16(absl::Span<const uint16_t> values);

}  // namespace ilre
