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

// Some rows of a batch: the next tokens of one sequence.
struct Segment {
  CpuKvCache* cache;
  int64_t first_row, num_rows, num_past;
};

// Buffers of one call, reused from layer to layer.
struct Scratch {
  std::vector<float> normed, qkv, attended, gate_up, hidden, added;
};

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
  // Appends keys and values of scratch->qkv to the caches, and attends over them -> scratch->attended.
  void AttendCaches(absl::Span<const Segment> segments, int layer, Scratch* scratch) const;
  // x += linear(in), or its norm by `norm` [D] where that is not empty.
  void AddLinear(const CpuLinear& linear, const std::vector<float>& norm, Exactness exactness,
                 const std::vector<float>& in, int64_t n, Scratch* scratch, std::vector<float>* x) const;
  // Output projection and feed-forward, added to x.
  void Finish(const CpuLayer& layer, Exactness exactness, int64_t n, Scratch* scratch, std::vector<float>* x) const;
  void CopyInputTaps(absl::Span<const Tap> taps, int layer, const std::vector<float>& x, int64_t n,
                     std::vector<std::vector<float>>* outputs) const;
  void CopyProjectionTaps(absl::Span<const Tap> taps, int layer, const Scratch& scratch, int64_t n,
                          std::vector<std::vector<float>>* outputs) const;

  // Where the sequences' tokens lie in a batch, checked against caches and weights.
  absl::StatusOr<std::vector<Segment>> LayOut(absl::Span<const Sequence> sequences, Exactness exactness) const;
  absl::Status Run(absl::Span<const Sequence> sequences, absl::Span<const Tap> taps, const KeepGoing& keep_going,
                   std::vector<std::vector<float>>* outputs) const;
  // From what the last layer leaves, x [rows of the batch, D].
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

void CpuDecoder::Project(const CpuLayer& layer, Exactness exactness, const std::vector<float>& x, int64_t n,
                         Scratch* scratch) const {
  ThreadPool& pool = DefaultPool();
  scratch->normed.resize(x.size());
  kernels::RmsNorm(x.data(), n, config_.hidden_size, layer.attention_norm.data(), config_.rms_norm_eps,
                   scratch->normed.data(), pool);
  scratch->qkv.resize(static_cast<size_t>(n * qkv_width()));
  layer.qkv.Apply(exactness, scratch->normed.data(), n, scratch->qkv.data(), pool);
  if (layer.query_norm.empty()) return;
  kernels::RmsNormHeads(scratch->qkv.data(), n, config_.num_heads, config_.head_dim, layer.query_norm.data(),
                        config_.rms_norm_eps, pool, qkv_width());
  kernels::RmsNormHeads(scratch->qkv.data() + query_width(), n, config_.num_kv_heads, config_.head_dim,
                        layer.key_norm.data(), config_.rms_norm_eps, pool, qkv_width());
}

void CpuDecoder::AddLinear(const CpuLinear& linear, const std::vector<float>& norm, Exactness exactness,
                           const std::vector<float>& in, int64_t n, Scratch* scratch, std::vector<float>* x) const {
  ThreadPool& pool = DefaultPool();
  if (norm.empty()) return linear.Apply(exactness, in.data(), n, x->data(), pool, kernels::Accumulate::kAddTo);
  scratch->added.resize(x->size());
  linear.Apply(exactness, in.data(), n, scratch->added.data(), pool);
  kernels::RmsNorm(scratch->added.data(), n, config_.hidden_size, norm.data(), config_.rms_norm_eps,
                   scratch->added.data(), pool);
  kernels::AddInPlace(x->data(), scratch->added.data(), n * config_.hidden_size, pool);
}

void CpuDecoder::Finish(const CpuLayer& layer, Exactness exactness, int64_t n, Scratch* scratch,
                        std::vector<float>* x) const {
  ThreadPool& pool = DefaultPool();
  AddLinear(layer.output, layer.post_attention_norm, exactness, scratch->attended, n, scratch, x);
  kernels::RmsNorm(x->data(), n, config_.hidden_size, layer.ffn_norm.data(), config_.rms_norm_eps,
                   scratch->normed.data(), pool);
  scratch->gate_up.resize(static_cast<size_t>(n * 2 * config_.ffn_size));
  scratch->hidden.resize(static_cast<size_t>(n * config_.ffn_size));
  layer.gate_up.Apply(exactness, scratch->normed.data(), n, scratch->gate_up.data(), pool);
  MulByGates(config_, scratch->gate_up.data(), n, config_.ffn_size, scratch->hidden.data(), pool);
  AddLinear(layer.down, layer.post_ffn_norm, exactness, scratch->hidden, n, scratch, x);
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
    segments.push_back({cache, row, n, past});
    row += n;
  }
  return segments;
}

void CpuDecoder::AttendCaches(absl::Span<const Segment> segments, int layer, Scratch* scratch) const {
  scratch->attended.resize(scratch->qkv.size() / static_cast<size_t>(qkv_width()) * static_cast<size_t>(query_width()));
  std::vector<kernels::CachedAttentionArgs> sequences;
  for (const Segment& segment : segments) {
    kernels::CachedAttentionArgs args;
    args.cache = segment.cache->layer(layer);
    args.num_past = segment.num_past;
    args.num_queries = segment.num_rows;
    args.num_heads = static_cast<int>(config_.num_heads);
    args.window = config_.WindowOf(layer);
    args.scale = 1 / config_.ScoreDivisor();
    args.q = scratch->qkv.data() + segment.first_row * qkv_width();
    args.k = args.q + query_width();
    args.v = args.k + key_width();
    args.in_stride = qkv_width();
    args.out = scratch->attended.data() + segment.first_row * query_width();
    args.out_stride = query_width();
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
    AttendCaches(segments, layer, &scratch);
    Finish(layers_[layer], exactness, n, &scratch, &x);
  }
  for (const Segment& segment : segments) segment.cache->set_length(segment.num_past + segment.num_rows);
  ComputeLogits(sequences, segments, x);
  return absl::OkStatus();
}

void CpuDecoder::ComputeLogits(absl::Span<const Sequence> sequences, absl::Span<const Segment> segments,
                               const std::vector<float>& x) const {
  const int64_t hidden = config_.hidden_size, vocab = config_.vocab_size;
  const auto rows_of = [&](size_t i) -> int64_t {
    if (sequences[i].want == Logits::kNone) return 0;
    return sequences[i].want == Logits::kLast ? 1 : segments[i].num_rows;
  };
  std::vector<float> normed;
  int64_t num_rows = 0;
  for (size_t i = 0; i < segments.size(); ++i) {
    const int64_t rows = rows_of(i), first = segments[i].first_row + segments[i].num_rows - rows;
    normed.resize(static_cast<size_t>((num_rows + rows) * hidden));
    kernels::RmsNorm(x.data() + first * hidden, rows, hidden, final_norm_.data(), config_.rms_norm_eps,
                     normed.data() + num_rows * hidden, DefaultPool());
    num_rows += rows;
  }
  if (num_rows == 0) return;
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
    const auto to = from + rows_of(i) * vocab;
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
