// A small tokenizer, and prose for tests of tasks.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/eval/prose.h"
#include "cli/eval/sample.h"
#include "common/model/checkpoint.h"
#include "common/model/tokenizer.h"

namespace ilre::cli {

inline const Tokenizer& TinyTokenizer() {
  static const Tokenizer* const tokenizer = [] {
    const auto checkpoint = Checkpoint::Open("tests/model/data/tiny-llama");
    return Tokenizer::Create((*checkpoint)->tokenizer())->release();
  }();
  return *tokenizer;
}

// Words that no other sentence has, so that a vocabulary is there.
inline std::string Word(uint64_t number) {
  std::string word = "w";
  for (; number > 0; number /= 26) word += static_cast<char>('a' + number % 26);
  return word + "en";
}

inline const Prose& MadeUpProse() {
  static const Prose* const prose = [] {
    std::string text;
    for (uint64_t i = 0; i < 700; ++i) {
      absl::StrAppend(&text, "The ", Word(3 * i), " and the  ", Word(3 * i + 1), "\nwent to ", Word(3 * i + 2),
                      i % 3 == 0 ? "! " : ". ");
    }
    return new Prose(*MakeProse(TinyTokenizer(), text));
  }();
  return *prose;
}

inline std::string TextOf(const Sample& sample, const ByteRange& range) {
  return sample.document.substr(range.begin, range.end - range.begin);
}

}  // namespace ilre::cli
