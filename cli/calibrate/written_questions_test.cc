// Texts cut into articles, what counts as a question, and the file that comes of it.
#include "cli/calibrate/written_questions.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/test_matchers.h"
#include "common/store/test_documents.h"
#include "gtest/gtest.h"
#include "tests/engine/tiny_engine.h"

namespace ilre::cli {
namespace {

std::string WithoutSpace(std::string text) {
  text.erase(std::remove_if(text.begin(), text.end(), [](unsigned char c) { return absl::ascii_isspace(c); }),
             text.end());
  return text;
}

// Paragraphs, some longer than one of an article may be, with blank lines between.
std::string MakeText() {
  std::string text = "\n\n  A title\n\n";
  for (int paragraph = 0; paragraph < 12; ++paragraph) {
    for (int i = 0; i < 3 + 10 * (paragraph % 3); ++i) {
      absl::StrAppend(&text, "The keeper of été lamp ", i, " in harbour ", paragraph, " reads a long letter. ");
    }
    absl::StrAppend(&text, "\n\n");
  }
  return text;
}

TEST(CutArticlesTest, ParagraphsAreTheTextInWholeSegments) {
  const TinyEngine engine;
  const std::string text = MakeText();
  const auto articles = CutArticles(engine.tokenizer(), engine.profile(), "letters.txt", text);
  ASSERT_GT(articles.size(), 1u);
  std::string joined;
  size_t paragraphs = 0;
  for (const SquadArticle& article : articles) {
    EXPECT_EQ(article.title, absl::StrCat("letters.txt ", &article - articles.data() + 1));
    for (const SquadArticle::Paragraph& paragraph : article.paragraphs) {
      EXPECT_EQ(paragraph.context, absl::StripAsciiWhitespace(paragraph.context));
      EXPECT_EQ(paragraph.context.find("\n\n"), std::string::npos);
      EXPECT_LT(paragraph.context.size(), 1200u);
      joined += paragraph.context;
      ++paragraphs;
    }
  }
  EXPECT_EQ(WithoutSpace(joined), WithoutSpace(text));
  EXPECT_GT(paragraphs, 1 + 12u) << "long ones are cut";
  EXPECT_TRUE(CutArticles(engine.tokenizer(), engine.profile(), "empty", " \n ").empty());
}

TEST(SegmentsToAskTest, AreSentencesOfTheParagraphs) {
  const TinyEngine engine;
  const auto articles = CutArticles(engine.tokenizer(), engine.profile(), "letters.txt", MakeText());
  const std::vector<AskedSegment> segments = SegmentsToAsk(engine.tokenizer(), engine.profile(), articles);
  EXPECT_GE(segments.size(), 12u * 3);
  for (const AskedSegment& segment : segments) {
    const std::string& context = articles[segment.article].paragraphs[segment.paragraph].context;
    const std::string text = context.substr(segment.begin, segment.end - segment.begin);
    EXPECT_EQ(text, absl::StripAsciiWhitespace(text));
    EXPECT_GE(text.size(), 40u) << "the title is too short: " << text;
  }
}

TEST(QuestionInTest, EndsWithItsMark) {
  EXPECT_EQ(QuestionIn(" Who keeps the lamp? He does."), "Who keeps the lamp?");
  EXPECT_EQ(QuestionIn("誰がランプを守りますか\xEF\xBC\x9F はい"), "誰がランプを守りますか\xEF\xBC\x9F");
  EXPECT_EQ(QuestionIn("The lamp is kept."), absl::nullopt);
  EXPECT_EQ(QuestionIn("Who?"), absl::nullopt);
  EXPECT_EQ(QuestionIn(""), absl::nullopt);
  EXPECT_EQ(QuestionIn("One line.\nWho keeps the lamp?"), absl::nullopt);
  EXPECT_EQ(QuestionIn("Who keeps \xFF the lamp?"), absl::nullopt);
  EXPECT_EQ(QuestionIn(absl::StrCat("Who ", std::string(300, 'x'), "?")), absl::nullopt);
}

TEST(SquadFileTest, IsReadAgain) {
  const TempFolder folder;
  const std::string context = "\"Été\" is old. The lamp of Kästen burns.";
  const size_t at = context.find("The lamp");
  const std::vector<SquadArticle> articles = {
      {"one", {{context, {{"What burns?", at, context.size()}, {"What is old?", 0, at - 1}}}, {"No question.", {}}}},
      {"two", {{"Nothing is asked here.", {}}}}};
  const std::string path = folder.path() + "/questions.json";
  std::ofstream(path) << SquadFile(articles);
  ILRE_ASSERT_OK_AND_ASSIGN(const auto read, ReadSquad(path));
  ASSERT_EQ(read.size(), articles.size());
  for (size_t a = 0; a < read.size(); ++a) {
    EXPECT_EQ(read[a].title, articles[a].title);
    ASSERT_EQ(read[a].paragraphs.size(), articles[a].paragraphs.size());
    for (size_t p = 0; p < read[a].paragraphs.size(); ++p) {
      const auto &got = read[a].paragraphs[p], &wanted = articles[a].paragraphs[p];
      EXPECT_EQ(got.context, wanted.context);
      ASSERT_EQ(got.questions.size(), wanted.questions.size());
      for (size_t q = 0; q < got.questions.size(); ++q) {
        EXPECT_EQ(got.questions[q].question, wanted.questions[q].question);
        EXPECT_EQ(got.questions[q].answer_begin, wanted.questions[q].answer_begin);
        EXPECT_EQ(got.questions[q].answer_end, wanted.questions[q].answer_end);
      }
    }
  }
}

}  // namespace
}  // namespace ilre::cli
