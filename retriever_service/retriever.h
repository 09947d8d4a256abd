// From a question to the spans of documents that matter for it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/model/tokenizer.h"
#include "common/retrieval/retrieval_model.h"
#include "common/store/key_store.h"
#include "retriever_service/scored_segment.h"

namespace ilre {

struct RetrieveOptions {
  int budget = 0;                     // tokens to recall at the most; 0: the profile's
  std::function<bool()> should_stop;  // asked between blocks; true ends with CANCELLED
};

// Consecutive tokens of one document that were recalled.
struct RecalledSpan {
  uint32_t document = 0;  // index into the documents asked
  uint32_t token_begin = 0, token_end = 0;
  uint64_t byte_begin = 0, byte_end = 0;  // into the document's text
  float score = 0;                        // of its best segment
  bool in_prompt = true;                  // false: recalled, but scored too low for the answer's prompt
  std::string text;                       // exactly those bytes
  std::vector<TokenId> ids;
};

struct Retrieval {
  std::vector<RecalledSpan> spans;  // by document, then place
  uint64_t document_tokens = 0;     // searched
  int recalled_tokens = 0;
  double query_ms = 0, score_ms = 0, rerank_ms = 0;  // encoding the question; scoring and reading spans; rerank
};

// Thread-safe. Everything it is given must outlive it.
class Retriever {
 public:
  Retriever(const RetrievalModel& model, const KeyStoreReader& store) : model_(model), store_(store) {}

  // Errors: INVALID_ARGUMENT (question, budget, no documents); FAILED_PRECONDITION with reason DOCUMENT_NOT_READY or
  // MODEL_MISMATCH; DATA_LOSS naming document and block.
  absl::StatusOr<Retrieval> Retrieve(absl::Span<const DocumentRow> documents, absl::string_view question,
                                     const RetrieveOptions& options) const;

  // Scores of all segments, best or not: for reports and tests.
  absl::StatusOr<std::vector<ScoredSegment>> ScoreAll(absl::Span<const DocumentRow> documents,
                                                      absl::string_view question) const;

 private:
  absl::Status CheckDocuments(absl::Span<const DocumentRow> documents) const;
  absl::StatusOr<std::vector<ScoredSegment>> Choose(absl::Span<const DocumentRow> documents,
                                                    const EncodedQuestion& question, int budget,
                                                    const std::function<bool()>& should_stop) const;
  absl::StatusOr<std::vector<RecalledSpan>> ReadSpans(absl::Span<const DocumentRow> documents,
                                                      const std::vector<ScoredSegment>& segments) const;

  const RetrievalModel& model_;
  const KeyStoreReader& store_;
};

}  // namespace ilre
