#include "generator_service/answer_stream.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre {

absl::Status GenerateOptions::Validate() const {
  if (max_tokens < 1 || max_tokens > 1 << 20) {
    return errors::InvalidArgument(absl::StrCat("max_tokens is ", max_tokens, ", outside 1 to ", 1 << 20));
  }
  if (stop.size() > kMaxStops) {
    return errors::InvalidArgument(absl::StrCat(stop.size(), " stop strings; at most ", static_cast<int>(kMaxStops)));
  }
  for (const std::string& text : stop) {
    if (text.empty() || text.size() > kMaxStopBytes) {
      return errors::InvalidArgument(
          absl::StrCat("a stop string has ", text.size(), " bytes, not 1 to ", static_cast<int>(kMaxStopBytes)));
    }
  }
  return sampling.Validate();
}

absl::string_view FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndToken:
      return "END_TOKEN";
    case FinishReason::kStopString:
      return "STOP_STRING";
    case FinishReason::kMaxTokens:
      return "MAX_TOKENS";
    case FinishReason::kContextFull:
      return "CONTEXT_FULL";
  }
  return "UNKNOWN";
}

absl::Status CheckGeneration(const Decoder& decoder, absl::Span<const TokenId> prompt, const GenerateOptions& options) {
  ILRE_RETURN_IF_ERROR(options.Validate());
  const int64_t limit = decoder.config().context_length, prompt_size = static_cast<int64_t>(prompt.size());
  if (prompt.empty()) return errors::InvalidArgument("the prompt is empty");
  if (prompt_size >= limit) {
    return MakeError(absl::StatusCode::kInvalidArgument, "PROMPT_TOO_LONG",
                     absl::StrCat("the prompt has ", prompt_size, " tokens; the model takes ", limit,
                                  " with the answer: ask for a smaller budget"));
  }
  return decoder.CheckIds(prompt);
}

int64_t CacheTokensOf(const Decoder& decoder, absl::Span<const TokenId> prompt, const GenerateOptions& options) {
  return std::min(decoder.config().context_length, static_cast<int64_t>(prompt.size()) + options.max_tokens);
}

AnswerStream::AnswerStream(const Tokenizer& tokenizer, absl::Span<const TokenId> prompt, const GenerateOptions& options,
                           int64_t room)
    : tokenizer_(tokenizer),
      max_tokens_(options.max_tokens),
      room_for_answer_(room - static_cast<int64_t>(prompt.size())),
      sampler_(options.sampling, prompt),
      characters_(tokenizer),
      stops_(options.stop) {}

std::optional<TokenId> AnswerStream::Next(absl::Span<float> logits, std::string* text) {
  const size_t old_size = text->size();
  const TokenId id = sampler_.Next(logits);
  bool ended = true;
  if (tokenizer_.IsStop(id)) {
    generation_.reason = FinishReason::kEndToken;
  } else {
    ++generation_.num_tokens;
    text->append(stops_.Push(characters_.Push(id)));
    if (stops_.found()) {
      generation_.reason = FinishReason::kStopString;
    } else if (generation_.num_tokens == max_tokens_) {
      generation_.reason = FinishReason::kMaxTokens;
    } else if (generation_.num_tokens > room_for_answer_) {
      generation_.reason = FinishReason::kContextFull;
    } else {
      ended = false;
    }
  }
  if (ended && !stops_.found()) {
    text->append(stops_.Push(characters_.Finish()));
    text->append(stops_.Finish());
  }
  generation_.text.append(*text, old_size);
  return ended ? std::nullopt : std::optional<TokenId>(id);
}

}  // namespace ilre
