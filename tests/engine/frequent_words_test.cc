// Places of the most frequent words, against counts made plainly from the texts.
#include "retriever_service/frequent_words.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/base/test_matchers.h"
#include "common/store/test_documents.h"
#include "gtest/gtest.h"
#include "retriever_service/retriever.h"
#include "tests/engine/tiny_engine.h"

namespace ilre {
namespace {

constexpr char kQuestion[] = "What are the three most common words in this text?";

TEST(CountFrequentWordsAskedTest, OnlyWhereWordsAreToBeCounted) {
  for (const char* question : {kQuestion, "Which words appear most often?", "Name the top 10 most frequent WORDS.",
                               "What are the most frequently appeared words in the above coded text?"}) {
    EXPECT_GT(CountFrequentWordsAsked(question), 0) << question;
  }
  for (const char* question :
       {"", "What is the most common cause of fires?", "How often do the words of the oath change?",
        "In other words, who won most?", "Which common words does the poet use?"}) {
    EXPECT_EQ(CountFrequentWordsAsked(question), 0) << question;
  }
}

// Short lines of words, of which the first are far more frequent. All words have at most six letters: no two become
// one.
std::string Lines(uint64_t seed, int count) {
  Random random(seed);
  std::string text;
  for (int i = 0; i < count; ++i) {
    for (uint64_t words = 1 + random.Below(4); words > 0; --words) {
      const uint64_t limit = 1 + random.Below(40);
      absl::StrAppend(&text, "w", std::string(1, static_cast<char>('a' + random.Below(limit) % 26)),
                      random.Below(limit) / 20, " ");
    }
    text += "\n";
  }
  return text;
}

class FrequentWordsTest : public ::testing::Test {
 protected:
  // A word cut by the end of a block counts as two: what is compared here has none such.
  void Ingest(const std::string& name, const std::string& text) {
    auto row = IngestWhole(*store_, *model_, "c", name, text);
    ILRE_ASSERT_OK(row);
    ASSERT_EQ(row->num_blocks, 1u);
    rows_.push_back(*std::move(row));
  }
  std::vector<std::string> WordsOf(const ScoredSegment& segment) const {
    const auto spans = ReadSpans(*store_, rows_, {segment});
    return absl::StrSplit((*spans)[0].text, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  }

  const TinyEngine engine_;
  TempFolder folder_;
  const std::unique_ptr<RetrievalModel> model_ = engine_.With([](RetrievalProfile* profile) {
    profile->lexical.weight = 0.5f;
    profile->prompt_floor = 0.7f;
  });
  const std::unique_ptr<KeyStore> store_ = *OpenKeyStore(folder_.path(), {});
  std::vector<DocumentRow> rows_;
};

TEST(CountFrequentWordsAskedTest, SaysHowManyWords) {
  EXPECT_EQ(CountFrequentWordsAsked(kQuestion), 3);
  EXPECT_EQ(CountFrequentWordsAsked("What are the 25 most common words in the above list?"), 25);
  EXPECT_EQ(CountFrequentWordsAsked("What are the most common words?"), 10);
  EXPECT_EQ(CountFrequentWordsAsked("What are the 999999999999 most common words?"), 10);
}

TEST_F(FrequentWordsTest, EachOfTheMostFrequentWordsIsFoundWholeAtItsFirstPlace) {
  for (int i = 0; i < 12; ++i) Ingest(absl::StrCat("d", 10 + i), Lines(static_cast<uint64_t>(i), 12));
  const Retriever retriever(*model_, *store_);
  ILRE_ASSERT_OK_AND_ASSIGN(const auto segments, retriever.ScoreAll(rows_, kQuestion));
  std::map<std::string, int> counts;
  int all = 0;
  for (int i = 0; i < 12; ++i) {
    const std::string text = Lines(static_cast<uint64_t>(i), 12);
    for (const absl::string_view word : absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty())) {
      ++counts[std::string(word)];
      ++all;
    }
  }
  std::vector<std::pair<int, std::string>> ranked;
  for (const auto& [word, count] : counts) ranked.push_back({count, word});
  std::sort(ranked.rbegin(), ranked.rend());
  size_t num_words = 6;  // at least: which words are frequent must be clear
  while (ranked[num_words - 1].first == ranked[num_words].first) ++num_words;
  ranked.resize(num_words);
  for (const int budget : {1, 9, 200}) {
    ILRE_ASSERT_OK_AND_ASSIGN(const auto places, PlacesOfFrequentWords(*store_, rows_, segments,
                                                                       static_cast<int>(num_words), budget, nullptr));
    int tokens = 0;
    std::map<std::string, float> found;
    for (const ScoredSegment& place : places) {
      tokens += static_cast<int>(place.num_tokens());
      EXPECT_TRUE(place.in_prompt);
      const std::vector<std::string> words = WordsOf(place);
      ASSERT_EQ(words.size(), 1u);
      found[words[0]] = place.score;
    }
    EXPECT_LE(tokens, budget);
    EXPECT_TRUE(std::is_sorted(places.begin(), places.end(), [](const ScoredSegment& a, const ScoredSegment& b) {
      return std::tie(a.document, a.begin) < std::tie(b.document, b.begin);
    }));
    EXPECT_EQ(found.size(), places.size()) << "each word once";
    for (const auto& [count, word] : ranked) {
      EXPECT_TRUE(budget < 200 || found.count(word) == 1) << word;
      const float share = static_cast<float>(count) / static_cast<float>(all);
      EXPECT_FLOAT_EQ(found.count(word) > 0 ? found[word] : share, share) << word;
    }
  }
}

TEST_F(FrequentWordsTest, TheRetrieverPutsThemAllIntoThePromptWhereItIsAskedTo) {
  Ingest("d", "A moon.\nThe three words here are common.\nkite lamp kite.\nkite.\nlamp moon.\nkite moon lamp moon.\n");
  Ingest("e", "lamp kite moon.\n");
  const Retriever retriever(*model_, *store_);
  const auto recall = [&](absl::string_view question, bool one_look) {
    auto retrieval = retriever.Retrieve(rows_, question, {.budget = 40, .one_look = one_look});
    EXPECT_TRUE(retrieval.ok()) << retrieval.status();
    std::set<std::string> words;
    for (const RecalledSpan& span : retrieval->spans) {
      EXPECT_TRUE(span.in_prompt || !retrieval->counted_words);
      words.insert(std::string(absl::StripAsciiWhitespace(absl::StrReplaceAll(span.text, {{".", ""}}))));
    }
    return std::make_pair(retrieval->counted_words, words);
  };
  EXPECT_EQ(recall(kQuestion, false), std::make_pair(true, std::set<std::string>({"moon", "kite", "lamp"})));
  EXPECT_FALSE(recall(kQuestion, true).first) << "one look";
  EXPECT_FALSE(recall("Which words are common here?", false).first);
}

TEST_F(FrequentWordsTest, WithoutPostingsTheUsualSelectionAnswers) {
  const auto model = engine_.With([](RetrievalProfile* profile) {
    profile->lexical_postings = false;
    profile->lexical.weight = 0;
  });
  auto row = IngestWhole(*store_, *model, "c", "d", "kite lamp.\nkite moon.\n");
  ILRE_ASSERT_OK(row);
  ILRE_ASSERT_OK_AND_ASSIGN(const Retrieval retrieval,
                            Retriever(*model, *store_).Retrieve({*row}, kQuestion, {.budget = 20}));
  EXPECT_FALSE(retrieval.counted_words);
  EXPECT_FALSE(retrieval.spans.empty());
}

TEST_F(FrequentWordsTest, StopsWhenToldTo) {
  Ingest("d", "kite lamp.\n");
  EXPECT_THAT(PlacesOfFrequentWords(*store_, rows_, {{0, 0, 4, 0}}, 3, 100, [] { return true; }),
              StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace ilre
