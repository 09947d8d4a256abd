// A decoder-only transformer, or its first layers: streamed over documents with a bounded state, or run as a whole.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/model/checkpoint.h"
#include "common/model/model_config.h"
#include "common/model/tokenizer.h"

namespace ilre {

// Something to be read off inside the model while tokens run through it.
struct Tap {
  enum class Kind {
    kInput,  // the layer's input divided by its root mean square: [n, hidden_size]
    kKey,    // keys before rotation: [n, num_kv_heads * head_dim]
    kQuery,  // queries before rotation: [n, num_heads * head_dim]
  };
  Kind kind = Kind::kInput;
  int layer = 0;  // from 0; an input of layer num_layers is what the last layer leaves
};

// What the linear layers of a stream are computed in. Kept with every document: the numbers are never to change.
enum class StreamArithmetic {
  kBf16 = 0,  // weights in bfloat16, activations in float32
  kInt8 = 1,  // both rounded to int8 (common/kernels/int8_linear.h): several times as fast where there is VNNI
};

// The past of a stream, for each layer: keys (before rotation) and values of the sinks, which are the stream's first
// tokens, and of the last `window` tokens after them. Kept as bfloat16 bits, so that a stored and restored stream goes
// on bit for bit as an unbroken one. Plain data: copy it to fork a stream.
struct StreamState {
  struct Layer {
    std::vector<uint16_t> sink_keys, sink_values;      // [num_sinks, num_kv_heads * head_dim]
    std::vector<uint16_t> window_keys, window_values;  // [window tokens so far, num_kv_heads * head_dim]
  };
  std::vector<Layer> layers;  // [depth]
  int64_t window = 0;         // tokens a token sees before itself, sinks apart (itself counted)
  StreamArithmetic arithmetic = StreamArithmetic::kBf16;
};

// Keys and values of a whole sequence, for every layer. Owned by one sequence; not thread-safe.
class KvCache {
 public:
  virtual ~KvCache() = default;
  virtual int64_t num_tokens() const = 0;
  // Forgets everything after the first num_tokens tokens.
  virtual void Truncate(int64_t num_tokens) = 0;
};

// What the linear layers of Decoder::Forward are computed in, on device "cpu".
enum class Arithmetic {
  kAuto,       // kQuantized for each layer that the file has in a type that is multiplied as it is, else kFloat32
  kFloat32,    // weights rounded to bfloat16, activations in float32
  kQuantized,  // weights as in the file (Q4_0, Q4_1, Q8_0), activations rounded to int8 (kernels/quantized_linear.h)
};

// "auto", "float32" or "quantized".
absl::StatusOr<Arithmetic> ParseArithmetic(absl::string_view name);

struct DecoderOptions {
  // Layers to load, from the first; -1 for all. Without all of them there are no logits.
  int num_layers = -1;
  // "cpu": this project's kernels. "torch-cpu", "cuda", "cuda:1", "npu", ...: libtorch on that device; its backend
  // library is loaded when asked for.
  std::string device = "cpu";
  // Other devices than "cpu" take kAuto and kFloat32 alone, and compute as libtorch does.
  Arithmetic arithmetic = Arithmetic::kAuto;
  // So many first layers can be streamed and, in calls of Forward with taps, are computed in float32; -1: all that are
  // loaded. What is stored and compared with it thus never depends on `arithmetic`, and layers beyond need no second
  // form in memory.
  int stream_layers = -1;
  absl::Status Validate() const;
};

// Weights are constant after loading and shared by all threads; all that changes is passed in. Calls of several threads
// are safe as long as each has its own state or cache.
class Decoder {
 public:
  // The most tokens that one call of StreamBlock takes.
  static constexpr int kMaxStreamTokens = 256;

  // Errors name the tensor: missing, of another shape; or left over, where all layers are loaded. FAILED_PRECONDITION
  // with reason DEVICE_UNAVAILABLE if the device's library or the device is missing, NOT_QUANTIZED if kQuantized is
  // asked for and the file, which the message names with the tensor, is not.
  static absl::StatusOr<std::unique_ptr<Decoder>> Load(const Checkpoint& checkpoint, const DecoderOptions& options);
  virtual ~Decoder() = default;

  const ModelConfig& config() const { return config_; }
  int num_layers() const { return num_layers_; }  // loaded
  const std::string& device() const { return device_; }

  // Layers that taps need whole: those below each tap.
  static int DepthOf(absl::Span<const Tap> taps);

  // Starts a stream whose sinks are `prefix` (1 to kMaxStreamTokens tokens), through layers [0, depth).
  // FAILED_PRECONDITION with reason ARITHMETIC_UNAVAILABLE where the device does not compute so: int8 is for "cpu".
  absl::StatusOr<StreamState> StartStream(absl::Span<const TokenId> prefix, int depth, int64_t window,
                                          StreamArithmetic arithmetic = StreamArithmetic::kBf16) const;

  // Runs the next 1 to kMaxStreamTokens tokens: each sees the sinks, the window before it and itself. Positions are
  // places in the cache of this call, so they stay below sinks + window + kMaxStreamTokens however long the stream is.
  // `state` must have DepthOf(taps) layers or more; it advances by these tokens. outputs: [taps], each [n, width of the
  // tap].
  //
  // The result depends on where a stream is cut into calls (positions do): documents use blocks of kBlockTokens.
  virtual absl::Status StreamBlock(absl::Span<const TokenId> ids, absl::Span<const Tap> taps, StreamState* state,
                                   std::vector<std::vector<float>>* outputs) const = 0;

  // An empty cache with room for max_tokens tokens; RESOURCE_EXHAUSTED when that much memory cannot be had.
  virtual absl::StatusOr<std::unique_ptr<KvCache>> NewCache(int64_t max_tokens) const = 0;
  // Bytes that such a cache takes once it is full, but for rounding up to whole pieces: keys and values as float32, or
  // as halves where device "cpu" computes layers with quantised weights. (Calls of Forward with taps that begin an
  // empty cache keep float32 there, too.)
  int64_t CacheBytes(int64_t max_tokens) const {
    return max_tokens * num_layers_ * 2 * config_.num_kv_heads * config_.head_dim * cache_number_bytes_;
  }

  // Which logits Forward computes.
  enum class Logits { kNone, kLast, kAll };

  // Called between layers; false stops the call with CANCELLED.
  using KeepGoing = std::function<bool()>;

  // Plain causal attention over cache + ids. Appends ids to the cache. logits: [1 or n, vocab_size]; left empty for
  // kNone. With taps and kNone, layers above the deepest tap are not run (and their cache not filled: use such a cache
  // no more); without taps all are, which fills the cache for calls to come. After an error the cache is as before.
  virtual absl::Status Forward(absl::Span<const TokenId> ids, KvCache* cache, absl::Span<const Tap> taps, Logits want,
                               std::vector<std::vector<float>>* outputs, std::vector<float>* logits,
                               const KeepGoing& keep_going = nullptr) const = 0;

  // One sequence's part of a call of ForwardBatch. All as Forward takes it; `logits` may be null for kNone.
  struct Sequence {
    absl::Span<const TokenId> ids;
    KvCache* cache = nullptr;  // its own
    Logits want = Logits::kLast;
    std::vector<float>* logits = nullptr;
  };

  // Forward for several sequences at once, without taps. On device "cpu" the tokens of all of them pass through the
  // weights together, and what comes out for each equals, bit for bit, what Forward gives for it alone, in whatever
  // pieces its tokens come. After an error, which may be of any of them, all caches are as before.
  virtual absl::Status ForwardBatch(absl::Span<const Sequence> sequences, const KeepGoing& keep_going = nullptr) const;

  // INVALID_ARGUMENT naming the first id that is not in the model's vocabulary.
  absl::Status CheckIds(absl::Span<const TokenId> ids) const;

 protected:
  // Layers that a call of Forward runs whole.
  int LayersToRun(absl::Span<const Tap> taps, Logits want) const {
    return want == Logits::kNone && !taps.empty() ? DepthOf(taps) : num_layers_;
  }
  // Checks taps, which may come from outside.
  absl::Status CheckTaps(absl::Span<const Tap> taps) const;

  ModelConfig config_;
  int num_layers_ = 0;
  int cache_number_bytes_ = 4;
  std::string device_;
};

// Inverse rotary frequencies [head_dim / 2]: theta^(-2i/d), divided by the model's factors; or those of local layers.
// Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021, section 3.2.2.
std::vector<float> RotaryFrequencies(const ModelConfig& config, bool local = false);

}  // namespace ilre
