// A long English text as sentences: the haystack of essays.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/model/tokenizer.h"

namespace ilre::cli {

struct Prose {
  std::vector<std::string> sentences;   // white space collapsed
  std::vector<int> tokens;              // [sentences] of each with the space before it, about what it adds to a text
  std::vector<std::string> vocabulary;  // its distinct words of 3 to 12 lower-case letters, sorted
};

// What stands between sentence ends. Errors: INVALID_ARGUMENT where there are fewer than 100 sentences.
absl::StatusOr<Prose> MakeProse(const Tokenizer& tokenizer, absl::string_view text);

// The text of a file, or, if `path` is empty, of the King James Bible as Debian's `bible` command prints it, without
// its verse labels. Errors: those of reading; NOT_FOUND with reason NO_PROSE where there is no such command.
absl::StatusOr<std::string> ReadProse(const std::string& path);

}  // namespace ilre::cli
