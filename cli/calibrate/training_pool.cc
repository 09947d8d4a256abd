#include "cli/calibrate/training_pool.h"

#include <utility>

#include "cli/calibrate/segmented_text.h"
#include "common/base/status_macros.h"

namespace ilre::cli {

absl::StatusOr<TrainingPool> MakePool(const Decoder& decoder, const Tokenizer& tokenizer,
                                      const RetrievalProfile& profile, int layer, const TrainingText& text) {
  TrainingPool pool;
  pool.hidden_size = decoder.config().hidden_size;
  const Tap tap{Tap::Kind::kInput, layer};
  const auto run = [&](absl::Span<const TokenId> ids, StreamState state) -> absl::StatusOr<std::vector<float>> {
    std::vector<std::vector<float>> outputs;
    ILRE_RETURN_IF_ERROR(StreamTokens(decoder, ids, absl::MakeConstSpan(&tap, 1), &state, &outputs));
    return std::move(outputs[0]);
  };
  ILRE_ASSIGN_OR_RETURN(const StreamStarts starts, StartStreams(decoder, tokenizer, profile, layer));
  const SegmentedText segmented = SegmentText(tokenizer, text.text, profile);
  ILRE_ASSIGN_OR_RETURN(pool.states, run(segmented.tokens.ids, starts.document));
  pool.segment_begins = segmented.begins;
  for (const TextQuestion& question : text.questions) {
    PoolQuestion& made = pool.questions.emplace_back();
    ILRE_ASSIGN_OR_RETURN(made.states, run(QuestionTokens(tokenizer, profile, question.question), starts.question));
    made.gold = segmented.GoldSegments(question);
  }
  return pool;
}

}  // namespace ilre::cli
