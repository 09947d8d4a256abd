#include "encoder_service/ingest_state.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "absl/status/status.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/store/records.h"

namespace ilre {
namespace {

constexpr uint32_t kStateVersion = 1, kIndentedVersion = 2;  // frozen: docs/formats.md

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "stored numbers are little-endian");

template <typename T>
void Put(T value, std::string* out) {
  static_assert(std::is_arithmetic_v<T>);
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

template <typename T>
void PutArray(const std::vector<T>& values, std::string* out) {
  Put<uint32_t>(static_cast<uint32_t>(values.size()), out);
  out->append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

// Takes numbers from the front of bytes that are not to be trusted; after a first failure everything fails.
class Reader {
 public:
  explicit Reader(absl::string_view bytes) : rest_(bytes) {}

  template <typename T>
  T Take() {
    T value{};
    if (Need(sizeof(T))) {
      std::memcpy(&value, rest_.data(), sizeof(T));
      rest_.remove_prefix(sizeof(T));
    }
    return value;
  }
  template <typename T>
  std::vector<T> TakeArray() {
    const size_t count = Take<uint32_t>();
    std::vector<T> values;
    if (!Need(count * sizeof(T))) return values;
    values.resize(count);
    std::memcpy(values.data(), rest_.data(), count * sizeof(T));
    rest_.remove_prefix(count * sizeof(T));
    return values;
  }
  std::string TakeString() {
    const size_t size = Take<uint32_t>();
    if (!Need(size)) return {};
    std::string text(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return text;
  }
  bool FinishedWell() const { return ok_ && rest_.empty(); }

 private:
  bool Need(size_t bytes) {
    if (bytes > rest_.size()) ok_ = false;
    return ok_;
  }

  absl::string_view rest_;
  bool ok_ = true;
};

absl::Status Damaged(absl::string_view what) { return MakeError(absl::StatusCode::kDataLoss, "STATE_DAMAGED", what); }

// Tokens of the model, one after the other, within the text.
absl::Status CheckPending(const IngestState& state, const ModelConfig& model) {
  const auto in_vocabulary = [&](TokenId id) { return id >= 0 && id < model.vocab_size; };
  if (state.pending_ids.size() != state.pending_ends.size() ||
      !std::is_sorted(state.pending_ends.begin(), state.pending_ends.end()) ||
      state.tokenized_bytes() > state.pending_text.size() ||
      !std::all_of(state.pending_ids.begin(), state.pending_ids.end(), in_vocabulary)) {
    return Damaged("the tokens of the state to resume from do not fit its text");
  }
  return absl::OkStatus();
}

// As many tokens of the past as there are, up to the window, in each layer.
absl::Status CheckWindow(const IngestState& state, const ModelConfig& model) {
  const uint64_t tokens =
      std::min(uint64_t{state.num_blocks} * kBlockTokens, static_cast<uint64_t>(state.stream.window));
  const uint64_t size = tokens * static_cast<uint64_t>(model.num_kv_heads * model.head_dim);
  for (const StreamState::Layer& layer : state.stream.layers) {
    if (layer.window_keys.size() != size || layer.window_values.size() != size) {
      return Damaged("the window of the state to resume from is not of this model");
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string EncodeIngestState(const IngestState& state) {
  std::string out;
  const Segmenter::State& segmenter = state.segmenter;
  const bool indented = segmenter.indent > 0 || segmenter.line_indent > 0 || segmenter.in_line || segmenter.sentence;
  Put(indented ? kIndentedVersion : kStateVersion, &out);
  Put(state.num_blocks, &out);
  Put(state.block_bytes, &out);
  Put(state.text_checksum, &out);
  Put(segmenter.phase, &out);
  Put(segmenter.cjk, &out);
  Put<uint8_t>(segmenter.boundary, &out);
  Put(segmenter.length, &out);
  if (indented) {
    Put(segmenter.indent, &out);
    Put(segmenter.line_indent, &out);
    Put<uint8_t>(segmenter.in_line, &out);
    Put<uint8_t>(segmenter.sentence, &out);
  }
  Put<uint32_t>(static_cast<uint32_t>(state.pending_text.size()), &out);
  out += state.pending_text;
  PutArray(state.pending_ids, &out);
  PutArray(state.pending_ends, &out);
  Put<uint32_t>(static_cast<uint32_t>(state.stream.layers.size()), &out);
  for (const StreamState::Layer& layer : state.stream.layers) {
    PutArray(layer.window_keys, &out);
    PutArray(layer.window_values, &out);
  }
  return out;
}

absl::StatusOr<IngestState> ParseIngestState(absl::string_view bytes, const ModelConfig& model,
                                             const StreamState& document_start) {
  Reader reader(bytes);
  const uint32_t version = reader.Take<uint32_t>();
  if (version != kStateVersion && version != kIndentedVersion) {
    return Damaged("the state to resume from has an unknown version");
  }
  IngestState state;
  state.num_blocks = reader.Take<uint32_t>();
  state.block_bytes = reader.Take<uint64_t>();
  state.text_checksum = reader.Take<uint64_t>();
  state.segmenter.phase = reader.Take<uint8_t>();
  state.segmenter.cjk = reader.Take<uint8_t>();
  state.segmenter.boundary = reader.Take<uint8_t>() != 0;
  state.segmenter.length = reader.Take<uint32_t>();
  if (version == kIndentedVersion) {
    state.segmenter.indent = reader.Take<uint32_t>();
    state.segmenter.line_indent = reader.Take<uint32_t>();
    state.segmenter.in_line = reader.Take<uint8_t>() != 0;
    state.segmenter.sentence = reader.Take<uint8_t>() != 0;
  }
  state.pending_text = reader.TakeString();
  state.pending_ids = reader.TakeArray<TokenId>();
  state.pending_ends = reader.TakeArray<uint32_t>();
  state.stream = document_start;
  if (reader.Take<uint32_t>() != document_start.layers.size()) {
    return Damaged("the state is of another number of layers");
  }
  for (StreamState::Layer& layer : state.stream.layers) {
    layer.window_keys = reader.TakeArray<uint16_t>();
    layer.window_values = reader.TakeArray<uint16_t>();
  }
  if (!reader.FinishedWell()) return Damaged("the state to resume from is cut short or too long");
  ILRE_RETURN_IF_ERROR(CheckPending(state, model));
  ILRE_RETURN_IF_ERROR(CheckWindow(state, model));
  return state;
}

}  // namespace ilre
