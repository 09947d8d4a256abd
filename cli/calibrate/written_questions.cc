#include "cli/calibrate/written_questions.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/calibrate/segmented_text.h"
#include "cli/json_output.h"
#include "common/base/utf8.h"
#include "generator_service/prompt.h"

namespace ilre::cli {
namespace {

constexpr size_t kParagraphBytes = 1000;  // a paragraph that is longer ends with its segment
constexpr size_t kParagraphsOfArticle = 8;
constexpr size_t kMinAskedBytes = 40, kMaxAskedBytes = 400;
constexpr size_t kMinQuestionBytes = 10, kMaxQuestionBytes = 250;

// Bytes [begin, end) of each segment.
std::vector<std::pair<size_t, size_t>> SegmentBytes(const SegmentedText& text) {
  std::vector<std::pair<size_t, size_t>> segments;
  for (size_t s = 0; s + 1 < text.begins.size(); ++s) {
    const auto end = static_cast<size_t>(text.tokens.ends[static_cast<size_t>(text.begins[s + 1]) - 1]);
    segments.push_back({segments.empty() ? 0 : segments.back().second, end});
  }
  return segments;
}

// [begin, end) without white space at its ends.
std::pair<size_t, size_t> Stripped(absl::string_view text, size_t begin, size_t end) {
  while (begin < end && absl::ascii_isspace(static_cast<unsigned char>(text[begin]))) ++begin;
  while (begin < end && absl::ascii_isspace(static_cast<unsigned char>(text[end - 1]))) --end;
  return {begin, end};
}

// Characters before a byte.
size_t CharactersBefore(absl::string_view text, size_t byte) {
  return static_cast<size_t>(std::count_if(text.begin(), text.begin() + byte,
                                           [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

}  // namespace

std::vector<SquadArticle> CutArticles(const Tokenizer& tokenizer, const RetrievalProfile& profile,
                                      const std::string& name, const std::string& text) {
  std::vector<SquadArticle> articles;
  const auto add = [&](size_t begin, size_t end) {
    std::tie(begin, end) = Stripped(text, begin, end);
    if (begin == end) return;
    if (articles.empty() || articles.back().paragraphs.size() == kParagraphsOfArticle) {
      articles.push_back({absl::StrCat(name, " ", articles.size() + 1), {}});
    }
    articles.back().paragraphs.push_back({text.substr(begin, end - begin), {}});
  };
  size_t begin = 0;
  for (const auto& [segment, segment_end] : SegmentBytes(SegmentText(tokenizer, text, profile))) {
    // White space between two segments may lie in either of them.
    const size_t content_end = Stripped(text, begin, segment).second;
    const size_t next = Stripped(text, segment, segment_end).first;
    const auto gap = absl::string_view(text).substr(content_end, next - content_end);
    if (segment - begin >= kParagraphBytes || std::count(gap.begin(), gap.end(), '\n') > 1) {
      add(begin, segment);
      begin = segment;
    }
  }
  add(begin, text.size());
  return articles;
}

std::vector<AskedSegment> SegmentsToAsk(const Tokenizer& tokenizer, const RetrievalProfile& profile,
                                        const std::vector<SquadArticle>& articles) {
  std::vector<AskedSegment> asked;
  for (size_t a = 0; a < articles.size(); ++a) {
    for (size_t p = 0; p < articles[a].paragraphs.size(); ++p) {
      const std::string& text = articles[a].paragraphs[p].context;
      for (const auto& segment : SegmentBytes(SegmentText(tokenizer, text, profile))) {
        const auto [begin, end] = Stripped(text, segment.first, segment.second);
        if (end - begin >= kMinAskedBytes && end - begin <= kMaxAskedBytes) asked.push_back({a, p, begin, end});
      }
    }
  }
  return asked;
}

std::vector<TokenId> QuestionPrompt(const Tokenizer& tokenizer, const ChatTemplate& chat, const std::string& text) {
  PromptParts parts;
  parts.question = absl::StrCat("Text:\n", text, "\n\nWrite a question that the text answers.");
  parts.answer_prefix = "Question:";
  return BuildPrompt(tokenizer, chat, parts);
}

absl::optional<std::string> QuestionIn(absl::string_view written) {
  size_t end = absl::string_view::npos;
  for (const absl::string_view mark : {"?", "\xEF\xBC\x9F" /* ? of CJK */, "\xD8\x9F" /* of Arabic */}) {
    if (const size_t at = written.find(mark); at != absl::string_view::npos) end = std::min(end, at + mark.size());
  }
  if (end == absl::string_view::npos) return absl::nullopt;
  const absl::string_view question = absl::StripAsciiWhitespace(written.substr(0, end));
  if (question.size() < kMinQuestionBytes || question.size() > kMaxQuestionBytes) return absl::nullopt;
  if (absl::StrContains(question, '\n') || Utf8ValidPrefix(question) != question.size()) return absl::nullopt;
  return std::string(question);
}

std::string SquadFile(const std::vector<SquadArticle>& articles) {
  Json data = Json::array();
  int number = 0;
  for (const SquadArticle& article : articles) {
    Json paragraphs = Json::array();
    for (const SquadArticle::Paragraph& paragraph : article.paragraphs) {
      Json questions = Json::array();
      for (const TextQuestion& question : paragraph.questions) {
        const size_t length = question.answer_end - question.answer_begin;
        const Json answer = {{"text", paragraph.context.substr(question.answer_begin, length)},
                             {"answer_start", CharactersBefore(paragraph.context, question.answer_begin)}};
        questions.push_back(
            {{"id", absl::StrCat(++number)}, {"question", question.question}, {"answers", Json::array({answer})}});
      }
      paragraphs.push_back({{"context", paragraph.context}, {"qas", std::move(questions)}});
    }
    data.push_back({{"title", article.title}, {"paragraphs", std::move(paragraphs)}});
  }
  return absl::StrCat(Json({{"version", "1.1"}, {"data", std::move(data)}}).dump(1), "\n");
}

}  // namespace ilre::cli
