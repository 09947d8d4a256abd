#include "common/kernels/int8_amx.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "common/base/random.h"
#include "common/kernels/aligned.h"
#include "common/kernels/int8_linear.h"
#include "hwy/base.h"
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // of GCC 12's own intrinsics (its bug 105593)
#endif
#include <immintrin.h>

// Instructions: Intel, "64 and IA-32 Architectures Software Developer's Manual", volume 1, chapter 18. Permission:
// https://docs.kernel.org/arch/x86/xstate.html.

namespace ilre::kernels {
namespace {

constexpr int kPanel = Int8Linear::kPanel, kGroup = Int8Rows::kGroup, kBlock = Int8Rows::kBlock;
constexpr int kTileBytes = kAmxRows * kBlock, kProducts = kAmxRows * kPanel;
static_assert(kAmxRows == 2 * kGroup && kBlock == 64 && kPanel == 16);

// Products of one block: products [kAmxRows, kPanel] = values [kAmxRows, 64] times weights [16, kPanel, 4]. Even and
// odd blocks use another set of tiles, 0 or 1, so that one's sums are scaled while the other is multiplied.
struct Emulation {
  template <int kSet>
  static void Multiply(const int8_t* values, const uint8_t* weights, int32_t* products) {
    std::fill_n(products, kProducts, 0);
    for (int r = 0; r < kAmxRows; ++r) {
      for (int k = 0; k < kBlock / 4; ++k) {
        for (int o = 0; o < kPanel; ++o) {
          for (int j = 0; j < 4; ++j) {
            products[r * kPanel + o] += static_cast<int32_t>(values[r * kBlock + k * 4 + j]) *
                                        static_cast<int32_t>(weights[(k * kPanel + o) * 4 + j]);
          }
        }
      }
    }
  }
};

HWY_PUSH_ATTRIBUTES("amx-tile,amx-int8,avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")

// The numbers of tiles must be literals.
#define ILRE_MULTIPLY_TILES(sums, x, w) \
  _tile_zero(sums);                     \
  _tile_loadd(x, values, kBlock);       \
  _tile_loadd(w, weights, kPanel * 4);  \
  _tile_dpbsud(sums, x, w);             \
  _tile_stored(sums, products, kPanel * sizeof(int32_t))

struct Hardware {
  template <int kSet>
  HWY_INLINE static void Multiply(const int8_t* values, const uint8_t* weights, int32_t* products) {
    if constexpr (kSet == 0) {
      ILRE_MULTIPLY_TILES(0, 1, 2);
    } else {
      ILRE_MULTIPLY_TILES(3, 4, 5);
    }
  }
};

#undef ILRE_MULTIPLY_TILES

// sums += scale * products of block b, whose weights were 128 too great.
HWY_INLINE void AddScaled(const Int8AmxTile& tile, int64_t b, const int32_t* products, __m512* sums) {
#pragma GCC unroll 16
  for (int r = 0; r < kAmxRows; ++r) {
    const int64_t place = b * kGroup + r % kGroup;
    const __m512i excess = _mm512_set1_epi32(128 * tile.sums[r / kGroup][place]);
    const __m512i exact = _mm512_sub_epi32(_mm512_load_si512(products + r * kPanel), excess);
    sums[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(exact), _mm512_set1_ps(tile.scales[r / kGroup][place]), sums[r]);
  }
}

template <class Tiles>
HWY_INLINE void Compute(const Int8AmxTile& tile) {
  alignas(kCacheLine) int32_t even[kProducts], odd[kProducts];
  __m512 sums[kAmxRows];
#pragma GCC unroll 16
  for (int r = 0; r < kAmxRows; ++r) sums[r] = _mm512_setzero_ps();
  int64_t b = 0;
  for (; b + 1 < tile.num_blocks; b += 2) {
    const int8_t* const values = tile.values + b * kTileBytes;
    const uint8_t* const weights = tile.weights + b * kTileBytes;
    Tiles::template Multiply<0>(values, weights, even);
    Tiles::template Multiply<1>(values + kTileBytes, weights + kTileBytes, odd);
    AddScaled(tile, b, even, sums);
    AddScaled(tile, b + 1, odd, sums);
  }
  if (b < tile.num_blocks) {
    Tiles::template Multiply<0>(tile.values + b * kTileBytes, tile.weights + b * kTileBytes, even);
    AddScaled(tile, b, even, sums);
  }
#pragma GCC unroll 16
  for (int r = 0; r < kAmxRows; ++r) _mm512_storeu_ps(tile.out + r * kPanel, sums[r]);
}

HWY_NOINLINE void OnHardware(const Int8AmxTile& tile) { Compute<Hardware>(tile); }
HWY_NOINLINE void OnEmulation(const Int8AmxTile& tile) { Compute<Emulation>(tile); }

struct TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

HWY_NOINLINE void LoadConfig() {
  alignas(64) static constexpr TileConfig kConfig;
  _tile_loadconfig(&kConfig);
}
HWY_NOINLINE void ReleaseTiles() { _tile_release(); }

HWY_POP_ATTRIBUTES

bool ProcessorHasTiles() {
  unsigned a, b, c, d;
  constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25;  // of leaf 7's edx
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kTile) == 0 || (d & kInt8) == 0) return false;
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
}

// Linux lets a process use the tiles' large state only if it asks.
bool SystemAllowsTiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool HardwareGivesWhatEmulationGives() {
  constexpr int64_t kBlocks = 3;
  Random random(1);
  AlignedVector<uint8_t> weights(kBlocks * kTileBytes), values(kBlocks * kTileBytes);
  for (uint8_t& byte : weights) byte = static_cast<uint8_t>(random.Below(256));
  for (uint8_t& byte : values) byte = static_cast<uint8_t>(random.Below(256));
  std::vector<float> scales(kBlocks * kGroup, 0.01f);
  std::vector<int32_t> sums(kBlocks * kGroup, 5);
  std::vector<float> hardware(kProducts), emulation(kProducts);
  Int8AmxTile tile = {.num_blocks = kBlocks,
                      .weights = weights.data(),
                      .values = reinterpret_cast<const int8_t*>(values.data()),
                      .scales = {scales.data(), scales.data()},
                      .sums = {sums.data(), sums.data()},
                      .out = hardware.data()};
  {
    const ScopedAmx scoped;
    AmxTile(tile);
  }
  tile.out = emulation.data();
  AmxTileEmulated(tile);
  return std::memcmp(hardware.data(), emulation.data(), kProducts * sizeof(float)) == 0;
}

}  // namespace

bool AmxIsUsable() {
  static const bool usable = ProcessorHasTiles() && SystemAllowsTiles() && HardwareGivesWhatEmulationGives();
  return usable;
}

ScopedAmx::ScopedAmx() { LoadConfig(); }
ScopedAmx::~ScopedAmx() { ReleaseTiles(); }

void AmxTile(const Int8AmxTile& tile) { OnHardware(tile); }
void AmxTileEmulated(const Int8AmxTile& tile) { OnEmulation(tile); }

}  // namespace ilre::kernels

#endif  // __x86_64__
