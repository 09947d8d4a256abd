#include "common/kernels/elementwise.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/base/check.h"
#include "common/kernels/bf16.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "common/kernels/elementwise.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// After highway.h:
#include "common/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ilre::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

const hn::ScalableTag<float> kFloats;
const hn::CappedTag<float, 1> kOneFloat;  // what is left of a row after whole vectors
using Floats = hn::Vec<decltype(kFloats)>;
constexpr int64_t kLanes = HWY_LANES(float);

// Calls body(tag, i) for each vector of [0, count), and then with a tag of one lane for each element left.
template <class Body>
HWY_INLINE void ForEachVector(int64_t count, Body body) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) body(kFloats, i);
  for (; i < count; ++i) body(kOneFloat, i);
}

// In an order that depends on dim alone.
float DotRow(const float* a, const float* b, int64_t dim) {
  Floats sums[4] = {hn::Zero(kFloats), hn::Zero(kFloats), hn::Zero(kFloats), hn::Zero(kFloats)};
  int64_t i = 0;
  for (; i + 4 * kLanes <= dim; i += 4 * kLanes) {
    for (int s = 0; s < 4; ++s) {
      const int64_t at = i + s * kLanes;
      sums[s] = hn::MulAdd(hn::LoadU(kFloats, a + at), hn::LoadU(kFloats, b + at), sums[s]);
    }
  }
  for (; i + kLanes <= dim; i += kLanes) {
    sums[0] = hn::MulAdd(hn::LoadU(kFloats, a + i), hn::LoadU(kFloats, b + i), sums[0]);
  }
  const Floats sum = hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]));
  float total = hn::GetLane(hn::SumOfLanes(kFloats, sum));
  for (; i < dim; ++i) total += a[i] * b[i];
  return total;
}

// out = x * factor * weight; weight may be null.
void ScaleRow(const float* x, int64_t dim, float factor, const float* weight, float* out) {
  ForEachVector(dim, [&](auto tag, int64_t i) HWY_ATTR {
    auto value = hn::Mul(hn::LoadU(tag, x + i), hn::Set(tag, factor));
    if (weight != nullptr) value = hn::Mul(value, hn::LoadU(tag, weight + i));
    hn::StoreU(value, tag, out + i);
  });
}

void RmsNormRow(const float* x, int64_t dim, const float* weight, float eps, float* out) {
  ScaleRow(x, dim, 1.0f / std::sqrt(DotRow(x, x, dim) / static_cast<float>(dim) + eps), weight, out);
}

void NormalizeRow(const float* x, int64_t dim, float* out) {
  const float squares = DotRow(x, x, dim);
  ScaleRow(x, dim, squares == 0.0f ? 0.0f : 1.0f / std::sqrt(squares), nullptr, out);
}

void RopeHead(float* x, int64_t half, const float* cosines, const float* sines) {
  ForEachVector(half, [&](auto tag, int64_t i) HWY_ATTR {
    const auto a = hn::LoadU(tag, x + i), b = hn::LoadU(tag, x + half + i);
    const auto c = hn::LoadU(tag, cosines + i), s = hn::LoadU(tag, sines + i);
    hn::StoreU(hn::NegMulAdd(b, s, hn::Mul(a, c)), tag, x + i);
    hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), tag, x + half + i);
  });
}

// g / (1 + exp(-s)) = g exp(-|s|) / (1 + exp(-|s|)) for s < 0: exp never sees a positive number.
template <class Tag, class Vector>
HWY_INLINE Vector TimesSigmoid(Tag tag, Vector g, Vector s) {
  const auto one = hn::Set(tag, 1.0f), zero = hn::Zero(tag);
  const auto e = ExpNonPositive(tag, hn::Neg(hn::Abs(s)));
  return hn::Div(hn::Mul(g, hn::IfThenElse(hn::Lt(s, zero), e, one)), hn::Add(one, e));
}

void SiluMulRow(const float* gate, const float* up, int64_t size, float* out) {
  ForEachVector(size, [&](auto tag, int64_t i) HWY_ATTR {
    const auto g = hn::LoadU(tag, gate + i);
    hn::StoreU(hn::Mul(TimesSigmoid(tag, g, g), hn::LoadU(tag, up + i)), tag, out + i);
  });
}

// (1 + tanh(u)) / 2 = 1 / (1 + exp(-2 u)).
void GeluMulRow(const float* gate, const float* up, int64_t size, float* out) {
  constexpr float kTwice = 1.5957691216057308f;  // 2 sqrt(2 / pi)
  ForEachVector(size, [&](auto tag, int64_t i) HWY_ATTR {
    const auto g = hn::LoadU(tag, gate + i);
    const auto cubic = hn::MulAdd(hn::Mul(g, g), hn::Set(tag, 0.044715f * kTwice), hn::Set(tag, kTwice));
    hn::StoreU(hn::Mul(TimesSigmoid(tag, g, hn::Mul(g, cubic)), hn::LoadU(tag, up + i)), tag, out + i);
  });
}

void AddRow(float* y, const float* x, int64_t count) {
  ForEachVector(count, [&](auto tag, int64_t i)
                           HWY_ATTR { hn::StoreU(hn::Add(hn::LoadU(tag, y + i), hn::LoadU(tag, x + i)), tag, y + i); });
}

// y += scale * x
void AddScaledRow(float* y, float scale, const float* x, int64_t count) {
  ForEachVector(count, [&](auto tag, int64_t i) HWY_ATTR {
    hn::StoreU(hn::MulAdd(hn::Set(tag, scale), hn::LoadU(tag, x + i), hn::LoadU(tag, y + i)), tag, y + i);
  });
}

// The greatest element; -infinity where all are NaN.
float Greatest(const float* x, int64_t count) {
  Floats greatest = hn::Set(kFloats, -std::numeric_limits<float>::infinity());
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Floats value = hn::LoadU(kFloats, x + i);
    greatest = hn::IfThenElse(hn::Gt(value, greatest), value, greatest);
  }
  float result = hn::GetLane(hn::MaxOfLanes(kFloats, greatest));
  for (; i < count; ++i) result = x[i] > result ? x[i] : result;
  return result;
}

void SoftmaxRow(float* x, int64_t count, float scale) {
  ScaleRow(x, count, scale, nullptr, x);
  const float greatest = Greatest(x, count);
  Floats sums = hn::Zero(kFloats);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Floats e = ExpNonPositive(kFloats, hn::Sub(hn::LoadU(kFloats, x + i), hn::Set(kFloats, greatest)));
    sums = hn::Add(sums, e);
    hn::StoreU(e, kFloats, x + i);
  }
  float total = hn::GetLane(hn::SumOfLanes(kFloats, sums));
  for (; i < count; ++i) {
    x[i] = hn::GetLane(ExpNonPositive(kOneFloat, hn::Set(kOneFloat, x[i] - greatest)));
    total += x[i];
  }
  ScaleRow(x, count, 1.0f / total, nullptr, x);
}

void ToBf16(const float* in, int64_t count, uint16_t* out) {
  const hn::RebindToUnsigned<decltype(kFloats)> words;
  const hn::RebindToSigned<decltype(kFloats)> integers;
  const hn::Rebind<uint16_t, decltype(kFloats)> halves;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Floats value = hn::LoadU(kFloats, in + i);
    const auto bits = hn::BitCast(words, value), upper = hn::ShiftRight<16>(bits);
    const auto odd = hn::And(upper, hn::Set(words, 1));
    const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(words, 0x7FFF))));
    const auto is_nan = hn::RebindMask(words, hn::IsNaN(value));
    const auto result = hn::IfThenElse(is_nan, hn::Or(upper, hn::Set(words, 0x0040)), rounded);
    hn::StoreU(hn::DemoteTo(halves, hn::BitCast(integers, result)), halves, out + i);
  }
  for (; i < count; ++i) out[i] = Bf16FromFloat(in[i]);
}

void FromBf16(const uint16_t* in, int64_t count, float* out) {
  const hn::RebindToUnsigned<decltype(kFloats)> words;
  const hn::Rebind<uint16_t, decltype(kFloats)> halves;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const auto word = hn::ShiftLeft<16>(hn::PromoteTo(words, hn::LoadU(halves, in + i)));
    hn::StoreU(hn::BitCast(kFloats, word), kFloats, out + i);
  }
  for (; i < count; ++i) out[i] = FloatFromBf16(in[i]);
}

}  // namespace ilre::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ilre::kernels {
namespace {

HWY_EXPORT(RmsNormRow);
HWY_EXPORT(NormalizeRow);
HWY_EXPORT(RopeHead);
HWY_EXPORT(SiluMulRow);
HWY_EXPORT(GeluMulRow);
HWY_EXPORT(AddRow);
HWY_EXPORT(AddScaledRow);
HWY_EXPORT(DotRow);
HWY_EXPORT(Greatest);
HWY_EXPORT(SoftmaxRow);
HWY_EXPORT(ToBf16);
HWY_EXPORT(FromBf16);

// Splits rows between the threads where there is enough to do: waking one costs as much as some 20,000 elements.
template <class Body>
void ForEachRow(ThreadPool& pool, int64_t rows, int64_t elements_per_row, Body body) {
  constexpr int64_t kTaskElements = 32 << 10;
  const int64_t tasks = std::clamp<int64_t>(rows * elements_per_row / kTaskElements, 1, std::max<int64_t>(1, rows));
  pool.ParallelFor(tasks, [&](int64_t task) {
    for (int64_t r = task * rows / tasks; r < (task + 1) * rows / tasks; ++r) body(r);
  });
}

int64_t StrideOr(int64_t stride, int64_t contiguous) { return stride != 0 ? stride : contiguous; }

// row(gates, ups, size, out) for each row of a gated layer.
template <class Row>
void ForEachGate(Row row, const float* gate_up, int64_t rows, int64_t size, float* out, ThreadPool& pool,
                 int64_t in_stride, int64_t out_stride) {
  const int64_t from = StrideOr(in_stride, 2 * size), to = StrideOr(out_stride, size);
  ForEachRow(pool, rows, 2 * size,
             [&](int64_t r) { row(gate_up + r * from, gate_up + r * from + size, size, out + r * to); });
}

}  // namespace

void RmsNorm(const float* x, int64_t rows, int64_t dim, const float* weight, float eps, float* out, ThreadPool& pool,
             int64_t x_stride, int64_t out_stride) {
  const int64_t from = StrideOr(x_stride, dim), to = StrideOr(out_stride, dim);
  ForEachRow(pool, rows, dim, [&](int64_t r) {
    HWY_DYNAMIC_DISPATCH(RmsNormRow)(x + r * from, dim, weight, eps, out + r * to);
  });
}

void RmsNormHeads(float* x, int64_t rows, int64_t heads, int64_t dim, const float* weight, float eps, ThreadPool& pool,
                  int64_t stride) {
  const int64_t step = StrideOr(stride, heads * dim);
  ForEachRow(pool, rows, heads * dim, [&](int64_t r) {
    for (int64_t h = 0; h < heads; ++h) {
      float* head = x + r * step + h * dim;
      HWY_DYNAMIC_DISPATCH(RmsNormRow)(head, dim, weight, eps, head);
    }
  });
}

void Rope(float* x, int64_t rows, int64_t heads, int64_t dim, const float* cosines, const float* sines,
          ThreadPool& pool, int64_t stride) {
  ILRE_CHECK(dim % 2 == 0);
  const int64_t step = StrideOr(stride, heads * dim), half = dim / 2;
  ForEachRow(pool, rows, heads * dim, [&](int64_t r) {
    for (int64_t h = 0; h < heads; ++h) {
      HWY_DYNAMIC_DISPATCH(RopeHead)(x + r * step + h * dim, half, cosines + r * half, sines + r * half);
    }
  });
}

void SiluMul(const float* gate_up, int64_t rows, int64_t size, float* out, ThreadPool& pool, int64_t in_stride,
             int64_t out_stride) {
  ForEachGate(
      [](auto... row) {
        HWY_DYNAMIC_DISPATCH(SiluMulRow)
        (row...);
      },
      gate_up, rows, size, out, pool, in_stride, out_stride);
}

void GeluMul(const float* gate_up, int64_t rows, int64_t size, float* out, ThreadPool& pool, int64_t in_stride,
             int64_t out_stride) {
  ForEachGate(
      [](auto... row) {
        HWY_DYNAMIC_DISPATCH(GeluMulRow)
        (row...);
      },
      gate_up, rows, size, out, pool, in_stride, out_stride);
}

void AddInPlace(float* y, const float* x, int64_t count, ThreadPool& pool) {
  constexpr int64_t kPiece = 16 << 10;
  ForEachRow(pool, (count + kPiece - 1) / kPiece, kPiece, [&](int64_t piece) {
    const int64_t begin = piece * kPiece;
    HWY_DYNAMIC_DISPATCH(AddRow)(y + begin, x + begin, std::min(kPiece, count - begin));
  });
}

void AddScaled(float* y, float scale, const float* x, int64_t count) {
  HWY_DYNAMIC_DISPATCH(AddScaledRow)(y, scale, x, count);
}

float InnerProduct(const float* a, const float* b, int64_t count) { return HWY_DYNAMIC_DISPATCH(DotRow)(a, b, count); }

void NormalizeRows(const float* x, int64_t rows, int64_t dim, float* out, int64_t x_stride, int64_t out_stride) {
  const int64_t from = StrideOr(x_stride, dim), to = StrideOr(out_stride, dim);
  for (int64_t r = 0; r < rows; ++r) HWY_DYNAMIC_DISPATCH(NormalizeRow)(x + r * from, dim, out + r * to);
}

void Softmax(float* x, int64_t count, float scale) { HWY_DYNAMIC_DISPATCH(SoftmaxRow)(x, count, scale); }

int64_t ArgMax(const float* x, int64_t count) {
  const float greatest = HWY_DYNAMIC_DISPATCH(Greatest)(x, count);
  const float* found = std::find(x, x + count, greatest);
  return found != x + count ? found - x : 0;
}

void ConvertToBf16(const float* in, int64_t count, uint16_t* out) { HWY_DYNAMIC_DISPATCH(ToBf16)(in, count, out); }

void ConvertFromBf16(const uint16_t* in, int64_t count, float* out) { HWY_DYNAMIC_DISPATCH(FromBf16)(in, count, out); }

}  // namespace ilre::kernels
#endif  // HWY_ONCE
