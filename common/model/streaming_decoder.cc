#include "absl/strings/string_view.h"
#include "common/base/utf8.h"
#include "common/model/tokenizer.h"

namespace ilre {
namespace {

constexpr char kReplacement[] = "\xEF\xBF\xBD";  // U+FFFD

// How many bytes at the start of `text`, which begins no whole character, one U+FFFD stands for: the longest beginning
// of a character, or one byte (The Unicode Standard 3.9, "U+FFFD Substitution of Maximal Subparts").
size_t BrokenLength(absl::string_view text) {
  size_t length = 1;
  while (length < text.size() && Utf8IsIncomplete(text.substr(0, length + 1))) ++length;
  return length;
}

// Moves what is decided from the front of `pending` into the result. At the `end`, all of it.
std::string TakeWhole(std::string* pending, bool end) {
  std::string whole;
  absl::string_view rest = *pending;
  while (!rest.empty()) {
    const size_t valid = Utf8ValidPrefix(rest);
    whole.append(rest.data(), valid);
    rest.remove_prefix(valid);
    if (rest.empty() || (!end && Utf8IsIncomplete(rest))) break;
    whole += kReplacement;
    rest.remove_prefix(BrokenLength(rest));
  }
  pending->erase(0, pending->size() - rest.size());
  return whole;
}

}  // namespace

std::string StreamingDecoder::Push(TokenId id) {
  const absl::string_view bytes = tokenizer_.TokenBytes(id);
  pending_.append(bytes.data(), bytes.size());
  return TakeWhole(&pending_, /*end=*/false);
}

std::string StreamingDecoder::Finish() { return TakeWhole(&pending_, /*end=*/true); }

}  // namespace ilre
