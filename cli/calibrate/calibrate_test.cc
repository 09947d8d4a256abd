// The scan of all heads against the engine itself, texts of a wanted length, and what is made of the results.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/calibrate/head_results.h"
#include "cli/calibrate/head_scan.h"
#include "cli/calibrate/head_texts.h"
#include "cli/calibrate/heads_page.h"
#include "cli/calibrate/held_out_recall.h"
#include "common/base/random.h"
#include "common/base/test_matchers.h"
#include "gtest/gtest.h"
#include "tests/engine/tiny_engine.h"

namespace ilre::cli {
namespace {

const std::vector<RetrievalProfile::Attention::Kernel> kKernels = {{1, 20}, {7, 20}};

// A profile of one key head, scored as the scan scores it.
RetrievalProfile KeyProfile(const TinyEngine& engine, int layer, std::vector<int> query_heads) {
  RetrievalProfile profile = engine.profile();
  RetrievalHead head;
  head.kind = RetrievalHead::Kind::kKey;
  head.layer = layer;
  head.dim = static_cast<int>(engine.config().head_dim);
  head.key_head = query_heads[0] / static_cast<int>(engine.config().num_heads / engine.config().num_kv_heads);
  head.query_heads = std::move(query_heads);
  profile.heads = {head};
  profile.arithmetic = StreamArithmetic::kInt8;
  profile.scoring = RetrievalProfile::Scoring::kAttention;
  profile.attention = {};
  profile.lexical = {};
  profile.neighbour_weight = 0;
  profile.second_look = {};
  profile.rerank = {};
  return profile;
}

TEST(HeadScanTest, RecallsWhatTheEngineRecalls) {
  const TinyEngine engine;
  const TrainingText text = NeedleText(engine.tokenizer(), 5, 1500, 12, {"A line of prose that fills the page."});
  ASSERT_EQ(text.questions.size(), 12u);
  const int budget = 200;
  ILRE_ASSERT_OK_AND_ASSIGN(
      const HeadRecall scan,
      ScanHeads(engine.decoder(), engine.tokenizer(), KeyProfile(engine, 0, {0}), text, budget, kKernels, nullptr));
  const auto group = static_cast<int>(engine.config().num_heads / engine.config().num_kv_heads);
  const auto engine_recall = [&](int layer, std::vector<int> query_heads) {
    const auto recall = MeasureRecall(engine.decoder(), engine.tokenizer(),
                                      KeyProfile(engine, layer, std::move(query_heads)), text, {budget});
    EXPECT_TRUE(recall.ok()) << recall.status();
    return recall.ok() ? (*recall)[0].fused * 12 : -1;
  };
  ASSERT_EQ(scan.layers.size(), static_cast<size_t>(engine.decoder().num_layers()));
  std::vector<double> seen;
  for (int layer = 0; layer < engine.decoder().num_layers(); ++layer) {
    const HeadRecall::Layer& found = scan.layers[static_cast<size_t>(layer)];
    for (int head = 0; head < static_cast<int>(engine.config().num_heads); ++head) {
      EXPECT_NEAR(found.query_heads[static_cast<size_t>(head)], engine_recall(layer, {head}), 1e-9)
          << layer << " " << head;
      seen.push_back(found.query_heads[static_cast<size_t>(head)]);
    }
    std::vector<int> shared;
    for (int i = 0; i < group; ++i) shared.push_back(group + i);
    EXPECT_NEAR(found.key_heads[1], engine_recall(layer, shared), 1e-9) << layer;
    EXPECT_GE(found.published, 0);
    EXPECT_LE(found.published, 12);
  }
  EXPECT_NE(*std::min_element(seen.begin(), seen.end()), *std::max_element(seen.begin(), seen.end()))
      << "heads that all recall alike prove nothing";
}

TEST(HeadScanTest, EverythingIsRecalledWithinTheWholeLength) {
  const TinyEngine engine;
  const TrainingText text = NeedleText(engine.tokenizer(), 6, 600, 5, {});
  ILRE_ASSERT_OK_AND_ASSIGN(
      const HeadRecall scan,
      ScanHeads(engine.decoder(), engine.tokenizer(), KeyProfile(engine, 0, {0}), text, 1 << 20, kKernels, nullptr));
  for (const HeadRecall::Layer& layer : scan.layers) {
    for (const double recall : layer.query_heads) EXPECT_NEAR(recall, 5, 1e-9);
    EXPECT_NEAR(layer.all_heads, 5, 1e-9);
    EXPECT_NEAR(layer.published, 5, 1e-9);
  }
  const auto stopped = ScanHeads(engine.decoder(), engine.tokenizer(), KeyProfile(engine, 0, {0}), text, 100, kKernels,
                                 [](double share) { return share < 0.4; });
  EXPECT_EQ(stopped.status().code(), absl::StatusCode::kCancelled);
}

TEST(HeadTextsTest, TextsAreCutAtALineAndQuestionsStayTrue) {
  const TinyEngine engine;
  const std::vector<std::string> prose = {"A line of prose that fills the page."};
  const TrainingText text = NeedleText(engine.tokenizer(), 9, 900, 7, prose);
  EXPECT_LE(engine.tokenizer().Encode(text.text).ids.size(), 900u);
  EXPECT_GE(engine.tokenizer().Encode(text.text).ids.size(), 600u);
  EXPECT_EQ(text.text.back(), '\n');
  ASSERT_EQ(text.questions.size(), 7u);
  for (const TextQuestion& question : text.questions) {
    ASSERT_LE(question.answer_end, text.text.size());
    EXPECT_TRUE(question.answer_begin == 0 || text.text[question.answer_begin - 1] == '\n');
    EXPECT_EQ(text.text[question.answer_end], '\n');
  }
  EXPECT_EQ(NeedleText(engine.tokenizer(), 9, 900, 7, prose).text, text.text);
  EXPECT_NE(NeedleText(engine.tokenizer(), 10, 900, 7, prose).text, text.text);
}

HeadResult MadeUp(const std::string& kind, int questions, std::vector<std::vector<double>> query_heads) {
  HeadResult result{.kind = kind, .length = 512, .index = 0, .recall = {.questions = questions, .tokens = 500}};
  for (auto& heads : query_heads) {
    HeadRecall::Layer layer{.query_heads = heads, .key_heads = {0.5}};
    layer.published = heads[1] / 2;
    result.recall.layers.push_back(std::move(layer));
  }
  return result;
}

TEST(HeadResultsTest, ALineComesBackAndDamageIsRefused) {
  const HeadResult result = MadeUp("needles", 3, {{1, 0.1}, {3, 2}});
  const std::string line = HeadResultLine(result);
  ILRE_ASSERT_OK_AND_ASSIGN(const HeadResult read, ParseHeadResult(line, 2, 2, 1));
  EXPECT_EQ(HeadResultLine(read), line);
  EXPECT_TRUE(read.SameText(result));
  EXPECT_FALSE(ParseHeadResult(line, 3, 2, 1).ok());
  EXPECT_FALSE(ParseHeadResult(line, 2, 3, 1).ok());
  for (size_t size = 0; size < line.size(); ++size) EXPECT_FALSE(ParseHeadResult(line.substr(0, size), 2, 2, 1).ok());
}

TEST(HeadResultsTest, KindsCountAlikeAndTheEarliestGoodHeadWins) {
  const std::vector<HeadResult> results = {MadeUp("needles", 10, {{1, 9}, {10, 2}}),
                                           MadeUp("questions", 2, {{0, 2}, {2, 0}})};
  const std::vector<HeadRecall::Layer> overall = OverallRecall(results);
  ASSERT_EQ(overall.size(), 2u);
  EXPECT_NEAR(overall[0].query_heads[1], 0.95, 1e-9);
  EXPECT_NEAR(overall[1].query_heads[0], 1, 1e-9);
  EXPECT_EQ(BestHead(overall).layer, 1);
  EXPECT_EQ(BestHead(overall).query_heads, std::vector<int>{0});
  EXPECT_EQ(EarliestHead(overall, 0.06).layer, 0);
  EXPECT_EQ(EarliestHead(overall, 0.06).query_heads, std::vector<int>{1});
  EXPECT_EQ(EarliestHead(overall, 0.04).layer, 1);
  EXPECT_EQ(PublishedLayer(overall), 0);
}

}  // namespace
}  // namespace ilre::cli
