#include "common/model/byte_alphabet.h"

#include <array>

#include "absl/strings/string_view.h"
#include "common/base/utf8.h"

namespace ilre {
namespace {

constexpr bool IsPrintable(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr std::array<uint16_t, 256> MakeAlphabet() {
  std::array<uint16_t, 256> alphabet{};
  uint16_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    alphabet[byte] = IsPrintable(byte) ? static_cast<uint16_t>(byte) : next++;
  }
  return alphabet;
}

constexpr uint32_t kEndOfAlphabet = 0x144;

constexpr std::array<int16_t, kEndOfAlphabet> MakeReverse() {
  std::array<int16_t, kEndOfAlphabet> reverse{};
  for (int16_t& byte : reverse) byte = -1;
  for (int16_t byte = 0; byte < 256; ++byte) reverse[MakeAlphabet()[byte]] = byte;
  return reverse;
}

constexpr std::array<uint16_t, 256> kAlphabet = MakeAlphabet();
constexpr std::array<int16_t, kEndOfAlphabet> kReverse = MakeReverse();

}  // namespace

std::string ByteSpelling(uint8_t byte) {
  const uint16_t c = kAlphabet[byte];
  if (c < 0x80) return std::string(1, static_cast<char>(c));
  return {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
}

bool DecodeByteSpelling(absl::string_view spelling, std::string* bytes) {
  bytes->clear();
  while (!spelling.empty()) {
    uint32_t code_point = 0;
    const size_t length = Utf8CharLength(spelling, &code_point);
    if (length == 0 || code_point >= kEndOfAlphabet || kReverse[code_point] < 0) return false;
    bytes->push_back(static_cast<char>(kReverse[code_point]));
    spelling.remove_prefix(length);
  }
  return true;
}

}  // namespace ilre
