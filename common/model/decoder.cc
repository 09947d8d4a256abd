#include "common/model/decoder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/model/cpu_decoder.h"
#include "common/model/torch_backend.h"
#include "common/model/torch_decoder.h"

namespace ilre {

absl::StatusOr<Arithmetic> ParseArithmetic(absl::string_view name) {
  if (name == "auto") return Arithmetic::kAuto;
  if (name == "float32") return Arithmetic::kFloat32;
  if (name == "quantized") return Arithmetic::kQuantized;
  return errors::InvalidArgument(absl::StrCat("unknown arithmetic '", name, "': use auto, float32 or quantized"));
}

absl::Status DecoderOptions::Validate() const {
  if (num_layers < -1 || num_layers == 0) {
    return errors::InvalidArgument(absl::StrCat("number of layers to load is ", num_layers, "; -1 loads all"));
  }
  if (stream_layers < -1) {
    return errors::InvalidArgument(absl::StrCat("number of layers to stream is ", stream_layers, "; -1 means all"));
  }
  if (arithmetic == Arithmetic::kQuantized && device != "cpu") {
    return MakeError(absl::StatusCode::kFailedPrecondition, "ARITHMETIC_UNAVAILABLE",
                     absl::StrCat("quantized arithmetic is for the device cpu, not ", device));
  }
  for (const char* known : {"cpu", "torch-cpu", "cuda", "npu"}) {
    if (device == known) return absl::OkStatus();
  }
  if (absl::StartsWith(device, "cuda:") || absl::StartsWith(device, "npu:")) return absl::OkStatus();
  return errors::InvalidArgument(
      absl::StrCat("unknown device '", device, "': use cpu, torch-cpu, cuda, cuda:N, npu or npu:N"));
}

absl::StatusOr<std::unique_ptr<Decoder>> Decoder::Load(const Checkpoint& checkpoint, const DecoderOptions& options) {
  ILRE_RETURN_IF_ERROR(options.Validate());
  ILRE_RETURN_IF_ERROR(Annotate(checkpoint.config().Validate(), checkpoint.path()));
  if (options.num_layers > checkpoint.config().num_layers) {
    return errors::InvalidArgument(absl::StrCat(checkpoint.path(), " has ", checkpoint.config().num_layers, " layers; ",
                                                options.num_layers, " were asked for"));
  }
  if (options.device == "cpu") return LoadCpuDecoder(checkpoint, options);
  ILRE_ASSIGN_OR_RETURN(void* const function, TorchBackendFunction("IlreLoadTorchDecoder"));
  absl::StatusOr<std::unique_ptr<Decoder>> decoder;
  reinterpret_cast<LoadTorchDecoderFunction*>(function)(&checkpoint, &options, &decoder);
  return decoder;
}

int Decoder::DepthOf(absl::Span<const Tap> taps) {
  int depth = 0;
  for (const Tap& tap : taps) depth = std::max(depth, tap.layer);
  return depth;
}

absl::StatusOr<StreamState> Decoder::StartStream(absl::Span<const TokenId> prefix, int depth, int64_t window,
                                                 StreamArithmetic arithmetic) const {
  if (arithmetic != StreamArithmetic::kBf16 && device_ != "cpu") {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, "ARITHMETIC_UNAVAILABLE",
        absl::StrCat("int8 arithmetic is for the device cpu, not ", device_, ": use a profile with bf16 arithmetic"));
  }
  if (prefix.empty() || prefix.size() > kMaxStreamTokens) {
    return errors::InvalidArgument(absl::StrCat("a stream's prefix has ", prefix.size(), " tokens, not 1 to ",
                                                static_cast<int>(kMaxStreamTokens)));
  }
  if (depth < 0 || depth > num_layers_) {
    return errors::InvalidArgument(absl::StrCat("a stream through ", depth, " layers: ", num_layers_, " are loaded"));
  }
  if (window < 1 || window > 1 << 20) return errors::InvalidArgument(absl::StrCat("window of ", window, " tokens"));
  StreamState state;
  state.arithmetic = arithmetic;
  state.layers.resize(depth);
  state.window = kMaxStreamTokens;  // the prefix sees all of itself
  const Tap deepest{Tap::Kind::kInput, depth};
  std::vector<std::vector<float>> unused;
  ILRE_RETURN_IF_ERROR(StreamBlock(prefix, absl::MakeConstSpan(&deepest, 1), &state, &unused));
  for (StreamState::Layer& layer : state.layers) {
    layer.sink_keys = std::exchange(layer.window_keys, {});
    layer.sink_values = std::exchange(layer.window_values, {});
  }
  state.window = window;
  return state;
}

absl::Status Decoder::ForwardBatch(absl::Span<const Sequence> sequences, const KeepGoing& keep_going) const {
  for (size_t i = 0; i < sequences.size(); ++i) {
    const Sequence& sequence = sequences[i];
    std::vector<float> unused;
    const absl::Status status = Forward(sequence.ids, sequence.cache, {}, sequence.want, nullptr,
                                        sequence.logits != nullptr ? sequence.logits : &unused, keep_going);
    if (status.ok()) continue;
    for (const Sequence& done : sequences.first(i)) {
      done.cache->Truncate(done.cache->num_tokens() - static_cast<int64_t>(done.ids.size()));
    }
    return status;
  }
  return absl::OkStatus();
}

absl::Status Decoder::CheckIds(absl::Span<const TokenId> ids) const {
  for (const TokenId id : ids) {
    if (id < 0 || id >= config_.vocab_size) {
      return errors::InvalidArgument(
          absl::StrCat("token id ", id, " is outside the vocabulary of ", config_.vocab_size));
    }
  }
  return absl::OkStatus();
}

absl::Status Decoder::CheckTaps(absl::Span<const Tap> taps) const {
  for (const Tap& tap : taps) {
    // Keys and queries of a layer need that layer's weights; its input needs only the layers below.
    const int last = tap.kind == Tap::Kind::kInput ? num_layers_ : num_layers_ - 1;
    if (tap.layer < 0 || tap.layer > last) {
      return errors::InvalidArgument(
          absl::StrCat("layer ", tap.layer, " cannot be read: ", num_layers_, " are loaded"));
    }
  }
  return absl::OkStatus();
}

std::vector<float> RotaryFrequencies(const ModelConfig& config, bool local) {
  const double theta = local ? config.local_rope_theta : config.rope_theta;
  std::vector<float> frequencies(config.head_dim / 2);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    frequencies[i] = static_cast<float>(std::pow(theta, -2.0 * static_cast<double>(i) / config.head_dim));
    if (!local && !config.rope_frequency_factors.empty()) frequencies[i] /= config.rope_frequency_factors[i];
  }
  return frequencies;
}

}  // namespace ilre
