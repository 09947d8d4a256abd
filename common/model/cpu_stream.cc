#include "common/model/cpu_stream.h"

#include <algorithm>
#include <utility>

#include "common/base/thread_pool.h"
#include "common/kernels/banded_attention.h"
#include "common/kernels/bf16_attention.h"
#include "common/kernels/elementwise.h"

namespace ilre {
namespace {

using kernels::Accumulate;
using kernels::AlignedVector;
using kernels::Int8Linear;

// Rows of a slice: few enough that what passes from one step to the next stays in the second-level cache, enough that
// reading the weights once for each slice does not count.
constexpr int64_t kSliceRows = 64;

// Columns of the feed-forward layer that a slice computes at a time.
constexpr int64_t kFfnColumns = 256;

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

bool WantsProjection(absl::Span<const Tap> taps, int layer) {
  return std::any_of(taps.begin(), taps.end(),
                     [&](const Tap& tap) { return tap.layer == layer && tap.kind != Tap::Kind::kInput; });
}

// What one thread needs for one slice; kept for the next.
struct SliceScratch {
  static SliceScratch& Get() {
    thread_local SliceScratch scratch;
    return scratch;
  }
  // [slice rows, ...]
  AlignedVector<float> normed, attended, gate_up, hidden, added, keys;
  AlignedVector<uint16_t> values;  // [G d]
  kernels::Int8Rows int8;
};

// What the slices of one block share; kept by each calling thread for its next block.
struct BlockScratch {
  AlignedVector<float> x;    // [n, D]
  AlignedVector<float> qkv;  // [n, (H + 2G) d]; queries are rotated in place
  // Sinks, window and the block's own tokens, one after the other: [past + n, G d] each. Two of each, since slices that
  // are done with a layer write into the next one's while others still read.
  struct Cache {
    AlignedVector<float> keys, values;    // keys rotated
    AlignedVector<uint16_t> bf16_keys;    // instead of those, with bf16 attention; an even number of rows
    AlignedVector<uint16_t> bf16_values;  // [(past + n) / 2, G d, 2] (bf16_attention.h)
  } caches[2];
  AlignedVector<float> past_keys;  // [past, G d], on their way to bf16
};

template <typename T>
void Grow(AlignedVector<T>& memory, int64_t size) {
  if (static_cast<int64_t>(memory.size()) < size) memory.resize(static_cast<size_t>(size));
}

}  // namespace

struct CpuStream::Int8Layer {
  std::once_flag once;
  Int8Linear qkv, output, gate_up, down;
};

CpuStream::CpuStream(const ModelConfig& config, const CpuLinear& embedding, std::vector<StreamLayer> layers)
    : config_(config), embedding_(embedding), layers_(std::move(layers)), int8_layers_(new Int8Layer[layers_.size()]) {}

CpuStream::~CpuStream() = default;

const CpuStream::Int8Layer& CpuStream::int8_layer(int layer) const {
  Int8Layer& weights = int8_layers_[layer];
  std::call_once(weights.once, [&] {
    weights.qkv = Int8Linear::FromPacked(*layers_[layer].qkv);
    weights.output = Int8Linear::FromPacked(*layers_[layer].output);
    weights.gate_up = Int8Linear::FromPacked(*layers_[layer].gate_up);
    weights.down = Int8Linear::FromPacked(*layers_[layer].down);
  });
  return weights;
}

std::shared_ptr<const CpuStream::RotaryTables> CpuStream::Rotary(int64_t count) const {
  std::lock_guard<std::mutex> lock(rotary_mutex_);
  if (rotary_ == nullptr || rotary_->count < count) {
    auto tables = std::make_shared<RotaryTables>();
    tables->global = RotaryTable(RotaryFrequencies(config_), 0, count);
    if (!config_.local_layers.empty())
      tables->local = RotaryTable(RotaryFrequencies(config_, /*local=*/true), 0, count);
    tables->count = count;
    rotary_ = std::move(tables);
  }
  return rotary_;
}

// One call of RunBlock.
class CpuStream::Block {
 public:
  Block(const CpuStream& stream, absl::Span<const TokenId> ids, absl::Span<const Tap> taps, StreamState* state,
        std::vector<std::vector<float>>* outputs, BlockScratch& scratch);
  void Run();

 private:
  int64_t hidden() const { return config_.hidden_size; }
  int64_t head_dim() const { return config_.head_dim; }
  int64_t query_width() const { return config_.num_heads * config_.head_dim; }
  int64_t key_width() const { return config_.num_kv_heads * config_.head_dim; }
  int64_t qkv_width() const { return query_width() + 2 * key_width(); }
  float* x(int64_t row) const { return scratch_.x.data() + row * hidden(); }
  float* qkv(int64_t row) const { return scratch_.qkv.data() + row * qkv_width(); }
  BlockScratch::Cache& cache(int layer) const { return scratch_.caches[layer % 2]; }
  bool needs_projection(int layer) const { return layer < depth_ || WantsProjection(taps_, layer); }

  // Tokens of the stream before the block, in the cache.
  int64_t num_sinks(const StreamState::Layer& past) const {
    return static_cast<int64_t>(past.sink_keys.size()) / key_width();
  }
  // Which of them a layer sees: the model's own local layers know no sinks, so that what has left their window is not
  // seen. Where the stream's window covers theirs, they see just what they see in the whole text.
  int64_t seen_sinks(int layer) const { return config_.IsLocal(layer) ? 0 : num_sinks(state_->layers[layer]); }
  int64_t seen_window(int layer) const { return std::min(state_->window, config_.WindowOf(layer)); }
  const RotaryTable& rotary(int layer) const { return config_.IsLocal(layer) ? rotary_->local : rotary_->global; }
  int64_t num_past(const StreamState::Layer& past) const {
    return num_sinks(past) + static_cast<int64_t>(past.window_keys.size()) / key_width();
  }

  void ForEachSlice(const std::function<void(Range)>& run);
  // A slice's way into a layer: taps of its input, projections, keys and values for all.
  void EnterLayer(int layer, Range rows);
  // Its way through the rest: attention and feed-forward, added to x.
  void LeaveLayer(int layer, Range rows);
  // The past of a layer, into its cache.
  void GatherPast(int layer);
  // Sinks and window as the next block finds them.
  void AdvanceState(int layer);

  void NormAndProject(int layer, Range rows);
  void ShareBf16(int layer, Range rows);
  void GatherBf16(int layer);
  // Puts one token's values, [G d] bf16 bits, at a place of the cache.
  void PutBf16Values(const uint16_t* values, int64_t place, AlignedVector<uint16_t>& cache) const;
  void AttendBf16(int layer, Range rows, float* out);
  void ShareKeysAndValues(int layer, Range rows);
  void CopyInputTaps(int layer, Range rows);
  void CopyProjectionTaps(int layer, Range rows);
  void Attend(int layer, Range rows, float* out);
  void FeedForward(int layer, Range rows);
  // x += apply's result, or its norm where there is one. apply(out, accumulate): of a linear layer over these rows.
  template <typename Apply>
  void AddLinear(const float* norm, Range rows, const Apply& apply);

  const CpuStream& stream_;
  const ModelConfig& config_;
  const absl::Span<const TokenId> ids_;
  const absl::Span<const Tap> taps_;
  StreamState* const state_;
  std::vector<std::vector<float>>* const outputs_;
  BlockScratch& scratch_;
  const int depth_;
  const int64_t n_;
  const bool int8_;
  const bool bf16_attention_;
  int64_t num_past_ = 0;  // the same in every layer
  std::shared_ptr<const RotaryTables> rotary_;
};

CpuStream::Block::Block(const CpuStream& stream, absl::Span<const TokenId> ids, absl::Span<const Tap> taps,
                        StreamState* state, std::vector<std::vector<float>>* outputs, BlockScratch& scratch)
    : stream_(stream),
      config_(stream.config_),
      ids_(ids),
      taps_(taps),
      state_(state),
      outputs_(outputs),
      scratch_(scratch),
      depth_(Decoder::DepthOf(taps)),
      n_(static_cast<int64_t>(ids.size())),
      int8_(state->arithmetic == StreamArithmetic::kInt8),
      bf16_attention_(int8_ && head_dim() % 16 == 0) {
  Grow(scratch_.x, n_ * hidden());
  Grow(scratch_.qkv, n_ * qkv_width());
  if (depth_ > 0) {
    num_past_ = num_past(state->layers[0]);
    rotary_ = stream.Rotary(num_past_ + n_);
    const int64_t total = num_past_ + n_, even = total + total % 2;
    Grow(scratch_.past_keys, bf16_attention_ ? num_past_ * key_width() : 0);
    for (BlockScratch::Cache& cache : scratch_.caches) {
      if (bf16_attention_) {
        Grow(cache.bf16_keys, even * key_width());
        Grow(cache.bf16_values, even * key_width());
        std::fill_n(cache.bf16_keys.begin() + static_cast<ptrdiff_t>(total * key_width()), (even - total) * key_width(),
                    0);
        for (int64_t c = 0; c < (even - total) * key_width(); ++c) {
          cache.bf16_values[static_cast<size_t>((total - 1) * key_width() + 2 * c + 1)] = 0;
        }
        continue;
      }
      Grow(cache.keys, total * key_width());
      Grow(cache.values, total * key_width());
    }
  }
  outputs_->assign(taps.size(), {});
  for (size_t i = 0; i < taps.size(); ++i) {
    const int64_t width = taps[i].kind == Tap::Kind::kInput ? hidden()
                          : taps[i].kind == Tap::Kind::kKey ? key_width()
                                                            : query_width();
    (*outputs_)[i].resize(static_cast<size_t>(n_ * width));
  }
}

void CpuStream::Block::Run() {
  const int64_t slices = (n_ + kSliceRows - 1) / kSliceRows;
  for (int layer = 0; layer <= depth_; ++layer) {
    // Task 0 is what a layer's past needs; the others are slices.
    DefaultPool().ParallelFor(slices + 1, [&](int64_t task) {
      if (task == 0) {
        if (layer < depth_) GatherPast(layer);
        return;
      }
      const Range rows{(task - 1) * n_ / slices, task * n_ / slices};
      if (layer == 0) {
        for (int64_t row = rows.begin; row < rows.end; ++row)
          EmbedToken(config_, stream_.embedding_, Exactness::kFloat32, ids_[row], x(row));
      } else {
        LeaveLayer(layer - 1, rows);
      }
      EnterLayer(layer, rows);
    });
    if (layer < depth_) AdvanceState(layer);
  }
}

void CpuStream::Block::EnterLayer(int layer, Range rows) {
  CopyInputTaps(layer, rows);
  if (!needs_projection(layer)) return;
  NormAndProject(layer, rows);
  CopyProjectionTaps(layer, rows);
  if (layer < depth_) ShareKeysAndValues(layer, rows);
}

void CpuStream::Block::NormAndProject(int layer, Range rows) {
  const StreamLayer& weights = stream_.layers_[layer];
  SliceScratch& scratch = SliceScratch::Get();
  Grow(scratch.normed, rows.size() * hidden());
  kernels::RmsNorm(x(rows.begin), rows.size(), hidden(), weights.attention_norm, config_.rms_norm_eps,
                   scratch.normed.data(), InlinePool());
  if (int8_) {
    scratch.int8.Assign(scratch.normed.data(), rows.size(), hidden());
    stream_.int8_layer(layer).qkv.Apply(scratch.int8, qkv(rows.begin));
  } else {
    weights.qkv->Apply(scratch.normed.data(), rows.size(), qkv(rows.begin), InlinePool());
  }
  if (weights.query_norm == nullptr) return;
  kernels::RmsNormHeads(qkv(rows.begin), rows.size(), config_.num_heads, head_dim(), weights.query_norm,
                        config_.rms_norm_eps, InlinePool(), qkv_width());
  kernels::RmsNormHeads(qkv(rows.begin) + query_width(), rows.size(), config_.num_kv_heads, head_dim(),
                        weights.key_norm, config_.rms_norm_eps, InlinePool(), qkv_width());
}

void CpuStream::Block::PutBf16Values(const uint16_t* values, int64_t place, AlignedVector<uint16_t>& cache) const {
  uint16_t* to = cache.data() + place / 2 * 2 * key_width() + place % 2;
  for (int64_t c = 0; c < key_width(); ++c) to[2 * c] = values[c];
}

void CpuStream::Block::ShareBf16(int layer, Range rows) {
  SliceScratch& scratch = SliceScratch::Get();
  BlockScratch::Cache& shared = cache(layer);
  Grow(scratch.keys, rows.size() * key_width());
  Grow(scratch.values, key_width());
  const int64_t first = num_past_ + rows.begin, half = head_dim() / 2;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const float* keys = qkv(row) + query_width();
    std::copy_n(keys, key_width(), scratch.keys.data() + (row - rows.begin) * key_width());
    kernels::ConvertToBf16(keys + key_width(), key_width(), scratch.values.data());
    PutBf16Values(scratch.values.data(), num_past_ + row, shared.bf16_values);
  }
  kernels::Rope(scratch.keys.data(), rows.size(), config_.num_kv_heads, head_dim(),
                rotary(layer).cosines.data() + first * half, rotary(layer).sines.data() + first * half, InlinePool());
  kernels::ConvertToBf16(scratch.keys.data(), rows.size() * key_width(), shared.bf16_keys.data() + first * key_width());
}

void CpuStream::Block::GatherBf16(int layer) {
  const StreamState::Layer& past = state_->layers[layer];
  BlockScratch::Cache& shared = cache(layer);
  const int64_t width = key_width(), sinks = num_sinks(past);
  float* keys = scratch_.past_keys.data();
  kernels::ConvertFromBf16(past.sink_keys.data(), sinks * width, keys);
  kernels::ConvertFromBf16(past.window_keys.data(), (num_past_ - sinks) * width, keys + sinks * width);
  kernels::Rope(keys, num_past_, config_.num_kv_heads, head_dim(), rotary(layer).cosines.data(),
                rotary(layer).sines.data(), InlinePool());
  kernels::ConvertToBf16(keys, num_past_ * width, shared.bf16_keys.data());
  for (int64_t place = 0; place < num_past_; ++place) {
    const uint16_t* values =
        place < sinks ? past.sink_values.data() + place * width : past.window_values.data() + (place - sinks) * width;
    PutBf16Values(values, place, shared.bf16_values);
  }
}

void CpuStream::Block::ShareKeysAndValues(int layer, Range rows) {
  BlockScratch::Cache& shared = cache(layer);
  const int64_t place = num_past_ + rows.begin, half = head_dim() / 2;
  const float *cosines = rotary(layer).cosines.data() + place * half,
              *sines = rotary(layer).sines.data() + place * half;
  if (bf16_attention_) {
    ShareBf16(layer, rows);
  } else {
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const float* keys = qkv(row) + query_width();
      std::copy_n(keys, key_width(), shared.keys.data() + (num_past_ + row) * key_width());
      std::copy_n(keys + key_width(), key_width(), shared.values.data() + (num_past_ + row) * key_width());
    }
    kernels::Rope(shared.keys.data() + place * key_width(), rows.size(), config_.num_kv_heads, head_dim(), cosines,
                  sines, InlinePool());
  }
  kernels::Rope(qkv(rows.begin), rows.size(), config_.num_heads, head_dim(), cosines, sines, InlinePool(), qkv_width());
}

void CpuStream::Block::GatherPast(int layer) {
  if (bf16_attention_) return GatherBf16(layer);
  const StreamState::Layer& past = state_->layers[layer];
  BlockScratch::Cache& shared = cache(layer);
  const int64_t sinks = static_cast<int64_t>(past.sink_keys.size());
  const auto gather = [&](const std::vector<uint16_t>& sink, const std::vector<uint16_t>& window, float* out) {
    kernels::ConvertFromBf16(sink.data(), sinks, out);
    kernels::ConvertFromBf16(window.data(), static_cast<int64_t>(window.size()), out + sinks);
  };
  gather(past.sink_keys, past.window_keys, shared.keys.data());
  gather(past.sink_values, past.window_values, shared.values.data());
  kernels::Rope(shared.keys.data(), num_past_, config_.num_kv_heads, head_dim(), rotary(layer).cosines.data(),
                rotary(layer).sines.data(), InlinePool());
}

void CpuStream::Block::AdvanceState(int layer) {
  StreamState::Layer& past = state_->layers[layer];
  const int64_t width = key_width();
  const auto append = [&](int64_t column, std::vector<uint16_t>* bits) {
    const size_t keep = static_cast<size_t>(state_->window * width), added = static_cast<size_t>(n_ * width);
    if (bits->size() + added > keep) {
      const size_t stays = keep > added ? keep - added : 0;
      bits->erase(bits->begin(), bits->end() - static_cast<ptrdiff_t>(std::min(stays, bits->size())));
    }
    const size_t old = bits->size();
    bits->resize(old + added);
    for (int64_t row = 0; row < n_; ++row) {
      kernels::ConvertToBf16(qkv(row) + column, width, bits->data() + old + row * width);
    }
    if (bits->size() > keep) bits->erase(bits->begin(), bits->end() - static_cast<ptrdiff_t>(keep));
  };
  append(query_width(), &past.window_keys);
  append(query_width() + width, &past.window_values);
}

void CpuStream::Block::CopyInputTaps(int layer, Range rows) {
  for (size_t i = 0; i < taps_.size(); ++i) {
    if (taps_[i].kind != Tap::Kind::kInput || taps_[i].layer != layer) continue;
    kernels::RmsNorm(x(rows.begin), rows.size(), hidden(), nullptr, config_.rms_norm_eps,
                     (*outputs_)[i].data() + rows.begin * hidden(), InlinePool());
  }
}

void CpuStream::Block::CopyProjectionTaps(int layer, Range rows) {
  for (size_t i = 0; i < taps_.size(); ++i) {
    if (taps_[i].kind == Tap::Kind::kInput || taps_[i].layer != layer) continue;
    const bool keys = taps_[i].kind == Tap::Kind::kKey;
    const int64_t begin = keys ? query_width() : 0, width = keys ? key_width() : query_width();
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      std::copy_n(qkv(row) + begin, width, (*outputs_)[i].data() + row * width);
    }
  }
}

void CpuStream::Block::LeaveLayer(int layer, Range rows) {
  SliceScratch& scratch = SliceScratch::Get();
  Grow(scratch.attended, rows.size() * query_width());
  Attend(layer, rows, scratch.attended.data());
  if (int8_) scratch.int8.Assign(scratch.attended.data(), rows.size(), query_width());
  AddLinear(stream_.layers_[layer].post_attention_norm, rows, [&](float* out, Accumulate accumulate) {
    if (int8_) return stream_.int8_layer(layer).output.Apply(scratch.int8, out, accumulate);
    stream_.layers_[layer].output->Apply(scratch.attended.data(), rows.size(), out, InlinePool(), accumulate);
  });
  FeedForward(layer, rows);
}

template <typename Apply>
void CpuStream::Block::AddLinear(const float* norm, Range rows, const Apply& apply) {
  if (norm == nullptr) return apply(x(rows.begin), Accumulate::kAddTo);
  AlignedVector<float>& added = SliceScratch::Get().added;
  Grow(added, rows.size() * hidden());
  apply(added.data(), Accumulate::kStore);
  kernels::RmsNorm(added.data(), rows.size(), hidden(), norm, config_.rms_norm_eps, added.data(), InlinePool());
  kernels::AddInPlace(x(rows.begin), added.data(), rows.size() * hidden(), InlinePool());
}

void CpuStream::Block::AttendBf16(int layer, Range rows, float* out) {
  kernels::Bf16AttentionArgs args;
  args.num_queries = rows.size();
  args.num_past = num_past_ + rows.begin;
  args.num_sinks = seen_sinks(layer);
  args.window = seen_window(layer);
  args.num_heads = static_cast<int>(config_.num_heads);
  args.num_kv_heads = static_cast<int>(config_.num_kv_heads);
  args.head_dim = static_cast<int>(head_dim());
  args.scale = 1 / config_.ScoreDivisor();
  args.q = qkv(rows.begin);
  args.q_stride = qkv_width();
  args.k = cache(layer).bf16_keys.data();
  args.v = cache(layer).bf16_values.data();
  args.out = out;
  kernels::Bf16Attention(args);
}

void CpuStream::Block::Attend(int layer, Range rows, float* out) {
  if (bf16_attention_) return AttendBf16(layer, rows, out);
  kernels::BandedAttentionArgs args;
  args.num_queries = rows.size();
  args.num_past = num_past_ + rows.begin;
  args.num_sinks = seen_sinks(layer);
  args.window = seen_window(layer);
  args.num_heads = static_cast<int>(config_.num_heads);
  args.num_kv_heads = static_cast<int>(config_.num_kv_heads);
  args.head_dim = static_cast<int>(head_dim());
  args.scale = 1 / config_.ScoreDivisor();
  args.q = qkv(rows.begin);
  args.q_stride = qkv_width();
  args.k = cache(layer).keys.data();
  args.v = cache(layer).values.data();
  args.out = out;
  kernels::BandedAttention(args, InlinePool());
}

void CpuStream::Block::FeedForward(int layer, Range rows) {
  const StreamLayer& weights = stream_.layers_[layer];
  SliceScratch& scratch = SliceScratch::Get();
  const int64_t ffn = config_.ffn_size, n = rows.size();
  Grow(scratch.normed, n * hidden());
  Grow(scratch.hidden, n * ffn);
  kernels::RmsNorm(x(rows.begin), n, hidden(), weights.ffn_norm, config_.rms_norm_eps, scratch.normed.data(),
                   InlinePool());
  if (!int8_) {
    Grow(scratch.gate_up, n * 2 * ffn);
    weights.gate_up->Apply(scratch.normed.data(), n, scratch.gate_up.data(), InlinePool());
    MulByGates(config_, scratch.gate_up.data(), n, ffn, scratch.hidden.data(), InlinePool());
    AddLinear(weights.post_ffn_norm, rows, [&](float* out, Accumulate accumulate) {
      weights.down->Apply(scratch.hidden.data(), n, out, InlinePool(), accumulate);
    });
    return;
  }
  const Int8Layer& int8 = stream_.int8_layer(layer);
  scratch.int8.Assign(scratch.normed.data(), n, hidden());
  // Where ups do not begin at a panel, all columns are computed at once.
  const int64_t step = ffn % Int8Linear::kPanel == 0 ? std::min(kFfnColumns, ffn) : ffn;
  Grow(scratch.gate_up, n * 2 * step);
  for (int64_t begin = 0; begin < ffn; begin += step) {
    const int64_t count = std::min(step, ffn - begin);
    if (count == ffn) {
      int8.gate_up.Apply(scratch.int8, scratch.gate_up.data());
    } else {
      int8.gate_up.ApplyColumns(scratch.int8, begin, begin + count, scratch.gate_up.data(), Accumulate::kStore,
                                2 * count);
      int8.gate_up.ApplyColumns(scratch.int8, ffn + begin, ffn + begin + count, scratch.gate_up.data() + count,
                                Accumulate::kStore, 2 * count);
    }
    MulByGates(config_, scratch.gate_up.data(), n, count, scratch.hidden.data() + begin, InlinePool(), 2 * count, ffn);
  }
  scratch.int8.Assign(scratch.hidden.data(), n, ffn);
  AddLinear(weights.post_ffn_norm, rows,
            [&](float* out, Accumulate accumulate) { int8.down.Apply(scratch.int8, out, accumulate); });
}

void CpuStream::RunBlock(absl::Span<const TokenId> ids, absl::Span<const Tap> taps, StreamState* state,
                         std::vector<std::vector<float>>* outputs) const {
  thread_local BlockScratch scratch;
  Block(*this, ids, taps, state, outputs, scratch).Run();
}

}  // namespace ilre
