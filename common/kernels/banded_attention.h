// Attention of many queries over a cache of keys, of which each query sees the first few (sinks) and the last few
// (window): the attention of streaming prefill. With an unbounded window it is plain causal attention.
#pragma once

#include <cstdint>

#include "common/base/thread_pool.h"

namespace ilre::kernels {

// Pointers are borrowed for the call. H = num_heads, G = num_kv_heads, d = head_dim; query head h reads key and value
// head h / (H / G).
struct BandedAttentionArgs {
  int64_t num_queries = 0;     // n >= 0
  int64_t num_past = 0;        // >= 0: keys before the first query's own; the cache holds m = num_past + n keys
  int64_t num_sinks = 0;       // >= 0: keys at the front of the cache that every later query sees
  int64_t window = INT64_MAX;  // >= 1: keys a query sees, counted back from and with its own
  int num_heads = 0;           // H, a multiple of G
  int num_kv_heads = 0;        // G
  int head_dim = 0;            // d >= 1; fastest when a multiple of 16
  float scale = 0;             // factor of q . k, usually 1 / sqrt(d)
  const float* q = nullptr;    // [n, H * d], rotated
  const float* k = nullptr;    // [m, G * d], rotated
  const float* v = nullptr;    // [m, G * d]
  float* out = nullptr;        // [n, H * d]; must not overlap the inputs
  // Distance between rows, in floats; 0 stands for contiguous rows.
  int64_t q_stride = 0, k_stride = 0, v_stride = 0, out_stride = 0;
};

// Query i sits at place p = num_past + i of the cache and sees key j if and only if
//   j <= p and (j < num_sinks or p - j < window).
// out = sum over seen j of softmax_j(scale * q . k_j) v_j.
//
// A row of the result depends, bitwise, on its query and on the sequence of keys and values that it sees, alone: not on
// the other queries of the call, on its place in the cache, on keys that it does not see, or on the number of threads.
// So cutting a document otherwise, or dropping keys that have left the window, changes nothing. (Values must be finite
// for that: one that a row does not see may enter its sum with a factor of zero.)
//
// Runs on the threads of `pool`, so it must not be called from inside its ParallelFor. Scratch memory: 128 bytes for
// each key that a query sees, for each thread; kept for the next call.
void BandedAttention(const BandedAttentionArgs& args, ThreadPool& pool);

}  // namespace ilre::kernels
