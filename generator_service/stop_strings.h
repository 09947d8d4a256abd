// Finds stop strings in text that comes in pieces.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace ilre {

// Holds back as much text as could still become a stop string. Of several stop strings the one that is complete first
// counts, of those that are complete together the longest: in whatever pieces the text comes. Not thread-safe.
class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  // Takes more text, gives what is certain to belong to the answer. After a stop string was found everything behind it
  // is dropped.
  std::string Push(absl::string_view text);
  // What was held back, at the end of the text.
  std::string Finish();
  bool found() const { return found_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool found_ = false;
};

}  // namespace ilre
