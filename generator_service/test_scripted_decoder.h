// A decoder for tests, which says what it is told to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/errors.h"
#include "common/model/decoder.h"

namespace ilre {

constexpr TokenId kEnd = 256;  // of MakeByteTokenizer with one control token

class CountingCache : public KvCache {
 public:
  int64_t num_tokens() const override { return length; }
  void Truncate(int64_t num_tokens) override { length = std::min(length, num_tokens); }
  int64_t length = 0, capacity = 0;
};

// Whatever the prompt, goes on with the tokens of a script, then with end tokens.
class ScriptedDecoder : public Decoder {
 public:
  ScriptedDecoder(std::vector<TokenId> script, int64_t prompt_size, int64_t context_length)
      : script_(std::move(script)), prompt_size_(prompt_size) {
    config_.context_length = context_length;
    config_.vocab_size = kEnd + 10;  // more than the tokenizer has, as many models do
  }
  absl::Status StreamBlock(absl::Span<const TokenId>, absl::Span<const Tap>, StreamState*,
                           std::vector<std::vector<float>>*) const override {
    return absl::UnimplementedError("not used");
  }
  absl::StatusOr<std::unique_ptr<KvCache>> NewCache(int64_t max_tokens) const override {
    auto cache = std::make_unique<CountingCache>();
    cache->capacity = max_tokens;
    return std::unique_ptr<KvCache>(std::move(cache));
  }
  absl::Status Forward(absl::Span<const TokenId> ids, KvCache* cache, absl::Span<const Tap>, Logits,
                       std::vector<std::vector<float>>*, std::vector<float>* logits,
                       const KeepGoing& keep_going) const override {
    if (keep_going && !keep_going()) return errors::Cancelled("running the model");
    auto* counting = static_cast<CountingCache*>(cache);
    if (counting->length + static_cast<int64_t>(ids.size()) > counting->capacity)
      return absl::InternalError("overflow");
    counting->length += static_cast<int64_t>(ids.size());
    const size_t next = static_cast<size_t>(counting->length - prompt_size_);
    logits->assign(static_cast<size_t>(config_.vocab_size), 0.0f);
    (*logits)[static_cast<size_t>(next < script_.size() ? script_[next] : kEnd)] = 1;
    return absl::OkStatus();
  }

 private:
  const std::vector<TokenId> script_;
  const int64_t prompt_size_;
};

inline std::vector<TokenId> BytesOf(const std::string& text) {
  std::vector<TokenId> ids;
  for (const char c : text) ids.push_back(static_cast<uint8_t>(c));
  return ids;
}

}  // namespace ilre
