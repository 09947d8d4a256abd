// A training text as tokens and segments, and how tokens are run through the first layers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cli/calibrate/training_text.h"
#include "common/model/decoder.h"
#include "common/model/tokenizer.h"
#include "common/retrieval/profile.h"

namespace ilre::cli {

struct SegmentedText {
  Tokens tokens;                    // N of them
  std::vector<int64_t> begins;      // [segments + 1] first token of each, and N
  std::vector<int64_t> segment_of;  // [N]

  int64_t num_segments() const { return static_cast<int64_t>(begins.size()) - 1; }
  // The segments that hold the answer, ascending.
  std::vector<int64_t> GoldSegments(const TextQuestion& question) const;
};

// The share of the segments `gold` (ascending) that are selected within `budget` tokens. begins: as SegmentedText's;
// scores: [segments].
double GoldRecalled(const std::vector<int64_t>& begins, const float* scores, const std::vector<int64_t>& gold,
                    int budget);

// Cut as documents are with this profile.
SegmentedText SegmentText(const Tokenizer& tokenizer, const std::string& text, const RetrievalProfile& profile);

// Called with the first place of a block's tokens, the tokens, and what the taps give: [taps], each [tokens, width].
// False stops with CANCELLED.
using BlockVisitor =
    std::function<bool(size_t first, absl::Span<const TokenId> ids, const std::vector<std::vector<float>>& outputs)>;

// Runs ids on from `state` in blocks of a document's size.
absl::Status StreamBlocks(const Decoder& decoder, absl::Span<const TokenId> ids, absl::Span<const Tap> taps,
                          StreamState* state, const BlockVisitor& visit);
// The same, and appends what the taps give to outputs: [taps], each [n, width].
absl::Status StreamTokens(const Decoder& decoder, absl::Span<const TokenId> ids, absl::Span<const Tap> taps,
                          StreamState* state, std::vector<std::vector<float>>* outputs);

// Where a document's stream and a question's begin, for `depth` layers.
struct StreamStarts {
  StreamState document;  // after the prefix
  StreamState question;  // after prefix and neutral passage
};
absl::StatusOr<StreamStarts> StartStreams(const Decoder& decoder, const Tokenizer& tokenizer,
                                          const RetrievalProfile& profile, int depth);

// The tokens of a question as a profile puts it.
std::vector<TokenId> QuestionTokens(const Tokenizer& tokenizer, const RetrievalProfile& profile,
                                    const std::string& question);

}  // namespace ilre::cli
