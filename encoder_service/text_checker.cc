#include "encoder_service/text_checker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/utf8.h"

namespace ilre {
namespace {

absl::Status NotUtf8(uint64_t offset) {
  return MakeError(absl::StatusCode::kInvalidArgument, "NOT_UTF8",
                   absl::StrCat("the text is not UTF-8 at byte ", offset));
}

absl::Status Binary(uint64_t offset) {
  return MakeError(absl::StatusCode::kInvalidArgument, "BINARY_TEXT",
                   absl::StrCat("byte ", offset, " is NUL: this is a binary file, not text"));
}

}  // namespace

TextChecker::TextChecker(uint64_t size, absl::string_view end) : size_(size) {
  for (size_t length = std::min<size_t>(3, end.size()); length > 0; --length) {
    const absl::string_view last = end.substr(end.size() - length);
    if (!Utf8IsIncomplete(last)) continue;
    partial_ = std::string(last);
    return;
  }
}

absl::Status TextChecker::Take(absl::string_view bytes) {
  const uint64_t end = size_ + bytes.size();
  std::string partial = partial_;
  while (!partial.empty() && !bytes.empty()) {  // three times at the most
    partial += bytes.front();
    bytes.remove_prefix(1);
    if (Utf8CharLength(partial) == partial.size()) {
      partial.clear();
    } else if (!Utf8IsIncomplete(partial)) {
      return NotUtf8(size_ - partial_.size());
    }
  }
  const uint64_t begin = end - bytes.size();
  const size_t valid = Utf8ValidPrefix(bytes);
  if (const size_t nul = bytes.substr(0, valid).find('\0'); nul != absl::string_view::npos) return Binary(begin + nul);
  if (valid < bytes.size()) {
    if (!Utf8IsIncomplete(bytes.substr(valid))) return NotUtf8(begin + valid);
    partial = std::string(bytes.substr(valid));
  }
  size_ = end;
  partial_ = std::move(partial);
  return absl::OkStatus();
}

absl::Status TextChecker::CheckEnd() const {
  if (partial_.empty()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument, "NOT_UTF8",
                   absl::StrCat("the text ends within a character, at byte ", size_ - partial_.size()));
}

}  // namespace ilre
