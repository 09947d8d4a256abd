// What the ways of computing an int8 linear layer share: one tile of it. Internal to common/kernels.
#pragma once

#include <cstdint>

namespace ilre::kernels {

// kGroup rows of x times kPanel rows of W (int8_linear.h).
struct Int8Tile {
  int64_t num_blocks;
  const uint8_t* weights;  // [num_blocks * 16, kPanel, 4]: int8 + 128
  const int8_t* values;    // [num_blocks * 16, kGroup, 4]
  const float* scales;     // [num_blocks, kGroup]
  const int32_t* sums;     // [num_blocks, kGroup]
  float* out;              // [kGroup, kPanel]: sums over blocks of scale * (sum of products), in order of blocks, each
                           // added by one fused multiply-add
};

using Int8TileFunction = void(const Int8Tile&);

void Int8TilePortable(const Int8Tile& tile);
#if defined(__x86_64__)
void Int8TileAvx2(const Int8Tile& tile);
void Int8TileAvx512Vnni(const Int8Tile& tile);
#endif

}  // namespace ilre::kernels
