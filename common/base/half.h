// IEEE half precision, as model files keep it.
#pragma once

#include <bit>
#include <cstdint>

namespace ilre {

// The bits of a half as a float. Exact.
inline float HalfToFloat(uint16_t half) {
  // The exponent and fraction, moved to a float's place, are too small by 2^(127 - 15); a multiplication mends that for
  // normal and subnormal numbers alike, exactly. Infinities and NaNs have an exponent of ones, which is put back.
  const uint32_t magnitude = half & 0x7FFFu;
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  const uint32_t special = magnitude >= 0x7C00u ? 0x7F800000u : 0;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(scaled) | special | (half & 0x8000u) << 16);
}

inline bool IsFiniteHalf(uint16_t half) { return (half & 0x7C00u) != 0x7C00u; }

}  // namespace ilre
