#include "cli/report/ask_report.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace ilre::cli {
namespace {

constexpr size_t kContextBytes = 240;

using Segments = std::vector<ScoredSegment>;

// [documents]: where the segments of each begin; one more for the end. `segments` are in order of document.
std::vector<size_t> DocumentStarts(const Segments& segments, size_t num_documents) {
  std::vector<size_t> starts(num_documents + 1, segments.size());
  for (size_t i = segments.size(); i > 0; --i) starts[segments[i - 1].document] = i - 1;
  for (size_t d = num_documents; d > 0; --d) starts[d - 1] = std::min(starts[d - 1], starts[d]);
  return starts;
}

std::vector<ScoredDocument> ScoreDocuments(absl::Span<const DocumentRow> rows, const Segments& segments) {
  const std::vector<size_t> starts = DocumentStarts(segments, rows.size());
  const auto segments_of = [&](size_t d) {
    return absl::MakeConstSpan(segments).subspan(starts[d], starts[d + 1] - starts[d]);
  };
  std::vector<std::pair<float, size_t>> best;  // score, document
  for (size_t d = 0; d < rows.size(); ++d) {
    float score = std::numeric_limits<float>::lowest();
    for (const ScoredSegment& segment : segments_of(d)) score = std::max(score, segment.score);
    if (starts[d] < starts[d + 1]) best.emplace_back(score, d);
  }
  std::sort(best.begin(), best.end(),
            [](const auto& a, const auto& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
  if (best.size() > kMaxDrawnDocuments) best.resize(kMaxDrawnDocuments);
  std::vector<ScoredDocument> documents;
  for (const auto& [score, d] : best) {
    ScoredDocument& document = documents.emplace_back();
    document.name = absl::StrCat(rows[d].collection, "/", rows[d].document);
    document.num_tokens = rows[d].num_tokens;
    document.best_score = score;
    document.scores = DivideIntoParts(segments_of(d), rows[d].num_tokens,
                                      kMaxParts / static_cast<int>(std::max<size_t>(1, best.size())));
  }
  return documents;
}

// The best segments that no recalled span has a token of, best first.
Segments NearMisses(Segments segments, const std::vector<RecalledSpan>& spans) {
  const auto is_recalled = [&](const ScoredSegment& segment) {
    return std::any_of(spans.begin(), spans.end(), [&](const RecalledSpan& span) {
      return span.document == segment.document && span.token_begin < segment.end && segment.begin < span.token_end;
    });
  };
  std::stable_sort(segments.begin(), segments.end(),
                   [](const ScoredSegment& a, const ScoredSegment& b) { return a.score > b.score; });
  Segments missed;
  for (const ScoredSegment& segment : segments) {
    if (missed.size() == kNearMisses) break;
    if (!is_recalled(segment)) missed.push_back(segment);
  }
  return missed;
}

}  // namespace

std::vector<float> DivideIntoParts(absl::Span<const ScoredSegment> segments, uint64_t num_tokens, int part_count) {
  const uint64_t parts = std::min<uint64_t>(static_cast<uint64_t>(std::max(0, part_count)), num_tokens);
  if (segments.empty() || parts == 0) return {};
  float lowest = segments[0].score;
  for (const ScoredSegment& segment : segments) lowest = std::min(lowest, segment.score);
  std::vector<float> scores(parts, lowest);
  for (const ScoredSegment& segment : segments) {
    if (segment.begin >= segment.end || segment.end > num_tokens) continue;
    const uint64_t last = (segment.end - 1) * parts / num_tokens;
    for (uint64_t part = segment.begin * parts / num_tokens; part <= last; ++part) {
      scores[part] = std::max(scores[part], segment.score);
    }
  }
  return scores;
}

absl::StatusOr<AskReport> CollectReport(const Retriever& retriever, const KeyStoreReader& store,
                                        absl::Span<const DocumentRow> documents, absl::string_view question,
                                        const Retrieval& retrieval) {
  AskReport report;
  report.question = std::string(question);
  report.num_documents = documents.size();
  report.document_tokens = retrieval.document_tokens;
  report.recalled_tokens = retrieval.recalled_tokens;
  report.query_ms = retrieval.query_ms;
  report.score_ms = retrieval.score_ms;
  report.rerank_ms = retrieval.rerank_ms;
  ILRE_ASSIGN_OR_RETURN(Segments segments, retriever.ScoreAll(documents, question));
  report.documents = ScoreDocuments(documents, segments);
  for (const RecalledSpan& span : retrieval.spans) {
    ILRE_ASSIGN_OR_RETURN(
        Passage passage, ReadPassage(store, documents[span.document], span.token_begin, span.token_end, kContextBytes));
    passage.score = span.score;
    passage.in_prompt = span.in_prompt;
    report.recalled.push_back(std::move(passage));
  }
  for (const ScoredSegment& segment : NearMisses(std::move(segments), retrieval.spans)) {
    ILRE_ASSIGN_OR_RETURN(Passage passage,
                          ReadPassage(store, documents[segment.document], segment.begin, segment.end, kContextBytes));
    passage.score = segment.score;
    report.near_misses.push_back(std::move(passage));
  }
  return report;
}

}  // namespace ilre::cli
