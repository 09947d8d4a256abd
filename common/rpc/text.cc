#include "common/rpc/text.h"

#include <openssl/rand.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/strings/escaping.h"
#include "common/base/check.h"
#include "common/base/utf8.h"

namespace ilre {

std::string CleanLine(absl::string_view text, size_t max_bytes) {
  constexpr absl::string_view kCut = "...";
  std::string line;
  line.reserve(std::min(text.size(), max_bytes));
  size_t cut = 0;  // the longest prefix of `line` that has room for kCut
  while (!text.empty()) {
    uint32_t code_point = 0;
    const size_t length = Utf8CharLength(text, &code_point);
    absl::string_view piece = length == 0 ? absl::string_view("?") : text.substr(0, length);
    if (length != 0 && (code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0))) piece = " ";
    if (line.size() + piece.size() > max_bytes) {
      line.resize(cut);
      if (max_bytes >= kCut.size()) line.append(kCut.data(), kCut.size());
      return line;
    }
    line.append(piece.data(), piece.size());
    if (line.size() + kCut.size() <= max_bytes) cut = line.size();
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return line;
}

std::string RandomHex(int num_bytes) {
  std::vector<unsigned char> bytes(static_cast<size_t>(num_bytes));
  ILRE_CHECK(RAND_bytes(bytes.data(), num_bytes) == 1);
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

}  // namespace ilre
