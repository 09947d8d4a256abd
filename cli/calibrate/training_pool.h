// Training texts as the model sees them: inputs of some layers for every token, segments, and questions with their gold
// segments.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/calibrate/segmented_text.h"
#include "cli/calibrate/training_text.h"
#include "common/model/decoder.h"
#include "common/model/tokenizer.h"
#include "common/retrieval/profile.h"

namespace ilre::cli {

struct TrainingPool {
  int64_t hidden_size = 0;  // D
  // By layer: its inputs divided by their root mean square, bf16 bits [N + M, D]: N tokens of the text, then those of
  // the questions one after the other.
  std::map<int, std::vector<uint16_t>> inputs;
  std::vector<int64_t> segment_begins;      // [segments + 1] first row of each, and N
  std::vector<int64_t> question_begins;     // [questions + 1] first row of each, and N + M
  std::vector<std::vector<int64_t>> gold;   // [questions] segments that hold the answer, ascending; empty: not known
  std::vector<std::string> segment_texts;   // [segments] without white space around
  std::vector<std::string> question_texts;  // [questions] likewise

  int64_t num_segments() const { return static_cast<int64_t>(segment_begins.size()) - 1; }
  int64_t num_questions() const { return static_cast<int64_t>(question_begins.size()) - 1; }
};

// Reads texts exactly as documents and questions are read with a profile: prefix, blocks, window, neutral passage,
// question prefix, segments. What it is made of must outlive it.
class PoolReader {
 public:
  // Called with the tokens read since the last call; false stops the reading with CANCELLED.
  using TokensRead = std::function<bool(int64_t tokens)>;

  // layers: whose inputs are wanted, at least one. folder: of files that keep inputs, for the next run with the
  // same model, profile and text, whatever layers that one asks for beside these; empty: none are kept.
  static absl::StatusOr<PoolReader> Create(const Decoder& decoder, const Tokenizer& tokenizer,
                                           const RetrievalProfile& profile, std::vector<int> layers,
                                           std::string folder);

  // The places of questions without an answer (answer_end 0) are not looked for.
  absl::StatusOr<TrainingPool> Read(const TrainingText& text, const TokensRead& tokens_read) const;

 private:
  PoolReader(const Decoder& decoder, const Tokenizer& tokenizer, const RetrievalProfile& profile)
      : decoder_(decoder), tokenizer_(tokenizer), profile_(profile) {}
  absl::Status Compute(const std::vector<std::vector<TokenId>>& streams, const std::vector<int>& layers,
                       const TokensRead& tokens_read, TrainingPool* pool) const;
  std::string FilesOf(const TrainingText& text) const;  // what the names of its kept inputs begin with

  const Decoder& decoder_;
  const Tokenizer& tokenizer_;
  const RetrievalProfile& profile_;
  std::vector<int> layers_;  // ascending
  std::string folder_;
  StreamStarts starts_;
};

}  // namespace ilre::cli
