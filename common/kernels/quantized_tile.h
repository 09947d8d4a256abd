// What the ways of computing a quantised linear layer share: one tile of it. Internal to common/kernels.
#pragma once

#include <cstdint>

#include "common/kernels/quantized_linear.h"

namespace ilre::kernels {

inline constexpr int64_t kQuantizedPanel = 16;  // outputs side by side
inline constexpr int kQuantizedRows = 8;        // rows of x that share one pass over a panel's codes, at the most

// 32 numbers of a row of x: about scale * values[i].
struct QuantizedBlock {
  int8_t values[32];
  float scale;
  float scaled_sum;  // scale * sum
  int32_t sum;       // of the values
  int32_t unused;    // keeps the size a multiple of 16
};

// Some rows of x times one panel of W.
//
// Codes of a block of 16 outputs are kept as a processor multiplies them, four inputs of each output together:
//   4 bits: [4][16 outputs][4 bytes]; byte j of part i has the code of input 4 i + j below and 16 + 4 i + j above.
//   8 bits: [8][16 outputs][4 bytes]; byte j of part i is the code of input 4 i + j, plus 128.
struct QuantizedTile {
  QuantizedFormat format;
  int64_t num_blocks;
  const uint8_t* codes;      // [num_blocks, 256 or 512]
  const uint16_t* scales;    // [num_blocks, 16] halves
  const uint16_t* minimums;  // the same, or null
  const QuantizedBlock* x;   // [num_blocks, num_rows]
  int num_rows;              // 1 to kQuantizedRows
  float* out;                // [num_rows, 16]
};
// out = for each block in turn: out + minimum * scaled_sum (where there are minimums), then + (scale of W * scale of x)
// * (sum of products), each addition one fused multiply-add.

using QuantizedTileFunction = void(const QuantizedTile&);

void QuantizedTilePortable(const QuantizedTile& tile);
#if defined(__x86_64__)
void QuantizedTileAvx2(const QuantizedTile& tile);
void QuantizedTileAvx512Vnni(const QuantizedTile& tile);
#endif

}  // namespace ilre::kernels
