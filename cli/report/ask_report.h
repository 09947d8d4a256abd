// What a report on one answer shows, gathered from the store: passages in their places, scores over whole documents,
// and what was nearly recalled.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cli/report/passage.h"
#include "common/store/key_store.h"
#include "generator_service/generator.h"
#include "retriever_service/retriever.h"

namespace ilre::cli {

// A document as a strip of scores.
struct ScoredDocument {
  std::string name;  // "collection/document"
  uint64_t num_tokens = 0;
  float best_score = 0;
  std::vector<float> scores;  // of parts of equal length in tokens: the best segment that reaches into each
};

struct AskReport {
  std::string question;
  std::string answer;
  std::string finish_reason;              // empty: no answer was asked for
  std::vector<ScoredDocument> documents;  // those drawn: of many, the ones with the best scores
  size_t num_documents = 0;               // that were searched
  std::vector<Passage> recalled;          // by document, then place
  std::vector<Passage> near_misses;       // the best segments that were not recalled, best first
  uint64_t document_tokens = 0;
  int recalled_tokens = 0, prompt_tokens = 0, answer_tokens = 0;
  // Milliseconds. load: before the question; first_token and total: since the question.
  double load_ms = 0, query_ms = 0, score_ms = 0, rerank_ms = 0, prefill_ms = 0, first_token_ms = 0, total_ms = 0;
};

inline constexpr int kMaxDrawnDocuments = 12;
inline constexpr int kMaxParts = 4096;  // of all documents together
inline constexpr int kNearMisses = 8;

// Fills documents, recalled and near_misses, which takes a second scoring of everything; and what `retrieval` says. The
// rest is left to the caller. `documents` are those of `retrieval`.
absl::StatusOr<AskReport> CollectReport(const Retriever& retriever, const KeyStoreReader& store,
                                        absl::Span<const DocumentRow> documents, absl::string_view question,
                                        const Retrieval& retrieval);

// -> [min(part_count, num_tokens)]: the greatest score of a segment that reaches into each of that many parts of equal
// length. `segments` are those of one document, in order.
std::vector<float> DivideIntoParts(absl::Span<const ScoredSegment> segments, uint64_t num_tokens, int part_count);

}  // namespace ilre::cli
