// What a calibration of heads found: kept as JSON lines, summed up, and decided.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/calibrate/head_scan.h"
#include "common/retrieval/profile.h"

namespace ilre::cli {

// Of one text.
struct HeadResult {
  std::string kind;  // "needles" or "questions"
  int length = 0;    // that was asked for
  int index = 0;     // of several texts
  HeadRecall recall;
  bool SameText(const HeadResult& other) const {
    return kind == other.kind && length == other.length && index == other.index;
  }
};

std::string HeadResultLine(const HeadResult& result);
// INVALID_ARGUMENT where `line` is no result of a model of these sizes.
absl::StatusOr<HeadResult> ParseHeadResult(const std::string& line, size_t num_layers, size_t num_heads,
                                           size_t num_kv_heads);

// Means over the questions of some results: in [0, 1]. Empty without any question.
std::vector<HeadRecall::Layer> MeanRecall(const std::vector<HeadResult>& results, const std::string& kind, int length);
// The same, each kind and length counted alike.
std::vector<HeadRecall::Layer> OverallRecall(const std::vector<HeadResult>& results);

// One query head, or all that share a key head.
struct HeadChoice {
  int layer = 0, key_head = 0;
  std::vector<int> query_heads;
  double recall = 0;
};
HeadChoice BestHead(const std::vector<HeadRecall::Layer>& layers);
// The earliest layer's best head that recalls at most `tolerance` less than the best of all: each layer costs time.
HeadChoice EarliestHead(const std::vector<HeadRecall::Layer>& layers, double tolerance);

// The earliest of the layers with the highest recall, as arXiv 2508.17892 chooses its retrieval layer.
int PublishedLayer(const std::vector<HeadRecall::Layer>& layers);

}  // namespace ilre::cli
