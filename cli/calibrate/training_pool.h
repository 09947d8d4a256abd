// Training texts as the model sees them: inputs of one layer for every token, segments, and questions with their gold
// segments.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/calibrate/training_text.h"
#include "common/model/decoder.h"
#include "common/model/tokenizer.h"
#include "common/retrieval/profile.h"

namespace ilre::cli {

struct PoolQuestion {
  std::vector<float> states;  // [tokens of the question, D]
  std::vector<int64_t> gold;  // segments that hold the answer, ascending
};

struct TrainingPool {
  int64_t hidden_size = 0;              // D
  std::vector<float> states;            // [N, D], inputs of the layer divided by their root mean square
  std::vector<int64_t> segment_begins;  // [segments + 1] first token of each, and N
  std::vector<PoolQuestion> questions;

  int64_t num_segments() const { return static_cast<int64_t>(segment_begins.size()) - 1; }
};

// Reads `text` exactly as documents and questions are read with `profile`: prefix, blocks, window, neutral passage,
// question prefix, segments.
absl::StatusOr<TrainingPool> MakePool(const Decoder& decoder, const Tokenizer& tokenizer,
                                      const RetrievalProfile& profile, int layer, const TrainingText& text);

}  // namespace ilre::cli
