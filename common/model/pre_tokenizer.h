// Cuts text into the words that byte-level BPE merges within.
//
// Each family defines its words by a regular expression; these are hand-written scanners of the same languages, many
// times faster than a general engine. pre_tokenizer_test.cc holds the expressions and compares.
#pragma once

#include <cstddef>

#include "absl/strings/string_view.h"
#include "common/model/char_class.h"
#include "common/model/tokenizer_spec.h"

namespace ilre {

// Longer words are cut at this many bytes (or up to 3 less, between characters), counted from the word's start, so that
// merging has bounded memory. A little under 64 KiB, so that a buffer of 64 KiB always holds a whole word and what must
// be seen after it.
inline constexpr size_t kMaxWordBytes = 64 * 1024 - 64;

// A word of a text, from where the scan began.
struct WordEnd {
  size_t end = 0;     // byte offset behind the word
  bool open = false;  // the text's end was reached: more text could make this another word
};

// Finds one word after the other. Words depend only on the text from their start on, so a scan may begin at any word's
// end. Bytes that are not UTF-8 count as characters that are neither letter, number nor space, as U+FFFD does.
class WordScanner {
 public:
  WordScanner(PreTokenizerKind kind, absl::string_view text) : kind_(kind), text_(text) {}

  // The word that begins at `begin`, a word's end or 0, below the text's size.
  WordEnd Next(size_t begin);

 private:
  struct Char {
    CharClass char_class = CharClass::kEnd;
    size_t length = 0;  // bytes
  };

  size_t ScanGpt2(size_t begin);     // GPT-2 and SmolLM
  size_t ScanLlama3(size_t begin);   // Llama 3 and Qwen2
  size_t ScanNumbers(size_t begin);  // up to as many as Llama 3 and Qwen2 have in a word

  // The character at `at`; kEnd at the end of the text or of the longest word.
  Char Peek(size_t at);
  Char PeekNonAscii(size_t at);
  // The end of the run of characters of one class.
  size_t RunEnd(size_t at, CharClass wanted);
  // The end of spaces from `begin` that are a word: all but the last, which belongs to what follows, if anything does.
  size_t SpaceRunEnd(size_t begin);
  // The end of 's, 't, 're, 've, 'm, 'll or 'd at an apostrophe; `begin` where there is none.
  size_t ContractionEnd(size_t begin, bool ignore_case);

  const PreTokenizerKind kind_;
  const absl::string_view text_;
  size_t limit_ = 0;  // the scan of this word goes no further
  bool open_ = false;
};

// The last position in `text`, above 0, at which a word of every family begins whatever surrounds the text: a blank
// behind what is not a space. 0 where there is none.
size_t LastCertainBreak(absl::string_view text);

}  // namespace ilre
