#include "common/model/pre_tokenizer.h"

#include <algorithm>

#include "absl/strings/string_view.h"
#include "common/base/utf8.h"

namespace ilre {
namespace {

bool IsNewline(char c) { return c == '\r' || c == '\n'; }

}  // namespace

WordEnd WordScanner::Next(size_t begin) {
  limit_ = std::min(text_.size(), begin + kMaxWordBytes);
  open_ = false;
  const bool gpt2 = kind_ == PreTokenizerKind::kGpt2 || kind_ == PreTokenizerKind::kSmolLm;
  const size_t end = gpt2 ? ScanGpt2(begin) : ScanLlama3(begin);
  return {end, open_};
}

inline WordScanner::Char WordScanner::Peek(size_t at) {
  if (at >= limit_) {
    if (at >= text_.size()) open_ = true;
    return {};
  }
  const CharClass ascii = kAsciiCharClasses[static_cast<uint8_t>(text_[at])];
  return ascii == CharClass::kNonAscii ? PeekNonAscii(at) : Char{ascii, 1};
}

WordScanner::Char WordScanner::PeekNonAscii(size_t at) {
  uint32_t code_point = 0;
  const size_t length = Utf8CharLength(text_.substr(at), &code_point);
  if (length == 0) {
    if (text_.size() - at < 4 && Utf8IsIncomplete(text_.substr(at))) open_ = true;
    return {CharClass::kOther, 1};
  }
  if (at + length > limit_) return {};
  const NumberRule rule = kind_ == PreTokenizerKind::kSmolLm ? NumberRule::kDigits : NumberRule::kPattern;
  return {CharClassOf(code_point, rule), length};
}

size_t WordScanner::RunEnd(size_t at, CharClass wanted) {
  for (;;) {
    while (at < limit_ && kAsciiCharClasses[static_cast<uint8_t>(text_[at])] == wanted) ++at;
    const Char next = Peek(at);
    if (next.char_class != wanted) return at;
    at += next.length;
  }
}

size_t WordScanner::SpaceRunEnd(size_t begin) {
  size_t last = begin, end = begin;
  Char next;
  while ((next = Peek(end)).char_class == CharClass::kSpace) {
    last = end;
    end += next.length;
  }
  // \s+(?!\S), else \s+. SmolLM has cut numbers off before, so that a number is the end of the text to it.
  const bool at_end = next.char_class == CharClass::kEnd ||
                      (kind_ == PreTokenizerKind::kSmolLm && next.char_class == CharClass::kNumber);
  return at_end || last == begin ? end : last;
}

size_t WordScanner::ContractionEnd(size_t begin, bool ignore_case) {
  if (Peek(begin + 1).char_class == CharClass::kEnd) return begin;
  const auto letter = [&](size_t at) -> char {
    if (Peek(at).char_class == CharClass::kEnd) return '\0';
    const char c = text_[at];
    return ignore_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  };
  switch (letter(begin + 1)) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return begin + 2;
    case 'r':
    case 'v':
      return letter(begin + 2) == 'e' ? begin + 3 : begin;
    case 'l':
      return letter(begin + 2) == 'l' ? begin + 3 : begin;
    case '\xC5':  // U+017F, the long s, is an s where case is ignored
      return ignore_case && text_.substr(begin + 2, 1) == "\xBF" ? begin + 3 : begin;
    default:
      return begin;
  }
}

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
size_t WordScanner::ScanGpt2(size_t begin) {
  if (text_[begin] == '\'') {
    const size_t end = ContractionEnd(begin, /*ignore_case=*/false);
    if (end > begin) return end;
  }
  const bool single_numbers = kind_ == PreTokenizerKind::kSmolLm;
  Char first = Peek(begin);
  size_t run = begin;
  if (text_[begin] == ' ') {
    const Char next = Peek(begin + 1);
    const bool joins = next.char_class == CharClass::kLetter || next.char_class == CharClass::kOther ||
                       (next.char_class == CharClass::kNumber && !single_numbers);
    if (joins) {
      first = next;
      ++run;
    }
  }
  if (first.char_class == CharClass::kSpace) return SpaceRunEnd(begin);
  if (first.char_class == CharClass::kNumber && single_numbers) return run + first.length;
  return RunEnd(run + first.length, first.char_class);
}

size_t WordScanner::ScanNumbers(size_t begin) {
  const int most = kind_ == PreTokenizerKind::kLlama3 ? 3 : 1;
  size_t end = begin + Peek(begin).length;
  for (int n = 1; n < most; ++n) {
    const Char next = Peek(end);
    if (next.char_class != CharClass::kNumber) break;
    end += next.length;
  }
  return end;
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
// and with \p{N} alone in Qwen2.
size_t WordScanner::ScanLlama3(size_t begin) {
  const char byte = text_[begin];
  if (byte == '\'') {
    const size_t end = ContractionEnd(begin, /*ignore_case=*/true);
    if (end > begin) return end;
  }
  const Char first = Peek(begin);
  if (first.char_class == CharClass::kLetter) return RunEnd(begin + first.length, CharClass::kLetter);
  if (first.char_class == CharClass::kNumber) return ScanNumbers(begin);
  if (!IsNewline(byte)) {
    const size_t after = begin + first.length;
    const Char next = Peek(after);
    if (next.char_class == CharClass::kLetter) return RunEnd(after + next.length, CharClass::kLetter);
    if (first.char_class == CharClass::kOther || (byte == ' ' && next.char_class == CharClass::kOther)) {
      size_t end = RunEnd(after, CharClass::kOther);
      while (Peek(end).char_class == CharClass::kSpace && IsNewline(text_[end])) ++end;
      return end;
    }
  }
  // \s*[\r\n]+ ends behind the last line break of the run.
  const size_t run_end = RunEnd(begin, CharClass::kSpace);
  const size_t newline = text_.substr(begin, run_end - begin).find_last_of("\r\n");
  return newline != absl::string_view::npos ? begin + newline + 1 : SpaceRunEnd(begin);
}

size_t LastCertainBreak(absl::string_view text) {
  size_t blank = text.size();
  while (blank > 0 && (blank = text.rfind(' ', blank - 1)) != absl::string_view::npos && blank > 0) {
    const uint8_t before = static_cast<uint8_t>(text[blank - 1]);
    if (before < 0x80) {
      if (kAsciiCharClasses[before] != CharClass::kSpace) return blank;
      continue;
    }
    // Every space is of at most three bytes.
    CharClass last = CharClass::kOther;
    for (size_t length = 2; length <= 3 && length <= blank; ++length) {
      uint32_t code_point = 0;
      if (Utf8CharLength(text.substr(blank - length, length), &code_point) == length) {
        last = CharClassOf(code_point, NumberRule::kPattern);
      }
    }
    if (last != CharClass::kSpace) return blank;
  }
  return 0;
}

}  // namespace ilre
