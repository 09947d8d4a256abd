// Layouts of the blocks: ggml-common.h of https://github.com/ggml-org/ggml. The order of operations matters: it is the
// reference's, so that results are equal to the last bit. Loops are written plainly for the compiler to vectorise.

#include "common/model/dequantize.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

#include "common/base/check.h"

namespace ilre {
namespace {

constexpr int kBlock = 32;        // elements
constexpr int kSuperBlock = 256;  // elements
constexpr uint32_t kBf16ExponentBits = 0x7F80;
constexpr uint32_t kFloatExponentBits = 0x7F800000;

template <typename T>
T Load(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

float LoadHalf(const uint8_t* from) { return HalfToFloat(Load<uint16_t>(from)); }

void DequantizeF32(const uint8_t* __restrict from, int64_t num_blocks, float* __restrict out) {
  std::memcpy(out, from, num_blocks * sizeof(float));
}

void DequantizeF16(const uint8_t* __restrict from, int64_t num_blocks, float* __restrict out) {
  for (int64_t i = 0; i < num_blocks; ++i) out[i] = LoadHalf(from + i * sizeof(uint16_t));
}

void DequantizeBF16(const uint8_t* __restrict from, int64_t num_blocks, float* __restrict out) {
  for (int64_t i = 0; i < num_blocks; ++i) {
    out[i] = std::bit_cast<float>(uint32_t{Load<uint16_t>(from + i * sizeof(uint16_t))} << 16);
  }
}

// Bytes of 16 nibble pairs hold elements i (low) and i + 16 (high).
void DequantizeQ4_0(const uint8_t* __restrict from, int64_t num_blocks, float* __restrict out) {
  for (int64_t block = 0; block < num_blocks; ++block, from += 18, out += kBlock) {
    const float scale = LoadHalf(from);
    const uint8_t* nibbles = from + 2;
    for (int i = 0; i < kBlock / 2; ++i) {
      out[i] = scale * static_cast<float>((nibbles[i] & 15) - 8);
      out[i + kBlock / 2] = scale * static_cast<float>((nibbles[i] >> 4) - 8);
    }
  }
}

void DequantizeQ4_1(const uint8_t* __restrict from, int64_t num_blocks, float* __restrict out) {
  for (int64_t block = 0; block < num_blocks; ++block, from += 20, out += kBlock) {
    const float scale = LoadHalf(from);
    const float minimum = LoadHalf(from + 2);
    const uint8_t* nibbles = from + 4;
    for (int i = 0; i < kBlock / 2; ++i) {
      out[i] = scale * static_cast<float>(nibbles[i] & 15) + minimum;
      out[i + kBlock / 2] = scale * static_cast<float>(nibbles[i] >> 4) + minimum;
    }
  }
}

// Element i of a block of Q5_0 or Q5_1 as 0..31: nibbles as above, and bit i of `high_bits` as the fifth bit.
void UnpackFiveBits(uint32_t high_bits, const uint8_t* __restrict nibbles, uint8_t* __restrict out) {
  for (int i = 0; i < kBlock / 2; ++i) {
    out[i] = nibbles[i] & 15;
    out[i + kBlock / 2] = nibbles[i] >> 4;
  }
  for (int i = 0; i < kBlock; i += 8) {
    // The eight bits of a byte, spread to the fifth bits of eight bytes: copied to each, one kept in each, moved.
    const uint64_t copies = (high_bits >> i & 0xFF) * 0x0101010101010101u;
    const uint64_t kept = copies & 0x8040201008040201u;
    const uint64_t ones = (kept + 0x7F7F7F7F7F7F7F7Fu) >> 7 & 0x0101010101010101u;
    const uint64_t fifth = Load<uint64_t>(out + i) | ones << 4;
    std::memcpy(out + i, &fifth, sizeof(fifth));
  }
}

void DequantizeQ5_0(const uint8_t* __restrict from, int64_t num_blocks, float* __restrict out) {
  for (int64_t block = 0; block < num_blocks; ++block, from += 22, out += kBlock) {
    const float scale = LoadHalf(from);
    uint8_t quants[kBlock];
    UnpackFiveBits(Load<uint32_t>(from + 2), from + 6, quants);
    for (int i = 0; i < kBlock; ++i) out[i] = scale * static_cast<float>(quants[i] - 16);
  }
}

void DequantizeQ5_1(const uint8_t* __restrict from, int64_t num_blocks, float* __restrict out) {
  for (int64_t block = 0; block < num_blocks; ++block, from += 24, out += kBlock) {
    const float scale = LoadHalf(from);
    const float minimum = LoadHalf(from + 2);
    uint8_t quants[kBlock];
    UnpackFiveBits(Load<uint32_t>(from + 4), from + 8, quants);
    for (int i = 0; i < kBlock; ++i) out[i] = scale * static_cast<float>(quants[i]) + minimum;
  }
}

void DequantizeQ8_0(const uint8_t* __restrict from, int64_t num_blocks, float* __restrict out) {
  for (int64_t block = 0; block < num_blocks; ++block, from += 34, out += kBlock) {
    const float scale = LoadHalf(from);
    for (int i = 0; i < kBlock; ++i) out[i] = static_cast<float>(static_cast<int8_t>(from[2 + i])) * scale;
  }
}

// Scales and minimums of the eight sub-blocks (32 elements each) of a Q4_K or Q5_K super-block.
struct SubBlocks {
  float scales[8];
  float minimums[8];
};

// `from`: two halves that scale the rest, then 12 bytes with eight 6-bit scales and eight 6-bit minimums. Those of the
// first four sub-blocks are the low 6 bits of bytes 0-3 and 4-7; of the last four, the low 4 bits are the nibbles of
// bytes 8-11 and the high 2 bits sit on top of bytes 0-3 and 4-7.
SubBlocks UnpackSubBlocks(const uint8_t* from) {
  const float scale_unit = LoadHalf(from);
  const float minimum_unit = LoadHalf(from + 2);
  const uint8_t* packed = from + 4;
  SubBlocks result;
  for (int i = 0; i < 4; ++i) {
    const uint8_t scale = packed[i], minimum = packed[i + 4], both = packed[i + 8];
    result.scales[i] = scale_unit * static_cast<float>(scale & 63);
    result.minimums[i] = minimum_unit * static_cast<float>(minimum & 63);
    result.scales[i + 4] = scale_unit * static_cast<float>((both & 15) | ((scale >> 6) << 4));
    result.minimums[i + 4] = minimum_unit * static_cast<float>((both >> 4) | ((minimum >> 6) << 4));
  }
  return result;
}

// Each run of 32 bytes holds two sub-blocks: low and high nibbles.
void DequantizeQ4_K(const uint8_t* __restrict from, int64_t num_blocks, float* __restrict out) {
  for (int64_t block = 0; block < num_blocks; ++block, from += 144) {
    const SubBlocks sub = UnpackSubBlocks(from);
    const uint8_t* nibbles = from + 16;
    for (int s = 0; s < 8; s += 2, nibbles += 32, out += 64) {
      for (int i = 0; i < 32; ++i) {
        out[i] = sub.scales[s] * static_cast<float>(nibbles[i] & 15) - sub.minimums[s];
        out[i + 32] = sub.scales[s + 1] * static_cast<float>(nibbles[i] >> 4) - sub.minimums[s + 1];
      }
    }
  }
}

// As Q4_K, with bit s of 32 bytes before the nibbles as the fifth bit of sub-block s.
void DequantizeQ5_K(const uint8_t* __restrict from, int64_t num_blocks, float* __restrict out) {
  for (int64_t block = 0; block < num_blocks; ++block, from += 176) {
    const SubBlocks sub = UnpackSubBlocks(from);
    const uint8_t* high_bits = from + 16;
    const uint8_t* nibbles = from + 48;
    for (int s = 0; s < 8; s += 2, nibbles += 32, out += 64) {
      for (int i = 0; i < 32; ++i) {
        const int low = (nibbles[i] & 15) | ((high_bits[i] >> s & 1) << 4);
        const int high = (nibbles[i] >> 4) | ((high_bits[i] >> (s + 1) & 1) << 4);
        out[i] = sub.scales[s] * static_cast<float>(low) - sub.minimums[s];
        out[i + 32] = sub.scales[s + 1] * static_cast<float>(high) - sub.minimums[s + 1];
      }
    }
  }
}

// Two halves of 128 elements: 64 bytes of low nibbles, 32 bytes of high bit pairs, a signed scale for 16 elements each.
// Rows of 32 elements take in turn the low nibbles of the first and second 32 bytes, then their high nibbles.
void DequantizeQ6_K(const uint8_t* __restrict from, int64_t num_blocks, float* __restrict out) {
  for (int64_t block = 0; block < num_blocks; ++block, from += 210) {
    const uint8_t* scales = from + 192;
    const float scale_unit = LoadHalf(from + 208);
    for (int row = 0; row < kSuperBlock / 32; ++row, out += 32) {
      const uint8_t* nibbles = from + row / 4 * 64 + row % 2 * 32;
      const uint8_t* pairs = from + 128 + row / 4 * 32;
      const int nibble_shift = row % 4 / 2 * 4;
      const int pair_shift = row % 4 * 2;
      const float first = scale_unit * static_cast<float>(static_cast<int8_t>(scales[2 * row]));
      const float second = scale_unit * static_cast<float>(static_cast<int8_t>(scales[2 * row + 1]));
      for (int i = 0; i < 32; ++i) {
        const int quant = ((nibbles[i] >> nibble_shift) & 15) | ((pairs[i] >> pair_shift & 3) << 4);
        out[i] = (i < 16 ? first : second) * static_cast<float>(quant - 32);
      }
    }
  }
}

using BlockFunction = void (*)(const uint8_t* from, int64_t num_blocks, float* out);

BlockFunction FunctionFor(GgmlType type) {
  switch (type) {
    case GgmlType::kF32:
      return DequantizeF32;
    case GgmlType::kF16:
      return DequantizeF16;
    case GgmlType::kBF16:
      return DequantizeBF16;
    case GgmlType::kQ4_0:
      return DequantizeQ4_0;
    case GgmlType::kQ4_1:
      return DequantizeQ4_1;
    case GgmlType::kQ5_0:
      return DequantizeQ5_0;
    case GgmlType::kQ5_1:
      return DequantizeQ5_1;
    case GgmlType::kQ8_0:
      return DequantizeQ8_0;
    case GgmlType::kQ4_K:
      return DequantizeQ4_K;
    case GgmlType::kQ5_K:
      return DequantizeQ5_K;
    case GgmlType::kQ6_K:
      return DequantizeQ6_K;
  }
  ILRE_CHECK(false);
}

// The number of blocks in `num_elements`, which `bytes` must hold exactly.
int64_t CountBlocks(const GgmlTypeInfo& info, absl::string_view bytes, size_t num_elements) {
  const int64_t num_blocks = static_cast<int64_t>(num_elements) / info.block_elements;
  ILRE_CHECK(num_blocks * info.block_elements == static_cast<int64_t>(num_elements));
  ILRE_CHECK(num_blocks * info.block_bytes == static_cast<int64_t>(bytes.size()));
  return num_blocks;
}

}  // namespace

void Dequantize(GgmlType type, absl::string_view bytes, absl::Span<float> out) {
  const int64_t num_blocks = CountBlocks(GgmlTypeInfoOf(type), bytes, out.size());
  if (num_blocks == 0) return;
  FunctionFor(type)(reinterpret_cast<const uint8_t*>(bytes.data()), num_blocks, out.data());
}

void DequantizeToBf16(GgmlType type, absl::string_view bytes, absl::Span<uint16_t> out) {
  const GgmlTypeInfo& info = GgmlTypeInfoOf(type);
  int64_t num_blocks = CountBlocks(info, bytes, out.size());
  if (num_blocks == 0) return;
  if (type == GgmlType::kBF16) {
    std::memcpy(out.data(), bytes.data(), bytes.size());
    return;
  }
  constexpr int64_t kChunk = 2048;  // elements: both forms stay in the first cache
  float chunk[kChunk];
  const BlockFunction dequantize = FunctionFor(type);
  const uint8_t* from = reinterpret_cast<const uint8_t*>(bytes.data());
  uint16_t* to = out.data();
  while (num_blocks > 0) {
    const int64_t blocks = std::min(num_blocks, kChunk / info.block_elements);
    const int64_t elements = blocks * info.block_elements;
    dequantize(from, blocks, chunk);
    for (int64_t i = 0; i < elements; ++i) to[i] = FloatToBf16(chunk[i]);
    from += blocks * info.block_bytes;
    to += elements;
    num_blocks -= blocks;
  }
}

bool AllFinite(absl::Span<const float> values) {
  uint32_t found = 0;
  for (float value : values) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    found |= static_cast<uint32_t>((bits & kFloatExponentBits) == kFloatExponentBits);
  }
  return found == 0;
}

bool AllFiniteBf16(absl::Span<const uint16_t> values) {
  uint16_t found = 0;
  for (uint16_t value : values) found |= static_cast<uint16_t>((value & kBf16ExponentBits) == kBf16ExponentBits);
  return found == 0;
}

}  // namespace ilre
