// Which near segments the words of a question bring into the prompt.
#include "retriever_service/question_words.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/test_matchers.h"
#include "common/retrieval/lexical.h"
#include "common/store/test_documents.h"
#include "gtest/gtest.h"
#include "retriever_service/retriever.h"
#include "tests/engine/tiny_engine.h"

namespace ilre {
namespace {

constexpr char kText[] =
    "The number of amber foxes is 7.\n"
    "Nothing stands here.\n"
    "The number of birch owls is 9.\n"
    "The number of coral bats is 4.\n"
    "The number of amber gulls is 5.\n"
    "Amber foxes number 8 more.\n";
enum Line { kAmberFox, kNothing, kBirchOwl, kCoralBat, kAmberGull, kMoreFoxes, kNumLines };

class QuestionWordsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ILRE_ASSERT_OK_AND_ASSIGN(DocumentRow row, IngestWhole(*store_, *model_, "c", "d", kText));
    rows_.push_back(std::move(row));
    ILRE_ASSERT_OK_AND_ASSIGN(segments_, Retriever(*model_, *store_).ScoreAll(rows_, "x"));
    ASSERT_EQ(segments_.size(), size_t{kNumLines});
  }

  // Lines in the prompt of a question, if the line `best` is in it, the others are not, and all but kNothing are near.
  std::vector<int> Taken(const std::string& question, Line best, bool near = true) {
    std::vector<ScoredSegment> segments = segments_;
    for (int line = 0; line < kNumLines; ++line) {
      segments[line].in_prompt = line == best;
      segments[line].is_near = near && line != best && line != kNothing;
      segments[line].score = line == best ? 1 : 0.5f - 0.01f * static_cast<float>(line);
    }
    std::vector<uint32_t> words;
    AppendWordHashes(question, &words);
    std::sort(words.begin(), words.end());
    words.erase(std::unique(words.begin(), words.end()), words.end());
    ILRE_EXPECT_OK(TakeByQuestionWords(*store_, rows_, words, &segments));
    std::vector<int> taken;
    for (int line = 0; line < kNumLines; ++line) {
      if (segments[line].in_prompt) taken.push_back(line);
    }
    return taken;
  }

  const TinyEngine engine_;
  TempFolder folder_;
  const std::unique_ptr<RetrievalModel> model_ =
      engine_.With([](RetrievalProfile* profile) { profile->lexical.weight = 0.5f; });
  const std::unique_ptr<KeyStore> store_ = *OpenKeyStore(folder_.path(), {});
  std::vector<DocumentRow> rows_;
  std::vector<ScoredSegment> segments_;
};

TEST_F(QuestionWordsTest, APartOfTheQuestionThatTheBestLacks) {
  EXPECT_EQ(Taken("the number of coral bats and of birch owls", kCoralBat), (std::vector<int>{kBirchOwl, kCoralBat}));
}

TEST_F(QuestionWordsTest, AnotherAnswerWithTheSameWords) {
  EXPECT_EQ(Taken("the number of amber foxes", kAmberFox), (std::vector<int>{kAmberFox, kMoreFoxes}));
}

TEST_F(QuestionWordsTest, SharingAPartOfTheNameIsNotEnough) {
  EXPECT_EQ(Taken("the number of birch owls", kBirchOwl), std::vector<int>{kBirchOwl});
  EXPECT_EQ(Taken("the number of amber gulls", kAmberGull), std::vector<int>{kAmberGull});
}

TEST_F(QuestionWordsTest, NothingWhereWordsTellNothingOrNothingIsNear) {
  EXPECT_EQ(Taken("birch owls", kNothing), std::vector<int>{kNothing});  // the best was found by its meaning
  EXPECT_EQ(Taken("", kAmberFox), std::vector<int>{kAmberFox});
  EXPECT_EQ(Taken("coral bats, birch owls", kCoralBat, /*near=*/false), std::vector<int>{kCoralBat});
}

}  // namespace
}  // namespace ilre
