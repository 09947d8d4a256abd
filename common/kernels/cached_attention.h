// Causal attention over a cache of keys and values that is laid out for decoding: the keys of a head in tiles of 16,
// dimension by dimension, so that vectors hold the scores of neighbouring keys, however few the queries are.
#pragma once

#include <cstdint>

#include "common/base/thread_pool.h"

namespace ilre::kernels {

// What a cache's numbers are kept as. Halves are half the memory to read; greater magnitudes become +-65504.
enum class CacheNumbers { kFloat32, kHalf };

// Keys and values of one layer of one sequence: a view, whose memory belongs to somebody else.
struct LayerCache {
  static constexpr int64_t kTile = 16;  // keys

  // What `capacity` is rounded up to.
  static int64_t Capacity(int64_t num_tokens);
  // Bytes of `keys`, and of `values`, each a multiple of 64.
  static int64_t Bytes(CacheNumbers numbers, int64_t capacity, int num_kv_heads, int head_dim);

  CacheNumbers numbers = CacheNumbers::kFloat32;
  int num_kv_heads = 0;    // G
  int head_dim = 0;        // d >= 1
  int64_t capacity = 0;    // as Capacity() gives it
  void* keys = nullptr;    // [G, capacity / kTile, d, kTile], on a cache line
  void* values = nullptr;  // [G, capacity, d rounded up to a multiple of 16], on a cache line
};

// The next tokens of one sequence. Pointers are borrowed for the call.
struct CachedAttentionArgs {
  LayerCache cache;
  int64_t num_past = 0;        // >= 0: tokens in the cache; num_past + num_queries <= capacity
  int64_t num_queries = 0;     // n >= 0
  int64_t first_query = 0;     // 0 to n: of queries before it keys and values are appended and nothing is computed
  int64_t window = INT64_MAX;  // >= 1: keys a query sees, counted back from and with its own
  int num_heads = 0;           // H, a multiple of G; query head h reads key head h / (H / G)
  float scale = 0;             // factor of q . k
  const float* q = nullptr;    // [n, H * d], rotated
  const float* k = nullptr;    // [n, G * d], rotated: written to the cache by this call
  const float* v = nullptr;    // [n, G * d]: likewise
  int64_t in_stride = 0;       // floats between rows of q, and of k, and of v
  float* out = nullptr;        // [n - first_query, H * d]
  int64_t out_stride = 0;      // floats between its rows
};

// For each of `count` sequences: appends k and v to the cache, rounded to its numbers, and gives for query i from
// first_query on, in float32,
//   sum over the seen j of softmax_j(scale * q . k_j) v_j, k and v as the cache has them,
// where with p = num_past + i key j is seen if j <= p and p - j < window.
//
// A row of the result depends, bitwise, on its query, its place and the keys and values that it sees, alone: not on the
// other queries or sequences of the call, or on the number of threads. (Values of rows around those must be finite for
// that: they may enter a sum with a factor of zero.)
//
// Runs on the threads of `pool`, so it must not be called from inside its ParallelFor. Scratch memory: 24 bytes for
// each key that a query sees, for each thread; kept for the next call.
void CachedAttention(const CachedAttentionArgs* sequences, int64_t count, ThreadPool& pool);

}  // namespace ilre::kernels
