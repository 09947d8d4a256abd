#include "cli/calibrate/training_text.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/utf8.h"
#include "nlohmann/json.hpp"

namespace ilre::cli {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxSquadBytes = uint64_t{1} << 30;

// The byte offset of the character number `characters`; the text's size if it has fewer.
size_t ByteOffset(const std::string& text, size_t characters) {
  size_t offset = 0;
  while (characters-- > 0 && offset < text.size()) {
    offset += std::max<size_t>(1, Utf8CharLength(absl::string_view(text).substr(offset)));
  }
  return std::min(offset, text.size());
}

bool IsText(const Json& object, const char* field) {
  return object.is_object() && object.contains(field) && object[field].is_string();
}

bool IsList(const Json& object, const char* field) {
  return object.is_object() && object.contains(field) && object[field].is_array();
}

// False where the paragraph is not of the format.
bool ReadParagraph(const Json& json, SquadArticle::Paragraph* paragraph) {
  if (!IsText(json, "context") || !IsList(json, "qas")) return false;
  paragraph->context = json["context"].get<std::string>();
  for (const Json& qa : json["qas"]) {
    if (!IsText(qa, "question") || !IsList(qa, "answers")) return false;
    if (qa["answers"].empty()) continue;
    const Json& answer = qa["answers"][0];
    if (!IsText(answer, "text") || !answer.contains("answer_start") || !answer["answer_start"].is_number_unsigned()) {
      return false;
    }
    const std::string text = answer["text"].get<std::string>();
    const size_t begin = ByteOffset(paragraph->context, answer["answer_start"].get<size_t>());
    if (text.empty() || paragraph->context.compare(begin, text.size(), text) != 0) return false;
    paragraph->questions.push_back({qa["question"].get<std::string>(), begin, begin + text.size()});
  }
  return true;
}

}  // namespace

absl::StatusOr<std::vector<SquadArticle>> ReadSquad(const std::string& path) {
  ILRE_ASSIGN_OR_RETURN(const std::string content, ReadFile(path, kMaxSquadBytes));
  const Json json = Json::parse(content, nullptr, /*allow_exceptions=*/false);
  const auto bad = [&](const std::string& what) {
    return errors::InvalidArgument(absl::StrCat(path, " is not a SQuAD-format file: ", what));
  };
  if (!IsList(json, "data")) return bad("no list `data`");
  std::vector<SquadArticle> articles;
  for (const Json& entry : json["data"]) {
    SquadArticle& article = articles.emplace_back();
    if (IsText(entry, "title")) article.title = entry["title"].get<std::string>();
    if (!IsList(entry, "paragraphs")) return bad(absl::StrCat("article ", articles.size(), " has no paragraphs"));
    for (const Json& paragraph : entry["paragraphs"]) {
      if (!ReadParagraph(paragraph, &article.paragraphs.emplace_back())) {
        return bad(absl::StrCat("article ", articles.size(), ", paragraph ", article.paragraphs.size()));
      }
    }
  }
  if (articles.empty()) return bad("no articles");
  return articles;
}

absl::StatusOr<SplitSquad> SplitArticles(const std::vector<SquadArticle>& articles, double holdout) {
  const auto cut = static_cast<size_t>(std::floor(static_cast<double>(articles.size()) * (1 - holdout)));
  if (cut == 0 || cut == articles.size()) {
    return errors::InvalidArgument(absl::StrCat("too few articles (", articles.size(), ") to hold some out"));
  }
  const auto middle = articles.begin() + static_cast<std::ptrdiff_t>(cut);
  return SplitSquad{{articles.begin(), middle}, {middle, articles.end()}};
}

absl::StatusOr<std::vector<SplitSquad>> ReadSplitSquads(const std::vector<std::string>& paths, double holdout) {
  std::vector<SplitSquad> files;
  for (const std::string& path : paths) {
    ILRE_ASSIGN_OR_RETURN(const std::vector<SquadArticle> articles, ReadSquad(path));
    auto split = SplitArticles(articles, holdout);
    if (!split.ok()) return Annotate(split.status(), path);
    files.push_back(*std::move(split));
  }
  return files;
}

void AppendArticles(const std::vector<SquadArticle>& articles, std::vector<SquadArticle>* to) {
  to->insert(to->end(), articles.begin(), articles.end());
}

TrainingText JoinArticles(const std::vector<SquadArticle>& articles) {
  TrainingText joined;
  int number = 0;
  for (const SquadArticle& article : articles) {
    for (const SquadArticle::Paragraph& paragraph : article.paragraphs) {
      absl::StrAppend(&joined.text, "Document ", ++number, ":\n");
      const size_t base = joined.text.size();
      for (TextQuestion question : paragraph.questions) {
        question.answer_begin += base;
        question.answer_end += base;
        joined.questions.push_back(std::move(question));
      }
      absl::StrAppend(&joined.text, paragraph.context, "\n\n");
    }
  }
  return joined;
}

std::vector<std::string> SentencesOf(const std::string& text) {
  std::vector<std::string> sentences;
  std::string sentence;
  for (size_t i = 0; i <= text.size(); ++i) {
    const bool stop = i > 0 && (text[i - 1] == '.' || text[i - 1] == '!' || text[i - 1] == '?');
    if (i == text.size() || text[i] == '\n' || (text[i] == ' ' && stop)) {
      if (sentence.size() >= 20 && sentence.size() <= 400) sentences.push_back(sentence);
      sentence.clear();
    } else {
      sentence += text[i];
    }
  }
  return sentences;
}

}  // namespace ilre::cli
