// Speed of the CPU kernels at the shapes of SmolLM2-135M, with the plain definitions beside them.
//
// GFLOP/s and GB/s are of all threads together, by the clock on the wall. Attention counts the pairs of query and key
// that see each other, 4 d operations a head; linear layers 2 * in * out a row; scoring 2 d a query and token.
// --benchmark_filter chooses; ILRE_BENCH_THREADS sets the threads (default: one for each processor).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "common/base/random.h"
#include "common/base/thread_pool.h"
#include "common/kernels/banded_attention.h"
#include "common/kernels/bf16.h"
#include "common/kernels/bf16_attention.h"
#include "common/kernels/cached_attention.h"
#include "common/kernels/cpu_info.h"
#include "common/kernels/elementwise.h"
#include "common/kernels/int8_linear.h"
#include "common/kernels/linear.h"
#include "common/kernels/max_sim.h"
#include "common/kernels/quantized_linear.h"
#include "common/kernels/reference.h"

namespace ilre::kernels {
namespace {

constexpr double kGiga = 1e9;

std::vector<float> RandomFloats(int64_t count) {
  Random random(count);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.Uniform() - 0.5);
  return values;
}

std::vector<uint16_t> RandomBf16(int64_t count) {
  const std::vector<float> floats = RandomFloats(count);
  std::vector<uint16_t> bits(count);
  ConvertToBf16(floats.data(), count, bits.data());
  return bits;
}

void SetRates(benchmark::State& state, double operations, double bytes) {
  const double rounds = static_cast<double>(state.iterations());
  using benchmark::Counter;
  if (operations > 0) state.counters["GFLOP/s"] = Counter(rounds * operations / kGiga, Counter::kIsRate);
  if (bytes > 0) state.counters["GB/s"] = Counter(rounds * bytes / kGiga, Counter::kIsRate);
}

// Arguments: out, in, rows.
void LinearKernel(benchmark::State& state) {
  const int64_t out = state.range(0), in = state.range(1), rows = state.range(2);
  const PackedLinear linear = PackedLinear::FromBf16(RandomBf16(out * in).data(), out, in);
  const auto x = RandomFloats(rows * in);
  std::vector<float> y(rows * out);
  for (auto _ : state) {
    linear.Apply(x.data(), rows, y.data(), DefaultPool());
    benchmark::ClobberMemory();
  }
  SetRates(state, 2.0 * rows * out * in, linear.weight_bytes());
}
BENCHMARK(LinearKernel)
    ->ArgNames({"out", "in", "rows"})
    ->ArgsProduct({{960}, {576}, {1, 16, 256}})
    ->ArgsProduct({{576}, {576}, {1, 16, 256}})
    ->ArgsProduct({{3072}, {576}, {1, 16, 256}})
    ->ArgsProduct({{576}, {1536}, {1, 16, 256}})
    ->ArgsProduct({{49152}, {576}, {1, 16, 256}})
    ->UseRealTime();

// The same in int8, rounding of x included, on one thread; GFLOP/s as if in floats. path: 0 portable, 1 AVX2, 2 VNNI, 3
// AMX.
void Int8LinearKernel(benchmark::State& state) {
  const int64_t out = state.range(0), in = state.range(1), rows = state.range(2);
  const Int8Path path = static_cast<Int8Path>(state.range(3)), best = ChosenInt8Path();
  const std::vector<Int8Path> supported = SupportedInt8Paths();
  if (std::find(supported.begin(), supported.end(), path) == supported.end()) {
    state.SkipWithError("not on this processor");
    return;
  }
  SetInt8Path(path);
  const Int8Linear linear = Int8Linear::FromFloats(RandomFloats(out * in).data(), out, in);
  const auto x = RandomFloats(rows * in);
  std::vector<float> y(rows * out);
  Int8Rows quantized;
  for (auto _ : state) {
    quantized.Assign(x.data(), rows, in);
    linear.Apply(quantized, y.data());
    benchmark::ClobberMemory();
  }
  SetInt8Path(best);
  SetRates(state, 2.0 * rows * out * in, 1.0 * out * in);
}
BENCHMARK(Int8LinearKernel)
    ->ArgNames({"out", "in", "rows", "path"})
    ->ArgsProduct({{960}, {576}, {64}, {0, 1, 2, 3}})
    ->ArgsProduct({{576}, {576}, {64}, {2, 3}})
    ->ArgsProduct({{3072}, {576}, {64}, {2, 3}})
    ->ArgsProduct({{576}, {1536}, {64}, {2, 3}});

// Arguments: format (0: Q4_0, 1: Q4_1, 2: Q8_0), out, in, rows. Weights as a file has them.
void QuantizedLinearKernel(benchmark::State& state) {
  const auto format = static_cast<QuantizedFormat>(state.range(0));
  const int64_t out = state.range(1), in = state.range(2), rows = state.range(3);
  const int64_t row_bytes = in / QuantizedLinear::kBlock * QuantizedBlockBytes(format);
  const std::vector<uint8_t> blocks(out * row_bytes, 0x11);
  const QuantizedLinear linear = QuantizedLinear::FromBlocks(
      format, out, in, [&](int64_t o) { return blocks.data() + o * row_bytes; }, nullptr, DefaultPool());
  const auto x = RandomFloats(rows * in);
  std::vector<float> y(rows * out);
  for (auto _ : state) {
    linear.Apply(x.data(), rows, y.data(), DefaultPool());
    benchmark::ClobberMemory();
  }
  SetRates(state, 2.0 * rows * out * in, linear.weight_bytes());
}
BENCHMARK(QuantizedLinearKernel)
    ->ArgsProduct({{1}, {3072}, {576}, {1, 8, 16, 256}})
    ->ArgsProduct({{1}, {576}, {1536}, {1, 8, 256}})
    ->ArgsProduct({{2}, {49152}, {576}, {1, 8, 256}})
    ->UseRealTime();

void LinearReference(benchmark::State& state) {
  const int64_t out = 576, in = 576, rows = 16;
  const auto weight = RandomBf16(out * in);
  const auto x = RandomFloats(rows * in);
  std::vector<float> y(rows * out);
  for (auto _ : state) {
    reference::Linear(x.data(), rows, weight.data(), out, in, nullptr, y.data());
    benchmark::ClobberMemory();
  }
  SetRates(state, 2.0 * rows * out * in, 2.0 * out * in);
}
BENCHMARK(LinearReference)->UseRealTime();

// Memory for one call of attention with 9 query heads, 3 key heads, d = 64, unless said otherwise.
struct Attention {
  Attention(int64_t queries, int64_t past, int64_t sinks, int64_t window, int heads = 9, int kv_heads = 3, int dim = 64)
      : q(RandomFloats(queries * heads * dim)),
        k(RandomFloats((past + queries) * kv_heads * dim)),
        v(RandomFloats((past + queries) * kv_heads * dim)),
        out(queries * heads * dim) {
    args = {queries, past, sinks, window, heads, kv_heads, dim, 1 / std::sqrt(static_cast<float>(dim))};
    args.q = q.data(), args.k = k.data(), args.v = v.data(), args.out = out.data();
  }

  double Operations() const {
    double pairs = 0;
    for (int64_t p = args.num_past; p < args.num_past + args.num_queries; ++p) {
      const int64_t in_window = std::min(p + 1, args.window);
      pairs += in_window + std::min(args.num_sinks, p + 1 - in_window);
    }
    return pairs * args.num_heads * 4 * args.head_dim;
  }

  std::vector<float> q, k, v, out;
  BandedAttentionArgs args;
};

// Arguments: queries, past, window (0: unbounded), sinks.
void AttentionKernel(benchmark::State& state) {
  const int64_t window = state.range(2) != 0 ? state.range(2) : INT64_MAX;
  Attention attention(state.range(0), state.range(1), state.range(3), window);
  for (auto _ : state) {
    BandedAttention(attention.args, DefaultPool());
    benchmark::ClobberMemory();
  }
  SetRates(state, attention.Operations(), 4.0 * (attention.k.size() + attention.v.size()));
}
BENCHMARK(AttentionKernel)
    ->ArgNames({"queries", "past", "window", "sinks"})
    ->Args({256, 272, 256, 16})
    ->Args({256, 1040, 1024, 16})
    ->Args({600, 0, 0, 0})
    ->Args({4096, 0, 0, 0})
    ->Args({1, 600, 0, 0})
    ->Args({1, 4096, 0, 0})
    ->UseRealTime();

// One token's attention through all layers of SmolLM2-135M, or a piece of a prompt's, over caches that come from memory
// as they do between linear layers. Arguments: sequences, queries of each, past, numbers (0: float32, 1: halves).
void CachedAttentionKernel(benchmark::State& state) {
  constexpr int kLayers = 30, kHeads = 9, kKvHeads = 3, kDim = 64, kStride = (kHeads + 2 * kKvHeads) * kDim;
  const int64_t sequences = state.range(0), queries = state.range(1), past = state.range(2);
  const auto numbers = static_cast<CacheNumbers>(state.range(3));
  const int64_t capacity = LayerCache::Capacity(past + queries);
  const int64_t part = LayerCache::Bytes(numbers, capacity, kKvHeads, kDim);
  AlignedVector<uint8_t> memory(2 * sequences * kLayers * part);
  const auto qkv = RandomFloats((past + queries) * kStride);
  std::vector<float> out((past + queries) * kHeads * kDim);
  const auto run = [&](int layer, int64_t begin, int64_t count) {
    std::vector<CachedAttentionArgs> all(sequences);
    for (int64_t s = 0; s < sequences; ++s) {
      uint8_t* const keys = memory.data() + 2 * (s * kLayers + layer) * part;
      all[s] = {{numbers, kKvHeads, kDim, capacity, keys, keys + part}, begin, count};
      all[s].num_heads = kHeads, all[s].scale = 0.125f;
      all[s].q = qkv.data(), all[s].k = all[s].q + kHeads * kDim, all[s].v = all[s].k + kKvHeads * kDim;
      all[s].in_stride = kStride, all[s].out = out.data(), all[s].out_stride = kHeads * kDim;
    }
    CachedAttention(all.data(), sequences, DefaultPool());
  };
  for (int layer = 0; layer < kLayers; ++layer) run(layer, 0, past);
  for (auto _ : state) {
    for (int layer = 0; layer < kLayers; ++layer) run(layer, past, queries);
    benchmark::ClobberMemory();
  }
  const double pairs = kLayers * sequences * queries * (past + (queries + 1) / 2.0);
  SetRates(state, pairs * kHeads * 4 * kDim, static_cast<double>(memory.size()));
}
BENCHMARK(CachedAttentionKernel)
    ->ArgNames({"sequences", "queries", "past", "halves"})
    ->Args({1, 1, 512, 0})
    ->Args({1, 1, 512, 1})
    ->Args({8, 1, 512, 1})
    ->Args({1, 128, 384, 1})
    ->UseRealTime();

// A slice of attention with products of bf16, on one thread, and on each of two at once, as blocks share them.
void Bf16AttentionKernel(benchmark::State& state) {
  Attention attention(state.range(0), state.range(1), state.range(3), state.range(2));
  const BandedAttentionArgs& like = attention.args;
  const std::vector<uint16_t> k = RandomBf16(static_cast<int64_t>(attention.k.size())),
                              v = RandomBf16(static_cast<int64_t>(attention.v.size()));
  Bf16AttentionArgs args{like.num_queries, like.num_past,     like.num_sinks, like.window,
                         like.num_heads,   like.num_kv_heads, like.head_dim,  like.scale};
  args.q = like.q, args.k = k.data(), args.v = v.data(), args.out = like.out;
  for (auto _ : state) {
    Bf16Attention(args);
    benchmark::ClobberMemory();
  }
  SetRates(state, attention.Operations(), 2.0 * (k.size() + v.size()));
}
BENCHMARK(Bf16AttentionKernel)
    ->ArgNames({"queries", "past", "window", "sinks"})
    ->Args({64, 464, 256, 16})
    ->Threads(1)
    ->Threads(2)
    ->UseRealTime();

void AttentionReference(benchmark::State& state) {
  Attention attention(16, 272, 16, 256);
  for (auto _ : state) {
    reference::BandedAttention(attention.args);
    benchmark::ClobberMemory();
  }
  SetRates(state, attention.Operations(), 0);
}
BENCHMARK(AttentionReference)->UseRealTime();

constexpr int kBlockTokens = 256;

// A store's worth of blocks, scored as the retriever does: tasks of some blocks. Arguments: tokens in thousands, dim,
// queries, bytes a number (2: bf16, 1: int8).
void MaxSimKernel(benchmark::State& state) {
  const int64_t blocks = state.range(0) * 1000 / kBlockTokens, element = state.range(3);
  const int dim = static_cast<int>(state.range(1)), num_queries = static_cast<int>(state.range(2));
  const std::vector<uint16_t> keys = RandomBf16(blocks * kBlockTokens * dim * element / 2);
  const std::vector<float> scales(kBlockTokens, 0.01f);
  const auto queries = RandomFloats(static_cast<int64_t>(num_queries) * dim);
  const PackedQueries packed(queries.data(), num_queries, dim);
  std::vector<uint8_t> bitmap(kBlockTokens / 8);
  int rows = 1;
  for (int t = 0; t < kBlockTokens; t += 20, ++rows) bitmap[t / 8] |= 1 << (t % 8);
  std::vector<float> best(blocks * rows * num_queries, -1e30f);
  constexpr int64_t kTaskBlocks = 16;
  for (auto _ : state) {
    DefaultPool().ParallelFor((blocks + kTaskBlocks - 1) / kTaskBlocks, [&](int64_t task) {
      for (int64_t b = task * kTaskBlocks; b < std::min(blocks, (task + 1) * kTaskBlocks); ++b) {
        const auto* block = reinterpret_cast<const uint8_t*>(keys.data()) + b * kBlockTokens * dim * element;
        float* block_best = &best[b * rows * num_queries];
        if (element == 2) {
          MaxSimBf16(block, kBlockTokens, packed, bitmap.data(), block_best);
        } else {
          MaxSimInt8(block, reinterpret_cast<const uint8_t*>(scales.data()), kBlockTokens, packed, bitmap.data(),
                     block_best);
        }
      }
    });
  }
  const double tokens = static_cast<double>(blocks) * kBlockTokens;
  SetRates(state, 2.0 * tokens * dim * num_queries, tokens * dim * element);
  state.counters["Mtokens/s"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * tokens / 1e6, benchmark::Counter::kIsRate);
}
BENCHMARK(MaxSimKernel)
    ->ArgNames({"ktokens", "dim", "queries", "bytes"})
    ->ArgsProduct({{1000}, {64}, {8, 24, 32}, {1, 2}})
    ->Args({1000, 128, 24, 2})
    ->UseRealTime();

void MaxSimReference(benchmark::State& state) {
  const int dim = 64, num_queries = 24;
  const auto keys = RandomFloats(kBlockTokens * dim), queries = RandomFloats(num_queries * dim);
  std::vector<float> dots(kBlockTokens * num_queries), best(2 * num_queries, -1e30f);
  const std::vector<uint8_t> bitmap(kBlockTokens / 8);
  for (auto _ : state) {
    reference::Dot(keys.data(), kBlockTokens, dim, queries.data(), num_queries, dots.data());
    reference::SegmentMax(dots.data(), kBlockTokens, num_queries, bitmap.data(), best.data());
    benchmark::ClobberMemory();
  }
  SetRates(state, 2.0 * kBlockTokens * dim * num_queries, 0);
}
BENCHMARK(MaxSimReference)->UseRealTime();

// The rest at the sizes of one layer over 256 tokens; GB/s of what is read and written.
void RmsNormKernel(benchmark::State& state) {
  const auto x = RandomFloats(256 * 576), weight = RandomFloats(576);
  std::vector<float> out(x.size());
  for (auto _ : state) RmsNorm(x.data(), 256, 576, weight.data(), 1e-5f, out.data(), DefaultPool());
  SetRates(state, 0, 8.0 * x.size());
}
BENCHMARK(RmsNormKernel)->UseRealTime();

void RopeKernel(benchmark::State& state) {
  auto x = RandomFloats(256 * 576);
  auto cosines = RandomFloats(256 * 32), sines = cosines;  // of angles, lest repetition should shrink x to nothing
  for (float& value : cosines) value = std::cos(value);
  for (float& value : sines) value = std::sin(value);
  for (auto _ : state) Rope(x.data(), 256, 9, 64, cosines.data(), sines.data(), DefaultPool());
  SetRates(state, 0, 8.0 * x.size());
}
BENCHMARK(RopeKernel)->UseRealTime();

void SiluMulKernel(benchmark::State& state) {
  const auto x = RandomFloats(256 * 3072);
  std::vector<float> out(256 * 1536);
  for (auto _ : state) SiluMul(x.data(), 256, 1536, out.data(), DefaultPool());
  SetRates(state, 0, 4.0 * (x.size() + out.size()));
}
BENCHMARK(SiluMulKernel)->UseRealTime();

void ArgMaxKernel(benchmark::State& state) {
  const auto x = RandomFloats(49152);
  for (auto _ : state) benchmark::DoNotOptimize(ArgMax(x.data(), 49152));
  SetRates(state, 0, 4.0 * x.size());
}
BENCHMARK(ArgMaxKernel)->UseRealTime();

void ConvertToBf16Kernel(benchmark::State& state) {
  const auto x = RandomFloats(256 * 64);
  std::vector<uint16_t> out(x.size());
  for (auto _ : state) {
    ConvertToBf16(x.data(), x.size(), out.data());
    benchmark::ClobberMemory();
  }
  SetRates(state, 0, 6.0 * x.size());
}
BENCHMARK(ConvertToBf16Kernel)->UseRealTime();

}  // namespace
}  // namespace ilre::kernels

int main(int argc, char** argv) {
  if (const char* threads = std::getenv("ILRE_BENCH_THREADS")) ilre::SetDefaultPoolThreads(std::atoi(threads));
  benchmark::AddCustomContext("processor", ilre::kernels::CpuDescription());
  benchmark::AddCustomContext("threads", std::to_string(ilre::DefaultPool().num_threads()));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
