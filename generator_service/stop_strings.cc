#include "generator_service/stop_strings.h"

#include <algorithm>
#include <utility>

namespace ilre {

std::string StopStrings::Push(absl::string_view text) {
  if (found_) return "";
  held_.append(text.data(), text.size());
  // What is complete first counts, so that it does not matter in which pieces the text comes.
  std::pair<size_t, size_t> first = {std::string::npos, 0};  // end, begin
  for (const std::string& stop : stops_) {
    const size_t begin = held_.find(stop);
    if (begin != std::string::npos) first = std::min(first, {begin + stop.size(), begin});
  }
  if (first.first != std::string::npos) {
    found_ = true;
    held_.resize(first.second);
    return std::exchange(held_, {});
  }
  // The longest end of the text that begins a stop string.
  size_t keep = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n) {
      if (held_.compare(held_.size() - n, n, stop, 0, n) == 0) keep = n;
    }
  }
  std::string certain = held_.substr(0, held_.size() - keep);
  held_.erase(0, certain.size());
  return certain;
}

std::string StopStrings::Finish() { return std::exchange(held_, {}); }

}  // namespace ilre
