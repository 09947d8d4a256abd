#include "common/model/special_tokens.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/string_view.h"

namespace ilre {

void SpecialTokenFinder::Add(std::string spelling, int32_t id) {
  if (spelling.empty()) return;
  std::vector<size_t>& lengths = lengths_[static_cast<uint8_t>(spelling[0])];
  const size_t length = spelling.size();
  if (!ids_.emplace(std::move(spelling), id).second) return;
  const auto at = std::lower_bound(lengths.begin(), lengths.end(), length, std::greater<>());
  if (at == lengths.end() || *at != length) lengths.insert(at, length);
}

SpecialTokenFinder::Match SpecialTokenFinder::Find(absl::string_view text, size_t begin) const {
  for (size_t at = begin; at < text.size(); ++at) {
    for (const size_t length : lengths_[static_cast<uint8_t>(text[at])]) {
      if (length > text.size() - at) continue;
      const auto found = ids_.find(text.substr(at, length));
      if (found != ids_.end()) return {at, at + length, found->second};
    }
  }
  return {text.size(), text.size(), -1};
}

}  // namespace ilre
