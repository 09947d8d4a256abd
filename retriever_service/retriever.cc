#include "retriever_service/retriever.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/retrieval/model_match.h"
#include "retriever_service/attention_scorer.h"
#include "retriever_service/max_sim_scorer.h"
#include "retriever_service/reranker.h"
#include "retriever_service/selection.h"

namespace ilre {
namespace {

class Stopwatch {
 public:
  double LapMs() {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double, std::milli>(now - std::exchange(start_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

absl::Status Retriever::CheckDocuments(absl::Span<const DocumentRow> documents) const {
  if (documents.empty()) return errors::InvalidArgument("no document to search");
  for (const DocumentRow& row : documents) {
    const std::string name = absl::StrCat("document ", row.collection, "/", row.document);
    if (row.state != DocumentState::kReady) {
      return MakeError(absl::StatusCode::kFailedPrecondition, "DOCUMENT_NOT_READY",
                       absl::StrCat(name, " is ", DocumentStateName(row.state),
                                    row.failure.empty() ? "" : absl::StrCat(": ", row.failure)));
    }
    ILRE_RETURN_IF_ERROR(CheckSameModel(row, model_));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ScoredSegment>> Retriever::Choose(absl::Span<const DocumentRow> documents,
                                                             const EncodedQuestion& question, int budget,
                                                             const std::function<bool()>& should_stop) const {
  const RetrievalProfile& profile = model_.profile();
  SelectionRule rule{.budget = budget, .prompt_floor = profile.prompt_floor, .min_prompt = profile.min_prompt};
  if (profile.rerank.shortlist > 0) rule = {.budget = std::max(budget, profile.rerank.shortlist)};
  if (profile.scoring == RetrievalProfile::Scoring::kMaxSim) {
    ILRE_ASSIGN_OR_RETURN(auto segments, ScoreByMaxSim(store_, documents, question, profile, should_stop));
    return SelectSegments(std::move(segments), rule);
  }
  ILRE_ASSIGN_OR_RETURN(TokenScores scores,
                        ScoreByAttention(store_, documents, question, profile, model_.decoder().config(), should_stop));
  if (profile.attention.kernels.empty()) return SelectSegments(std::move(scores.segments), rule);
  return SelectByPooling(scores.scores, profile.attention.kernels, rule.budget);
}

absl::StatusOr<std::vector<ScoredSegment>> Retriever::ScoreAll(absl::Span<const DocumentRow> documents,
                                                               absl::string_view question) const {
  ILRE_RETURN_IF_ERROR(CheckDocuments(documents));
  ILRE_ASSIGN_OR_RETURN(const EncodedQuestion encoded, model_.EncodeQuestion(question));
  const RetrievalProfile& profile = model_.profile();
  if (profile.scoring == RetrievalProfile::Scoring::kMaxSim) {
    return ScoreByMaxSim(store_, documents, encoded, profile, nullptr);
  }
  ILRE_ASSIGN_OR_RETURN(TokenScores scores,
                        ScoreByAttention(store_, documents, encoded, profile, model_.decoder().config(), nullptr));
  return std::move(scores.segments);
}

absl::StatusOr<Retrieval> Retriever::Retrieve(absl::Span<const DocumentRow> documents, absl::string_view question,
                                              const RetrieveOptions& options) const {
  const RetrievalProfile& profile = model_.profile();
  if (options.budget < 0 || options.budget > 1 << 20) {
    return errors::InvalidArgument(absl::StrCat("a budget of ", options.budget, " tokens is not in 1 to ", 1 << 20));
  }
  ILRE_RETURN_IF_ERROR(CheckDocuments(documents));
  const int budget = options.budget == 0 ? profile.budget : options.budget;
  Retrieval retrieval;
  for (const DocumentRow& row : documents) retrieval.document_tokens += row.num_tokens;
  Stopwatch watch;
  ILRE_ASSIGN_OR_RETURN(const EncodedQuestion encoded, model_.EncodeQuestion(question));
  retrieval.query_ms = watch.LapMs();
  ILRE_ASSIGN_OR_RETURN(std::vector<ScoredSegment> chosen, Choose(documents, encoded, budget, options.should_stop));
  retrieval.score_ms = watch.LapMs();
  if (profile.rerank.shortlist > 0) {
    std::vector<TokenId> ids;
    for (const ScoredSegment& segment : chosen) {
      ILRE_ASSIGN_OR_RETURN(const auto spans, ReadSpans(documents, {segment}));
      ids.insert(ids.end(), spans[0].ids.begin(), spans[0].ids.end());
    }
    ILRE_ASSIGN_OR_RETURN(chosen, Rerank(model_, std::move(chosen), ids, question, options.should_stop));
    chosen = SelectSegments(std::move(chosen),
                            {.budget = budget, .prompt_floor = profile.prompt_floor, .min_prompt = profile.min_prompt});
    retrieval.rerank_ms = watch.LapMs();
  }
  ILRE_ASSIGN_OR_RETURN(retrieval.spans, ReadSpans(documents, chosen));
  for (const RecalledSpan& span : retrieval.spans) {
    retrieval.recalled_tokens += static_cast<int>(span.token_end - span.token_begin);
  }
  retrieval.score_ms += watch.LapMs();
  return retrieval;
}

absl::StatusOr<std::vector<RecalledSpan>> Retriever::ReadSpans(absl::Span<const DocumentRow> documents,
                                                               const std::vector<ScoredSegment>& segments) const {
  std::vector<RecalledSpan> spans;
  for (const ScoredSegment& segment : segments) {  // neighbours become one span
    if (!spans.empty() && spans.back().document == segment.document && spans.back().token_end == segment.begin &&
        spans.back().in_prompt == segment.in_prompt) {
      spans.back().token_end = segment.end;
      spans.back().score = std::max(spans.back().score, segment.score);
    } else {
      spans.push_back({.document = segment.document,
                       .token_begin = segment.begin,
                       .token_end = segment.end,
                       .score = segment.score,
                       .in_prompt = segment.in_prompt});
    }
  }
  for (RecalledSpan& span : spans) {
    const DocumentRow& row = documents[span.document];
    const uint32_t first = span.token_begin / kBlockTokens, end = (span.token_end - 1) / kBlockTokens + 1;
    uint64_t blocks_begin = 0;
    ILRE_RETURN_IF_ERROR(store_.VisitBlocks(row, first, end, [&](const BlockView& block) {
      const uint32_t base = block.block() * kBlockTokens;
      if (block.block() == first) blocks_begin = block.text_begin();
      for (int i = 0; i < block.num_tokens(); ++i) {
        const uint32_t token = base + static_cast<uint32_t>(i);
        if (token < span.token_begin || token >= span.token_end) continue;
        if (token == span.token_begin) span.byte_begin = block.text_begin() + (i > 0 ? block.token_end(i - 1) : 0);
        span.byte_end = block.text_begin() + block.token_end(i);
        span.ids.push_back(block.id(i));
      }
      return absl::OkStatus();
    }));
    ILRE_ASSIGN_OR_RETURN(const std::string text, store_.ReadText(row, first, end));
    if (span.byte_end - blocks_begin > text.size() || span.byte_begin < blocks_begin) {
      return MakeError(absl::StatusCode::kDataLoss, "BLOCK_DAMAGED",
                       absl::StrCat("document ", row.collection, "/", row.document, ", block ", first,
                                    ": its text is shorter than its tokens"));
    }
    span.text = text.substr(span.byte_begin - blocks_begin, span.byte_end - span.byte_begin);
  }
  return spans;
}

}  // namespace ilre
