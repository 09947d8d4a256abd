// Properties of the generated tasks, with the tokenizer of a tiny model.
#include "cli/eval/ruler.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "cli/eval/made_up_prose.h"
#include "common/base/test_matchers.h"
#include "gtest/gtest.h"

namespace ilre::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Town(size_t number) {
  return absl::StrCat("Long ago there was town number ", number, ". Its mayor was Mr. ", Word(1000 + number), ".");
}

// Of the last three towns it is asked who ruled them.
const Passages& Towns() {
  static const auto* const towns = [] {
    auto* made = new Passages;
    for (size_t i = 0; i < 12; ++i) {
      made->texts.push_back(Town(i));
      if (i < 9) continue;
      const std::string answer = Word(1000 + i);
      const uint64_t at = Town(i).find(answer);
      const ByteRange bytes = {at, at + answer.size()};
      made->questions.push_back({absl::StrCat("Who ruled town ", i, "?"), {answer}, {i}, {{i, bytes}}});
    }
    return made;
  }();
  return *towns;
}

// One question: it needs two towns, and the second sentence of each.
const Passages& Neighbours() {
  static const auto* const towns = [] {
    auto* made = new Passages(Towns());
    made->questions = {{"Who ruled towns 2 and 7?", {Word(1007)}, {7, 2}, {}}};
    for (const size_t i : {size_t{7}, size_t{2}}) {
      const std::string& text = made->texts[i];
      made->questions[0].gold.push_back({i, {text.find("Its"), text.size()}});
    }
    return made;
  }();
  return *towns;
}

TaskSources Sources() { return {&TinyTokenizer(), &MadeUpProse(), &Towns(), &Neighbours()}; }

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
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
    } else if (task == "qa_1") {
      ASSERT_EQ(sample.gold.size(), 1u);
      EXPECT_EQ(TextOf(sample, sample.gold[0]), sample.answers[0]);
    } else if (task == "qa_2") {
      ASSERT_EQ(sample.gold.size(), 2u);
      std::set<std::string> sentences;
      for (const ByteRange& range : sample.gold) sentences.insert(TextOf(sample, range));
      for (const int town : {1002, 1007}) {
        EXPECT_EQ(sentences.count(absl::StrCat("Its mayor was Mr. ", Word(town), ".")), 1u);
      }
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

// The first words of each of a sample's documents.
std::vector<std::string> Beginnings(const Sample& sample) {
  std::vector<std::string> beginnings;
  for (const auto document : absl::StrSplit(sample.document, "\n\n")) {
    const std::vector<std::string> lines = absl::StrSplit(document, '\n');
    EXPECT_EQ(lines[0], absl::StrCat("Document ", beginnings.size() + 1, ":"));
    beginnings.push_back(std::string(absl::StripPrefix(lines[1], "Long ago there was ")).substr(0, 14));
  }
  return beginnings;
}

// Figures of one version are to be compared with another's.
TEST(RulerQuestionsTest, Qa1IsAsInEarlierVersions) {
  const Sample sample = *MakeRulerSample(Sources(), "qa_1", 2048, 3, 5);
  EXPECT_EQ(sample.question, "Who ruled town 9?");
  EXPECT_THAT(Beginnings(sample),
              ElementsAre("town number 1.", "town number 5.", "town number 2.", "town number 0.", "town number 3.",
                          "The wuecen and", "town number 7.", "town number 11", "town number 8.", "town number 6.",
                          "The wllen and ", "The wibcen and", "town number 4.", "town number 9.", "town number 10"));
}

TEST(RulerQuestionsTest, EachParagraphThatIsNeededIsADocumentAmongTheOthers) {
  std::set<std::pair<size_t, size_t>> places;
  for (int index = 0; index < 8; ++index) {
    const std::vector<std::string> documents = Beginnings(*MakeRulerSample(Sources(), "qa_2", 2048, index, 5));
    EXPECT_GT(documents.size(), 12u) << "prose, too";
    std::vector<size_t> needed;
    for (const char* town : {"town number 7.", "town number 2."}) {
      EXPECT_EQ(std::count(documents.begin(), documents.end(), town), 1) << "once";
      needed.push_back(static_cast<size_t>(std::find(documents.begin(), documents.end(), town) - documents.begin()));
    }
    places.insert({needed[0], needed[1]});
  }
  EXPECT_GT(places.size(), 5u) << "in any order, and apart";
}

TEST(RulerQuestionsTest, Qa2AsksAllQuestionsBeforeOneComesAgain) {
  Passages passages = Neighbours();
  for (int i = 1; i < 3; ++i) passages.questions.push_back({absl::StrCat("Question ", i, "?"), {"x"}, {0}, {}});
  TaskSources sources = Sources();
  sources.hotpot = &passages;
  for (int index = 0; index < 7; ++index) {
    const Sample sample = *MakeRulerSample(sources, "qa_2", 2048, index, 5);
    EXPECT_EQ(sample.question, passages.questions[index % 3].question);
    EXPECT_EQ(sample.gold.empty(), index % 3 != 0) << "nothing was named";
  }
}

TEST(RulerQuestionsTest, WhatIsNeededIsThereHoweverShortTheText) {
  Passages passages = Neighbours();
  for (std::string& text : passages.texts) {
    for (int i = 0; i < 3; ++i) text += MadeUpProse().sentences[0];
  }
  TaskSources sources = Sources();
  sources.hotpot = &passages;
  const Sample sample = *MakeRulerSample(sources, "qa_2", 640, 0, 1);
  EXPECT_LT(Count(sample.document, "Document "), 12u);
  for (const size_t town : {2, 7}) EXPECT_EQ(Count(sample.document, passages.texts[town]), 1u);
  for (int i = 0; i < 10; ++i) passages.texts[2] += passages.texts[2];
  EXPECT_THAT(MakeRulerSample(sources, "qa_2", 640, 0, 1),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("640 tokens is too short")));
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

}  // namespace
}  // namespace ilre::cli
