#include "generator_service/generator.h"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "common/base/status_macros.h"

namespace ilre {
namespace {

double MsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

absl::StatusOr<Generation> Generator::Generate(absl::Span<const TokenId> prompt, const GenerateOptions& options,
                                               const std::function<absl::Status(absl::string_view)>& emit) const {
  const auto start = std::chrono::steady_clock::now();
  ILRE_RETURN_IF_ERROR(CheckGeneration(decoder_, prompt, options));
  const Decoder::KeepGoing keep_going = [&] { return !(options.should_stop && options.should_stop()); };
  const int64_t room = CacheTokensOf(decoder_, prompt, options);
  ILRE_ASSIGN_OR_RETURN(const auto cache, decoder_.NewCache(room));
  std::vector<float> logits;
  ILRE_RETURN_IF_ERROR(decoder_.Forward(prompt, cache.get(), {}, Decoder::Logits::kLast, nullptr, &logits, keep_going));
  const double prefill_ms = MsSince(start);
  double first_token_ms = 0;
  AnswerStream answer(tokenizer_, prompt, options, room);
  for (;;) {
    std::string text;
    const std::optional<TokenId> next = answer.Next(absl::MakeSpan(logits), &text);
    if (first_token_ms == 0) first_token_ms = MsSince(start);
    if (emit && !text.empty()) ILRE_RETURN_IF_ERROR(emit(text));
    if (!next.has_value()) break;
    ILRE_RETURN_IF_ERROR(decoder_.Forward(absl::MakeConstSpan(&*next, 1), cache.get(), {}, Decoder::Logits::kLast,
                                          nullptr, &logits, keep_going));
  }
  Generation generation = answer.generation();
  generation.prefill_ms = prefill_ms;
  generation.first_token_ms = first_token_ms;
  generation.total_ms = MsSince(start);
  return generation;
}

}  // namespace ilre
