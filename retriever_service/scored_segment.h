// A segment of a document with its score, before anything is chosen.
#pragma once

#include <cstdint>

namespace ilre {

struct ScoredSegment {
  uint32_t document = 0;  // index into the documents that are searched
  uint32_t begin = 0;     // first token, counted in the document
  uint32_t end = 0;       // after the last token
  float score = 0;        // higher is better; comparable across documents
  bool in_prompt = true;  // false: recalled, but scored too low for the answer's prompt
  bool is_near = false;   // not in it, but scored above RetrievalProfile::prompt_word_floor
  uint32_t num_tokens() const { return end - begin; }
};

}  // namespace ilre
