#include "cli/calibrate/segmented_text.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/retrieval/segmenter.h"
#include "common/store/records.h"
#include "retriever_service/selection.h"

namespace ilre::cli {

std::vector<int64_t> SegmentedText::GoldSegments(const TextQuestion& question) const {
  // The token that holds a byte is the first that ends behind it.
  const auto token_at = [&](size_t byte) {
    return static_cast<size_t>(std::upper_bound(tokens.ends.begin(), tokens.ends.end(), byte) - tokens.ends.begin());
  };
  std::vector<int64_t> gold;
  const size_t last = std::min(token_at(question.answer_end - 1), tokens.ids.size() - 1);
  for (size_t i = token_at(question.answer_begin); i <= last; ++i) {
    if (gold.empty() || gold.back() != segment_of[i]) gold.push_back(segment_of[i]);
  }
  return gold;
}

double GoldRecalled(const std::vector<int64_t>& begins, const float* scores, const std::vector<int64_t>& gold,
                    int budget) {
  std::vector<ScoredSegment> segments;
  for (size_t s = 0; s + 1 < begins.size(); ++s) {
    segments.push_back({0, static_cast<uint32_t>(begins[s]), static_cast<uint32_t>(begins[s + 1]), scores[s]});
  }
  int found = 0;
  for (const ScoredSegment& chosen : SelectSegments(std::move(segments), {.budget = budget})) {
    const auto segment = std::lower_bound(begins.begin(), begins.end(), int64_t{chosen.begin}) - begins.begin();
    found += std::binary_search(gold.begin(), gold.end(), segment) ? 1 : 0;
  }
  return found / std::max(1.0, static_cast<double>(gold.size()));
}

SegmentedText SegmentText(const Tokenizer& tokenizer, const std::string& text, const RetrievalProfile& profile) {
  SegmentedText made;
  made.tokens = tokenizer.Encode(text);
  made.begins = SegmentBegins(text, made.tokens.ends, Segmenter(profile.max_segment, profile.max_indented));
  made.begins.push_back(static_cast<int64_t>(made.tokens.ids.size()));
  for (int64_t segment = 0; segment < made.num_segments(); ++segment) {
    made.segment_of.resize(static_cast<size_t>(made.begins[static_cast<size_t>(segment) + 1]), segment);
  }
  return made;
}

absl::Status StreamBlocks(const Decoder& decoder, absl::Span<const TokenId> ids, absl::Span<const Tap> taps,
                          StreamState* state, const BlockVisitor& visit) {
  std::vector<std::vector<float>> outputs;
  for (size_t first = 0; first < ids.size(); first += kBlockTokens) {
    const absl::Span<const TokenId> block = ids.subspan(first, kBlockTokens);
    ILRE_RETURN_IF_ERROR(decoder.StreamBlock(block, taps, state, &outputs));
    if (!visit(first, block, outputs)) return errors::Cancelled("calibrate");
  }
  return absl::OkStatus();
}

absl::Status StreamTokens(const Decoder& decoder, absl::Span<const TokenId> ids, absl::Span<const Tap> taps,
                          StreamState* state, std::vector<std::vector<float>>* outputs) {
  outputs->resize(taps.size());
  return StreamBlocks(decoder, ids, taps, state, [&](size_t, absl::Span<const TokenId>, const auto& block) {
    for (size_t i = 0; i < taps.size(); ++i) {
      (*outputs)[i].insert((*outputs)[i].end(), block[i].begin(), block[i].end());
    }
    return true;
  });
}

absl::StatusOr<StreamStarts> StartStreams(const Decoder& decoder, const Tokenizer& tokenizer,
                                          const RetrievalProfile& profile, int depth) {
  StreamStarts starts;
  ILRE_ASSIGN_OR_RETURN(starts.document, decoder.StartStream(tokenizer.EncodeIds(profile.prefix, SpecialTokens::kParse),
                                                             depth, profile.window, profile.arithmetic));
  starts.question = starts.document;
  const Tap deepest{Tap::Kind::kInput, depth};
  std::vector<std::vector<float>> unused;
  ILRE_RETURN_IF_ERROR(StreamTokens(
      decoder, tokenizer.EncodeIds(profile.neutral_passage, SpecialTokens::kPlainText, TextPosition::kContinued),
      absl::MakeConstSpan(&deepest, 1), &starts.question, &unused));
  return starts;
}

std::vector<TokenId> QuestionTokens(const Tokenizer& tokenizer, const RetrievalProfile& profile,
                                    const std::string& question) {
  return tokenizer.EncodeIds(absl::StrCat(profile.question_prefix, question), SpecialTokens::kPlainText,
                             TextPosition::kContinued);
}

}  // namespace ilre::cli
