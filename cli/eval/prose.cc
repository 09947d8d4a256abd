#include "cli/eval/prose.h"

#include <algorithm>
#include <cstdio>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/utf8.h"

namespace ilre::cli {
namespace {

constexpr uint64_t kMaxProseBytes = uint64_t{1} << 28;
constexpr size_t kLeastSentences = 100;
constexpr char kBible[] = "PATH=\"$PATH:/usr/games:/usr/bin\" bible -f gen1:1-rev22:21 2>/dev/null </dev/null";

// "Ge1:1 In the beginning" -> "In the beginning"; its bytes are Latin-1.
void AppendVerse(absl::string_view line, std::string* text) {
  const size_t space = line.find(' ');
  const absl::string_view label = line.substr(0, space);
  if (space != absl::string_view::npos && label.find(':') != absl::string_view::npos) line.remove_prefix(space + 1);
  for (const char c : line) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      *text += c;
    } else {
      *text += static_cast<char>(0xC0 | byte >> 6);
      *text += static_cast<char>(0x80 | (byte & 0x3F));
    }
  }
  *text += '\n';
}

}  // namespace

absl::StatusOr<std::string> ReadProse(const std::string& path) {
  if (!path.empty()) {
    ILRE_ASSIGN_OR_RETURN(std::string text, ReadFile(path, kMaxProseBytes));
    if (Utf8ValidPrefix(text) != text.size()) return errors::InvalidArgument(absl::StrCat(path, " is not UTF-8"));
    return text;
  }
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(kBible, "r"), &::pclose);
  std::string printed;
  char buffer[1 << 16];
  for (size_t n; pipe != nullptr && (n = std::fread(buffer, 1, sizeof(buffer), pipe.get())) > 0;) {
    printed.append(buffer, n);
  }
  if (printed.empty()) {
    return MakeError(absl::StatusCode::kNotFound, "NO_PROSE",
                     "no long English text: give --prose FILE, or install bible-kjv and bible-kjv-text");
  }
  std::string text;
  for (size_t begin = 0; begin < printed.size();) {
    const size_t end = std::min(printed.find('\n', begin), printed.size());
    AppendVerse(absl::string_view(printed).substr(begin, end - begin), &text);
    begin = end + 1;
  }
  return text;
}

absl::StatusOr<Prose> MakeProse(const Tokenizer& tokenizer, absl::string_view text) {
  Prose prose;
  std::string sentence, word;
  const auto end_sentence = [&] {
    if (sentence.empty()) return;
    prose.tokens.push_back(static_cast<int>(tokenizer.EncodeIds(absl::StrCat(" ", sentence)).size()));
    prose.sentences.push_back(std::move(sentence));
    sentence.clear();
  };
  for (size_t i = 0; i <= text.size(); ++i) {
    const char c = i < text.size() ? text[i] : ' ';
    if (c >= 'a' && c <= 'z') {
      word += c;
    } else {
      const bool whole =
          i == word.size() || !absl::ascii_isalnum(static_cast<unsigned char>(text[i - word.size() - 1]));
      if (word.size() >= 3 && word.size() <= 12 && whole) prose.vocabulary.push_back(word);
      word.clear();
    }
    if (!absl::ascii_isspace(static_cast<unsigned char>(c))) {
      sentence += c;
    } else if (!sentence.empty() && sentence.back() != ' ') {
      const char last = sentence.back();
      if (last == '.' || last == '!' || last == '?') {
        end_sentence();
      } else {
        sentence += ' ';
      }
    }
  }
  while (!sentence.empty() && sentence.back() == ' ') sentence.pop_back();
  end_sentence();
  std::sort(prose.vocabulary.begin(), prose.vocabulary.end());
  prose.vocabulary.erase(std::unique(prose.vocabulary.begin(), prose.vocabulary.end()), prose.vocabulary.end());
  if (prose.sentences.size() >= kLeastSentences) return prose;
  return errors::InvalidArgument(
      absl::StrCat("the prose has ", prose.sentences.size(), " sentences; ", kLeastSentences, " are needed"));
}

}  // namespace ilre::cli
