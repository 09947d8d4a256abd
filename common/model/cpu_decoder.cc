#include "common/model/cpu_decoder.h"

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/thread_pool.h"
#include "common/kernels/cached_attention.h"
#include "common/kernels/elementwise.h"
#include "common/model/cpu_kv_cache.h"
#include "common/model/cpu_stream.h"
#include "common/model/cpu_weights.h"
#include "common/model/layer_names.h"
#include "common/model/rotary_table.h"

namespace ilre {
namespace {

// Some rows of a batch: the next tokens of one sequence, of which logits of the last `num_wanted` are asked for.
struct Segment {
  CpuKvCache* cache;
  int64_t first_row, num_rows, num_past, num_wanted;
};

// Buffers of one call, reused from layer to layer.
struct Scratch {
  std::vector<float> qkv, attended;
};

// What passes from one linear layer to the next, of the rows that are computed together.
struct RowScratch {
  std::vector<float> normed, gate_up, hidden, added;
};

// The calling thread's, kept from call to call.
RowScratch& ThreadScratch() {
  thread_local RowScratch scratch;
  return scratch;
}

// Rows that one thread takes through several linear layers by itself where there are many: what passes between them
// stays in its own cache. So many hide that each thread reads the weights for itself, as long as those lie in the
// last-level cache.
constexpr int64_t kBlockRows = 32;  // at most
constexpr int64_t kMostBlockWeightBytes = 16 << 20;

// Calls body(first_row, num_rows, pool) for all of n rows, in blocks by all threads or at once.
template <typename Body>
void ForRows(int64_t n, bool in_blocks, const Body& body) {
  const int64_t threads = DefaultPool().num_threads(), turns = (n + kBlockRows * threads - 1) / (kBlockRows * threads);
  if (!in_blocks || turns < 2) return body(0, n, DefaultPool());
  const int64_t blocks = turns * threads;  // of about the same size, so that no thread waits for the last one
  DefaultPool().ParallelFor(blocks, [&](int64_t block) {
    const int64_t first = block * n / blocks;
    body(first, (block + 1) * n / blocks - first, InlinePool());
  });
}

// Moves the rows whose logits are asked for, of `width` numbers each, to the front, and drops the others.
void KeepWanted(absl::Span<const Segment> segments, int64_t width, std::vector<float>* rows) {
  auto to = rows->begin();
  for (const Segment& segment : segments) {
    const auto end = rows->begin() + (segment.first_row + segment.num_rows) * width;
    const auto from = end - segment.num_wanted * width;
    to = from == to ? end : std::copy(from, end, to);  // of single tokens all stay where they are
  }
  rows->erase(to, rows->end());
}

absl::Status NoMemoryForCache(int64_t max_tokens) {
  return MakeError(absl::StatusCode::kResourceExhausted, "OUT_OF_MEMORY",
                   absl::StrCat("no memory for a cache of ", max_tokens, " tokens"));
}

class CpuDecoder : public Decoder {
 public:
  absl::Status Init(const Checkpoint& checkpoint, const DecoderOptions& options);

  absl::Status StreamBlock(absl::Span<const TokenId> ids, absl::Span<const Tap> taps, StreamState* state,
                           std::vector<std::vector<float>>* outputs) const override;
  absl::StatusOr<std::unique_ptr<KvCache>> NewCache(int64_t max_tokens) const override;
  absl::Status Forward(absl::Span<const TokenId> ids, KvCache* cache, absl::Span<const Tap> taps, Logits want,
                       std::vector<std::vector<float>>* outputs, std::vector<float>* logits,
                       const KeepGoing& keep_going) const override;
  absl::Status ForwardBatch(absl::Span<const Sequence> sequences, const KeepGoing& keep_going) const override;

 private:
  int64_t query_width() const { return config_.num_heads * config_.head_dim; }
  int64_t key_width() const { return config_.num_kv_heads * config_.head_dim; }
  int64_t qkv_width() const { return query_width() + 2 * key_width(); }

  // What a cache keeps: halves where linear layers round far more.
  kernels::CacheNumbers CacheNumbersFor(Exactness exactness) const {
    return exactness == Exactness::kQuantized && has_quantized_ ? kernels::CacheNumbers::kHalf
                                                                : kernels::CacheNumbers::kFloat32;
  }
  void MakeStream();
  // Taps of a stream, which must lie in layers that have float weights.
  absl::Status CheckStreamTaps(absl::Span<const Tap> taps) const;
  std::vector<float> Embed(absl::Span<const TokenId> ids, Exactness exactness) const;  // [n, D]
  // Fills scratch->qkv [n, (H + 2G) d], unrotated.
  void Project(const CpuLayer& layer, Exactness exactness, const std::vector<float>& x, int64_t n,
               Scratch* scratch) const;
  // Appends keys and values of scratch->qkv to the caches, and attends over them -> scratch->attended [n, H d]; or, if
  // `only_wanted`, [rows whose logits are asked for, H d].
  void AttendCaches(absl::Span<const Segment> segments, int layer, bool only_wanted, Scratch* scratch) const;
  // Whether blocks of rows are to be taken through the layer by one thread each.
  static bool InBlocks(const CpuLayer& layer, Exactness exactness);
  // x [n, D] += linear(in), or its norm by `norm` [D] where that is not empty.
  void AddLinear(const CpuLinear& linear, const std::vector<float>& norm, Exactness exactness, const float* in,
                 int64_t n, float* x, RowScratch* scratch, ThreadPool& pool) const;
  // Finish of some rows: attended [n, H d], x [n, D].
  void FinishRows(const CpuLayer& layer, Exactness exactness, const float* attended, int64_t n, float* x,
                  ThreadPool& pool) const;
  // Output projection and feed-forward, added to x.
  void Finish(const CpuLayer& layer, Exactness exactness, int64_t n, const Scratch& scratch,
              std::vector<float>* x) const;
  void CopyInputTaps(absl::Span<const Tap> taps, int layer, const std::vector<float>& x, int64_t n,
                     std::vector<std::vector<float>>* outputs) const;
  void CopyProjectionTaps(absl::Span<const Tap> taps, int layer, const Scratch& scratch, int64_t n,
                          std::vector<std::vector<float>>* outputs) const;

  // Where the sequences' tokens lie in a batch, checked against caches and weights.
  absl::StatusOr<std::vector<Segment>> LayOut(absl::Span<const Sequence> sequences, Exactness exactness) const;
  absl::Status Run(absl::Span<const Sequence> sequences, absl::Span<const Tap> taps, const KeepGoing& keep_going,
                   std::vector<std::vector<float>>* outputs) const;
  // From what the last layer leaves, x [rows whose logits are asked for, D].
  void ComputeLogits(absl::Span<const Sequence> sequences, absl::Span<const Segment> segments,
                     const std::vector<float>& x) const;

  std::vector<float> frequencies_, local_frequencies_;  // [d / 2]; empty where no layer is local
  CpuLinear embedding_;                                 // [V, D]; the output projection too, where they are tied
  CpuLinear output_;                                    // [V, D], or empty
  std::vector<float> final_norm_;                       // [D], or empty
  std::vector<CpuLayer> layers_;
  bool has_quantized_ = false;               // some of them have quantised weights
  int num_stream_layers_ = 0;                // the first ones, which have float weights
  std::unique_ptr<const CpuStream> stream_;  // over these weights
};

absl::Status CpuDecoder::Init(const Checkpoint& checkpoint, const DecoderOptions& options) {
  config_ = checkpoint.config();
  device_ = "cpu";
  num_layers_ = static_cast<int>(options.num_layers < 0 ? config_.num_layers : options.num_layers);
  const int stream_layers = options.stream_layers < 0 ? num_layers_ : std::min(options.stream_layers, num_layers_);
  frequencies_ = RotaryFrequencies(config_);
  if (!config_.local_layers.empty()) local_frequencies_ = RotaryFrequencies(config_, /*local=*/true);
  TensorReader reader(checkpoint);
  const auto weight = [](const char* name) {
    return std::string(absl::string_view(name).substr(0, absl::string_view(name).size() - 7));
  };
  const LinearForms either{.packed = false, .arithmetic = options.arithmetic};
  const LinearForms with_packed{.packed = true, .arithmetic = options.arithmetic};
  ILRE_ASSIGN_OR_RETURN(embedding_,
                        reader.Linear({{weight(kEmbeddingName), config_.vocab_size}}, config_.hidden_size, either));
  for (int layer = 0; layer < num_layers_; ++layer) {
    ILRE_ASSIGN_OR_RETURN(CpuLayer weights, reader.Layer(layer, layer < stream_layers ? with_packed : either));
    has_quantized_ |= weights.qkv.has_quantized() || weights.gate_up.has_quantized();
    layers_.push_back(std::move(weights));
  }
  if (has_quantized_) cache_number_bytes_ = 2;
  MakeStream();
  if (num_layers_ < config_.num_layers) return absl::OkStatus();
  ILRE_ASSIGN_OR_RETURN(final_norm_, reader.Floats(kFinalNormName, config_.hidden_size));
  if (!config_.tied_embeddings) {
    ILRE_ASSIGN_OR_RETURN(output_,
                          reader.Linear({{weight(kOutputName), config_.vocab_size}}, config_.hidden_size, either));
  }
  return reader.CheckAllRead();
}

std::vector<float> CpuDecoder::Embed(absl::Span<const TokenId> ids, Exactness exactness) const {
  std::vector<float> x(ids.size() * static_cast<size_t>(config_.hidden_size));
  for (size_t i = 0; i < ids.size(); ++i) {
    EmbedToken(config_, embedding_, exactness, ids[i], x.data() + i * config_.hidden_size);
  }
  return x;
}

bool CpuDecoder::InBlocks(const CpuLayer& layer, Exactness exactness) {
  if (exactness != Exactness::kQuantized || !layer.gate_up.has_quantized() || !layer.down.has_quantized()) return false;
  return layer.gate_up.quantized.weight_bytes() + layer.down.quantized.weight_bytes() <= kMostBlockWeightBytes;
}

void CpuDecoder::Project(const CpuLayer& layer, Exactness exactness, const std::vector<float>& x, int64_t n,
                         Scratch* scratch) const {
  const int64_t hidden = config_.hidden_size;
  scratch->qkv.resize(static_cast<size_t>(n * qkv_width()));
  ForRows(n, InBlocks(layer, exactness), [&](int64_t first, int64_t rows, ThreadPool& pool) {
    std::vector<float>& normed = ThreadScratch().normed;
    normed.resize(static_cast<size_t>(rows * hidden));
    kernels::RmsNorm(x.data() + first * hidden, rows, hidden, layer.attention_norm.data(), config_.rms_norm_eps,
                     normed.data(), pool);
    float* const qkv = scratch->qkv.data() + first * qkv_width();
    layer.qkv.Apply(exactness, normed.data(), rows, qkv, pool);
    if (layer.query_norm.empty()) return;
    kernels::RmsNormHeads(qkv, rows, config_.num_heads, config_.head_dim, layer.query_norm.data(), config_.rms_norm_eps,
                          pool, qkv_width());
    kernels::RmsNormHeads(qkv + query_width(), rows, config_.num_kv_heads, config_.head_dim, layer.key_norm.data(),
                          config_.rms_norm_eps, pool, qkv_width());
  });
}

void CpuDecoder::AddLinear(const CpuLinear& linear, const std::vector<float>& norm, Exactness exactness,
                           const float* in, int64_t n, float* x, RowScratch* scratch, ThreadPool& pool) const {
  if (norm.empty()) return linear.Apply(exactness, in, n, x, pool, kernels::Accumulate::kAddTo);
  std::vector<float>& added = scratch->added;
  added.resize(static_cast<size_t>(n * config_.hidden_size));
  linear.Apply(exactness, in, n, added.data(), pool);
  kernels::RmsNorm(added.data(), n, config_.hidden_size, norm.data(), config_.rms_norm_eps, added.data(), pool);
  kernels::AddInPlace(x, added.data(), n * config_.hidden_size, pool);
}

void CpuDecoder::FinishRows(const CpuLayer& layer, Exactness exactness, const float* attended, int64_t n, float* x,
                            ThreadPool& pool) const {
  RowScratch& scratch = ThreadScratch();
  AddLinear(layer.output, layer.post_attention_norm, exactness, attended, n, x, &scratch, pool);
  scratch.normed.resize(static_cast<size_t>(n * config_.hidden_size));
  kernels::RmsNorm(x, n, config_.hidden_size, layer.ffn_norm.data(), config_.rms_norm_eps, scratch.normed.data(), pool);
  scratch.gate_up.resize(static_cast<size_t>(n * 2 * config_.ffn_size));
  scratch.hidden.resize(static_cast<size_t>(n * config_.ffn_size));
  layer.gate_up.Apply(exactness, scratch.normed.data(), n, scratch.gate_up.data(), pool);
  MulByGates(config_, scratch.gate_up.data(), n, config_.ffn_size, scratch.hidden.data(), pool);
  AddLinear(layer.down, layer.post_ffn_norm, exactness, scratch.hidden.data(), n, x, &scratch, pool);
}

void CpuDecoder::Finish(const CpuLayer& layer, Exactness exactness, int64_t n, const Scratch& scratch,
                        std::vector<float>* x) const {
  ForRows(n, InBlocks(layer, exactness), [&](int64_t first, int64_t rows, ThreadPool& pool) {
    FinishRows(layer, exactness, scratch.attended.data() + first * query_width(), rows,
               x->data() + first * config_.hidden_size, pool);
  });
}

void CpuDecoder::CopyInputTaps(absl::Span<const Tap> taps, int layer, const std::vector<float>& x, int64_t n,
                               std::vector<std::vector<float>>* outputs) const {
  for (size_t i = 0; i < taps.size(); ++i) {
    if (taps[i].kind != Tap::Kind::kInput || taps[i].layer != layer) continue;
    std::vector<float>& out = (*outputs)[i];
    out.resize(x.size());
    kernels::RmsNorm(x.data(), n, config_.hidden_size, nullptr, config_.rms_norm_eps, out.data(), DefaultPool());
  }
}

void CpuDecoder::CopyProjectionTaps(absl::Span<const Tap> taps, int layer, const Scratch& scratch, int64_t n,
                                    std::vector<std::vector<float>>* outputs) const {
  for (size_t i = 0; i < taps.size(); ++i) {
    if (taps[i].kind == Tap::Kind::kInput || taps[i].layer != layer) continue;
    const bool keys = taps[i].kind == Tap::Kind::kKey;
    const int64_t begin = keys ? query_width() : 0, width = keys ? key_width() : query_width();
    std::vector<float>& out = (*outputs)[i];
    out.resize(static_cast<size_t>(n * width));
    for (int64_t row = 0; row < n; ++row) {
      std::copy_n(scratch.qkv.data() + row * qkv_width() + begin, width, out.data() + row * width);
    }
  }
}

bool WantsProjection(absl::Span<const Tap> taps, int layer) {
  return std::any_of(taps.begin(), taps.end(),
                     [&](const Tap& tap) { return tap.layer == layer && tap.kind != Tap::Kind::kInput; });
}

void CpuDecoder::MakeStream() {
  const auto or_null = [](const std::vector<float>& values) { return values.empty() ? nullptr : values.data(); };
  std::vector<StreamLayer> layers;
  for (const CpuLayer& layer : layers_) {
    if (!layer.qkv.has_packed() || !layer.output.has_packed() || !layer.gate_up.has_packed() ||
        !layer.down.has_packed()) {
      break;
    }
    layers.push_back({layer.attention_norm.data(), layer.ffn_norm.data(), or_null(layer.query_norm),
                      or_null(layer.key_norm), or_null(layer.post_attention_norm), or_null(layer.post_ffn_norm),
                      &layer.qkv.packed, &layer.output.packed, &layer.gate_up.packed, &layer.down.packed});
  }
  num_stream_layers_ = static_cast<int>(layers.size());
  stream_ = std::make_unique<CpuStream>(config_, embedding_, std::move(layers));
}

absl::Status CpuDecoder::CheckStreamTaps(absl::Span<const Tap> taps) const {
  ILRE_RETURN_IF_ERROR(CheckTaps(taps));
  for (const Tap& tap : taps) {
    const int last = tap.kind == Tap::Kind::kInput ? num_stream_layers_ : num_stream_layers_ - 1;
    if (tap.layer <= last) continue;
    return errors::InvalidArgument(absl::StrCat(
        "layer ", tap.layer, " of a stream cannot be read: ", num_stream_layers_, " are loaded for streams"));
  }
  return absl::OkStatus();
}

absl::Status CpuDecoder::StreamBlock(absl::Span<const TokenId> ids, absl::Span<const Tap> taps, StreamState* state,
                                     std::vector<std::vector<float>>* outputs) const {
  ILRE_RETURN_IF_ERROR(CheckIds(ids));
  ILRE_RETURN_IF_ERROR(CheckStreamTaps(taps));
  if (ids.empty() || ids.size() > kMaxStreamTokens || static_cast<int>(state->layers.size()) < DepthOf(taps)) {
    return errors::InvalidArgument("a stream takes 1 to 256 tokens at a time, over a state of enough layers");
  }
  stream_->RunBlock(ids, taps, state, outputs);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<KvCache>> CpuDecoder::NewCache(int64_t max_tokens) const {
  if (max_tokens < 1 || max_tokens > int64_t{1} << 32) {
    return errors::InvalidArgument(absl::StrCat("a cache for ", max_tokens, " tokens"));
  }
  try {
    return std::unique_ptr<KvCache>(
        std::make_unique<CpuKvCache>(num_layers_, max_tokens, config_, CacheNumbersFor(Exactness::kQuantized)));
  } catch (const std::bad_alloc&) {
    return NoMemoryForCache(max_tokens);
  }
}

absl::Status CpuDecoder::Forward(absl::Span<const TokenId> ids, KvCache* cache, absl::Span<const Tap> taps, Logits want,
                                 std::vector<std::vector<float>>* outputs, std::vector<float>* logits,
                                 const KeepGoing& keep_going) const {
  const Sequence sequence{ids, cache, want, logits};
  return Run(absl::MakeConstSpan(&sequence, 1), taps, keep_going, outputs);
}

absl::Status CpuDecoder::ForwardBatch(absl::Span<const Sequence> sequences, const KeepGoing& keep_going) const {
  return Run(sequences, {}, keep_going, nullptr);
}

absl::StatusOr<std::vector<Segment>> CpuDecoder::LayOut(absl::Span<const Sequence> sequences,
                                                        Exactness exactness) const {
  std::vector<Segment> segments;
  int64_t row = 0;
  for (const Sequence& sequence : sequences) {
    ILRE_RETURN_IF_ERROR(CheckIds(sequence.ids));
    auto* cache = static_cast<CpuKvCache*>(sequence.cache);
    const int64_t n = static_cast<int64_t>(sequence.ids.size()), past = cache->num_tokens();
    if (n == 0) return errors::InvalidArgument("no tokens to run");
    if (past + n > cache->max_tokens()) {
      return errors::InvalidArgument(
          absl::StrCat("a cache for ", cache->max_tokens(), " tokens cannot take ", past + n));
    }
    if (sequence.want != Logits::kNone && final_norm_.empty()) {
      return errors::InvalidArgument("logits need all layers of the model");
    }
    try {
      cache->UseNumbers(CacheNumbersFor(exactness));
    } catch (const std::bad_alloc&) {
      return NoMemoryForCache(cache->max_tokens());
    }
    const int64_t wanted = sequence.want == Logits::kNone ? 0 : sequence.want == Logits::kLast ? 1 : n;
    segments.push_back({cache, row, n, past, wanted});
    row += n;
  }
  return segments;
}

void CpuDecoder::AttendCaches(absl::Span<const Segment> segments, int layer, bool only_wanted, Scratch* scratch) const {
  int64_t num_rows = 0;
  for (const Segment& segment : segments) num_rows += only_wanted ? segment.num_wanted : segment.num_rows;
  scratch->attended.resize(static_cast<size_t>(num_rows * query_width()));
  std::vector<kernels::CachedAttentionArgs> sequences;
  float* out = scratch->attended.data();
  for (const Segment& segment : segments) {
    kernels::CachedAttentionArgs args;
    args.cache = segment.cache->layer(layer);
    args.num_past = segment.num_past;
    args.num_queries = segment.num_rows;
    args.first_query = only_wanted ? segment.num_rows - segment.num_wanted : 0;
    args.num_heads = static_cast<int>(config_.num_heads);
    args.window = config_.WindowOf(layer);
    args.scale = 1 / config_.ScoreDivisor();
    args.q = scratch->qkv.data() + segment.first_row * qkv_width();
    args.k = args.q + query_width();
    args.v = args.k + key_width();
    args.in_stride = qkv_width();
    args.out = out;
    args.out_stride = query_width();
    out += (args.num_queries - args.first_query) * query_width();
    sequences.push_back(args);
  }
  kernels::CachedAttention(sequences.data(), static_cast<int64_t>(sequences.size()), DefaultPool());
}

absl::Status CpuDecoder::Run(absl::Span<const Sequence> sequences, absl::Span<const Tap> taps,
                             const KeepGoing& keep_going, std::vector<std::vector<float>>* outputs) const {
  ILRE_RETURN_IF_ERROR(CheckTaps(taps));
  // What is read off between layers is compared with streams, which know no other arithmetic.
  const Exactness exactness = taps.empty() ? Exactness::kQuantized : Exactness::kFloat32;
  ILRE_ASSIGN_OR_RETURN(const std::vector<Segment> segments, LayOut(sequences, exactness));
  if (segments.empty()) return absl::OkStatus();
  if (outputs != nullptr) outputs->assign(taps.size(), {});
  std::vector<TokenId> ids;
  RotaryTable rotary, local_rotary;
  for (size_t i = 0; i < segments.size(); ++i) {
    ids.insert(ids.end(), sequences[i].ids.begin(), sequences[i].ids.end());
    rotary.Append(frequencies_, segments[i].num_past, segments[i].num_rows);
    local_rotary.Append(local_frequencies_, segments[i].num_past, segments[i].num_rows);
  }
  const int64_t n = static_cast<int64_t>(ids.size());
  const int last = taps.empty() ? num_layers_ : LayersToRun(taps, sequences[0].want);
  std::vector<float> x = Embed(ids, exactness);
  bool all_rows = true;  // x has them, not only those whose logits are asked for
  Scratch scratch;
  for (int layer = 0;; ++layer) {
    if (keep_going && !keep_going()) return errors::Cancelled("running the model");
    CopyInputTaps(taps, layer, x, n, outputs);
    if (layer == last && !WantsProjection(taps, layer)) break;
    Project(layers_[layer], exactness, x, n, &scratch);
    CopyProjectionTaps(taps, layer, scratch, n, outputs);
    if (layer == last) break;
    const RotaryTable& angles = config_.IsLocal(layer) ? local_rotary : rotary;
    kernels::Rope(scratch.qkv.data(), n, config_.num_heads + config_.num_kv_heads, config_.head_dim,
                  angles.cosines.data(), angles.sines.data(), DefaultPool(), qkv_width());
    // Of the last layer nothing is needed but keys and values, and the rows whose logits are asked for.
    const bool only_wanted = taps.empty() && layer == last - 1;
    AttendCaches(segments, layer, only_wanted, &scratch);
    if (only_wanted) {
      KeepWanted(segments, config_.hidden_size, &x);
      all_rows = false;
    }
    Finish(layers_[layer], exactness, static_cast<int64_t>(x.size()) / config_.hidden_size, scratch, &x);
  }
  if (all_rows) KeepWanted(segments, config_.hidden_size, &x);
  for (const Segment& segment : segments) segment.cache->set_length(segment.num_past + segment.num_rows);
  ComputeLogits(sequences, segments, x);
  return absl::OkStatus();
}

void CpuDecoder::ComputeLogits(absl::Span<const Sequence> sequences, absl::Span<const Segment> segments,
                               const std::vector<float>& x) const {
  const int64_t hidden = config_.hidden_size, vocab = config_.vocab_size;
  const int64_t num_rows = static_cast<int64_t>(x.size()) / hidden;
  if (num_rows == 0) return;
  std::vector<float> normed(x.size());
  kernels::RmsNorm(x.data(), num_rows, hidden, final_norm_.data(), config_.rms_norm_eps, normed.data(), DefaultPool());
  const CpuLinear& output = config_.tied_embeddings ? embedding_ : output_;
  std::vector<float> logits(static_cast<size_t>(num_rows * vocab));
  output.Apply(Exactness::kQuantized, normed.data(), num_rows, logits.data(), DefaultPool());
  if (segments.size() == 1) {
    *sequences[0].logits = std::move(logits);
    return;
  }
  auto from = logits.begin();
  for (size_t i = 0; i < segments.size(); ++i) {
    if (sequences[i].want == Logits::kNone) continue;
    const auto to = from + segments[i].num_wanted * vocab;
    sequences[i].logits->assign(from, to);
    from = to;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Decoder>> LoadCpuDecoder(const Checkpoint& checkpoint, const DecoderOptions& options) {
  auto decoder = std::make_unique<CpuDecoder>();
  ILRE_RETURN_IF_ERROR(decoder->Init(checkpoint, options));
  return std::unique_ptr<Decoder>(std::move(decoder));
}

}  // namespace ilre
