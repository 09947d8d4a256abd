#include "common/kernels/int8_tile.h"

#include <cmath>
#include <cstring>

#include "common/kernels/int8_linear.h"
#include "hwy/base.h"
#if defined(__x86_64__)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // of GCC 12's own intrinsics (its bug 105593)
#endif
#include <immintrin.h>
#endif

namespace ilre::kernels {
namespace {

constexpr int kGroup = Int8Rows::kGroup, kPanel = Int8Linear::kPanel, kSteps = Int8Rows::kBlock / 4;

}  // namespace

void Int8TilePortable(const Int8Tile& tile) {
  for (int r = 0; r < kGroup; ++r) {
    float sums[kPanel] = {};
    for (int64_t b = 0; b < tile.num_blocks; ++b) {
      int32_t products[kPanel] = {};
      for (int64_t i = b * kSteps; i < (b + 1) * kSteps; ++i) {
        const int8_t* x = tile.values + (i * kGroup + r) * 4;
        const uint8_t* w = tile.weights + i * kPanel * 4;
        for (int o = 0; o < kPanel; ++o) {
          for (int j = 0; j < 4; ++j) products[o] += (static_cast<int32_t>(w[o * 4 + j]) - 128) * x[j];
        }
      }
      const float scale = tile.scales[b * kGroup + r];
      for (int o = 0; o < kPanel; ++o) sums[o] = std::fma(static_cast<float>(products[o]), scale, sums[o]);
    }
    std::memcpy(tile.out + r * kPanel, sums, sizeof(sums));
  }
}

#if defined(__x86_64__)

// Checked builds, whose compilers choke on unrolled code, take fewer rows at a time.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kRowsAtOnce = 2;
#else
constexpr int kRowsAtOnce = kGroup;
#endif

HWY_PUSH_ATTRIBUTES("avx2,fma")
namespace avx2 {

// Half a panel, kRows rows from `first`.
template <int kRows>
HWY_INLINE void HalfPanel(const Int8Tile& tile, int half, int first) {
  const __m256i bias = _mm256_set1_epi8(static_cast<char>(0x80)), ones = _mm256_set1_epi16(1);
  __m256 sums[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) sums[r] = _mm256_setzero_ps();
  const uint8_t* w = tile.weights + half * 32;
  const int8_t* x = tile.values + first * 4;
  for (int64_t b = 0; b < tile.num_blocks; ++b) {
    __m256i products[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) products[r] = _mm256_setzero_si256();
    for (int i = 0; i < kSteps; ++i, w += kPanel * 4, x += kGroup * 4) {
      const __m256i weights =
          _mm256_xor_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w)), bias);  // int8, above -128
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        int32_t four;
        std::memcpy(&four, x + r * 4, 4);
        const __m256i values = _mm256_set1_epi32(four);
        // |x| * (w with x's sign): two products stay below 2^15.
        const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(values), _mm256_sign_epi8(weights, values));
        products[r] = _mm256_add_epi32(products[r], _mm256_madd_epi16(pairs, ones));
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const __m256 scale = _mm256_set1_ps(tile.scales[b * kGroup + first + r]);
      sums[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products[r]), scale, sums[r]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) _mm256_storeu_ps(tile.out + (first + r) * kPanel + half * 8, sums[r]);
}

HWY_NOINLINE void Tile(const Int8Tile& tile) {
  constexpr int kRows = kRowsAtOnce < 4 ? kRowsAtOnce : 4;
  for (int half = 0; half < 2; ++half) {
    for (int first = 0; first < kGroup; first += kRows) HalfPanel<kRows>(tile, half, first);
  }
}

}  // namespace avx2
HWY_POP_ATTRIBUTES

void Int8TileAvx2(const Int8Tile& tile) { avx2::Tile(tile); }

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")
namespace avx512_vnni {

template <int kRows>
HWY_INLINE void Rows(const Int8Tile& tile, int first) {
  __m512 sums[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) sums[r] = _mm512_setzero_ps();
  const uint8_t* w = tile.weights;
  const int8_t* x = tile.values + first * 4;
  const int32_t* block_sums = tile.sums + first;
  const float* scales = tile.scales + first;
  for (int64_t b = 0; b < tile.num_blocks; ++b, block_sums += kGroup, scales += kGroup) {
    // The weights are 128 too great: begin with that much less.
    __m512i products[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) products[r] = _mm512_set1_epi32(-128 * block_sums[r]);
#pragma GCC unroll 4
    for (int i = 0; i < kSteps; ++i, w += kPanel * 4, x += kGroup * 4) {
      const __m512i weights = _mm512_load_si512(w);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        int32_t four;
        std::memcpy(&four, x + r * 4, 4);
        products[r] = _mm512_dpbusd_epi32(products[r], weights, _mm512_set1_epi32(four));
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      sums[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products[r]), _mm512_set1_ps(scales[r]), sums[r]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) _mm512_storeu_ps(tile.out + (first + r) * kPanel, sums[r]);
}

HWY_NOINLINE void Tile(const Int8Tile& tile) {
  for (int first = 0; first < kGroup; first += kRowsAtOnce) Rows<kRowsAtOnce>(tile, first);
}

}  // namespace avx512_vnni
HWY_POP_ATTRIBUTES

void Int8TileAvx512Vnni(const Int8Tile& tile) { avx512_vnni::Tile(tile); }

#endif  // __x86_64__

}  // namespace ilre::kernels
