// What becomes of the logits of one answer: tokens, then text, until it ends.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/model/decoder.h"
#include "common/model/sampler.h"
#include "common/model/tokenizer.h"
#include "generator_service/stop_strings.h"

namespace ilre {

struct GenerateOptions {
  int max_tokens = 128;           // tokens of the answer, at least 1
  std::vector<std::string> stop;  // strings that end the answer; not part of it; at most kMaxStops of kMaxStopBytes
  SamplingOptions sampling;
  // Asked before each token and between layers; true ends with CANCELLED. (A BatchGenerator asks it after each token
  // and every few milliseconds; see there.)
  std::function<bool()> should_stop;
  static constexpr int kMaxStops = 16, kMaxStopBytes = 256;
  absl::Status Validate() const;
};

enum class FinishReason { kEndToken, kStopString, kMaxTokens, kContextFull };
absl::string_view FinishReasonName(FinishReason reason);

struct Generation {
  std::string text;  // valid UTF-8
  FinishReason reason = FinishReason::kMaxTokens;
  int num_tokens = 0;                                       // decoded, the end token not counted
  double prefill_ms = 0, first_token_ms = 0, total_ms = 0;  // each from the call's start
};

// Options and prompt of an answer. INVALID_ARGUMENT: options, empty prompt, a token that the model does not have,
// reason PROMPT_TOO_LONG naming the model's limit.
absl::Status CheckGeneration(const Decoder& decoder, absl::Span<const TokenId> prompt, const GenerateOptions& options);

// Tokens of the KV cache that such an answer may fill.
int64_t CacheTokensOf(const Decoder& decoder, absl::Span<const TokenId> prompt, const GenerateOptions& options);

// The answer so far. Not thread-safe; needs no prompt or options after construction.
class AnswerStream {
 public:
  // Prompt and options must be valid, `room` be CacheTokensOf them. `tokenizer` must outlive this.
  AnswerStream(const Tokenizer& tokenizer, absl::Span<const TokenId> prompt, const GenerateOptions& options,
               int64_t room);

  // Chooses the next token from the logits behind the last one (changed by the call) and appends to `text` what has
  // become certain of the answer: never half a character, nothing that may yet turn out to be a stop string. Returns
  // the token to run next, or nothing when the answer has ended; then all of its text has been given.
  std::optional<TokenId> Next(absl::Span<float> logits, std::string* text);

  // Text, number of tokens and, at the end, the reason; times are left to the caller.
  const Generation& generation() const { return generation_; }

 private:
  const Tokenizer& tokenizer_;
  const int max_tokens_;
  const int64_t room_for_answer_;  // tokens
  Sampler sampler_;
  StreamingDecoder characters_;
  StopStrings stops_;
  Generation generation_;
};

}  // namespace ilre
