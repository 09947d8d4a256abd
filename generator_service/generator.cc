#include "generator_service/generator.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "generator_service/stop_strings.h"

namespace ilre {
namespace {

double MsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

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

absl::StatusOr<Generation> Generator::Generate(absl::Span<const TokenId> prompt, const GenerateOptions& options,
                                               const std::function<absl::Status(absl::string_view)>& emit) const {
  const auto start = std::chrono::steady_clock::now();
  ILRE_RETURN_IF_ERROR(options.Validate());
  const int64_t limit = decoder_.config().context_length, prompt_size = static_cast<int64_t>(prompt.size());
  if (prompt.empty()) return errors::InvalidArgument("the prompt is empty");
  if (prompt_size >= limit) {
    return MakeError(absl::StatusCode::kInvalidArgument, "PROMPT_TOO_LONG",
                     absl::StrCat("the prompt has ", prompt_size, " tokens; the model takes ", limit,
                                  " with the answer: ask for a smaller budget"));
  }
  const Decoder::KeepGoing keep_going = [&] { return !(options.should_stop && options.should_stop()); };
  const int64_t room = std::min(limit, prompt_size + options.max_tokens);
  ILRE_ASSIGN_OR_RETURN(const auto cache, decoder_.NewCache(room));
  std::vector<float> logits;
  ILRE_RETURN_IF_ERROR(decoder_.Forward(prompt, cache.get(), {}, Decoder::Logits::kLast, nullptr, &logits, keep_going));
  Generation generation;
  generation.prefill_ms = MsSince(start);

  Sampler sampler(options.sampling, prompt);
  StreamingDecoder characters(tokenizer_);
  StopStrings stops(options.stop);
  const auto give = [&](const std::string& text) -> absl::Status {
    if (text.empty()) return absl::OkStatus();
    generation.text += text;
    return emit ? emit(text) : absl::OkStatus();
  };
  for (;;) {
    const TokenId id = sampler.Next(absl::MakeSpan(logits));
    if (generation.num_tokens == 0) generation.first_token_ms = MsSince(start);
    if (tokenizer_.IsStop(id)) {
      generation.reason = FinishReason::kEndToken;
      break;
    }
    ++generation.num_tokens;
    ILRE_RETURN_IF_ERROR(give(stops.Push(characters.Push(id))));
    if (stops.found()) {
      generation.reason = FinishReason::kStopString;
      break;
    }
    if (generation.num_tokens == options.max_tokens) break;
    if (cache->num_tokens() == room) {
      generation.reason = FinishReason::kContextFull;
      break;
    }
    ILRE_RETURN_IF_ERROR(decoder_.Forward(absl::MakeConstSpan(&id, 1), cache.get(), {}, Decoder::Logits::kLast, nullptr,
                                          &logits, keep_going));
  }
  if (!stops.found()) {
    ILRE_RETURN_IF_ERROR(give(stops.Push(characters.Finish())));
    ILRE_RETURN_IF_ERROR(give(stops.Finish()));
  }
  generation.total_ms = MsSince(start);
  return generation;
}

}  // namespace ilre
