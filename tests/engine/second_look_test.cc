// What follows the first look, against its definition computed plainly, and on chains through whole documents.
#include "retriever_service/second_look.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "common/base/test_matchers.h"
#include "common/retrieval/lexical.h"
#include "common/store/test_documents.h"
#include "gtest/gtest.h"
#include "retriever_service/retriever.h"
#include "retriever_service/word_scan.h"
#include "tests/engine/scoring_oracle.h"
#include "tests/engine/tiny_engine.h"

namespace ilre {
namespace {

using ::testing::HasSubstr;
using SecondLook = RetrievalProfile::SecondLook;

const TinyEngine& Engine() {
  static const TinyEngine* const engine = new TinyEngine("tiny-llama", [](RetrievalProfile* profile) {
    for (RetrievalHead& head : profile->heads) head.weight = 0;  // words alone, which tests can choose
    profile->lexical.weight = 1;
    profile->prompt_floor = 0.7f;
    profile->second_look = {.max_looks = 8};
  });
  return *engine;
}

// Documents of several collections in one store.
class Corpus {
 public:
  explicit Corpus(
      const std::vector<std::string>& texts, const TinyEngine::Change& change = [](RetrievalProfile*) {})
      : model_(Engine().With(change)), store_(*OpenKeyStore(folder_.path(), {})) {
    for (const std::string& text : texts) {
      const std::string name = absl::StrCat("d", rows_.size());
      rows_.push_back(*IngestWhole(*store_, *model_, rows_.size() % 2 == 0 ? "even" : "odd", name, text));
    }
  }
  const KeyStore& store() const { return *store_; }
  const std::vector<DocumentRow>& rows() const { return rows_; }
  std::vector<PlainDocument> Plain() const {
    std::vector<PlainDocument> plain;
    for (const DocumentRow& row : rows_) plain.push_back(ReadPlain(*store_, row));
    return plain;
  }
  absl::StatusOr<Retrieval> Retrieve(const std::string& question, const RetrieveOptions& options) const {
    return Retriever(*model_, *store_).Retrieve(rows_, question, options);
  }
  absl::StatusOr<std::vector<ScoredSegment>> Score(const std::string& question) const {
    return Retriever(*model_, *store_).ScoreAll(rows_, question);
  }

 private:
  TempFolder folder_;
  std::unique_ptr<RetrievalModel> model_;
  std::unique_ptr<KeyStore> store_;
  std::vector<DocumentRow> rows_;
};

// Sentences of words of which some are everywhere and most are rare.
std::string NamesText(Random* random, size_t sentences) {
  std::string text;
  for (size_t i = 0; i < sentences; ++i) {
    for (uint64_t word = 0, words = 2 + random->Below(7); word < words; ++word) {
      absl::StrAppend(&text, word > 0 ? " " : "", random->Below(3) == 0 ? "calm" : "x",
                      random->Below(random->Below(2) == 0 ? 500 : 12));
    }
    text += random->Below(2) == 0 ? ".\n" : ". ";
  }
  return text;
}

// The definition in second_look.h, in double precision and straight loops. -> looks
int PlainLooks(const std::vector<PlainDocument>& documents, const std::vector<uint32_t>& question_words,
               const SecondLook& options, std::vector<ScoredSegment>* segments) {
  std::vector<std::set<uint32_t>> stored, read;  // of each segment: as indexed block by block, and in its text
  std::vector<double> s;
  for (const PlainDocument& document : documents) {
    for (const auto& words : SegmentWords(document)) stored.emplace_back(words.begin(), words.end());
    for (size_t i = 0; i < document.starts.size(); ++i) {
      std::vector<uint32_t> words;
      const uint64_t begin = document.byte_begin(document.starts[i]), end = document.ends[document.segment_end(i) - 1];
      AppendWordHashes(absl::string_view(document.text).substr(begin, end - begin), &words);
      read.emplace_back(words.begin(), words.end());
    }
  }
  for (const ScoredSegment& segment : *segments) s.push_back(segment.score);
  std::vector<double> sorted = s;
  std::sort(sorted.begin(), sorted.end());
  const double n = static_cast<double>(s.size()), median = sorted[s.size() / 2], best = sorted.back();
  const auto value = [&](uint32_t word) {
    const double df = static_cast<double>(
        std::count_if(stored.begin(), stored.end(), [&](const auto& words) { return words.count(word) > 0; }));
    return std::log(1 + (n - df + 0.5) / (df + 0.5));
  };
  std::set<uint32_t> known(question_words.begin(), question_words.end());
  std::set<size_t> followed;
  for (int look = 0; look < options.max_looks; ++look) {
    std::vector<size_t> sources;
    for (size_t i = 0; i < s.size(); ++i) {
      if (s[i] >= median + options.floor * (best - median) && followed.count(i) == 0) sources.push_back(i);
    }
    std::stable_sort(sources.begin(), sources.end(), [&](size_t a, size_t b) { return s[a] > s[b]; });
    if (static_cast<int>(sources.size()) > options.max_sources) sources.resize(options.max_sources);
    std::vector<double> link(s.size(), 0);
    std::set<uint32_t> new_words;
    for (const size_t source : sources) {
      followed.insert(source);
      double all = 0;
      std::vector<double> shared(s.size(), 0);
      for (const uint32_t word : read[source]) {
        if (known.count(word) > 0) continue;
        new_words.insert(word);
        all += value(word);
        if (value(word) < 0.5 * std::log(1 + (n - 0.5) / 1.5)) continue;
        for (size_t i = 0; i < s.size(); ++i) shared[i] += i != source && stored[i].count(word) > 0 ? value(word) : 0;
      }
      for (size_t i = 0; i < s.size() && all > 0; ++i) {
        if (shared[i] / all < options.min_link) continue;
        link[i] = std::max(link[i], shared[i] / all * (s[source] - median) / (best - median));
      }
    }
    if (new_words.empty()) return look;
    for (size_t i = 0; i < s.size(); ++i) s[i] += options.weight * link[i] * (best - s[i]);
    known.insert(new_words.begin(), new_words.end());
    for (size_t i = 0; i < s.size(); ++i) (*segments)[i].score = static_cast<float>(s[i]);
  }
  return options.max_looks;
}

TEST(SecondLookTest, ScoresAreAsDefined) {
  Random random(3);
  const Corpus corpus({NamesText(&random, 200), NamesText(&random, 9), NamesText(&random, 330)});
  const std::vector<PlainDocument> plain = corpus.Plain();
  ILRE_ASSERT_OK_AND_ASSIGN(const std::vector<ScoredSegment> first, corpus.Score("x7 calm300 x3"));
  int many_looks = 0, raised = 0;
  for (int round = 0; round < 30; ++round) {
    std::vector<ScoredSegment> actual = first;
    // Few stand out, as after a real look.
    for (ScoredSegment& segment : actual) segment.score = static_cast<float>(std::pow(random.Uniform(), 12));
    std::vector<ScoredSegment> before = actual, expected = actual;
    SecondLook options{.max_looks = 1 + static_cast<int>(random.Below(5)),
                       .weight = static_cast<float>(random.Uniform()),
                       .floor = 0.5f + 0.4f * static_cast<float>(random.Uniform()),
                       .min_link = static_cast<float>(random.Uniform()) / 3,
                       .max_sources = 1 + static_cast<int>(random.Below(9))};
    std::vector<uint32_t> question_words;
    AppendWordHashes("x7 calm300 x3", &question_words);
    ILRE_ASSERT_OK_AND_ASSIGN(const int looks,
                              LookAgain(corpus.store(), corpus.rows(), question_words, options, nullptr, &actual));
    EXPECT_EQ(looks, PlainLooks(plain, question_words, options, &expected)) << "round " << round;
    for (size_t i = 0; i < actual.size(); ++i) {
      ASSERT_NEAR(actual[i].score, expected[i].score, 1e-5) << "round " << round << " segment " << i;
      raised += actual[i].score > before[i].score ? 1 : 0;
    }
    many_looks += looks > 1 ? 1 : 0;
  }
  EXPECT_GT(many_looks, 10) << "hardly any link was followed twice";
  EXPECT_GT(raised, 300) << "hardly any score changed";
}

using HitOfWord = std::tuple<uint32_t, uint16_t, uint16_t>;  // segment, word, count

// A document is read in ranges of 32 blocks, side by side: what a segment has in two of them is one hit.
TEST(WordScanTest, HitsAreThoseOfTheTextThroughAllRanges) {
  Random random(4);
  const Corpus corpus({NamesText(&random, 20), NamesText(&random, 1200), NamesText(&random, 700)});
  const std::vector<PlainDocument> plain = corpus.Plain();
  std::vector<std::vector<uint32_t>> segment_words;
  std::vector<ScoredSegment> segments;
  std::set<uint32_t> all;
  int across = 0;  // segments that run on from one range into the next
  for (uint32_t d = 0; d < plain.size(); ++d) {
    for (size_t i = 0; i < plain[d].starts.size(); ++i) {
      segments.push_back({d, plain[d].starts[i], plain[d].segment_end(i)});
      across += segments.back().begin / (32 * kBlockTokens) < (segments.back().end - 1) / (32 * kBlockTokens) ? 1 : 0;
    }
    for (const auto& words : SegmentWords(plain[d])) {
      segment_words.push_back(words);
      all.insert(words.begin(), words.end());
    }
  }
  ASSERT_GT(across, 1);
  const std::vector<uint32_t> words(all.begin(), all.end());
  ILRE_ASSERT_OK_AND_ASSIGN(const std::vector<WordHit> hits,
                            ScanWords(corpus.store(), corpus.rows(), segments, words, nullptr));
  std::vector<HitOfWord> expected, actual;
  for (size_t i = 0; i < segment_words.size(); ++i) {
    for (size_t w = 0; w < words.size(); ++w) {
      const auto count = std::count(segment_words[i].begin(), segment_words[i].end(), words[w]);
      if (count > 0) expected.emplace_back(i, w, count);
    }
  }
  for (const WordHit& hit : hits) actual.emplace_back(hit.segment, hit.word, hit.count);
  EXPECT_EQ(actual, expected);
}

// `names` as a chain that begins with the number 48213, and as many others that begin with other numbers.
std::vector<std::string> Chain(const std::vector<std::string>& names, const std::string& number) {
  std::vector<std::string> links = {absl::StrCat(names[0], " carries ", number, ".")};
  for (size_t i = 1; i < names.size(); ++i) links.push_back(absl::StrCat(names[i], " trusts ", names[i - 1], "."));
  return links;
}

struct ChainCorpus {
  std::vector<std::string> links;
  std::vector<std::string> texts;
};

// The chain asked for and two others, their links anywhere in three documents of noise.
ChainCorpus MakeChains(uint64_t seed) {
  Random random(seed);
  ChainCorpus made;
  made.links = Chain({"Qazip", "Rodul", "Semov", "Tirka", "Ublin"}, "48213");
  std::vector<std::string> all = made.links;
  for (const std::string& link : Chain({"Vokra", "Wemil", "Xandu"}, "11111")) all.push_back(link);
  for (const std::string& link : Chain({"Yoppe", "Zarif", "Aglon", "Bemut"}, "22222")) all.push_back(link);
  made.texts.resize(3);
  for (const std::string& link : all) {
    for (std::string& text : made.texts) {
      for (uint64_t i = 0, lines = 4 + random.Below(12); i < lines; ++i) text += "The grass is green and wet.\n";
    }
    absl::StrAppend(&made.texts[random.Below(3)], link, "\n");
  }
  return made;
}

constexpr char kWhoCarries[] = "Who carries 48213?";

std::string InPrompt(const Retrieval& retrieval) {
  std::string text;
  for (const RecalledSpan& span : retrieval.spans) text += span.in_prompt ? span.text : "";
  return text;
}

TEST(SecondLookTest, AChainThroughSeveralDocumentsAndCollectionsIsWholeInThePrompt) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const ChainCorpus chains = MakeChains(seed);
    const Corpus corpus(chains.texts);
    ILRE_ASSERT_OK_AND_ASSIGN(const Retrieval retrieval, corpus.Retrieve(kWhoCarries, {.budget = 300}));
    for (const std::string& link : chains.links) EXPECT_THAT(InPrompt(retrieval), HasSubstr(link)) << "seed " << seed;
    for (const char* other : {"Vokra", "Wemil", "Zarif", "Bemut"}) {
      EXPECT_THAT(InPrompt(retrieval), Not(HasSubstr(absl::StrCat(other, " trusts")))) << "seed " << seed;
    }
    EXPECT_EQ(retrieval.looks, 6) << "one a link, the last of which finds nothing";
    ILRE_ASSERT_OK_AND_ASSIGN(const Retrieval one, corpus.Retrieve(kWhoCarries, {.budget = 300, .one_look = true}));
    EXPECT_THAT(InPrompt(one), HasSubstr(chains.links[0]));
    EXPECT_THAT(InPrompt(one), Not(HasSubstr("trusts")));
    EXPECT_EQ(one.looks, 1);
    EXPECT_EQ(one.second_look_ms, 0);
  }
}

TEST(SecondLookTest, NoMoreLooksThanTheProfileAllows) {
  const ChainCorpus chains = MakeChains(1);
  for (int max_looks = 0; max_looks < 5; ++max_looks) {
    const Corpus corpus(chains.texts, [&](RetrievalProfile* profile) { profile->second_look.max_looks = max_looks; });
    ILRE_ASSERT_OK_AND_ASSIGN(const Retrieval retrieval, corpus.Retrieve(kWhoCarries, {.budget = 300}));
    EXPECT_EQ(retrieval.looks, 1 + max_looks);
    for (size_t i = 0; i < chains.links.size(); ++i) {
      const bool reached = static_cast<int>(i) <= max_looks;
      EXPECT_EQ(InPrompt(retrieval).find(chains.links[i]) != std::string::npos, reached) << max_looks << " link " << i;
    }
  }
}

TEST(SecondLookTest, WithoutPostingsTheFirstLookStands) {
  const ChainCorpus chains = MakeChains(2);
  const Corpus corpus(chains.texts, [](RetrievalProfile* profile) {
    profile->lexical_postings = false;
    profile->lexical.weight = 0;
    profile->heads[0].weight = 1;
  });
  ILRE_ASSERT_OK_AND_ASSIGN(const Retrieval retrieval, corpus.Retrieve(kWhoCarries, {.budget = 300}));
  EXPECT_EQ(retrieval.looks, 1);
}

TEST(SecondLookTest, ACancelledLookStops) {
  const ChainCorpus chains = MakeChains(3);
  const Corpus corpus(chains.texts);
  ILRE_ASSERT_OK_AND_ASSIGN(std::vector<ScoredSegment> segments, corpus.Score(kWhoCarries));
  EXPECT_THAT(LookAgain(
                  corpus.store(), corpus.rows(), {}, {.max_looks = 3}, [] { return true; }, &segments),
              StatusIs(absl::StatusCode::kCancelled));
  std::vector<ScoredSegment> none;
  EXPECT_THAT(*LookAgain(corpus.store(), corpus.rows(), {}, {.max_looks = 3}, nullptr, &none), 0);
}

}  // namespace
}  // namespace ilre
