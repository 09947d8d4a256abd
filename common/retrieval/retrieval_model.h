// The first layers of a model together with a retrieval profile: turns blocks of a document into stored vectors, and
// questions into what those are compared with.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/kernels/linear.h"
#include "common/model/decoder.h"
#include "common/model/tokenizer.h"
#include "common/retrieval/profile.h"

namespace ilre {

// Stored form of the vectors of one head over some tokens, or over the parts of segments in them.
struct HeadVectors {
  std::string bytes;          // [vectors, dim] bf16 bits or int8
  std::vector<float> scales;  // [vectors] for kInt8, else empty
};

// A question, ready to be compared with stored vectors of one head.
struct QueryHead {
  int dim = 0;
  float head_weight = 1;
  std::vector<float> vectors;  // [nq, dim]; for key heads already divided by sqrt(dim)
  std::vector<float> weights;  // [nq], how much each question token (and query head) counts
  bool pooled = false;         // then nq is 1, and the vector's length is 1
  int num_vectors() const { return static_cast<int>(weights.size()); }
};

struct EncodedQuestion {
  std::vector<QueryHead> heads;       // [profile heads]; numbers of bf16 where the arithmetic is int8
  std::vector<uint32_t> word_hashes;  // distinct words, for the lexical score
  int num_tokens = 0;
};

// Thread-safe: constant after Create. `decoder` and `tokenizer` must outlive it.
class RetrievalModel {
 public:
  // Errors: INVALID_ARGUMENT where the profile does not fit the model; FAILED_PRECONDITION with reason
  // PROFILE_OF_ANOTHER_MODEL, naming both fingerprints.
  static absl::StatusOr<std::unique_ptr<RetrievalModel>> Create(const Decoder& decoder, const Tokenizer& tokenizer,
                                                                absl::string_view model_fingerprint,
                                                                RetrievalProfile profile);

  const Decoder& decoder() const { return decoder_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  const RetrievalProfile& profile() const { return profile_; }
  const std::string& model_fingerprint() const { return model_fingerprint_; }
  const std::string& encoding_fingerprint() const { return encoding_fingerprint_; }

  // The stream before the first block of any document.
  const StreamState& document_start() const { return document_start_; }

  // Vectors of the next block: 1 to kBlockTokens ids, and [ids] whether a segment starts with each; `state` advances.
  // -> [profile heads]
  absl::StatusOr<std::vector<HeadVectors>> EncodeBlock(absl::Span<const TokenId> ids, const bool* segment_starts,
                                                       StreamState* state) const;

  // INVALID_ARGUMENT for a question that is empty, not UTF-8, or of more than kMaxQuestionTokens tokens.
  absl::StatusOr<EncodedQuestion> EncodeQuestion(absl::string_view question) const;
  static constexpr int kMaxQuestionTokens = 4096;

 private:
  RetrievalModel(const Decoder& decoder, const Tokenizer& tokenizer) : decoder_(decoder), tokenizer_(tokenizer) {}
  absl::Status Init(absl::string_view model_fingerprint, RetrievalProfile profile);
  // Reads ids as a question's part of a stream. -> per tap [n, width]
  absl::StatusOr<std::vector<std::vector<float>>> RunQuery(absl::Span<const TokenId> ids) const;

  const Decoder& decoder_;
  const Tokenizer& tokenizer_;
  RetrievalProfile profile_;
  std::string model_fingerprint_, encoding_fingerprint_;
  std::vector<Tap> key_taps_, query_taps_;
  std::vector<std::vector<int>> key_taps_of_head_, query_taps_of_head_;
  std::vector<kernels::PackedLinear> key_projections_, query_projections_;  // [heads]; empty ones for key heads
  StreamState document_start_, question_start_;  // after the prefix; after prefix and neutral passage
};

}  // namespace ilre
