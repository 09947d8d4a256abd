// The page of `ilre calibrate --train --report`: recall against cost of the profiles tried, and the learning curves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/calibrate/early_stopping.h"
#include "cli/calibrate/held_out_recall.h"
#include "common/store/records.h"

namespace ilre::cli {

// A profile that was tried: the trained probes, BM25, and perhaps a pooled head.
struct ProfileFigures {
  std::vector<int> pooled_layers;  // empty: no pooled head
  int pooled_dim = 0;
  int layers_computed = 0;       // for each token of a document
  double bytes_per_token = 0;    // of vectors
  double validation_recall = 0;  // mean over the budgets; by heads that did not learn from these articles
  std::vector<RecallAtBudget> held_out;
  std::string Name() const;
};

struct TrainReport {
  std::string name, model;  // of the profile; the model's fingerprint
  int questions = 0;        // held out
  std::vector<TrainedHead> trained;
  std::vector<ProfileFigures> candidates;  // the first without a pooled head
  size_t chosen = 0;
};

// Bytes of all heads' vectors for a text of these segments ([segments + 1] first tokens, and their number), divided by
// its tokens.
double BytesPerToken(const std::vector<HeadFormat>& heads, const std::vector<int64_t>& segment_begins);

// Loads nothing, runs no script. Needs a candidate.
std::string RenderTrainPage(const TrainReport& report);

}  // namespace ilre::cli
