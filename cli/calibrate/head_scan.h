// Which of a model's own heads recall what: every head of every layer tried at once, in two readings of one text.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/calibrate/training_text.h"
#include "common/model/decoder.h"
#include "common/model/tokenizer.h"
#include "common/retrieval/profile.h"

namespace ilre::cli {

// Sums over questions of the share that is recalled of each one's answer: `questions` where all is recalled.
struct HeadRecall {
  struct Layer {
    // Of the segments that hold the answer, by unrotated keys as a profile of kind `key` uses them: softmax over the
    // document, the greatest over question tokens (and query heads), summed over each segment.
    std::vector<double> query_heads;  // [H] each alone
    std::vector<double> key_heads;    // [G] all query heads that share one
    double all_heads = 0;
    // Of the tokens of those segments, as arXiv 2508.17892 has it: rotated keys of all heads at absolute positions,
    // summed over question tokens and heads, pooled by several kernels.
    double published = 0;
  };
  int questions = 0;
  int tokens = 0;  // of the text
  std::vector<Layer> layers;
};

// Called with the share that is done; false stops the scan with CANCELLED.
using ScanProgress = std::function<bool(double share)>;

// Reads `text` and its questions as they are read with `profile` (prefix, window, arithmetic, neutral passage,
// segments) through all layers of the decoder, the document twice: for the softmax's denominators, then for the scores.
// No keys are kept: memory is that of the question vectors, of a number for each segment, question and head, and of one
// for each token, question and layer. `kernels` are those of the published pooling.
absl::StatusOr<HeadRecall> ScanHeads(const Decoder& decoder, const Tokenizer& tokenizer,
                                     const RetrievalProfile& profile, const TrainingText& text, int budget,
                                     const std::vector<RetrievalProfile::Attention::Kernel>& kernels,
                                     const ScanProgress& progress);

}  // namespace ilre::cli
