#include "cli/calibrate/training_pool.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/retrieval/segmenter.h"
#include "common/store/records.h"

namespace ilre::cli {
namespace {

// Runs ids on from `state`; appends the layer's inputs to `out`, if given.
absl::Status RunStream(const Decoder& decoder, absl::Span<const TokenId> ids, int layer, StreamState* state,
                       std::vector<float>* out) {
  const Tap tap{Tap::Kind::kInput, layer};
  for (size_t begin = 0; begin < ids.size(); begin += kBlockTokens) {
    std::vector<std::vector<float>> taps;
    ILRE_RETURN_IF_ERROR(
        decoder.StreamBlock(ids.subspan(begin, kBlockTokens), absl::MakeConstSpan(&tap, 1), state, &taps));
    if (out != nullptr) out->insert(out->end(), taps[0].begin(), taps[0].end());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TrainingPool> MakePool(const Decoder& decoder, const Tokenizer& tokenizer,
                                      const RetrievalProfile& profile, int layer, const TrainingText& text) {
  TrainingPool pool;
  pool.hidden_size = decoder.config().hidden_size;
  ILRE_ASSIGN_OR_RETURN(
      const StreamState start,
      decoder.StartStream(tokenizer.EncodeIds(profile.prefix, SpecialTokens::kParse), layer, profile.window));
  StreamState document = start, question_start = start;
  ILRE_RETURN_IF_ERROR(RunStream(
      decoder, tokenizer.EncodeIds(profile.neutral_passage, SpecialTokens::kPlainText, TextPosition::kContinued), layer,
      &question_start, nullptr));

  const Tokens tokens = tokenizer.Encode(text.text);
  ILRE_RETURN_IF_ERROR(RunStream(decoder, tokens.ids, layer, &document, &pool.states));
  Segmenter segmenter(profile.max_segment);
  std::vector<int64_t> segment_of(tokens.ids.size());
  uint32_t begin = 0;
  for (size_t i = 0; i < tokens.ids.size(); ++i) {
    if (segmenter.StartsSegment(absl::string_view(text.text).substr(begin, tokens.ends[i] - begin))) {
      pool.segment_begins.push_back(static_cast<int64_t>(i));
    }
    segment_of[i] = static_cast<int64_t>(pool.segment_begins.size()) - 1;
    begin = tokens.ends[i];
  }
  pool.segment_begins.push_back(static_cast<int64_t>(tokens.ids.size()));

  for (const TextQuestion& question : text.questions) {
    PoolQuestion& made = pool.questions.emplace_back();
    StreamState state = question_start;
    const std::vector<TokenId> ids = tokenizer.EncodeIds(absl::StrCat(profile.question_prefix, question.question),
                                                         SpecialTokens::kPlainText, TextPosition::kContinued);
    ILRE_RETURN_IF_ERROR(RunStream(decoder, ids, layer, &state, &made.states));
    // The token that holds a byte is the first that ends behind it.
    const auto token_at = [&](size_t byte) {
      return static_cast<size_t>(std::upper_bound(tokens.ends.begin(), tokens.ends.end(), byte) - tokens.ends.begin());
    };
    const size_t last = std::min(token_at(question.answer_end - 1), tokens.ids.size() - 1);
    for (size_t i = token_at(question.answer_begin); i <= last; ++i) {
      if (made.gold.empty() || made.gold.back() != segment_of[i]) made.gold.push_back(segment_of[i]);
    }
  }
  return pool;
}

}  // namespace ilre::cli
