// Properties of the generated tasks, with the tokenizer of a tiny model.
#include "cli/eval/ruler.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/eval/question_files.h"
#include "common/base/test_matchers.h"
#include "common/model/checkpoint.h"
#include "gtest/gtest.h"

namespace ilre::cli {
namespace {

using ::testing::HasSubstr;

const Tokenizer& TinyTokenizer() {
  static const Tokenizer* const tokenizer = [] {
    const auto checkpoint = Checkpoint::Open("tests/model/data/tiny-llama");
    return Tokenizer::Create((*checkpoint)->tokenizer())->release();
  }();
  return *tokenizer;
}

// Words that no other sentence has, so that a vocabulary is there.
std::string Word(uint64_t number) {
  std::string word = "w";
  for (; number > 0; number /= 26) word += static_cast<char>('a' + number % 26);
  return word + "en";
}

const Prose& MadeUpProse() {
  static const Prose* const prose = [] {
    std::string text;
    for (uint64_t i = 0; i < 700; ++i) {
      absl::StrAppend(&text, "The ", Word(3 * i), " and the  ", Word(3 * i + 1), "\nwent to ", Word(3 * i + 2),
                      i % 3 == 0 ? "! " : ". ");
    }
    return new Prose(*MakeProse(TinyTokenizer(), text));
  }();
  return *prose;
}

const std::vector<Passage>& Passages() {
  static const auto* const passages = [] {
    auto* made = new std::vector<Passage>;
    for (int i = 0; i < 12; ++i) {
      Passage& passage = made->emplace_back();
      passage.text = absl::StrCat("Long ago there was town number ", i, ". Its mayor was Mr. ", Word(1000 + i), ".");
      const std::string answer = Word(1000 + i);
      const uint64_t at = passage.text.find(answer);
      if (i >= 9)
        passage.questions.push_back({absl::StrCat("Who ruled town ", i, "?"), {answer}, {at, at + answer.size()}});
    }
    return made;
  }();
  return *passages;
}

TaskSources Sources() { return {&TinyTokenizer(), &MadeUpProse(), &Passages(), &Passages()}; }

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

std::string TextOf(const Sample& sample, const ByteRange& range) {
  return sample.document.substr(range.begin, range.end - range.begin);
}

class RulerTest : public ::testing::TestWithParam<std::string> {
 protected:
  static Sample Make(int length, int index, uint64_t seed = 5) {
    auto sample = MakeRulerSample(Sources(), GetParam(), length, index, seed);
    EXPECT_THAT(sample, IsOk());
    return sample.ok() ? *std::move(sample) : Sample();
  }
};

TEST_P(RulerTest, HasTheLengthAskedForAndNoMore) {
  for (const int length : {2048, 5000}) {
    for (int index = 0; index < 2; ++index) {
      const Sample sample = Make(length, index);
      const int room = RoomForDocument(TinyTokenizer(), sample);
      const int tokens = CountTokens(TinyTokenizer(), sample.document);
      EXPECT_LE(tokens, room) << length;
      EXPECT_GT(tokens, room * 17 / 20) << length;
      EXPECT_GT(room, length / 3);
      EXPECT_FALSE(sample.question.empty());
      EXPECT_FALSE(sample.answers.empty());
    }
  }
}

TEST_P(RulerTest, TheSameSeedGivesTheSameSample) {
  const Sample first = Make(2048, 3), again = Make(2048, 3), other = Make(2048, 4), seed = Make(2048, 3, 6);
  EXPECT_EQ(first.document, again.document);
  EXPECT_EQ(first.question, again.question);
  EXPECT_EQ(first.answers, again.answers);
  EXPECT_EQ(first.gold, again.gold);
  EXPECT_NE(first.document, other.document);
  EXPECT_NE(first.document, seed.document);
}

TEST_P(RulerTest, GoldIsWhereItIsSaidToBe) {
  for (int index = 0; index < 5; ++index) {
    const Sample sample = Make(3000, index);
    const std::string& task = sample.task;
    if (absl::StartsWith(task, "niah")) {
      ASSERT_EQ(sample.gold.size(), sample.answers.size());
      for (size_t i = 0; i < sample.gold.size(); ++i) {
        const std::string needle = TextOf(sample, sample.gold[i]);
        const std::string key = needle.substr(0, needle.find(' '));
        EXPECT_EQ(needle, absl::StrCat(key, " is: ", sample.answers[i]));
        EXPECT_THAT(sample.question, HasSubstr(key));
        EXPECT_THAT(sample.answer_prefix, HasSubstr(key));
        EXPECT_EQ(Count(sample.document, sample.answers[i]), 1u) << "once";
      }
    } else if (task == "vt") {
      ASSERT_EQ(sample.gold.size(), 5u);
      for (size_t i = 0; i < 5; ++i) {
        const std::string link = TextOf(sample, sample.gold[i]);
        EXPECT_TRUE(absl::StartsWith(link, absl::StrCat("VAR ", sample.answers[i], " = "))) << link;
        if (i > 0) {
          EXPECT_TRUE(absl::EndsWith(link, absl::StrCat("= VAR ", sample.answers[i - 1]))) << link;
          EXPECT_LT(sample.gold[i - 1].end, sample.gold[i].begin) << "in order";
        } else {
          EXPECT_THAT(sample.question, HasSubstr(link.substr(link.size() - 5)));
        }
        EXPECT_EQ(Count(sample.document, link), 1u);
        EXPECT_EQ(Count(sample.preamble, sample.answers[i]), 0u) << "the example gives nothing away";
      }
    } else if (task == "qa_1" || task == "qa_2") {
      ASSERT_EQ(sample.gold.size(), 1u);
      EXPECT_EQ(TextOf(sample, sample.gold[0]), sample.answers[0]);
    } else {
      EXPECT_TRUE(sample.gold.empty());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tasks, RulerTest, ::testing::ValuesIn(RulerTasks()));

// Words of a text, without the numbers of a list.
std::map<std::string, size_t> WordCounts(const std::string& text) {
  std::map<std::string, size_t> counts;
  for (const auto word : absl::StrSplit(text, ' ')) {
    if (!absl::EndsWith(word, ".") || word == "...") ++counts[std::string(word)];
  }
  return counts;
}

TEST(RulerCountsTest, CommonWordsAreTheMostCommon) {
  for (const int length : {2048, 9000}) {
    const Sample sample = *MakeRulerSample(Sources(), "cwe", length, 0, 1);
    const auto counts = WordCounts(sample.document);
    ASSERT_EQ(sample.answers.size(), 10u);
    const std::set<std::string> common(sample.answers.begin(), sample.answers.end());
    ASSERT_EQ(common.size(), 10u);
    EXPECT_GT(counts.size(), 15u);
    for (const auto& [word, count] : counts) {
      const size_t repeats = count / (length < 4096            ? (common.count(word) > 0 ? 6 : 1)
                                      : common.count(word) > 0 ? 30
                                                               : 3);
      EXPECT_EQ(count % (common.count(word) > 0 ? 6 : 1), 0u) << word;
      EXPECT_GE(repeats, 1u) << word;
      if (common.count(word) == 0) {
        EXPECT_LT(count, counts.at(sample.answers[0])) << word;
      }
    }
  }
}

TEST(RulerCountsTest, FrequentWordsAreThoseBehindTheDots) {
  const Sample sample = *MakeRulerSample(Sources(), "fwe", 6000, 2, 1);
  const auto counts = WordCounts(sample.document);
  std::vector<std::pair<size_t, std::string>> ranked;
  for (const auto& [word, count] : counts) ranked.push_back({count, word});
  std::sort(ranked.rbegin(), ranked.rend());
  EXPECT_EQ(ranked[0].second, "...");
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(ranked[i + 1].second, sample.answers[i]);
}

TEST(RulerErrorsTest, WhatCannotBeMadeIsRefused) {
  TaskSources sources = Sources();
  const auto refused = [&](const std::string& task, int length, const std::string& message) {
    EXPECT_THAT(MakeRulerSample(sources, task, length, 0, 0),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  };
  refused("niah", 4096, "no task niah");
  refused("vt", 511, "511");
  refused("vt", 1 << 25, "length");
  sources.squad = sources.hotpot = nullptr;
  refused("qa_1", 4096, "--squad");
  refused("qa_2", 4096, "--hotpot");
  EXPECT_FALSE(CanMake(sources, "qa_1"));
  EXPECT_TRUE(CanMake(sources, "vt"));
  EXPECT_FALSE(CanMake(sources, "elsewhere"));
}

TEST(ProseTest, SentencesAndWords) {
  const Prose& prose = MadeUpProse();
  EXPECT_EQ(prose.sentences.size(), 700u);
  EXPECT_EQ(prose.sentences[1], absl::StrCat("The ", Word(3), " and the ", Word(4), " went to ", Word(5), "."));
  EXPECT_EQ(prose.tokens.size(), prose.sentences.size());
  EXPECT_TRUE(std::binary_search(prose.vocabulary.begin(), prose.vocabulary.end(), "and"));
  EXPECT_FALSE(std::binary_search(prose.vocabulary.begin(), prose.vocabulary.end(), "he")) << "a part of The";
  EXPECT_THAT(MakeProse(TinyTokenizer(), "Too short. Much too short."), StatusIs(absl::StatusCode::kInvalidArgument));
}

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
  ASSERT_EQ(passages->size(), 4u);
  for (int i = 0; i < 4; ++i) EXPECT_EQ((*passages)[i].questions.size(), i == 3 ? 1u : 0u);
  EXPECT_EQ((*passages)[3].questions[0].answers[0], "number 3");
  const QuestionSet set = SquadQuestions(TinyTokenizer(), *passages, nullptr, 1000, 1);
  const std::vector<Sample>& samples = set.samples;
  ASSERT_EQ(samples.size(), 1u);
  const ByteRange gold = samples[0].gold[0];
  EXPECT_EQ(set.document.substr(gold.begin, gold.end - gold.begin), "number 3");
  for (int i = 0; i < 4; ++i) EXPECT_THAT(set.document, HasSubstr(absl::StrCat("number ", i)));
  EXPECT_THAT(SquadQuestions(TinyTokenizer(), *passages, nullptr, 1, 1).document, Not(HasSubstr("number 2")));
}

TEST(QuestionFilesTest, ProseFillsTheTextAndParagraphsEndWhereTheySay) {
  Passage passage{.text = "The mill is old. It stands by the river.", .questions = {{"Which?", {"old"}, {12, 15}}}};
  constexpr int kTokens = 20'000;
  const QuestionSet set = SquadQuestions(TinyTokenizer(), {passage}, &MadeUpProse(), kTokens, 3);
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
      EXPECT_THAT(part, HasSubstr(passage.text));
    }
    begin = set.ends[i];
  }
  EXPECT_EQ(texts.size(), set.ends.size()) << "no piece of prose twice";
  EXPECT_EQ(set.document.substr(set.samples[0].gold[0].begin, 3), "old");
}

TEST(QuestionFilesTest, Hotpot) {
  const auto passages = ReadHotpotPassages(
      Write("hotpot.json",
            R"([{"question": "Q?", "answer": "yes", "context": [["A", ["One. ", "Two."]], ["B", ["Three."]]]}])"));
  ASSERT_THAT(passages, IsOk());
  EXPECT_EQ((*passages)[0].text, "A\nOne. Two.\nB\nThree.");
  EXPECT_EQ((*passages)[0].questions[0].answers[0], "yes");
  for (const char* bad : {"{}", "[]", "[3]", R"([{"question": "Q?", "answer": "yes", "context": [["A"]]}])"}) {
    EXPECT_THAT(ReadHotpotPassages(Write("bad.json", bad)), StatusIs(absl::StatusCode::kInvalidArgument));
  }
}

}  // namespace
}  // namespace ilre::cli
