#include "common/retrieval/segmenter.h"

namespace ilre {
namespace {

constexpr uint32_t kMaxIndent = 1 << 16;

enum Phase : uint8_t { kInside = 0, kAfterStop = 1 };

bool IsSpace(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool IsStop(uint8_t c) { return c == '.' || c == '!' || c == '?'; }
bool IsCloser(uint8_t c) { return c == '"' || c == '\'' || c == ')' || c == ']' || c == '}'; }

// U+3002 is E3 80 82; U+FF01 is EF BC 81; U+FF1F is EF BC 9F. Returns how many bytes are matched after `byte`, 3 for
// all.
uint8_t MatchCjkStop(uint8_t matched, uint8_t byte) {
  // States: 1 = E3, 2 = E3 80, 4 = EF, 5 = EF BC.
  switch (matched) {
    case 1:
      if (byte == 0x80) return 2;
      break;
    case 2:
      if (byte == 0x82) return 3;
      break;
    case 4:
      if (byte == 0xBC) return 5;
      break;
    case 5:
      if (byte == 0x81 || byte == 0x9F) return 3;
      break;
    default:
      break;
  }
  return byte == 0xE3 ? 1 : byte == 0xEF ? 4 : 0;
}

}  // namespace

void Segmenter::TakeIndentation(uint8_t byte) {
  if (byte == '\n') {
    state_.line_indent = 0;
    state_.in_line = false;
  } else if (!IsSpace(byte)) {
    state_.in_line = true;
  } else if (!state_.in_line && state_.line_indent < kMaxIndent) {
    state_.line_indent += byte == ' ' ? 1 : byte == '\t' ? 8 : 0;
  }
}

void Segmenter::EndSentence() {
  state_.boundary = true;
  state_.sentence = max_indented_ > 0;
}

// Whether the segment goes on behind the boundary that waits.
bool Segmenter::GoesOn() const {
  return !state_.sentence && state_.length < max_indented_ && state_.line_indent > state_.indent;
}

void Segmenter::TakeByte(uint8_t byte) {
  if (max_indented_ > 0) TakeIndentation(byte);
  if (byte == '\n') {
    state_.boundary = true;
    state_.sentence = false;
    state_.phase = kInside;
    state_.cjk = 0;
    return;
  }
  if (IsSpace(byte)) {
    if (state_.phase == kAfterStop) EndSentence();
    state_.phase = kInside;
    state_.cjk = 0;
    return;
  }
  state_.cjk = MatchCjkStop(state_.cjk, byte);
  if (state_.cjk == 3) {  // CJK text has no white space between sentences
    EndSentence();
    state_.phase = kInside;
    state_.cjk = 0;
  } else if (IsStop(byte)) {
    state_.phase = kAfterStop;
  } else if (!(state_.phase == kAfterStop && IsCloser(byte))) {
    state_.phase = kInside;
  }
}

bool Segmenter::StartsSegment(absl::string_view token_bytes) {
  // A segment that is too long is cut, though never within a character.
  const bool within_character = !token_bytes.empty() && (static_cast<uint8_t>(token_bytes[0]) & 0xC0) == 0x80;
  bool starts = state_.length >= max_segment_ && !within_character;
  bool seen_text = false;
  uint32_t indent = 0;  // of the line in which the token's text begins
  for (const char c : token_bytes) {
    const uint8_t byte = static_cast<uint8_t>(c);
    if (!seen_text && !IsSpace(byte)) {
      seen_text = true;
      indent = state_.line_indent;
      if (state_.boundary && state_.length != 1) {
        starts = starts || !GoesOn();
        state_.boundary = false;
        state_.sentence = false;
      }
    }
    TakeByte(byte);
  }
  if (state_.length == 0) starts = true;  // the document's first token
  state_.length = starts ? 1 : state_.length + 1;
  if (starts) state_.indent = seen_text ? indent : state_.line_indent;
  return starts;
}

std::vector<int64_t> SegmentBegins(absl::string_view text, absl::Span<const uint32_t> token_ends, Segmenter segmenter) {
  std::vector<int64_t> begins;
  uint32_t begin = 0;
  for (size_t i = 0; i < token_ends.size(); ++i) {
    if (segmenter.StartsSegment(text.substr(begin, token_ends[i] - begin))) begins.push_back(static_cast<int64_t>(i));
    begin = token_ends[i];
  }
  return begins;
}

}  // namespace ilre
