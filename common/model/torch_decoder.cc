#include "common/model/torch_decoder.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/model/layer_names.h"
#include "common/model/loaded_tensors.h"

namespace ilre {
namespace {

using at::Tensor;

// Everything of one layer. [out, in] as in the checkpoint.
struct TorchLayer {
  Tensor attention_norm, ffn_norm;            // [D] float32
  Tensor query, key, value, output;           // [H*d, D], [G*d, D], [G*d, D], [D, H*d]
  Tensor query_bias, key_bias, value_bias;    // undefined, or [H*d], [G*d], [G*d]
  Tensor query_norm, key_norm;                // undefined, or [d] float32
  Tensor post_attention_norm, post_ffn_norm;  // undefined, or [D] float32
  Tensor gate, up, down;                      // [F, D], [F, D], [D, F]
};

class TorchKvCache : public KvCache {
 public:
  TorchKvCache(int64_t num_layers, int64_t max_tokens) : capacity(max_tokens), keys(num_layers), values(num_layers) {}
  int64_t num_tokens() const override { return length; }
  void Truncate(int64_t num_tokens) override { length = std::min(length, std::max<int64_t>(num_tokens, 0)); }

  int64_t length = 0;
  const int64_t capacity;
  // [layers] undefined, or [length or more, G, d], keys rotated; the first `length` count
  std::vector<Tensor> keys, values;
};

// Runs `body`, which may throw as libtorch does, and turns what it throws into a status.
template <typename Body>
absl::Status CatchTorch(const char* what, const Body& body) {
  try {
    return body();
  } catch (const c10::OutOfMemoryError& error) {
    return MakeError(absl::StatusCode::kResourceExhausted, "OUT_OF_MEMORY",
                     absl::StrCat(what, ": the device is out of memory"));
  } catch (const c10::Error& error) {
    return MakeError(absl::StatusCode::kInternal, "TORCH", absl::StrCat(what, ": ", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return MakeError(absl::StatusCode::kInternal, "TORCH", absl::StrCat(what, ": ", error.what()));
  }
}

// Loads the backend that brings a device to libtorch, and checks that the device is there.
absl::StatusOr<at::Device> OpenDevice(const std::string& name) {
  if (name == "torch-cpu") return at::Device(at::kCPU);
  const bool cuda = absl::StartsWith(name, "cuda");
  const char* library = cuda ? "libtorch_cuda.so" : "libtorch_npu.so";
  if (::dlopen(library, RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "DEVICE_UNAVAILABLE",
                     absl::StrCat("device ", name, ": cannot load ", library, " (", ::dlerror(),
                                  "); it must be of the same torch release and in the library path"));
  }
  try {
    const at::Device device(cuda ? name : absl::StrCat("privateuseone", name.substr(3)));
    at::zeros({1}, at::TensorOptions().device(device)).item();
    return device;
  } catch (const std::exception& error) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "DEVICE_UNAVAILABLE",
                     absl::StrCat("device ", name, " cannot be used: ", error.what()));
  }
}

class TorchDecoder : public Decoder {
 public:
  absl::Status Init(const Checkpoint& checkpoint, const DecoderOptions& options);

  absl::Status StreamBlock(absl::Span<const TokenId> ids, absl::Span<const Tap> taps, StreamState* state,
                           std::vector<std::vector<float>>* outputs) const override;
  absl::StatusOr<std::unique_ptr<KvCache>> NewCache(int64_t max_tokens) const override {
    if (max_tokens < 1) return errors::InvalidArgument("a cache needs room for a token");
    return std::make_unique<TorchKvCache>(num_layers_, max_tokens);
  }
  absl::Status Forward(absl::Span<const TokenId> ids, KvCache* cache, absl::Span<const Tap> taps, Logits want,
                       std::vector<std::vector<float>>* outputs, std::vector<float>* logits,
                       const KeepGoing& keep_going) const override;

 private:
  struct Projected {
    Tensor query, key, value;  // [n, H, d], [n, G, d], [n, G, d]
  };

  absl::StatusOr<Tensor> Read(const Checkpoint& checkpoint, const std::string& name, std::vector<int64_t> shape,
                              at::ScalarType type);
  absl::StatusOr<TorchLayer> ReadLayer(const Checkpoint& checkpoint, int layer);

  Tensor Ids(absl::Span<const TokenId> ids) const;
  Tensor Rms(const Tensor& x) const;  // float32
  Tensor Norm(const Tensor& x, const Tensor& weight) const { return (Rms(x) * weight).to(type_); }
  Projected Project(const TorchLayer& layer, const Tensor& x) const;
  Tensor Embed(absl::Span<const TokenId> ids) const;                        // [n, D]
  Tensor Rotate(int layer, const Tensor& x, int64_t first_position) const;  // [n, heads, d]
  // Queries [n, H, d] over keys and values [s, G, d]; mask [n, s] true where a query may look, none: everywhere.
  // -> [n, H, d]
  Tensor Attend(const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& mask) const;
  Tensor Finish(const TorchLayer& layer, const Tensor& x, const Tensor& attended) const;
  Tensor FromBits(const std::vector<uint16_t>& bits) const;  // [n, G, d]
  std::vector<uint16_t> ToBits(const Tensor& x) const;
  static std::vector<float> ToFloats(const Tensor& x);
  void CopyTaps(absl::Span<const Tap> taps, Tap::Kind kind, int layer, const Tensor& x,
                std::vector<std::vector<float>>* outputs) const;
  // Taps of the input, and of keys and queries where `projected` is given.
  Projected ProjectAndTap(int layer, const Tensor& x, absl::Span<const Tap> taps,
                          std::vector<std::vector<float>>* outputs) const;

  at::Device torch_device_ = at::kCPU;
  at::ScalarType type_ = at::kFloat;
  LoadedTensors loaded_;
  Tensor embedding_, final_norm_, output_;
  Tensor frequencies_, local_frequencies_;  // [d / 2]
  std::vector<TorchLayer> layers_;
};

absl::StatusOr<Tensor> TorchDecoder::Read(const Checkpoint& checkpoint, const std::string& name,
                                          std::vector<int64_t> shape, at::ScalarType type) {
  loaded_.Add(name);
  Tensor tensor = at::empty(shape, at::kFloat);
  ILRE_RETURN_IF_ERROR(checkpoint.ReadTensor(
      name, shape, absl::MakeSpan(tensor.mutable_data_ptr<float>(), static_cast<size_t>(tensor.numel()))));
  return tensor.to(torch_device_, type);
}

absl::StatusOr<TorchLayer> TorchDecoder::ReadLayer(const Checkpoint& checkpoint, int index) {
  const int64_t hidden = config_.hidden_size, query = config_.num_heads * config_.head_dim,
                key = config_.num_kv_heads * config_.head_dim, ffn = config_.ffn_size;
  struct Wanted {
    const char* name;
    Tensor TorchLayer::*member;
    std::vector<int64_t> shape;
    bool is_float, present;
  };
  const Wanted wanted[] = {
      {"input_layernorm.weight", &TorchLayer::attention_norm, {hidden}, true, true},
      {FfnNormName(config_.post_norms), &TorchLayer::ffn_norm, {hidden}, true, true},
      {kPostAttentionNormName, &TorchLayer::post_attention_norm, {hidden}, true, config_.post_norms},
      {kPostFfnNormName, &TorchLayer::post_ffn_norm, {hidden}, true, config_.post_norms},
      {"self_attn.q_proj.weight", &TorchLayer::query, {query, hidden}, false, true},
      {"self_attn.k_proj.weight", &TorchLayer::key, {key, hidden}, false, true},
      {"self_attn.v_proj.weight", &TorchLayer::value, {key, hidden}, false, true},
      {"self_attn.o_proj.weight", &TorchLayer::output, {hidden, query}, false, true},
      {"self_attn.q_proj.bias", &TorchLayer::query_bias, {query}, false, config_.qkv_bias},
      {"self_attn.k_proj.bias", &TorchLayer::key_bias, {key}, false, config_.qkv_bias},
      {"self_attn.v_proj.bias", &TorchLayer::value_bias, {key}, false, config_.qkv_bias},
      {"self_attn.q_norm.weight", &TorchLayer::query_norm, {config_.head_dim}, true, config_.qk_norm},
      {"self_attn.k_norm.weight", &TorchLayer::key_norm, {config_.head_dim}, true, config_.qk_norm},
      {"mlp.gate_proj.weight", &TorchLayer::gate, {ffn, hidden}, false, true},
      {"mlp.up_proj.weight", &TorchLayer::up, {ffn, hidden}, false, true},
      {"mlp.down_proj.weight", &TorchLayer::down, {hidden, ffn}, false, true},
  };
  TorchLayer layer;
  for (const Wanted& tensor : wanted) {
    if (!tensor.present) continue;
    ILRE_ASSIGN_OR_RETURN(layer.*tensor.member, Read(checkpoint, LayerTensorName(index, tensor.name), tensor.shape,
                                                     tensor.is_float ? at::kFloat : type_));
  }
  return layer;
}

absl::Status TorchDecoder::Init(const Checkpoint& checkpoint, const DecoderOptions& options) {
  config_ = checkpoint.config();
  device_ = options.device;
  num_layers_ = static_cast<int>(options.num_layers < 0 ? config_.num_layers : options.num_layers);
  ILRE_ASSIGN_OR_RETURN(torch_device_, OpenDevice(options.device));
  type_ = torch_device_.is_cpu() ? at::kFloat : at::kBFloat16;
  return CatchTorch("loading the model", [&]() -> absl::Status {
    ILRE_ASSIGN_OR_RETURN(embedding_,
                          Read(checkpoint, kEmbeddingName, {config_.vocab_size, config_.hidden_size}, type_));
    for (int layer = 0; layer < num_layers_; ++layer) {
      ILRE_ASSIGN_OR_RETURN(TorchLayer weights, ReadLayer(checkpoint, layer));
      layers_.push_back(std::move(weights));
    }
    if (num_layers_ == config_.num_layers) {
      ILRE_ASSIGN_OR_RETURN(final_norm_, Read(checkpoint, kFinalNormName, {config_.hidden_size}, at::kFloat));
      if (config_.tied_embeddings) {
        output_ = embedding_;
      } else {
        ILRE_ASSIGN_OR_RETURN(output_, Read(checkpoint, kOutputName, {config_.vocab_size, config_.hidden_size}, type_));
      }
      ILRE_RETURN_IF_ERROR(loaded_.CheckNoneLeft(checkpoint));
    }
    const auto frequencies = [&](bool local) {
      return at::tensor(at::ArrayRef<float>(RotaryFrequencies(config_, local))).to(torch_device_);
    };
    frequencies_ = frequencies(false);
    if (!config_.local_layers.empty()) local_frequencies_ = frequencies(true);
    return absl::OkStatus();
  });
}

Tensor TorchDecoder::Ids(absl::Span<const TokenId> ids) const {
  return at::tensor(at::ArrayRef<int32_t>(ids.data(), ids.size())).to(torch_device_, at::kLong);
}

Tensor TorchDecoder::Rms(const Tensor& x) const {
  const Tensor wide = x.to(at::kFloat);
  return wide * at::rsqrt(wide.pow(2).mean(-1, true) + config_.rms_norm_eps);
}

TorchDecoder::Projected TorchDecoder::Project(const TorchLayer& layer, const Tensor& x) const {
  const Tensor h = Norm(x, layer.attention_norm);
  const auto project = [&](const Tensor& weight, const Tensor& bias) {
    const std::optional<Tensor> optional_bias = bias.defined() ? std::optional<Tensor>(bias) : std::nullopt;
    return at::linear(h, weight, optional_bias).view({x.size(0), -1, config_.head_dim});
  };
  Projected out{project(layer.query, layer.query_bias), project(layer.key, layer.key_bias),
                project(layer.value, layer.value_bias)};
  if (layer.query_norm.defined()) {
    out.query = Norm(out.query, layer.query_norm);
    out.key = Norm(out.key, layer.key_norm);
  }
  return out;
}

Tensor TorchDecoder::Embed(absl::Span<const TokenId> ids) const {
  const Tensor x = embedding_.index_select(0, Ids(ids));
  return config_.embedding_scale == 1 ? x : x * config_.embedding_scale;
}

Tensor TorchDecoder::Rotate(int layer, const Tensor& x, int64_t first_position) const {
  const Tensor positions = at::arange(first_position, first_position + x.size(0),
                                      at::TensorOptions().device(torch_device_).dtype(at::kFloat));
  const Tensor angle = at::outer(positions, config_.IsLocal(layer) ? local_frequencies_ : frequencies_);  // [n, d/2]
  const Tensor cos = at::cat({angle.cos(), angle.cos()}, -1).unsqueeze(1);
  const Tensor sin = at::cat({angle.sin(), angle.sin()}, -1).unsqueeze(1);
  const Tensor wide = x.to(at::kFloat);
  const int64_t half = config_.head_dim / 2;
  const Tensor turned = at::cat({-wide.narrow(-1, half, half), wide.narrow(-1, 0, half)}, -1);
  return (wide * cos + turned * sin).to(type_);
}

Tensor TorchDecoder::Finish(const TorchLayer& layer, const Tensor& x, const Tensor& attended) const {
  const auto post_norm = [&](const Tensor& y, const Tensor& weight) { return weight.defined() ? Norm(y, weight) : y; };
  const Tensor middle =
      x + post_norm(at::linear(attended.reshape({x.size(0), -1}), layer.output), layer.post_attention_norm);
  const Tensor h = Norm(middle, layer.ffn_norm), gate = at::linear(h, layer.gate);
  const Tensor gated = config_.gate == ModelConfig::Gate::kGelu ? at::gelu(gate, "tanh") : at::silu(gate);
  return middle + post_norm(at::linear(gated * at::linear(h, layer.up), layer.down), layer.post_ffn_norm);
}

Tensor TorchDecoder::Attend(const Tensor& query, const Tensor& key, const Tensor& value,
                            const std::optional<Tensor>& mask) const {
  const int64_t group = query.size(1) / key.size(1);
  const auto heads_first = [](const Tensor& x) { return x.transpose(0, 1).unsqueeze(0); };
  return at::scaled_dot_product_attention(heads_first(query), heads_first(key.repeat_interleave(group, 1)),
                                          heads_first(value.repeat_interleave(group, 1)), mask, /*dropout_p=*/0,
                                          /*is_causal=*/false, 1 / config_.ScoreDivisor())
      .squeeze(0)
      .transpose(0, 1);
}

Tensor TorchDecoder::FromBits(const std::vector<uint16_t>& bits) const {
  return at::from_blob(const_cast<uint16_t*>(bits.data()),
                       {static_cast<int64_t>(bits.size()) / (config_.num_kv_heads * config_.head_dim),
                        config_.num_kv_heads, config_.head_dim},
                       at::TensorOptions().dtype(at::kBFloat16))
      .to(torch_device_, type_, /*non_blocking=*/false, /*copy=*/true);
}

std::vector<uint16_t> TorchDecoder::ToBits(const Tensor& x) const {
  const Tensor rounded = x.to(at::kCPU, at::kBFloat16).contiguous();
  const auto* data = static_cast<const uint16_t*>(rounded.const_data_ptr());
  return std::vector<uint16_t>(data, data + rounded.numel());
}

std::vector<float> TorchDecoder::ToFloats(const Tensor& x) {
  const Tensor wide = x.to(at::kCPU, at::kFloat).contiguous();
  return std::vector<float>(wide.const_data_ptr<float>(), wide.const_data_ptr<float>() + wide.numel());
}

void TorchDecoder::CopyTaps(absl::Span<const Tap> taps, Tap::Kind kind, int layer, const Tensor& x,
                            std::vector<std::vector<float>>* outputs) const {
  for (size_t i = 0; i < taps.size(); ++i) {
    if (taps[i].kind == kind && taps[i].layer == layer) (*outputs)[i] = ToFloats(x);
  }
}

bool WantsProjection(absl::Span<const Tap> taps, int layer) {
  return std::any_of(taps.begin(), taps.end(),
                     [&](const Tap& tap) { return tap.layer == layer && tap.kind != Tap::Kind::kInput; });
}

TorchDecoder::Projected TorchDecoder::ProjectAndTap(int layer, const Tensor& x, absl::Span<const Tap> taps,
                                                    std::vector<std::vector<float>>* outputs) const {
  Projected projected = Project(layers_[layer], x);
  CopyTaps(taps, Tap::Kind::kKey, layer, projected.key, outputs);
  CopyTaps(taps, Tap::Kind::kQuery, layer, projected.query, outputs);
  return projected;
}

// Which keys of the cache (sinks, window, these tokens) each of n tokens sees.
Tensor StreamMask(int64_t n, int64_t sinks, int64_t past, int64_t window, at::Device device) {
  const auto options = at::TensorOptions().device(device);
  const Tensor i = at::arange(past, past + n, options).unsqueeze(1), j = at::arange(past + n, options).unsqueeze(0);
  return (j <= i).logical_and((j < sinks).logical_or((i - j) < window));
}

void KeepLast(std::vector<uint16_t>* bits, const std::vector<uint16_t>& more, int64_t rows, int64_t width) {
  bits->insert(bits->end(), more.begin(), more.end());
  const size_t keep = static_cast<size_t>(rows * width);
  if (bits->size() > keep) bits->erase(bits->begin(), bits->end() - static_cast<ptrdiff_t>(keep));
}

absl::Status TorchDecoder::StreamBlock(absl::Span<const TokenId> ids, absl::Span<const Tap> taps, StreamState* state,
                                       std::vector<std::vector<float>>* outputs) const {
  ILRE_RETURN_IF_ERROR(CheckIds(ids));
  ILRE_RETURN_IF_ERROR(CheckTaps(taps));
  const int depth = DepthOf(taps);
  if (ids.empty() || ids.size() > kMaxStreamTokens || static_cast<int>(state->layers.size()) < depth) {
    return errors::InvalidArgument("a stream takes 1 to 256 tokens at a time, over a state of enough layers");
  }
  outputs->assign(taps.size(), {});
  return CatchTorch("streaming a block", [&]() -> absl::Status {
    const int64_t n = static_cast<int64_t>(ids.size()), width = config_.num_kv_heads * config_.head_dim;
    Tensor x = Embed(ids);
    for (int layer = 0;; ++layer) {
      CopyTaps(taps, Tap::Kind::kInput, layer, Rms(x), outputs);
      if (layer == depth && !WantsProjection(taps, layer)) return absl::OkStatus();
      const Projected now = ProjectAndTap(layer, x, taps, outputs);
      if (layer == depth) return absl::OkStatus();
      StreamState::Layer& past = state->layers[layer];
      const Tensor key = at::cat({FromBits(past.sink_keys), FromBits(past.window_keys), now.key}, 0);
      const Tensor value = at::cat({FromBits(past.sink_values), FromBits(past.window_values), now.value}, 0);
      const int64_t sinks = static_cast<int64_t>(past.sink_keys.size()) / width, num_past = key.size(0) - n;
      // The model's local layers know no sinks: what has left their window is not seen.
      const bool local = config_.IsLocal(layer);
      const int64_t window = std::min(state->window, config_.WindowOf(layer));
      const Tensor mask = StreamMask(n, local ? 0 : sinks, num_past, window, torch_device_);
      x = Finish(layers_[layer], x, Attend(Rotate(layer, now.query, num_past), Rotate(layer, key, 0), value, mask));
      KeepLast(&past.window_keys, ToBits(now.key), state->window, width);
      KeepLast(&past.window_values, ToBits(now.value), state->window, width);
    }
  });
}

absl::Status TorchDecoder::Forward(absl::Span<const TokenId> ids, KvCache* cache, absl::Span<const Tap> taps,
                                   Logits want, std::vector<std::vector<float>>* outputs, std::vector<float>* logits,
                                   const KeepGoing& keep_going) const {
  ILRE_RETURN_IF_ERROR(CheckIds(ids));
  ILRE_RETURN_IF_ERROR(CheckTaps(taps));
  if (ids.empty()) return errors::InvalidArgument("no tokens to run");
  if (want != Logits::kNone && !output_.defined()) {
    return errors::InvalidArgument("logits need all layers of the model");
  }
  auto* kv = static_cast<TorchKvCache*>(cache);
  const int64_t n = static_cast<int64_t>(ids.size()), past = kv->length;
  if (past + n > kv->capacity) {
    return errors::InvalidArgument(absl::StrCat("a cache for ", kv->capacity, " tokens cannot take ", past + n));
  }
  const int last = LayersToRun(taps, want);
  if (outputs != nullptr) outputs->assign(taps.size(), {});
  return CatchTorch("running the model", [&]() -> absl::Status {
    const auto mask_of = [&](int64_t window) {
      const bool all = n == 1 && window >= past + n;
      return all ? std::nullopt : std::optional<Tensor>(StreamMask(n, 0, past, window, torch_device_));
    };
    const std::optional<Tensor> mask = mask_of(past + n);
    const std::optional<Tensor> local_mask = config_.local_layers.empty() ? mask : mask_of(config_.local_window);
    Tensor x = Embed(ids);
    for (int layer = 0;; ++layer) {
      if (keep_going && !keep_going()) return errors::Cancelled("running the model");
      if (!taps.empty()) CopyTaps(taps, Tap::Kind::kInput, layer, Rms(x), outputs);
      if (layer == last && !(layer < num_layers_ && WantsProjection(taps, layer))) break;
      const Projected now = ProjectAndTap(layer, x, taps, outputs);
      if (layer == last) break;
      Tensor key = Rotate(layer, now.key, past), value = now.value;
      if (past > 0) {
        key = at::cat({kv->keys[layer].narrow(0, 0, past), key}, 0);
        value = at::cat({kv->values[layer].narrow(0, 0, past), value}, 0);
      }
      kv->keys[layer] = key;
      kv->values[layer] = value;
      const std::optional<Tensor>& seen = config_.IsLocal(layer) ? local_mask : mask;
      x = Finish(layers_[layer], x, Attend(Rotate(layer, now.query, past), key, value, seen));
    }
    kv->length = past + n;
    if (want == Logits::kNone) return absl::OkStatus();
    if (want == Logits::kLast) x = x.narrow(0, n - 1, 1);
    *logits = ToFloats(at::linear(Norm(x, final_norm_), output_));
    return absl::OkStatus();
  });
}

}  // namespace

}  // namespace ilre

extern "C" void IlreLoadTorchDecoder(const ilre::Checkpoint* checkpoint, const ilre::DecoderOptions* options,
                                     absl::StatusOr<std::unique_ptr<ilre::Decoder>>* decoder) {
  auto torch_decoder = std::make_unique<ilre::TorchDecoder>();
  const absl::Status status = torch_decoder->Init(*checkpoint, *options);
  if (status.ok()) {
    *decoder = std::move(torch_decoder);
  } else {
    *decoder = status;
  }
}
