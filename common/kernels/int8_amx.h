// int8 linear layers on tiles of bytes (Intel AMX): a block of 16 rows of x times 16 outputs is one instruction.
// Internal to common/kernels.
#pragma once

#if defined(__x86_64__)

#include <cstdint>

namespace ilre::kernels {

inline constexpr int kAmxRows = 16;  // rows of x in a tile: two groups of Int8Rows

// kAmxRows rows of x times kPanel rows of W (int8_linear.h).
struct Int8AmxTile {
  int64_t num_blocks;
  const uint8_t* weights;  // [num_blocks, 16, kPanel, 4]: int8 + 128
  const int8_t* values;    // [num_blocks, kAmxRows, 64]
  const float* scales[2];  // [num_blocks, kGroup] of each group
  const int32_t* sums[2];  // the same
  float* out;              // [kAmxRows, kPanel], as Int8Tile's
};

// Whether this processor and this system let us use tiles, and they give what the definition gives: asked, and tried,
// once.
bool AmxIsUsable();

// Prepares the calling thread while it lives; between, AmxTile may be called. (The tiles' state makes every change of
// threads slower, so threads do not keep it.)
class ScopedAmx {
 public:
  ScopedAmx();
  ~ScopedAmx();
  ScopedAmx(const ScopedAmx&) = delete;
  ScopedAmx& operator=(const ScopedAmx&) = delete;
};
// Only where AmxIsUsable(), within a ScopedAmx.
void AmxTile(const Int8AmxTile& tile);

// The same but for the instructions on tiles, in whose place stands their definition: for tests, on processors with
// AVX-512. No ScopedAmx is needed.
void AmxTileEmulated(const Int8AmxTile& tile);

}  // namespace ilre::kernels

#endif  // __x86_64__
