// Attention of many questions over a document, of one key head and the query heads that share it, block by block.
#pragma once

#include <cstdint>
#include <vector>

#include "common/model/model_config.h"

namespace ilre::cli {

// Vectors of several questions one behind another. All numbers are rounded to bf16 before they are multiplied, as
// stored keys are.
class HeadAttention {
 public:
  // What scores go into; all are added to. Rows of questions are `question_stride` apart.
  struct Scores {
    std::vector<float*> query_heads;  // [group] each [questions, segments]
    float* key_head = nullptr;        // [questions, segments]
    int64_t num_segments = 0;         // stride of rows of segments
  };

  // queries: [tokens of all questions, group, dim], before rotation; owner: [tokens] the question of each, ascending.
  // place: where in the stream of positions the first token of every question stands, after the whole document.
  HeadAttention(const ModelConfig& config, int layer, std::vector<float> queries, const std::vector<int>& owner,
                int64_t place);

  // First reading. keys: [n, dim] before rotation, of the document's tokens from `first`.
  void AddToSums(const float* keys, int n, int64_t first);

  // Second reading, the same blocks again. best: [questions, n], for each token the greatest log attention of any
  // query head so far, which this head's own is merged into; published: [questions, n], which the sum of the rotated
  // attention is added to. segment_of: [n] of each token.
  void AddScores(const float* keys, int n, int64_t first, const int64_t* segment_of, const Scores& scores, float* best,
                 float* published) const;

 private:
  struct Vectors {
    std::vector<uint16_t> bits;  // [group][tokens, dim] bf16
    std::vector<float> largest;  // [group * tokens] running maximum of the products
    std::vector<double> sums;    // [group * tokens] of exp(product - largest)
    float LogSum(size_t i) const;
  };
  std::vector<float> Products(const Vectors& vectors, int query_head, const std::vector<float>& keys, int n) const;
  void Add(Vectors* vectors, const std::vector<float>& keys, int n);
  std::vector<float> Rotated(const float* keys, int n, int64_t first) const;

  int group_, dim_;
  std::vector<int> owner_;
  std::vector<float> frequencies_;  // [dim / 2]
  Vectors plain_, rotated_;
};

}  // namespace ilre::cli
