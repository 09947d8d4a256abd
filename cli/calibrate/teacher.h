// What a sentence-embedding model says of sentences: read from a folder, which bench/harness/pooled_texts.py writes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "cli/calibrate/training_pool.h"

namespace ilre::cli {

// Of a pool, what the teacher has read.
struct TaughtPool {
  const TrainingPool* pool = nullptr;   // borrowed
  int64_t dim = 0;                      // of the teacher's vectors
  std::vector<int64_t> segments;        // ascending
  std::vector<float> segment_vectors;   // [segments, dim]
  std::vector<int64_t> questions;       // ascending
  std::vector<float> question_vectors;  // [questions, dim]
};

class Teacher {
 public:
  // folder: texts.json, {"documents": [text...], "questions": [text...], "sentences": [text...]}, and
  // vectors.safetensors with "vectors" [sentences, dim] of any float type. Errors name the file and what is wrong.
  static absl::StatusOr<Teacher> Read(const std::string& folder);

  int64_t dim() const { return dim_; }
  // Texts to learn from beside the labelled ones: each document a text without questions, and a text of nothing but
  // questions, if there are any.
  const std::vector<TrainingText>& texts() const { return texts_; }
  // Of everything that was read.
  const std::string& digest() const { return digest_; }

  // Segments and questions are found by their text, without white space around.
  TaughtPool Teach(const TrainingPool& pool) const;

 private:
  int64_t dim_ = 0;
  std::vector<TrainingText> texts_;
  absl::flat_hash_map<std::string, int64_t> rows_;  // of vectors_
  std::vector<float> vectors_;
  std::string digest_;
};

}  // namespace ilre::cli
