// Cuts a stream of tokens into segments: sentences and lines, the units that are recalled.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ilre {

// A boundary lies after a sentence's end (. ! ? and what closes it, followed by white space; or 。！？ of CJK text) and
// after a newline; a token starts a segment if a boundary lies at or before its first byte that is not white space.
// With indentation, a line that is indented deeper than the line in which its segment begins goes on with that segment,
// as long as it has less than `max_indented` tokens: the body of a function, an item of a list with what is said of it.
// A sentence's end before the end of a line is a boundary all the same. A tab counts as 8 blanks.
//
// Segments have at least two tokens (a boundary after one waits for the next), and at most max_segment. Whether a token
// starts a segment depends only on the text up to its own end, so blocks can be written as they come. Plain data: its
// fields are the state to be stored and restored.
class Segmenter {
 public:
  struct State {
    uint8_t phase = 0;     // within a possible sentence end
    uint8_t cjk = 0;       // bytes of a CJK full stop matched so far
    bool boundary = true;  // a boundary lies before the next byte that is not white space
    uint32_t length = 0;   // tokens of the current segment
    // Only with indentation; 0 and false without.
    uint32_t indent = 0;       // of the line in which the segment begins
    uint32_t line_indent = 0;  // of the current line, as far as it was read
    bool in_line = false;      // behind the line's indentation
    bool sentence = false;     // the boundary that waits is one of sentences
  };

  // max_indented: 0 leaves indentation out of account.
  Segmenter(int max_segment, int max_indented) : Segmenter(max_segment, max_indented, State()) {}
  Segmenter(int max_segment, int max_indented, State state)
      : max_segment_(max_segment), max_indented_(max_indented), state_(state) {}

  // Takes the bytes of the next token; true if it starts a segment. The first token of a document always does.
  bool StartsSegment(absl::string_view token_bytes);

  const State& state() const { return state_; }

 private:
  void TakeByte(uint8_t byte);
  void TakeIndentation(uint8_t byte);
  void EndSentence();
  bool GoesOn() const;

  uint32_t max_segment_, max_indented_;
  State state_;
};

// The tokens of `text` that start segments. token_ends: [tokens] the byte after each.
std::vector<int64_t> SegmentBegins(absl::string_view text, absl::Span<const uint32_t> token_ends, Segmenter segmenter);

}  // namespace ilre
