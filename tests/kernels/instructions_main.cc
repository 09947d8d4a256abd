// Runs one kernel, once, on data made up from a seed: what instructions_test.py counts the instructions of.
//
//   kernel_instructions NAME      without a name: prints the names
#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "common/base/thread_pool.h"
#include "common/kernels/banded_attention.h"
#include "common/kernels/bf16_attention.h"
#include "common/kernels/cached_attention.h"
#include "common/kernels/elementwise.h"
#include "common/kernels/int8_linear.h"
#include "common/kernels/linear.h"
#include "common/kernels/max_sim.h"

// Instructions inside it are counted. Not inlined, not renamed: valgrind finds it by its name.
extern "C" __attribute__((noinline)) void IlreMeasured(const std::function<void()>* kernel) { (*kernel)(); }

namespace ilre::kernels {
namespace {

std::vector<float> Floats(int64_t count) {
  Random random(static_cast<uint64_t>(count));
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = static_cast<float>(random.Uniform() - 0.5);
  return values;
}

std::vector<uint16_t> Bf16(int64_t count) {
  std::vector<uint16_t> bits(static_cast<size_t>(count));
  ConvertToBf16(Floats(count).data(), count, bits.data());
  return bits;
}

// Each is called twice, and counted the second time: memory that is kept from call to call is there.
void RunTwice(const std::function<void()>& kernel) {
  kernel();
  IlreMeasured(&kernel);
}

void Linear() {
  const PackedLinear linear = PackedLinear::FromBf16(Bf16(192 * 576).data(), 192, 576);
  const std::vector<float> x = Floats(48 * 576);
  std::vector<float> y(48 * 192);
  RunTwice([&] { linear.Apply(x.data(), 48, y.data(), InlinePool()); });
}

void LinearInt8() {
  const Int8Linear linear = Int8Linear::FromFloats(Floats(192 * 576).data(), 192, 576);
  const std::vector<float> x = Floats(48 * 576);
  std::vector<float> y(48 * 192);
  Int8Rows rows;
  RunTwice([&] {
    rows.Assign(x.data(), 48, 576);
    linear.Apply(rows, y.data());
  });
}

void Attention() {
  const std::vector<float> q = Floats(32 * 9 * 64), k = Floats(300 * 3 * 64), v = k;
  std::vector<float> out(q.size());
  BandedAttentionArgs args{32, 268, 16, 256, 9, 3, 64, 0.125f};
  args.q = q.data(), args.k = k.data(), args.v = v.data(), args.out = out.data();
  RunTwice([&] { BandedAttention(args, InlinePool()); });
}

void AttentionBf16() {
  const std::vector<float> q = Floats(32 * 9 * 64);
  const std::vector<uint16_t> k = Bf16(300 * 3 * 64), v = k;
  std::vector<float> out(q.size());
  Bf16AttentionArgs args{32, 268, 16, 256, 9, 3, 64, 0.125f};
  args.q = q.data(), args.k = k.data(), args.v = v.data(), args.out = out.data();
  RunTwice([&] { Bf16Attention(args); });
}

void AttentionCached() {
  constexpr int64_t kPast = 512, kStride = 15 * 64;
  CachedAttentionArgs args{{CacheNumbers::kHalf, 3, 64, LayerCache::Capacity(kPast + 1)}, 0, kPast};
  args.num_heads = 9, args.scale = 0.125f;
  const auto bytes = static_cast<size_t>(LayerCache::Bytes(args.cache.numbers, args.cache.capacity, 3, 64));
  AlignedVector<uint8_t> keys(bytes), values(bytes);
  args.cache.keys = keys.data(), args.cache.values = values.data();
  const std::vector<float> qkv = Floats(kPast * kStride);
  args.q = qkv.data(), args.k = args.q + 9 * 64, args.v = args.k + 3 * 64;
  args.in_stride = kStride, args.out_stride = 9 * 64;
  std::vector<float> out(kPast * 9 * 64);
  args.out = out.data();
  CachedAttention(&args, 1, InlinePool());
  args.num_past = kPast, args.num_queries = 1;  // a token that is decoded
  RunTwice([&] { CachedAttention(&args, 1, InlinePool()); });
}

void MaxSim() {
  const std::vector<uint16_t> keys = Bf16(256 * 64);
  const PackedQueries queries(Floats(24 * 64).data(), 24, 64);
  const std::vector<uint8_t> bitmap(256 / 8, 1);
  std::vector<float> best(33 * 24);
  RunTwice(
      [&] { MaxSimBf16(reinterpret_cast<const uint8_t*>(keys.data()), 256, queries, bitmap.data(), best.data()); });
}

void Silu() {
  const std::vector<float> x = Floats(32 * 3072);
  std::vector<float> out(32 * 1536);
  RunTwice([&] { SiluMul(x.data(), 32, 1536, out.data(), InlinePool()); });
}

const std::map<std::string, void (*)()> kKernels = {{"linear_bf16", Linear},
                                                    {"linear_int8", LinearInt8},
                                                    {"attention", Attention},
                                                    {"attention_bf16", AttentionBf16},
                                                    {"attention_cached", AttentionCached},
                                                    {"max_sim_bf16", MaxSim},
                                                    {"silu_mul", Silu}};

}  // namespace
}  // namespace ilre::kernels

int main(int argc, char** argv) {
  using ilre::kernels::kKernels;
  if (argc < 2) {
    for (const auto& [name, run] : kKernels) std::printf("%s\n", name.c_str());
    return 0;
  }
  const auto kernel = kKernels.find(argv[1]);
  if (kernel == kKernels.end()) return 2;
  kernel->second();
  return 0;
}
