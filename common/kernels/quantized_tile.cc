#include "common/kernels/quantized_tile.h"

#include <cmath>
#include <cstring>

#include "common/base/half.h"
#include "hwy/base.h"
#if defined(__x86_64__)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // of GCC 12's own intrinsics (its bug 105593)
#endif
#include <immintrin.h>
#endif

namespace ilre::kernels {
namespace {

constexpr int kPanel = static_cast<int>(kQuantizedPanel), kBlock = static_cast<int>(QuantizedLinear::kBlock);

constexpr int kCodeBytesOf4Bits = kPanel * kBlock / 2, kCodeBytesOf8Bits = kPanel * kBlock;

// Weights from memory or the last-level cache are asked for so many bytes ahead, into the second-level cache: the
// processor's own prefetching stops at each page, and the first level has room for too few requests under way.
[[maybe_unused]] constexpr int kPrefetchBytes = 4096;

// The code of one output's input, as the format's formula takes it.
template <QuantizedFormat kFormat>
int32_t CodeAt(const uint8_t* codes, int output, int input) {
  if constexpr (kFormat == QuantizedFormat::kQ8_0) {
    return codes[(input / 4 * kPanel + output) * 4 + input % 4] - 128;
  } else {
    const int in_half = input % 16;
    const uint8_t both = codes[(in_half / 4 * kPanel + output) * 4 + in_half % 4];
    const int32_t code = input < 16 ? both & 15 : both >> 4;
    return kFormat == QuantizedFormat::kQ4_0 ? code - 8 : code;
  }
}

template <QuantizedFormat kFormat>
void PortableTile(const QuantizedTile& tile) {
  constexpr int kCodeBytes = kFormat == QuantizedFormat::kQ8_0 ? kCodeBytesOf8Bits : kCodeBytesOf4Bits;
  std::memset(tile.out, 0, static_cast<size_t>(tile.num_rows) * kPanel * sizeof(float));
  for (int64_t b = 0; b < tile.num_blocks; ++b) {
    int8_t codes[kPanel][kBlock];
    for (int o = 0; o < kPanel; ++o) {
      for (int i = 0; i < kBlock; ++i) {
        codes[o][i] = static_cast<int8_t>(CodeAt<kFormat>(tile.codes + b * kCodeBytes, o, i));
      }
    }
    for (int r = 0; r < tile.num_rows; ++r) {
      const QuantizedBlock& x = tile.x[b * tile.num_rows + r];
      for (int o = 0; o < kPanel; ++o) {
        int32_t products = 0;
        for (int i = 0; i < kBlock; ++i) products += codes[o][i] * x.values[i];
        float& sum = tile.out[r * kPanel + o];
        if (kFormat == QuantizedFormat::kQ4_1) {
          sum = std::fma(HalfToFloat(tile.minimums[b * kPanel + o]), x.scaled_sum, sum);
        }
        sum = std::fma(HalfToFloat(tile.scales[b * kPanel + o]) * x.scale, static_cast<float>(products), sum);
      }
    }
  }
}

}  // namespace

void QuantizedTilePortable(const QuantizedTile& tile) {
  switch (tile.format) {
    case QuantizedFormat::kQ4_0:
      return PortableTile<QuantizedFormat::kQ4_0>(tile);
    case QuantizedFormat::kQ4_1:
      return PortableTile<QuantizedFormat::kQ4_1>(tile);
    case QuantizedFormat::kQ8_0:
      return PortableTile<QuantizedFormat::kQ8_0>(tile);
  }
}

#if defined(__x86_64__)

HWY_PUSH_ATTRIBUTES("avx2,fma,f16c")
namespace avx2 {

// The codes of part `part` (four inputs) of half a panel, as bytes that the format's formula takes but for kQ4_0's 8.
template <QuantizedFormat kFormat>
HWY_INLINE __m256i Codes(const uint8_t* codes, int part) {
  constexpr int kParts = kFormat == QuantizedFormat::kQ8_0 ? 8 : 4;
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + part % kParts * kPanel * 4));
  if constexpr (kFormat == QuantizedFormat::kQ8_0) {
    return _mm256_xor_si256(bytes, _mm256_set1_epi8(static_cast<char>(0x80)));
  } else {
    return _mm256_and_si256(part < 4 ? bytes : _mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(15));
  }
}

// Half a panel, all rows.
template <QuantizedFormat kFormat, int kRows>
HWY_INLINE void HalfPanel(const QuantizedTile& tile, int half) {
  constexpr int kCodeBytes = kFormat == QuantizedFormat::kQ8_0 ? kCodeBytesOf8Bits : kCodeBytesOf4Bits;
  const __m256i ones = _mm256_set1_epi16(1);
  __m256 sums[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) sums[r] = _mm256_setzero_ps();
  const uint8_t* codes = tile.codes + half * 32;
  const uint16_t* halves = tile.scales + half * 8;
  const QuantizedBlock* x = tile.x;
  for (int64_t b = 0; b < tile.num_blocks; ++b, codes += kCodeBytes, halves += kPanel, x += kRows) {
    __m256i products[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      products[r] = _mm256_set1_epi32(kFormat == QuantizedFormat::kQ4_0 ? -8 * x[r].sum : 0);
    }
#pragma GCC unroll 8
    for (int part = 0; part < 8; ++part) {
      const __m256i weights = Codes<kFormat>(codes, part);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        int32_t four;
        std::memcpy(&four, x[r].values + part * 4, 4);
        const __m256i values = _mm256_set1_epi32(four);
        // Unsigned times signed bytes; the sum of two products stays below 2^15. Weights may be -128, x may not.
        const __m256i pairs = kFormat == QuantizedFormat::kQ8_0
                                  ? _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(values, weights))
                                  : _mm256_maddubs_epi16(weights, values);
        products[r] = _mm256_add_epi32(products[r], _mm256_madd_epi16(pairs, ones));
      }
    }
    const __m256 scale = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(halves)));
    __m256 minimum = _mm256_setzero_ps();
    if constexpr (kFormat == QuantizedFormat::kQ4_1) {
      const uint16_t* from = tile.minimums + b * kPanel + half * 8;
      minimum = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      if constexpr (kFormat == QuantizedFormat::kQ4_1) {
        sums[r] = _mm256_fmadd_ps(minimum, _mm256_set1_ps(x[r].scaled_sum), sums[r]);
      }
      sums[r] =
          _mm256_fmadd_ps(_mm256_mul_ps(scale, _mm256_set1_ps(x[r].scale)), _mm256_cvtepi32_ps(products[r]), sums[r]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) _mm256_storeu_ps(tile.out + r * kPanel + half * 8, sums[r]);
}

template <QuantizedFormat kFormat, int kRows>
HWY_NOINLINE void Rows(const QuantizedTile& tile) {
  HalfPanel<kFormat, kRows>(tile, 0);
  HalfPanel<kFormat, kRows>(tile, 1);
}

}  // namespace avx2
HWY_POP_ATTRIBUTES

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")
namespace avx512_vnni {

HWY_INLINE __m512i FourValues(const int8_t* values) {
  int32_t four;
  std::memcpy(&four, values, 4);
  return _mm512_set1_epi32(four);
}

template <QuantizedFormat kFormat, int kRows>
HWY_NOINLINE void Rows(const QuantizedTile& tile) {
  constexpr int kCodeBytes = kFormat == QuantizedFormat::kQ8_0 ? kCodeBytesOf8Bits : kCodeBytesOf4Bits;
  // Codes are unsigned here; where they are too great by so much, begin with that much less.
  constexpr int kOffset = kFormat == QuantizedFormat::kQ8_0 ? 128 : kFormat == QuantizedFormat::kQ4_0 ? 8 : 0;
  __m512 sums[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) sums[r] = _mm512_setzero_ps();
  const uint8_t* codes = tile.codes;
  const uint16_t* scales = tile.scales;
  const uint16_t* minimums = tile.minimums;
  const QuantizedBlock* x = tile.x;
  for (int64_t b = 0; b < tile.num_blocks; ++b, codes += kCodeBytes, scales += kPanel, x += kRows) {
    __m512i weights[8];
#pragma GCC unroll 8
    for (int i = 0; i < kCodeBytes / 64; ++i) {
      const __m512i bytes = _mm512_load_si512(codes + i * 64);
      _mm_prefetch(reinterpret_cast<const char*>(codes) + kPrefetchBytes + i * 64, _MM_HINT_T1);
      if constexpr (kFormat == QuantizedFormat::kQ8_0) {
        weights[i] = bytes;
      } else {
        const __m512i low = _mm512_set1_epi8(15);
        weights[i] = _mm512_and_si512(bytes, low);
        weights[4 + i] = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), low);
      }
    }
    const __m512 scale = _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(scales)));
    __m512 minimum = _mm512_setzero_ps();
    if constexpr (kFormat == QuantizedFormat::kQ4_1) {
      minimum = _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(minimums)));
      minimums += kPanel;
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const QuantizedBlock& row = x[r];
      // Two chains, since each waits for itself.
      __m512i even = kOffset == 0 ? _mm512_setzero_si512() : _mm512_set1_epi32(-kOffset * row.sum);
      __m512i odd = _mm512_setzero_si512();
#pragma GCC unroll 4
      for (int part = 0; part < 8; part += 2) {
        even = _mm512_dpbusd_epi32(even, weights[part], FourValues(row.values + part * 4));
        odd = _mm512_dpbusd_epi32(odd, weights[part + 1], FourValues(row.values + part * 4 + 4));
      }
      const __m512 products = _mm512_cvtepi32_ps(_mm512_add_epi32(even, odd));
      if constexpr (kFormat == QuantizedFormat::kQ4_1) {
        sums[r] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(row.scaled_sum), sums[r]);
      }
      sums[r] = _mm512_fmadd_ps(_mm512_mul_ps(scale, _mm512_set1_ps(row.scale)), products, sums[r]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) _mm512_storeu_ps(tile.out + r * kPanel, sums[r]);
}

}  // namespace avx512_vnni
HWY_POP_ATTRIBUTES

// The instance for a number of rows and a format known at run time.
#define ILRE_DISPATCH_ROWS(path, format)                                                           \
  static constexpr QuantizedTileFunction* kByRows[] = {                                            \
      path::Rows<format, 1>, path::Rows<format, 2>, path::Rows<format, 3>, path::Rows<format, 4>,  \
      path::Rows<format, 5>, path::Rows<format, 6>, path::Rows<format, 7>, path::Rows<format, 8>}; \
  return kByRows[tile.num_rows - 1](tile)

#define ILRE_DISPATCH(path)                             \
  switch (tile.format) {                                \
    case QuantizedFormat::kQ4_0: {                      \
      ILRE_DISPATCH_ROWS(path, QuantizedFormat::kQ4_0); \
    }                                                   \
    case QuantizedFormat::kQ4_1: {                      \
      ILRE_DISPATCH_ROWS(path, QuantizedFormat::kQ4_1); \
    }                                                   \
    case QuantizedFormat::kQ8_0: {                      \
      ILRE_DISPATCH_ROWS(path, QuantizedFormat::kQ8_0); \
    }                                                   \
  }

void QuantizedTileAvx2(const QuantizedTile& tile) { ILRE_DISPATCH(avx2) }
void QuantizedTileAvx512Vnni(const QuantizedTile& tile) { ILRE_DISPATCH(avx512_vnni) }

#undef ILRE_DISPATCH
#undef ILRE_DISPATCH_ROWS

#endif  // __x86_64__

}  // namespace ilre::kernels
