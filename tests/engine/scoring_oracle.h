// What scores should be: the definitions of common/retrieval/profile.h in double precision and straight loops, over the
// vectors and texts that a store holds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "common/retrieval/retrieval_model.h"
#include "common/store/key_store.h"
#include "retriever_service/scored_segment.h"

namespace ilre {

// A document as the store shows it, with vectors as numbers.
struct PlainDocument {
  std::vector<TokenId> ids;                               // [n]
  std::vector<uint64_t> ends;                             // [n] byte offset after each token
  std::vector<uint32_t> starts;                           // tokens at which segments start
  std::vector<std::vector<std::vector<double>>> vectors;  // [heads][n][dim]; of a pooled head [heads][segments][dim]
  std::string text;

  uint32_t num_tokens() const { return static_cast<uint32_t>(ids.size()); }
  uint64_t byte_begin(uint32_t token) const { return token == 0 ? 0 : ends[token - 1]; }
  // [first, last token) of segment i
  uint32_t segment_end(size_t i) const { return i + 1 < starts.size() ? starts[i + 1] : num_tokens(); }
};
PlainDocument ReadPlain(const KeyStoreReader& store, const DocumentRow& row);

// [segments] hashes of the words that begin in each. Blocks are indexed each by itself, so a word ends with its block.
// Words must be of ASCII letters and digits.
std::vector<std::vector<uint32_t>> SegmentWords(const PlainDocument& document);

// Late interaction, BM25 and neighbours, as the profile weighs them. Words must be of ASCII letters and digits.
std::vector<ScoredSegment> OracleMaxSim(absl::Span<const PlainDocument> documents, const EncodedQuestion& question,
                                        const RetrievalProfile& profile);

// [documents][tokens]: attention of the question over all tokens.
std::vector<std::vector<double>> OracleAttention(absl::Span<const PlainDocument> documents,
                                                 const EncodedQuestion& question, const RetrievalProfile& profile,
                                                 const ModelConfig& model);

}  // namespace ilre
