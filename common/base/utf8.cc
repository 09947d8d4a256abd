#include "common/base/utf8.h"

#include <cstring>

#include "absl/strings/string_view.h"

namespace ilre {
namespace {

// What may follow a lead byte: how many bytes the character has, and the range of its second byte.
struct Lead {
  uint8_t length, second_min, second_max;
};

Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// How many bytes of `text` agree with a character that starts there, up to its full length.
size_t MatchingBytes(absl::string_view text, const Lead& lead) {
  size_t n = 1;
  while (n < lead.length && n < text.size()) {
    const uint8_t byte = static_cast<uint8_t>(text[n]);
    const bool fits = n == 1 ? byte >= lead.second_min && byte <= lead.second_max : (byte & 0xC0) == 0x80;
    if (!fits) break;
    ++n;
  }
  return n;
}

}  // namespace

size_t Utf8CharLength(absl::string_view text, uint32_t* code_point) {
  if (text.empty()) return 0;
  const uint8_t first = static_cast<uint8_t>(text[0]);
  const Lead lead = LeadOf(first);
  if (lead.length == 0 || MatchingBytes(text, lead) < lead.length) return 0;
  if (code_point != nullptr) {
    uint32_t value = lead.length == 1 ? first : first & (0xFF >> (lead.length + 1));
    for (size_t i = 1; i < lead.length; ++i) value = value << 6 | (static_cast<uint8_t>(text[i]) & 0x3F);
    *code_point = value;
  }
  return lead.length;
}

size_t Utf8ValidPrefix(absl::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    // Eight ASCII bytes at a time: most of most texts.
    uint64_t word;
    if (i + sizeof(word) <= text.size()) {
      std::memcpy(&word, text.data() + i, sizeof(word));
      if ((word & 0x8080808080808080u) == 0) {
        i += sizeof(word);
        continue;
      }
    }
    const size_t length = Utf8CharLength(text.substr(i));
    if (length == 0) return i;
    i += length;
  }
  return i;
}

bool Utf8IsIncomplete(absl::string_view text) {
  const Lead lead = LeadOf(static_cast<uint8_t>(text[0]));
  return lead.length > text.size() && MatchingBytes(text, lead) == text.size();
}

std::string Utf8Repaired(absl::string_view text) {
  std::string repaired;
  repaired.reserve(text.size());
  while (!text.empty()) {
    const size_t valid = Utf8ValidPrefix(text);
    repaired.append(text.data(), valid);
    text.remove_prefix(valid);
    if (text.empty()) break;
    repaired += "\xEF\xBF\xBD";
    if (Utf8IsIncomplete(text)) break;  // the rest is one character that was cut
    text.remove_prefix(1);
  }
  return repaired;
}

}  // namespace ilre
