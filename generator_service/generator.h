// Decodes an answer token by token.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/model/decoder.h"
#include "common/model/sampler.h"
#include "common/model/tokenizer.h"

namespace ilre {

struct GenerateOptions {
  int max_tokens = 128;           // tokens of the answer, at least 1
  std::vector<std::string> stop;  // strings that end the answer; not part of it; at most kMaxStops of kMaxStopBytes
  SamplingOptions sampling;
  std::function<bool()> should_stop;  // asked before each token and between layers; true ends with CANCELLED
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

// Thread-safe. `decoder` must have all layers; both must outlive it.
class Generator {
 public:
  Generator(const Decoder& decoder, const Tokenizer& tokenizer) : decoder_(decoder), tokenizer_(tokenizer) {}

  // Streams text through `emit` (may be null) as it becomes certain: never half a character, nothing that may yet turn
  // out to be a stop string. An error from `emit` ends the call with it. Errors: INVALID_ARGUMENT (options, empty
  // prompt, reason PROMPT_TOO_LONG naming the model's limit), CANCELLED.
  absl::StatusOr<Generation> Generate(absl::Span<const TokenId> prompt, const GenerateOptions& options,
                                      const std::function<absl::Status(absl::string_view)>& emit) const;

 private:
  const Decoder& decoder_;
  const Tokenizer& tokenizer_;
};

}  // namespace ilre
