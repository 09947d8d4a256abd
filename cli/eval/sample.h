// One question of an evaluation: a document, what is asked of it, what counts as right and where it stands.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ilre::cli {

struct ByteRange {
  uint64_t begin = 0, end = 0;
  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

enum class Matching {
  kAll,  // the share of references that the answer contains
  kAny,  // 1 if it contains one of them
};

struct Sample {
  std::string task;
  int length = 0;        // tokens that a prompt of the whole document and the answer have at the most; 0: as it is
  int index = 0;         // which sample of the task
  std::string document;  // what is read, and recalled from
  // Where each of several documents ends of which `document` is the texts one after the other; empty: it is one.
  std::vector<uint64_t> document_ends;
  std::string preamble;     // a worked example that stands in every prompt before the text; may be empty
  std::string question;     // what is searched for, and asked
  std::string instruction;  // after the question
  std::string answer_prefix;
  std::vector<std::string> answers;
  Matching matching = Matching::kAll;
  int max_answer_tokens = 128;
  // What has to be in the prompt to answer: of a needle its key up to its value, of a chain each link, of a natural
  // question its answer. Empty where an answer needs the whole document.
  std::vector<ByteRange> gold;
};

}  // namespace ilre::cli
