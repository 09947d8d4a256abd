// Files of questions in each format, and what is refused.
#include "cli/eval/question_files.h"

#include <fstream>
#include <set>

#include "absl/strings/str_cat.h"
#include "cli/eval/made_up_prose.h"
#include "common/base/test_matchers.h"
#include "gtest/gtest.h"

namespace ilre::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Write(const std::string& name, const std::string& content) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/ruler_test_", name);
  std::ofstream(path) << content;
  return path;
}

TEST(QuestionFilesTest, UserFiles) {
  const auto samples = ReadUserSamples(
      Write("user.jsonl",
            "{\"document\": \"Blue is the sky.\", \"question\": \"What?\", \"answers\": [\"sky\", \"air\"]}\n\n"
            "{\"document\": \"a a\", \"question\": \"Q\", \"answers\": [\"a\"], \"id\": 3}\n"));
  ASSERT_THAT(samples, IsOk());
  ASSERT_EQ(samples->size(), 2u);
  EXPECT_EQ((*samples)[0].answers[1], "air");
  EXPECT_EQ((*samples)[0].matching, Matching::kAny);
  ASSERT_EQ((*samples)[0].gold.size(), 1u);
  EXPECT_EQ(TextOf((*samples)[0], (*samples)[0].gold[0]), "sky");
  EXPECT_TRUE((*samples)[1].gold.empty()) << "which of the two cannot be told";
  for (const char* line : {"{", "[]", "{\"document\": \"a\", \"question\": \"b\"}",
                           "{\"document\": \"a\", \"question\": \"b\", \"answers\": []}",
                           "{\"document\": \"\", \"question\": \"b\", \"answers\": [\"c\"]}",
                           "{\"document\": 3, \"question\": \"b\", \"answers\": [\"c\"]}"}) {
    EXPECT_THAT(ReadUserSamples(Write("bad.jsonl", absl::StrCat("\n", line))),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("bad.jsonl:2")));
  }
  EXPECT_THAT(ReadUserSamples("/nowhere"), StatusIs(absl::StatusCode::kNotFound));
}

TEST(QuestionFilesTest, SquadHoldsTheLastArticlesOut) {
  std::string data;
  for (int article = 0; article < 4; ++article) {
    absl::StrAppend(&data, article > 0 ? "," : "", R"({"title": "t", "paragraphs": [{"context": "Käse number )",
                    article, R"( is old.", "qas": [{"question": "Which?", "answers": [{"text": "number )", article,
                    R"(", "answer_start": 5}]}]}]})");
  }
  const auto passages = ReadSquadPassages(Write("squad.json", absl::StrCat("{\"data\": [", data, "]}")), 0.25);
  ASSERT_THAT(passages, IsOk());
  EXPECT_EQ(passages->texts.size(), 4u);
  ASSERT_EQ(passages->questions.size(), 1u);
  EXPECT_THAT(passages->questions[0].needed, ElementsAre(3));
  EXPECT_EQ(passages->questions[0].answers[0], "number 3");
  const QuestionSet set = SquadQuestions(TinyTokenizer(), *passages, nullptr, 1000, 1);
  const std::vector<Sample>& samples = set.samples;
  ASSERT_EQ(samples.size(), 1u);
  const ByteRange gold = samples[0].gold[0];
  EXPECT_EQ(set.document.substr(gold.begin, gold.end - gold.begin), "number 3");
  for (int i = 0; i < 4; ++i) EXPECT_THAT(set.document, HasSubstr(absl::StrCat("number ", i)));
  EXPECT_THAT(SquadQuestions(TinyTokenizer(), *passages, nullptr, 1, 1).document, Not(HasSubstr("number 2")));
}

TEST(QuestionFilesTest, ProseFillsTheTextAndParagraphsEndWhereTheySay) {
  const std::string mill = "The mill is old. It stands by the river.";
  const Passages passages{{mill}, {{"Which?", {"old"}, {0}, {{0, {12, 15}}}}}};
  constexpr int kTokens = 20'000;
  const QuestionSet set = SquadQuestions(TinyTokenizer(), passages, &MadeUpProse(), kTokens, 3);
  const int tokens = CountTokens(TinyTokenizer(), set.document);
  EXPECT_LE(tokens, kTokens * 21 / 20);
  EXPECT_GE(tokens, kTokens * 3 / 4);
  ASSERT_GT(set.ends.size(), 5u);
  EXPECT_EQ(set.ends.back(), set.document.size());
  uint64_t begin = 0;
  std::set<std::string> texts;
  for (size_t i = 0; i < set.ends.size(); ++i) {
    const std::string part = set.document.substr(begin, set.ends[i] - begin);
    EXPECT_EQ(part.rfind(absl::StrCat("Document ", i + 1, ":\n"), 0), 0u) << part;
    texts.insert(part.substr(part.find('\n')));
    if (set.samples[0].gold[0].begin >= begin && set.samples[0].gold[0].end <= set.ends[i]) {
      EXPECT_THAT(part, HasSubstr(mill));
    }
    begin = set.ends[i];
  }
  EXPECT_EQ(texts.size(), set.ends.size()) << "no piece of prose twice";
  EXPECT_EQ(set.document.substr(set.samples[0].gold[0].begin, 3), "old");
}

// An entry of HotpotQA's format, with fields besides question and answer.
std::string HotpotEntry(const std::string& fields) {
  return absl::StrCat(R"({"question": "Q?", "answer": "yes", )", fields, "}");
}

constexpr char kContext[] = R"("context": [["A", ["One. ", " Two."]], ["B", ["Three.", " ", "\tFour. "]]])";

absl::StatusOr<Passages> ReadHotpot(const std::string& entries) {
  return ReadHotpotPassages(Write("hotpot.json", absl::StrCat("[", entries, "]")));
}

TEST(QuestionFilesTest, HotpotsParagraphsArePassages) {
  const auto passages = ReadHotpot(absl::StrCat(
      HotpotEntry(kContext), ",",
      HotpotEntry(R"("context": [["A", ["New."]], ["B", ["Three. \tFour. "]], ["A", ["New."]], ["C", []]])")));
  ASSERT_THAT(passages, IsOk());
  EXPECT_THAT(passages->texts, ElementsAre("A\nOne.  Two.", "B\nThree. \tFour. ", "A\nNew.", "C\n")) << "each once";
  ASSERT_EQ(passages->questions.size(), 2u);
  EXPECT_THAT(passages->questions[0].needed, ElementsAre(0, 1));
  EXPECT_THAT(passages->questions[1].needed, ElementsAre(2, 1, 3));
  EXPECT_EQ(passages->questions[0].question, "Q?");
  EXPECT_EQ(passages->questions[0].answers[0], "yes");
  EXPECT_TRUE(passages->questions[0].gold.empty()) << "no supporting facts";
}

TEST(QuestionFilesTest, HotpotsSupportingFactsAreGold) {
  const auto gold = [](const std::string& facts) {
    std::vector<std::string> sentences;
    const auto passages =
        ReadHotpot(absl::StrCat(HotpotEntry(R"("context": [["B", ["Other."]]])"), ",",
                                HotpotEntry(absl::StrCat(kContext, R"(, "supporting_facts": )", facts))));
    EXPECT_THAT(passages, IsOk()) << facts;
    if (!passages.ok()) return sentences;
    for (const Passages::Part& part : passages->questions[1].gold) {
      sentences.push_back(passages->texts[part.passage].substr(part.bytes.begin, part.bytes.end - part.bytes.begin));
    }
    return sentences;
  };
  EXPECT_THAT(gold(R"([["B", 2], ["A", 1], ["B", 2]])"), ElementsAre("Four.", "Two.")) << "of this entry, once";
  for (const char* facts : {"[]", R"([["A", 2], ["B", 0]])", R"([["A", 0], ["B", -1]])", R"([["A", 0], ["C", 0]])",
                            R"([["A", 0], ["B", 1]])", R"([["A", 18446744073709551615]])"}) {
    EXPECT_THAT(gold(facts), ElementsAre()) << facts << ": not all can be named";
  }
}

TEST(QuestionFilesTest, WhatIsNotOfHotpotsFormatIsRefused) {
  for (const char* bad : {"{}", "[]", "3", "[", R"({"data": []})"}) {
    EXPECT_THAT(ReadHotpotPassages(Write("bad.json", bad)),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("bad.json is not a HotpotQA-format file")));
  }
  const auto refused = [](const std::string& entry, const std::string& field) {
    EXPECT_THAT(ReadHotpot(absl::StrCat(HotpotEntry(kContext), ",", entry)),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("hotpot.json"), HasSubstr(absl::StrCat("entry 2 has a wrong form: ", field)))))
        << entry;
  };
  refused("3", "question");
  refused(R"({"question": 3, "answer": "yes"})", "question");
  refused(R"({"question": "Q?"})", "answer");
  refused(R"({"question": "Q?", "answer": ""})", "answer");  // any answer contains it
  for (const char* context :
       {"{}", "[]", R"([["A"]])", R"([["A", "One."]])", R"([["A", [1]]])", R"([[1, ["One."]]])"}) {
    refused(HotpotEntry(absl::StrCat(R"("context": )", context)), "context");
  }
  refused(R"({"question": "Q?", "answer": "yes"})", "context");
  for (const char* facts : {"null", "{}", "[3]", R"([["A"]])", R"([["A", "0"]])", R"([["A", 0.5]])", R"([[0, "A"]])"}) {
    refused(HotpotEntry(absl::StrCat(kContext, R"(, "supporting_facts": )", facts)), "supporting_facts");
  }
  std::string facts = R"(["A", 0])", paragraphs = R"(["A", ["One."]])";
  for (int i = 0; i < 1000; ++i) {
    absl::StrAppend(&facts, R"(, ["A", 0])");
    absl::StrAppend(&paragraphs, R"(, ["A", ["One."]])");
  }
  refused(HotpotEntry(absl::StrCat(R"("context": [)", paragraphs, "]")), "context");
  refused(HotpotEntry(absl::StrCat(kContext, R"(, "supporting_facts": [)", facts, "]")), "supporting_facts");
}

}  // namespace
}  // namespace ilre::cli
