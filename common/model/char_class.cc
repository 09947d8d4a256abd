#include "common/model/char_class.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace ilre {
namespace {

struct CharRange {
  uint32_t first, last;
};

#include "common/model/char_class_ranges.inc"

constexpr uint32_t kNumCodePoints = 0x110000;
constexpr uint32_t kBlockSize = 256;

// Two stages: most blocks of 256 characters are all alike and share their entry.
class CharClassTable {
 public:
  CharClassTable() {
    std::vector<uint8_t> flat(kNumCodePoints, static_cast<uint8_t>(CharClass::kOther));
    const auto fill = [&](const auto& ranges, uint8_t value) {
      for (const CharRange& range : ranges) {
        for (uint32_t c = range.first; c <= range.last; ++c) flat[c] = value;
      }
    };
    fill(kLetterRanges, static_cast<uint8_t>(CharClass::kLetter));
    fill(kNumberRanges, static_cast<uint8_t>(CharClass::kNumber));
    fill(kSpaceRanges, static_cast<uint8_t>(CharClass::kSpace));
    fill(kDigitsOnlyRanges, kDigitsOnly);
    for (uint32_t block = 0; block < blocks_.size(); ++block) blocks_[block] = FindOrAdd(&flat[block * kBlockSize]);
  }

  CharClass Get(uint32_t c, NumberRule rule) const {
    const uint8_t value = entries_[blocks_[c / kBlockSize] + c % kBlockSize];
    if (value == kDigitsOnly) return rule == NumberRule::kDigits ? CharClass::kNumber : CharClass::kOther;
    return static_cast<CharClass>(value);
  }

 private:
  static constexpr uint8_t kDigitsOnly = 0xFF;

  uint32_t FindOrAdd(const uint8_t* block) {
    for (uint32_t at = 0; at < entries_.size(); at += kBlockSize) {
      if (std::equal(block, block + kBlockSize, &entries_[at])) return at;
    }
    entries_.insert(entries_.end(), block, block + kBlockSize);
    return static_cast<uint32_t>(entries_.size() - kBlockSize);
  }

  std::array<uint32_t, kNumCodePoints / kBlockSize> blocks_;  // where each block's entries begin
  std::vector<uint8_t> entries_;
};

constexpr CharClass AsciiClass(uint32_t byte) {
  if (byte >= 0x80) return CharClass::kNonAscii;
  if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') return CharClass::kLetter;
  if (byte >= '0' && byte <= '9') return CharClass::kNumber;
  return byte == ' ' || (byte >= '\t' && byte <= '\r') ? CharClass::kSpace : CharClass::kOther;
}

constexpr std::array<CharClass, 256> MakeAsciiClasses() {
  std::array<CharClass, 256> classes{};
  for (uint32_t byte = 0; byte < 256; ++byte) classes[byte] = AsciiClass(byte);
  return classes;
}

}  // namespace

constexpr std::array<CharClass, 256> kAsciiCharClasses = MakeAsciiClasses();

CharClass CharClassOf(uint32_t code_point, NumberRule rule) {
  static const CharClassTable* table = new CharClassTable;  // 30 KB, made within a millisecond, never destroyed
  return table->Get(code_point, rule);
}

}  // namespace ilre
