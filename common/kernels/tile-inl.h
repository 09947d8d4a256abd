// The size of the tiles of sums that the matrix kernels keep in registers. Included once for each Highway target.
#if defined(ILRE_KERNELS_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ILRE_KERNELS_TILE_INL_H_
#undef ILRE_KERNELS_TILE_INL_H_
#else
#define ILRE_KERNELS_TILE_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace ilre::kernels::HWY_NAMESPACE {

// Rows of a tile that is two vectors wide: with 32 registers 24 hold sums, with 16 registers 12 do; beside them stand
// two vectors of one factor and a number of the other. Chains of multiply-adds are then long enough to hide their
// latency. Checked builds, whose compilers choke on unrolled code, have small tiles: results are the same, bit for bit.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int64_t kTileRows = 3;
#else
constexpr int64_t kTileRows = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON ? 12 : 6;
#endif

}  // namespace ilre::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ILRE_KERNELS_TILE_INL_H_
