#include "retriever_service/retriever.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/retrieval/model_match.h"
#include "retriever_service/attention_scorer.h"
#include "retriever_service/frequent_words.h"
#include "retriever_service/max_sim_scorer.h"
#include "retriever_service/question_words.h"
#include "retriever_service/reranker.h"
#include "retriever_service/second_look.h"
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

SelectionRule RuleOf(const RetrievalProfile& profile, int budget) {
  return {.budget = budget,
          .prompt_floor = profile.prompt_floor,
          .min_prompt = profile.min_prompt,
          .near_floor = profile.prompt_word_floor};
}

bool AllHavePostings(absl::Span<const DocumentRow> documents) {
  return std::all_of(documents.begin(), documents.end(), [](const DocumentRow& row) { return row.has_postings; });
}

}  // namespace

absl::Status Retriever::CheckDocument(const DocumentRow& row) const {
  if (row.state == DocumentState::kReady) return CheckSameModel(row, model_);
  return MakeError(absl::StatusCode::kFailedPrecondition, "DOCUMENT_NOT_READY",
                   absl::StrCat("document ", row.collection, "/", row.document, " is ", DocumentStateName(row.state),
                                row.failure.empty() ? "" : absl::StrCat(": ", row.failure)));
}

absl::Status Retriever::CheckDocuments(absl::Span<const DocumentRow> documents) const {
  if (documents.empty()) return errors::InvalidArgument("no document to search");
  absl::Status first;
  size_t failed = 0;
  for (const DocumentRow& row : documents) {
    const absl::Status status = CheckDocument(row);
    if (!status.ok() && ++failed == 1) first = status;
  }
  if (failed <= 1) return first;
  return Annotate(first, absl::StrCat(failed, " of ", documents.size(), " documents cannot be searched; the first"));
}

// Scores and chooses; fills in looks and times.
absl::StatusOr<std::vector<ScoredSegment>> Retriever::Choose(absl::Span<const DocumentRow> documents,
                                                             const EncodedQuestion& question, int budget,
                                                             const RetrieveOptions& options,
                                                             Retrieval* retrieval) const {
  const RetrievalProfile& profile = model_.profile();
  SelectionRule rule = RuleOf(profile, budget);
  if (profile.rerank.shortlist > 0) rule = {.budget = std::max(budget, profile.rerank.shortlist)};
  Stopwatch watch;
  if (profile.scoring == RetrievalProfile::Scoring::kMaxSim) {
    ILRE_ASSIGN_OR_RETURN(auto segments, ScoreByMaxSim(store_, documents, question, profile, options.should_stop));
    retrieval->score_ms += watch.LapMs();
    if (profile.second_look.max_looks > 0 && !options.one_look && AllHavePostings(documents)) {
      ILRE_ASSIGN_OR_RETURN(const int looks, LookAgain(store_, documents, question.word_hashes, profile.second_look,
                                                       options.should_stop, &segments));
      retrieval->looks += looks;
      retrieval->second_look_ms = watch.LapMs();
    }
    auto chosen = SelectSegments(std::move(segments), rule);
    retrieval->score_ms += watch.LapMs();
    return chosen;
  }
  ILRE_ASSIGN_OR_RETURN(TokenScores scores, ScoreByAttention(store_, documents, question, profile,
                                                             model_.decoder().config(), options.should_stop));
  auto chosen = profile.attention.kernels.empty()
                    ? SelectSegments(std::move(scores.segments), rule)
                    : SelectByPooling(scores.scores, profile.attention.kernels, rule.budget);
  retrieval->score_ms += watch.LapMs();
  return chosen;
}

// As Choose, with the profile's rerank.
absl::StatusOr<std::vector<ScoredSegment>> Retriever::Search(absl::Span<const DocumentRow> documents,
                                                             absl::string_view question, const EncodedQuestion& encoded,
                                                             int budget, const RetrieveOptions& options,
                                                             Retrieval* retrieval) const {
  ILRE_ASSIGN_OR_RETURN(std::vector<ScoredSegment> chosen, Choose(documents, encoded, budget, options, retrieval));
  const RetrievalProfile& profile = model_.profile();
  if (profile.rerank.shortlist == 0) return chosen;
  Stopwatch watch;
  std::vector<TokenId> ids;
  for (const ScoredSegment& segment : chosen) {
    ILRE_ASSIGN_OR_RETURN(const auto spans, ReadSpans(store_, documents, {segment}));
    ids.insert(ids.end(), spans[0].ids.begin(), spans[0].ids.end());
  }
  ILRE_ASSIGN_OR_RETURN(chosen, Rerank(model_, std::move(chosen), ids, question, options.should_stop));
  chosen = SelectSegments(std::move(chosen), RuleOf(profile, budget));
  retrieval->rerank_ms = watch.LapMs();
  return chosen;
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
  std::vector<ScoredSegment> chosen;
  const bool counts = profile.scoring == RetrievalProfile::Scoring::kMaxSim && !options.one_look;
  const int asked = counts && AllHavePostings(documents) ? CountFrequentWordsAsked(question) : 0;
  if (asked > 0) {
    ILRE_ASSIGN_OR_RETURN(FrequentWords frequent,
                          FindFrequentWords(store_, documents, asked, budget, options.should_stop));
    chosen = std::move(frequent.places);
    if (!chosen.empty()) retrieval.word_counts = std::move(frequent.counts);
    retrieval.score_ms += watch.LapMs();
  }
  if (chosen.empty()) {
    ILRE_ASSIGN_OR_RETURN(chosen, Search(documents, question, encoded, budget, options, &retrieval));
    watch.LapMs();  // counted by Search
    ILRE_RETURN_IF_ERROR(TakeByQuestionWords(store_, documents, encoded.word_hashes, &chosen));
  }
  ILRE_ASSIGN_OR_RETURN(retrieval.spans, ReadSpans(store_, documents, chosen));
  for (const RecalledSpan& span : retrieval.spans) {
    retrieval.recalled_tokens += static_cast<int>(span.token_end - span.token_begin);
  }
  retrieval.score_ms += watch.LapMs();
  return retrieval;
}

}  // namespace ilre
