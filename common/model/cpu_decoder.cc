#include "common/model/cpu_decoder.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/thread_pool.h"
#include "common/kernels/aligned.h"
#include "common/kernels/banded_attention.h"
#include "common/kernels/elementwise.h"
#include "common/kernels/linear.h"
#include "common/model/cpu_stream.h"
#include "common/model/layer_names.h"
#include "common/model/loaded_tensors.h"
#include "common/model/rotary_table.h"

namespace ilre {
namespace {

using kernels::PackedLinear;

struct CpuLayer {
  std::vector<float> attention_norm, ffn_norm;  // [D]
  std::vector<float> query_norm, key_norm;      // [d], or empty
  PackedLinear qkv;                             // [(H + 2G) d, D]: queries, keys, values
  PackedLinear output;                          // [D, H d]
  PackedLinear gate_up;                         // [2F, D]: gates, then ups
  PackedLinear down;                            // [D, F]
};

// Reads tensors of a checkpoint and remembers which, so that what nobody read can be named.
class TensorReader {
 public:
  explicit TensorReader(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  absl::StatusOr<std::vector<float>> Floats(const std::string& name, int64_t size) {
    std::vector<float> values(static_cast<size_t>(size));
    read_.Add(name);
    ILRE_RETURN_IF_ERROR(checkpoint_.ReadTensor(name, {size}, absl::MakeSpan(values)));
    return values;
  }

  struct Part {
    std::string name;
    int64_t rows;
  };
  // One layer out of several weights, one below the other, with their biases if `bias`.
  absl::StatusOr<PackedLinear> Linear(const std::vector<Part>& parts, int64_t columns, bool bias = false) {
    int64_t rows = 0;
    for (const Part& part : parts) rows += part.rows;
    std::vector<uint16_t> weight(static_cast<size_t>(rows * columns));
    std::vector<float> biases;
    int64_t row = 0;
    for (const Part& part : parts) {
      const std::string name = absl::StrCat(part.name, ".weight");
      read_.Add(name);
      ILRE_RETURN_IF_ERROR(
          checkpoint_.ReadTensorBf16(name, {part.rows, columns},
                                     absl::MakeSpan(weight).subspan(static_cast<size_t>(row * columns),
                                                                    static_cast<size_t>(part.rows * columns))));
      row += part.rows;
      if (!bias) continue;
      ILRE_ASSIGN_OR_RETURN(const std::vector<float> values, Floats(absl::StrCat(part.name, ".bias"), part.rows));
      biases.insert(biases.end(), values.begin(), values.end());
    }
    return PackedLinear::FromBf16(weight.data(), rows, columns, bias ? biases.data() : nullptr);
  }

  // An error naming a weight that was never read.
  absl::Status CheckAllRead() const { return read_.CheckNoneLeft(checkpoint_); }

 private:
  const Checkpoint& checkpoint_;
  LoadedTensors read_;
};

// Keys (rotated) and values of all layers in one piece of memory, which the system hands out as it is filled.
class CpuKvCache : public KvCache {
 public:
  // Throws std::bad_alloc.
  CpuKvCache(int64_t num_layers, int64_t capacity, int64_t width)
      : capacity_(capacity), layer_floats_(capacity * width) {
    memory_.reset(static_cast<float*>(
        kernels::AllocateAligned(static_cast<size_t>(2 * num_layers * layer_floats_) * sizeof(float))));
  }

  int64_t num_tokens() const override { return length_; }
  void Truncate(int64_t num_tokens) override { length_ = std::min(length_, std::max<int64_t>(num_tokens, 0)); }

  int64_t capacity() const { return capacity_; }
  void set_length(int64_t length) { length_ = length; }
  float* keys(int layer) { return memory_.get() + 2 * layer * layer_floats_; }  // [capacity, width]
  float* values(int layer) { return keys(layer) + layer_floats_; }              // [capacity, width]

 private:
  struct Free {
    void operator()(float* memory) const { kernels::FreeAligned(memory); }
  };
  int64_t length_ = 0, capacity_, layer_floats_;
  std::unique_ptr<float, Free> memory_;
};

// Some rows of a batch: the next tokens of one sequence.
struct Segment {
  CpuKvCache* cache;
  int64_t first_row, num_rows, num_past;
};

// Buffers of one call, reused from layer to layer.
struct Scratch {
  std::vector<float> normed, qkv, attended, gate_up, hidden;
};

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

  absl::StatusOr<CpuLayer> ReadLayer(TensorReader& reader, int layer) const;
  void MakeStream();
  std::vector<float> Embed(absl::Span<const TokenId> ids) const;  // [n, D]
  // Fills scratch->qkv [n, (H + 2G) d], unrotated.
  void Project(const CpuLayer& layer, const std::vector<float>& x, int64_t n, Scratch* scratch) const;
  // scratch->qkv's queries over keys and values of the cache -> scratch->attended.
  // Attention's sizes and scale; pointers, places and strides of q and out are for n rows from `row` on.
  kernels::BandedAttentionArgs AttentionOf(int64_t row, int64_t n, int64_t num_past, Scratch* scratch) const;
  // Appends keys and values of scratch->qkv to the caches, and attends over them -> scratch->attended.
  void AttendCaches(absl::Span<const Segment> segments, int layer, Scratch* scratch) const;
  // Output projection and feed-forward, added to x.
  void Finish(const CpuLayer& layer, int64_t n, Scratch* scratch, std::vector<float>* x) const;
  void CopyInputTaps(absl::Span<const Tap> taps, int layer, const std::vector<float>& x, int64_t n,
                     std::vector<std::vector<float>>* outputs) const;
  void CopyProjectionTaps(absl::Span<const Tap> taps, int layer, const Scratch& scratch, int64_t n,
                          std::vector<std::vector<float>>* outputs) const;

  // Where the sequences' tokens lie in a batch, checked against caches and weights.
  absl::StatusOr<std::vector<Segment>> LayOut(absl::Span<const Sequence> sequences) const;
  absl::Status Run(absl::Span<const Sequence> sequences, absl::Span<const Tap> taps, const KeepGoing& keep_going,
                   std::vector<std::vector<float>>* outputs) const;
  // From what the last layer leaves, x [rows of the batch, D].
  void ComputeLogits(absl::Span<const Sequence> sequences, absl::Span<const Segment> segments,
                     const std::vector<float>& x) const;

  std::vector<float> frequencies_;  // [d / 2]
  PackedLinear embedding_;          // [V, D]; the output projection too, where they are tied
  PackedLinear output_;             // [V, D], or empty
  std::vector<float> final_norm_;   // [D], or empty
  std::vector<CpuLayer> layers_;
  std::unique_ptr<const CpuStream> stream_;  // over these weights
  mutable ThreadPool calling_thread_{1};     // for kernels inside a loop over sequences
};

absl::StatusOr<CpuLayer> CpuDecoder::ReadLayer(TensorReader& reader, int index) const {
  const auto name = [&](const char* rest) { return LayerTensorName(index, rest); };
  const int64_t hidden = config_.hidden_size, ffn = config_.ffn_size;
  CpuLayer layer;
  ILRE_ASSIGN_OR_RETURN(layer.attention_norm, reader.Floats(name("input_layernorm.weight"), hidden));
  ILRE_ASSIGN_OR_RETURN(layer.ffn_norm, reader.Floats(name("post_attention_layernorm.weight"), hidden));
  if (config_.qk_norm) {
    ILRE_ASSIGN_OR_RETURN(layer.query_norm, reader.Floats(name("self_attn.q_norm.weight"), config_.head_dim));
    ILRE_ASSIGN_OR_RETURN(layer.key_norm, reader.Floats(name("self_attn.k_norm.weight"), config_.head_dim));
  }
  ILRE_ASSIGN_OR_RETURN(layer.qkv, reader.Linear({{name("self_attn.q_proj"), query_width()},
                                                  {name("self_attn.k_proj"), key_width()},
                                                  {name("self_attn.v_proj"), key_width()}},
                                                 hidden, config_.qkv_bias));
  ILRE_ASSIGN_OR_RETURN(layer.output, reader.Linear({{name("self_attn.o_proj"), hidden}}, query_width()));
  ILRE_ASSIGN_OR_RETURN(layer.gate_up,
                        reader.Linear({{name("mlp.gate_proj"), ffn}, {name("mlp.up_proj"), ffn}}, hidden));
  ILRE_ASSIGN_OR_RETURN(layer.down, reader.Linear({{name("mlp.down_proj"), hidden}}, ffn));
  return layer;
}

absl::Status CpuDecoder::Init(const Checkpoint& checkpoint, const DecoderOptions& options) {
  config_ = checkpoint.config();
  device_ = "cpu";
  num_layers_ = static_cast<int>(options.num_layers < 0 ? config_.num_layers : options.num_layers);
  frequencies_ = RotaryFrequencies(config_);
  TensorReader reader(checkpoint);
  const auto weight = [](const char* name) {
    return std::string(absl::string_view(name).substr(0, absl::string_view(name).size() - 7));
  };
  ILRE_ASSIGN_OR_RETURN(embedding_, reader.Linear({{weight(kEmbeddingName), config_.vocab_size}}, config_.hidden_size));
  for (int layer = 0; layer < num_layers_; ++layer) {
    ILRE_ASSIGN_OR_RETURN(CpuLayer weights, ReadLayer(reader, layer));
    layers_.push_back(std::move(weights));
  }
  MakeStream();
  if (num_layers_ < config_.num_layers) return absl::OkStatus();
  ILRE_ASSIGN_OR_RETURN(final_norm_, reader.Floats(kFinalNormName, config_.hidden_size));
  if (!config_.tied_embeddings) {
    ILRE_ASSIGN_OR_RETURN(output_, reader.Linear({{weight(kOutputName), config_.vocab_size}}, config_.hidden_size));
  }
  return reader.CheckAllRead();
}

std::vector<float> CpuDecoder::Embed(absl::Span<const TokenId> ids) const {
  std::vector<float> x(ids.size() * static_cast<size_t>(config_.hidden_size));
  for (size_t i = 0; i < ids.size(); ++i) embedding_.CopyRow(ids[i], x.data() + i * config_.hidden_size);
  return x;
}

void CpuDecoder::Project(const CpuLayer& layer, const std::vector<float>& x, int64_t n, Scratch* scratch) const {
  ThreadPool& pool = DefaultPool();
  scratch->normed.resize(x.size());
  kernels::RmsNorm(x.data(), n, config_.hidden_size, layer.attention_norm.data(), config_.rms_norm_eps,
                   scratch->normed.data(), pool);
  scratch->qkv.resize(static_cast<size_t>(n * qkv_width()));
  layer.qkv.Apply(scratch->normed.data(), n, scratch->qkv.data(), pool);
  if (layer.query_norm.empty()) return;
  kernels::RmsNormHeads(scratch->qkv.data(), n, config_.num_heads, config_.head_dim, layer.query_norm.data(),
                        config_.rms_norm_eps, pool, qkv_width());
  kernels::RmsNormHeads(scratch->qkv.data() + query_width(), n, config_.num_kv_heads, config_.head_dim,
                        layer.key_norm.data(), config_.rms_norm_eps, pool, qkv_width());
}

kernels::BandedAttentionArgs CpuDecoder::AttentionOf(int64_t row, int64_t n, int64_t num_past, Scratch* scratch) const {
  kernels::BandedAttentionArgs args;
  args.num_queries = n;
  args.num_past = num_past;
  args.num_heads = static_cast<int>(config_.num_heads);
  args.num_kv_heads = static_cast<int>(config_.num_kv_heads);
  args.head_dim = static_cast<int>(config_.head_dim);
  args.scale = 1 / std::sqrt(static_cast<float>(config_.head_dim));
  args.q = scratch->qkv.data() + row * qkv_width();
  args.q_stride = qkv_width();
  args.out = scratch->attended.data() + row * query_width();
  return args;
}

void CpuDecoder::Finish(const CpuLayer& layer, int64_t n, Scratch* scratch, std::vector<float>* x) const {
  ThreadPool& pool = DefaultPool();
  layer.output.Apply(scratch->attended.data(), n, x->data(), pool, kernels::Accumulate::kAddTo);
  kernels::RmsNorm(x->data(), n, config_.hidden_size, layer.ffn_norm.data(), config_.rms_norm_eps,
                   scratch->normed.data(), pool);
  scratch->gate_up.resize(static_cast<size_t>(n * 2 * config_.ffn_size));
  scratch->hidden.resize(static_cast<size_t>(n * config_.ffn_size));
  layer.gate_up.Apply(scratch->normed.data(), n, scratch->gate_up.data(), pool);
  kernels::SiluMul(scratch->gate_up.data(), n, config_.ffn_size, scratch->hidden.data(), pool);
  layer.down.Apply(scratch->hidden.data(), n, x->data(), pool, kernels::Accumulate::kAddTo);
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
    layers.push_back({layer.attention_norm.data(), layer.ffn_norm.data(), or_null(layer.query_norm),
                      or_null(layer.key_norm), &layer.qkv, &layer.output, &layer.gate_up, &layer.down});
  }
  stream_ = std::make_unique<CpuStream>(config_, embedding_, std::move(layers));
}

absl::Status CpuDecoder::StreamBlock(absl::Span<const TokenId> ids, absl::Span<const Tap> taps, StreamState* state,
                                     std::vector<std::vector<float>>* outputs) const {
  ILRE_RETURN_IF_ERROR(CheckIds(ids));
  ILRE_RETURN_IF_ERROR(CheckTaps(taps));
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
    return std::unique_ptr<KvCache>(std::make_unique<CpuKvCache>(num_layers_, max_tokens, key_width()));
  } catch (const std::bad_alloc&) {
    return MakeError(absl::StatusCode::kResourceExhausted, "OUT_OF_MEMORY",
                     absl::StrCat("no memory for a cache of ", max_tokens, " tokens"));
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

absl::StatusOr<std::vector<Segment>> CpuDecoder::LayOut(absl::Span<const Sequence> sequences) const {
  std::vector<Segment> segments;
  int64_t row = 0;
  for (const Sequence& sequence : sequences) {
    ILRE_RETURN_IF_ERROR(CheckIds(sequence.ids));
    auto* cache = static_cast<CpuKvCache*>(sequence.cache);
    const int64_t n = static_cast<int64_t>(sequence.ids.size()), past = cache->num_tokens();
    if (n == 0) return errors::InvalidArgument("no tokens to run");
    if (past + n > cache->capacity()) {
      return errors::InvalidArgument(absl::StrCat("a cache for ", cache->capacity(), " tokens cannot take ", past + n));
    }
    if (sequence.want != Logits::kNone && final_norm_.empty()) {
      return errors::InvalidArgument("logits need all layers of the model");
    }
    segments.push_back({cache, row, n, past});
    row += n;
  }
  return segments;
}

void CpuDecoder::AttendCaches(absl::Span<const Segment> segments, int layer, Scratch* scratch) const {
  scratch->attended.resize(scratch->qkv.size() / static_cast<size_t>(qkv_width()) * static_cast<size_t>(query_width()));
  const auto attend = [&](const Segment& segment, ThreadPool& pool) {
    float* const keys = segment.cache->keys(layer);
    float* const values = segment.cache->values(layer);
    for (int64_t row = 0; row < segment.num_rows; ++row) {
      const float* from = scratch->qkv.data() + (segment.first_row + row) * qkv_width() + query_width();
      std::copy_n(from, key_width(), keys + (segment.num_past + row) * key_width());
      std::copy_n(from + key_width(), key_width(), values + (segment.num_past + row) * key_width());
    }
    kernels::BandedAttentionArgs args = AttentionOf(segment.first_row, segment.num_rows, segment.num_past, scratch);
    args.k = keys;
    args.v = values;
    kernels::BandedAttention(args, pool);
  };
  // A single token is little work to share: of several, each goes to a thread.
  std::vector<const Segment*> single;
  for (const Segment& segment : segments) {
    if (segment.num_rows == 1 && segments.size() > 1) {
      single.push_back(&segment);
    } else {
      attend(segment, DefaultPool());
    }
  }
  DefaultPool().ParallelFor(static_cast<int64_t>(single.size()),
                            [&](int64_t i) { attend(*single[static_cast<size_t>(i)], calling_thread_); });
}

absl::Status CpuDecoder::Run(absl::Span<const Sequence> sequences, absl::Span<const Tap> taps,
                             const KeepGoing& keep_going, std::vector<std::vector<float>>* outputs) const {
  ILRE_RETURN_IF_ERROR(CheckTaps(taps));
  ILRE_ASSIGN_OR_RETURN(const std::vector<Segment> segments, LayOut(sequences));
  if (segments.empty()) return absl::OkStatus();
  if (outputs != nullptr) outputs->assign(taps.size(), {});
  std::vector<TokenId> ids;
  RotaryTable rotary;
  for (size_t i = 0; i < segments.size(); ++i) {
    ids.insert(ids.end(), sequences[i].ids.begin(), sequences[i].ids.end());
    rotary.Append(frequencies_, segments[i].num_past, segments[i].num_rows);
  }
  const int64_t n = static_cast<int64_t>(ids.size());
  const int last = taps.empty() ? num_layers_ : LayersToRun(taps, sequences[0].want);
  std::vector<float> x = Embed(ids);
  Scratch scratch;
  for (int layer = 0;; ++layer) {
    if (keep_going && !keep_going()) return errors::Cancelled("running the model");
    CopyInputTaps(taps, layer, x, n, outputs);
    if (layer == last && !WantsProjection(taps, layer)) break;
    Project(layers_[layer], x, n, &scratch);
    CopyProjectionTaps(taps, layer, scratch, n, outputs);
    if (layer == last) break;
    kernels::Rope(scratch.qkv.data(), n, config_.num_heads + config_.num_kv_heads, config_.head_dim,
                  rotary.cosines.data(), rotary.sines.data(), DefaultPool(), qkv_width());
    AttendCaches(segments, layer, &scratch);
    Finish(layers_[layer], n, &scratch, &x);
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
  const PackedLinear& output = config_.tied_embeddings ? embedding_ : output_;
  std::vector<float> logits(static_cast<size_t>(num_rows * vocab));
  output.Apply(normed.data(), num_rows, logits.data(), DefaultPool());
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
