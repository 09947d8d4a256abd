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
#include "retriever_service/frequent_words.h"
#include "retriever_service/scored_segment.h"
#include "retriever_service/span_reader.h"

namespace ilre {

struct RetrieveOptions {
  int budget = 0;  // tokens to recall at the most; 0: the profile's
  // True: the question alone is looked for, whatever the profile's second look says, and words are never counted.
  bool one_look = false;
  std::function<bool()> should_stop;  // asked between blocks; true ends with CANCELLED
};

struct Retrieval {
  std::vector<RecalledSpan> spans;  // by document, then place
  uint64_t document_tokens = 0;     // searched
  int recalled_tokens = 0;
  int looks = 1;                      // how often the documents were searched; more than 1 where the profile says so
  WordCounts word_counts;             // not empty: nothing was searched for, the spans are places of these words
  double query_ms = 0, score_ms = 0;  // encoding the question; scoring (or counting words) and reading spans
  double second_look_ms = 0, rerank_ms = 0;  // all looks after the first; rerank
};

// Thread-safe. Everything it is given must outlive it.
class Retriever {
 public:
  Retriever(const RetrievalModel& model, const KeyStoreReader& store) : model_(model), store_(store) {}

  // Errors: INVALID_ARGUMENT (question, budget, no documents); FAILED_PRECONDITION with reason DOCUMENT_NOT_READY or
  // MODEL_MISMATCH, naming the first such document and saying how many there are; DATA_LOSS naming document and block.
  absl::StatusOr<Retrieval> Retrieve(absl::Span<const DocumentRow> documents, absl::string_view question,
                                     const RetrieveOptions& options) const;

  // Scores of all segments by the first look, best or not: for reports and tests.
  absl::StatusOr<std::vector<ScoredSegment>> ScoreAll(absl::Span<const DocumentRow> documents,
                                                      absl::string_view question) const;

 private:
  absl::Status CheckDocument(const DocumentRow& row) const;
  absl::Status CheckDocuments(absl::Span<const DocumentRow> documents) const;
  absl::StatusOr<std::vector<ScoredSegment>> Choose(absl::Span<const DocumentRow> documents,
                                                    const EncodedQuestion& question, int budget,
                                                    const RetrieveOptions& options, Retrieval* retrieval) const;
  absl::StatusOr<std::vector<ScoredSegment>> Search(absl::Span<const DocumentRow> documents, absl::string_view question,
                                                    const EncodedQuestion& encoded, int budget,
                                                    const RetrieveOptions& options, Retrieval* retrieval) const;

  const RetrievalModel& model_;
  const KeyStoreReader& store_;
};

}  // namespace ilre
