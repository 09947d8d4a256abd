// Places of the most frequent words, against counts made plainly from the texts.
#include "retriever_service/frequent_words.h"

#include <algorithm>
#include <atomic>
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
#include "retriever_service/document_search.h"
#include "retriever_service/retriever.h"
#include "retriever_service/word_places.h"
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

// (count, word), ascending.
std::vector<std::pair<int, std::string>> Ranked(const WordCounts& counts) {
  std::vector<std::pair<int, std::string>> ranked;
  for (const WordCounts::Word& word : counts.words) ranked.push_back({static_cast<int>(word.count), word.word});
  std::sort(ranked.begin(), ranked.end());
  return ranked;
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
  std::sort(ranked.begin(), ranked.end());
  for (const int budget : {1, 9, 200}) {
    ILRE_ASSERT_OK_AND_ASSIGN(const FrequentWords frequent,
                              FindFrequentWords(*store_, rows_, static_cast<int>(num_words), budget, nullptr));
    const std::vector<ScoredSegment>& places = frequent.places;
    EXPECT_EQ(Ranked(frequent.counts), ranked) << "whatever there is room for";
    EXPECT_EQ(frequent.counts.total, static_cast<uint64_t>(all));
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
    const bool counted = !retrieval->word_counts.words.empty();
    std::set<std::string> words;
    for (const RecalledSpan& span : retrieval->spans) {
      EXPECT_TRUE(span.in_prompt || !counted);
      words.insert(std::string(absl::StripAsciiWhitespace(absl::StrReplaceAll(span.text, {{".", ""}}))));
    }
    return std::make_pair(counted, words);
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
  EXPECT_TRUE(retrieval.word_counts.words.empty());
  EXPECT_FALSE(retrieval.spans.empty());
}

TEST_F(FrequentWordsTest, ADocumentWithoutWordsIsSearchedAsUsual) {
  Ingest("d", "The of and. ... - !!\nIs it? ()\n");
  ILRE_ASSERT_OK_AND_ASSIGN(const FrequentWords frequent, FindFrequentWords(*store_, rows_, 3, 100, nullptr));
  EXPECT_TRUE(frequent.places.empty());
  EXPECT_TRUE(frequent.counts.words.empty());
  EXPECT_EQ(frequent.counts.total, 0u);
  ILRE_ASSERT_OK_AND_ASSIGN(const Retrieval retrieval,
                            Retriever(*model_, *store_).Retrieve(rows_, kQuestion, {.budget = 20}));
  EXPECT_TRUE(retrieval.word_counts.words.empty());
  EXPECT_FALSE(retrieval.spans.empty());
}

TEST_F(FrequentWordsTest, ACollectionIsCountedAsOneTextHoweverItsBlocksLie) {
  // In each document another word is the most frequent one; over all it is "moon". Some documents have many blocks,
  // some have no words.
  std::map<std::string, int> counts;
  const auto add = [&](absl::string_view word, int count, std::string* text) {
    for (int i = 0; i < count; ++i) absl::StrAppend(text, word, i % 7 == 6 ? ".\n" : " ");
    counts[std::string(word)] += count;
  };
  const std::vector<std::string> own = {"kite", "lamp", "reed", "oven"};
  for (size_t i = 0; i < own.size(); ++i) {
    std::string text = "The. And so.\n";
    add(own[i], i == 2 ? 900 : 60, &text);
    add("moon", i == 2 ? 850 : 59, &text);
    ILRE_ASSERT_OK(IngestWhole(*store_, *model_, "c", absl::StrCat("d", i), text));
    ILRE_ASSERT_OK(IngestWhole(*store_, *model_, "c", absl::StrCat("e", i), "!!! ...\n"));
  }
  ILRE_ASSERT_OK_AND_ASSIGN(const DocumentSearch search,
                            SearchDocuments(Retriever(*model_, *store_), *store_, {{"c", "", "c"}},
                                            "What are the 5 most common words in these texts?", {.budget = 100}));
  ASSERT_EQ(search.documents.size(), 8u);
  EXPECT_GT(search.documents[2].num_blocks, 1u);
  const std::vector<WordCounts::Word>& words = search.retrieval.word_counts.words;
  ASSERT_EQ(words.size(), 5u);
  EXPECT_EQ(words[0].word, "moon");
  EXPECT_EQ(words[1].word, "reed");
  std::set<std::string> found;
  for (const RecalledSpan& span : search.retrieval.spans) {
    found.insert(std::string(absl::StripAsciiWhitespace(absl::StrReplaceAll(span.text, {{".", ""}}))));
  }
  EXPECT_EQ(found, std::set<std::string>({"moon", "kite", "lamp", "reed", "oven"}));
  for (const WordCounts::Word& word : words) {
    // Where the end of a block cuts a word it counts as two, which others than these are.
    const int cut_at_most = static_cast<int>(search.documents[2].num_blocks);
    EXPECT_LE(static_cast<int>(word.count), counts[word.word]) << word.word;
    EXPECT_GE(static_cast<int>(word.count), counts[word.word] - cut_at_most) << word.word;
  }
}

TEST_F(FrequentWordsTest, APostingsSegmentIsTheOneThatIsScored) {
  Random random(8);
  for (int i = 0; i < 3; ++i) {
    auto row = IngestWhole(*store_, *model_, "c", absl::StrCat("d", i), MadeUpText(&random, 6000));
    ILRE_ASSERT_OK(row);
    rows_.push_back(*std::move(row));
  }
  ILRE_ASSERT_OK_AND_ASSIGN(const auto segments, Retriever(*model_, *store_).ScoreAll(rows_, kQuestion));
  size_t across = 0;
  for (const ScoredSegment& expected : segments) {
    // Each block that the segment has a part in, and its number there: starts up to and with its own.
    for (uint32_t block = expected.begin / kBlockTokens; block <= (expected.end - 1) / kBlockTokens; ++block) {
      const auto number = std::count_if(segments.begin(), segments.end(), [&](const ScoredSegment& other) {
        return other.document == expected.document && other.begin >= block * kBlockTokens &&
               other.begin <= expected.begin;
      });
      ILRE_ASSERT_OK_AND_ASSIGN(const absl::optional<ScoredSegment> found,
                                SegmentOf(*store_, rows_, {expected.document, block, static_cast<uint8_t>(number)}));
      ASSERT_TRUE(found.has_value());
      EXPECT_EQ(std::tie(found->document, found->begin, found->end),
                std::tie(expected.document, expected.begin, expected.end));
      across += number == 0 ? 1 : 0;
    }
  }
  EXPECT_GT(across, 5u);
  ILRE_ASSERT_OK_AND_ASSIGN(const auto nothing, SegmentOf(*store_, rows_, {0, 0, 255}));
  EXPECT_FALSE(nothing.has_value());
}

TEST_F(FrequentWordsTest, StopsWheneverItIsToldTo) {
  std::string text;
  for (int i = 0; i < 4000; ++i) absl::StrAppend(&text, "word", i % 50, i % 10 == 9 ? ".\n" : " ");
  auto row = IngestWhole(*store_, *model_, "c", "d", text);
  ILRE_ASSERT_OK(row);
  ASSERT_GT(row->num_blocks, 64u) << "so that it is asked more than once in counting";
  std::atomic<int> asked = 0, stop_at = -1;
  const auto should_stop = [&] { return ++asked > stop_at && stop_at >= 0; };
  ILRE_ASSERT_OK(FindFrequentWords(*store_, {*row}, 3, 100, should_stop).status());
  const int in_all = asked;
  ASSERT_GT(in_all, 3);
  for (stop_at = 0; stop_at < in_all; ++stop_at) {
    asked = 0;
    EXPECT_THAT(FindFrequentWords(*store_, {*row}, 3, 100, should_stop), StatusIs(absl::StatusCode::kCancelled))
        << "after " << stop_at << " of " << in_all;
  }
  stop_at = 1;
  asked = 0;
  EXPECT_THAT(Retriever(*model_, *store_).Retrieve({*row}, kQuestion, {.budget = 40, .should_stop = should_stop}),
              StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace ilre
