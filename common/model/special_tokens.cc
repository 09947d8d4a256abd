#include "common/model/special_tokens.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/string_view.h"

namespace ilre {

void SpecialTokenFinder::Add(std::string spelling, int32_t id) {
  if (spelling.empty()) return;
  const size_t first = static_cast<uint8_t>(spelling[0]);
  std::vector<size_t>& lengths = lengths_[first];
  max_bytes_ = std::max(max_bytes_, spelling.size());
  if (spelling.size() > 1) {
    beginnings_.set(first * 256 + static_cast<uint8_t>(spelling[1]));
  } else {
    for (size_t second = 0; second < 256; ++second) beginnings_.set(first * 256 + second);
  }
  const size_t length = spelling.size();
  if (!ids_.emplace(std::move(spelling), id).second) return;
  const auto at = std::lower_bound(lengths.begin(), lengths.end(), length, std::greater<>());
  if (at == lengths.end() || *at != length) lengths.insert(at, length);
}

SpecialTokenFinder::Match SpecialTokenFinder::Find(absl::string_view text, size_t begin) const {
  for (size_t at = begin; at < text.size() && max_bytes_ > 0; ++at) {
    const size_t first = static_cast<uint8_t>(text[at]);
    if (at + 1 < text.size() && !beginnings_[first * 256 + static_cast<uint8_t>(text[at + 1])]) continue;
    for (const size_t length : lengths_[first]) {
      if (length > text.size() - at) continue;
      const auto found = ids_.find(text.substr(at, length));
      if (found != ids_.end()) return {at, at + length, found->second};
    }
  }
  return {text.size(), text.size(), -1};
}

}  // namespace ilre
