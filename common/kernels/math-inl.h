// Vector functions that several kernels need. Included once for each Highway target.
#if defined(ILRE_KERNELS_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ILRE_KERNELS_MATH_INL_H_
#undef ILRE_KERNELS_MATH_INL_H_
#else
#define ILRE_KERNELS_MATH_INL_H_
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace ilre::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The end of both exponentials: p times 2 to the integer that the low bits of `shifted` hold; 0 where e^x vanishes.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V TimesPowerOfTwo(D d, V p, V shifted, V x) {
  const hn::RebindToSigned<D> integers;
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(integers, shifted));
  const V result = hn::BitCast(d, hn::Add(hn::BitCast(integers, p), exponent));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.0f)), result);
}

// exp(x) for x <= 0, to a relative 2e-7; exp(0) is 1. 0 below -87, where float32 has no normal result. NaN stays NaN.
//
// x = n ln 2 + f with |f| <= ln 2 / 2. exp(f) is a polynomial whose greatest relative error, 1.05e-7, is minimal with
// the first two coefficients fixed to 1 (found by Lawson's iteration). 2^n is an addition to the exponent. ln 2 is
// split in two so that n times its upper part is exact (Cody and Waite, "Software Manual for the Elementary
// Functions", 1980).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpNonPositive(D d, V x) {
  const V shifter = hn::Set(d, 12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer, held in the low bits
  const V shifted = hn::MulAdd(x, hn::Set(d, 1.44269504f), shifter);
  const V n = hn::Sub(shifted, shifter);
  V f = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
  f = hn::MulAdd(n, hn::Set(d, 2.12194440e-4f), f);
  V p = hn::Set(d, 0.00831250101f);
  p = hn::MulAdd(p, f, hn::Set(d, 0.0418903306f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.166671157f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.499992311f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0f));
  return TimesPowerOfTwo(d, p, shifted, x);
}

// The same to a relative 1.1e-4, for results that are rounded to bf16 (2e-3): 2^f for |f| <= 1/2 by a polynomial whose
// greatest relative error is minimal with the first coefficient fixed to 1.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V RoughExpNonPositive(D d, V x) {
  const V shifter = hn::Set(d, 12582912.0f), log2_e = hn::Set(d, 1.44269504f);
  const V shifted = hn::MulAdd(x, log2_e, shifter);
  const V f = hn::MulSub(x, log2_e, hn::Sub(shifted, shifter));
  V p = hn::Set(d, 0.0550085828f);
  p = hn::MulAdd(p, f, hn::Set(d, 0.242210373f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.693282902f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0f));
  return TimesPowerOfTwo(d, p, shifted, x);
}

}  // namespace ilre::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ILRE_KERNELS_MATH_INL_H_
