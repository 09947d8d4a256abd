// bfloat16: the upper half of a float32. Numbers are kept as their bits, in uint16_t.
#pragma once

#include <bit>
#include <cstdint>

namespace ilre::kernels {

// Exact.
inline float FloatFromBf16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

// Rounds to nearest, ties to even; overflow gives infinity. NaN stays NaN (quiet, with its sign).
inline uint16_t Bf16FromFloat(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>(bits >> 16 | 0x0040u);
  return static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace ilre::kernels
