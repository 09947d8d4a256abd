// Answers of the retriever against the definitions, computed plainly.
#include "retriever_service/retriever.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/test_matchers.h"
#include "common/store/record_keys.h"
#include "common/store/rocksdb_options.h"
#include "common/store/test_documents.h"
#include "gtest/gtest.h"
#include "retriever_service/attention_scorer.h"
#include "retriever_service/reranker.h"
#include "retriever_service/selection.h"
#include "rocksdb/db.h"
#include "tests/engine/scoring_oracle.h"
#include "tests/engine/tiny_engine.h"

namespace ilre {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Attention = RetrievalProfile::Attention;

MATCHER_P(HasReason, reason, "") {
  *result_listener << StatusOf(arg).ToString();
  return ErrorReason(StatusOf(arg)) == reason;
}

const TinyEngine& Engine() {
  static const TinyEngine* const engine = new TinyEngine();
  return *engine;
}

// Prose of ASCII words, so that the oracle can tell words; some sentences are longer than segments may be.
std::string AsciiText(uint64_t seed, size_t bytes) {
  static constexpr const char* kWords[] = {"harbour", "lamp",  "seven", "north", "42",   "a",     "paper",  "abc",
                                           "river",   "stone", "the",   "1204",  "were", "under", "letter", "quarry"};
  Random random(seed);
  std::string text;
  while (text.size() < bytes) {
    const uint64_t words = random.Below(10) == 0 ? 40 : 2 + random.Below(9);
    for (uint64_t i = 0; i < words; ++i) absl::StrAppend(&text, i > 0 ? " " : "", kWords[random.Below(16)]);
    text += random.Below(3) == 0 ? ".\n" : "! ";
  }
  return text;
}

// Three documents in one store: of several ranges of blocks, of part of a block, of whole blocks only.
class Corpus {
 public:
  explicit Corpus(const TinyEngine::Change& change = [](RetrievalProfile*) {})
      : model_(Engine().With(change)), store_(*OpenKeyStore(folder_.path(), {})) {
    std::string whole_blocks = AsciiText(3, 3000);
    while (Engine().tokenizer().EncodeIds(whole_blocks).size() % kBlockTokens != 0) whole_blocks.pop_back();
    for (const std::string& text : {AsciiText(1, 19'000), AsciiText(2, 500), whole_blocks}) {
      const std::string name = absl::StrCat("d", rows_.size());
      rows_.push_back(*IngestWhole(*store_, *model_, "c", name, text));
      plain_.push_back(ReadPlain(*store_, rows_.back()));
    }
  }

  Retriever retriever() const { return Retriever(*model_, *store_); }
  const RetrievalModel& model() const { return *model_; }
  KeyStore& store() const { return *store_; }
  const std::vector<DocumentRow>& rows() const { return rows_; }
  const std::vector<PlainDocument>& plain() const { return plain_; }
  const std::string& folder() const { return folder_.path(); }
  // Closes the store, lets `damage` change its records, and opens it again.
  void Damage(const std::function<void(rocksdb::DB*, rocksdb::ColumnFamilyHandle* blocks)>& damage);

 private:
  TempFolder folder_;
  std::unique_ptr<RetrievalModel> model_;
  std::unique_ptr<KeyStore> store_;
  std::vector<DocumentRow> rows_;
  std::vector<PlainDocument> plain_;
};

void Corpus::Damage(const std::function<void(rocksdb::DB*, rocksdb::ColumnFamilyHandle*)>& damage) {
  store_.reset();
  rocksdb::DB* opened = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  ASSERT_TRUE(
      rocksdb::DB::Open(MakeDbOptions({}, nullptr), folder_.path(), MakeFamilies({}, nullptr), &families, &opened)
          .ok());
  std::unique_ptr<rocksdb::DB> db(opened);
  damage(db.get(), families[static_cast<size_t>(Family::kBlocks)]);
  for (rocksdb::ColumnFamilyHandle* family : families) ASSERT_TRUE(db->DestroyColumnFamilyHandle(family).ok());
  db.reset();
  std::filesystem::remove(folder_.path() + "/SEAL");  // which would tell that somebody else wrote here
  store_ = *OpenKeyStore(folder_.path(), {});
}

constexpr char kQuestion[] = "Which letter lay under the stone at the quarry in 1204?";

void ExpectSameScores(const std::vector<ScoredSegment>& actual, const std::vector<ScoredSegment>& expected,
                      double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_EQ(actual[i].document, expected[i].document) << "segment " << i;
    ASSERT_EQ(actual[i].begin, expected[i].begin) << "segment " << i;
    ASSERT_EQ(actual[i].end, expected[i].end) << "segment " << i;
    ASSERT_NEAR(actual[i].score, expected[i].score, tolerance) << "segment " << i;
  }
}

// Vectors are what the profile says: projections and keys of the decoder's taps, in the stored type.
TEST(EncodingTest, VectorsAreTheProfilesOwn) {
  const Corpus corpus;
  const RetrievalProfile& profile = corpus.model().profile();
  const PlainDocument& document = corpus.plain()[0];
  std::vector<std::vector<int>> taps_of_head;
  const std::vector<Tap> taps = profile.KeyTaps(&taps_of_head);
  StreamState state = corpus.model().document_start();
  for (uint32_t first = 0; first < 4 * kBlockTokens; first += kBlockTokens) {
    std::vector<std::vector<float>> outputs;
    const auto ids = absl::MakeConstSpan(document.ids).subspan(first, kBlockTokens);
    ILRE_ASSERT_OK(Engine().decoder().StreamBlock(ids, taps, &state, &outputs));
    for (size_t h = 0; h < profile.heads.size(); ++h) {
      const RetrievalHead& head = profile.heads[h];
      const std::vector<float>& tap = outputs[static_cast<size_t>(taps_of_head[h][0])];
      const size_t width = tap.size() / kBlockTokens, dim = static_cast<size_t>(head.dim);
      for (size_t token = 0; token < kBlockTokens; ++token) {
        std::vector<double> expected(dim, 0);
        double length = 0;
        for (size_t i = 0; i < dim; ++i) {
          if (head.kind == RetrievalHead::Kind::kKey) {
            expected[i] = tap[token * width + static_cast<size_t>(head.key_head) * dim + i];
            continue;
          }
          for (size_t j = 0; j < width; ++j) expected[i] += head.key_projection[i * width + j] * tap[token * width + j];
          length += expected[i] * expected[i];
        }
        double largest = 0;
        for (double& x : expected) {
          if (head.kind == RetrievalHead::Kind::kProbe) x /= std::sqrt(length);
          largest = std::max(largest, std::fabs(x));
        }
        for (size_t i = 0; i < dim; ++i) {
          ASSERT_NEAR(document.vectors[h][first + token][i], expected[i], 0.015 * largest)
              << "head " << h << " token " << first + token << " dimension " << i;
        }
      }
    }
  }
}

void AddPooledHeads(RetrievalProfile* p) {
  Random random(11);
  p->heads.insert(p->heads.begin() + 1, RandomPooled(Engine().config(), &random, {1, 2}, 12, VectorType::kInt8));
  p->heads.push_back(RandomPooled(Engine().config(), &random, {2}, 20, VectorType::kBf16));
  p->heads.back().weight = 0.6f;
}

// A segment's vector is the weighted sum of its tokens' inputs, projected, wherever blocks cut it.
TEST(EncodingTest, PooledVectorsAreTheProfilesOwn) {
  const Corpus corpus(AddPooledHeads);
  const RetrievalHead& head = corpus.model().profile().heads[1];
  const PlainDocument& document = corpus.plain()[0];
  const std::vector<Tap> taps = {{Tap::Kind::kInput, 1}, {Tap::Kind::kInput, 2}};
  StreamState state = corpus.model().document_start();
  std::vector<std::vector<float>> inputs;  // [tokens][both layers]
  for (uint32_t first = 0; first < document.num_tokens(); first += kBlockTokens) {
    std::vector<std::vector<float>> outputs;
    const auto ids = absl::MakeConstSpan(document.ids).subspan(first, kBlockTokens);
    ILRE_ASSERT_OK(Engine().decoder().StreamBlock(ids, taps, &state, &outputs));
    const size_t hidden = outputs[0].size() / ids.size();
    for (size_t token = 0; token < ids.size(); ++token) {
      std::vector<float>& row = inputs.emplace_back();
      for (const auto& tap : outputs) row.insert(row.end(), &tap[token * hidden], &tap[token * hidden] + hidden);
    }
  }
  int across_blocks = 0;
  for (size_t segment = 0; segment < document.starts.size(); ++segment) {
    const uint32_t begin = document.starts[segment], end = document.segment_end(segment);
    across_blocks += begin / kBlockTokens != (end - 1) / kBlockTokens;
    std::vector<double> sum(head.key_gate.size(), 0);
    for (uint32_t token = begin; token < end; ++token) {
      double gate = head.key_gate_bias;
      for (size_t i = 0; i < sum.size(); ++i) gate += head.key_gate[i] * inputs[token][i];
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += std::log1p(std::exp(gate)) * inputs[token][i];
    }
    std::vector<double> expected(static_cast<size_t>(head.dim), 0);
    double largest = 0;
    for (size_t d = 0; d < expected.size(); ++d) {
      for (size_t i = 0; i < sum.size(); ++i) expected[d] += head.key_projection[d * sum.size() + i] * sum[i];
      largest = std::max(largest, std::fabs(expected[d]));
    }
    for (size_t d = 0; d < expected.size(); ++d) {
      ASSERT_NEAR(document.vectors[1][segment][d], expected[d], 0.03 * largest) << segment << " " << d;
    }
  }
  EXPECT_GT(across_blocks, 3);
}

// A block holds parts of segments, and so fewer vectors than tokens.
TEST(EncodingTest, PooledHeadsTakeOneVectorAPart) {
  const Corpus corpus(AddPooledHeads);
  int blocks = 0;
  ILRE_ASSERT_OK(corpus.store().VisitBlocks(corpus.rows()[0], 0, corpus.rows()[0].num_blocks,
                                            [&](const BlockView& block) -> absl::Status {
                                              EXPECT_EQ(block.num_vectors(0), block.num_tokens());
                                              EXPECT_EQ(block.num_vectors(1), block.num_parts());
                                              EXPECT_LT(block.num_parts() * 3, block.num_tokens());
                                              ++blocks;
                                              return absl::OkStatus();
                                            }));
  EXPECT_GT(blocks, 10);
}

struct MaxSimCase {
  const char* name;
  TinyEngine::Change change;
};

class MaxSimTest : public ::testing::TestWithParam<MaxSimCase> {};

TEST_P(MaxSimTest, ScoresAreAsDefined) {
  const Corpus corpus(GetParam().change);
  ILRE_ASSERT_OK_AND_ASSIGN(const EncodedQuestion question, corpus.model().EncodeQuestion(kQuestion));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto scores, corpus.retriever().ScoreAll(corpus.rows(), kQuestion));
  ExpectSameScores(scores, OracleMaxSim(corpus.plain(), question, corpus.model().profile()), 2e-5);
  const auto [least, most] =
      std::minmax_element(scores.begin(), scores.end(), [](const auto& a, const auto& b) { return a.score < b.score; });
  EXPECT_GT(most->score - least->score, 0.05) << "scores that hardly differ show nothing";
}

INSTANTIATE_TEST_SUITE_P(
    Profiles, MaxSimTest,
    ::testing::Values(MaxSimCase{"vectors", [](RetrievalProfile*) {}}, MaxSimCase{"pooled", AddPooledHeads},
                      MaxSimCase{"long_segments", [](RetrievalProfile* p) { p->max_segment = 3000; }},
                      MaxSimCase{"one_token_segments", [](RetrievalProfile* p) { p->max_segment = 1; }},
                      MaxSimCase{"lexical", [](RetrievalProfile* p) { p->lexical = {.weight = 0.7f}; }},
                      MaxSimCase{"lexical_squared",
                                 [](RetrievalProfile* p) {
                                   p->lexical = {.weight = 2, .power = 2};
                                   AddPooledHeads(p);
                                 }},
                      MaxSimCase{"lexical_alone",
                                 [](RetrievalProfile* p) {
                                   p->lexical = {.weight = 1, .k1 = 1.5f, .b = 0.75f};
                                   for (RetrievalHead& head : p->heads) head.weight = 0;
                                 }},
                      MaxSimCase{"neighbours",
                                 [](RetrievalProfile* p) {
                                   p->lexical = {.weight = 0.7f};
                                   p->neighbour_weight = 0.3f;
                                 }}),
    [](const auto& info) { return info.param.name; });

struct AttentionCase {
  const char* name;
  Attention::Positions positions;
  Attention::Reduce reduce;
};

class AttentionTest : public ::testing::TestWithParam<AttentionCase> {
 protected:
  static void OnlyKeys(RetrievalProfile* profile) {
    profile->scoring = RetrievalProfile::Scoring::kAttention;
    profile->attention.positions = GetParam().positions;
    profile->attention.reduce = GetParam().reduce;
    RetrievalHead bf16 = profile->heads[1];
    bf16.type = VectorType::kBf16;
    bf16.key_head = 0;
    bf16.query_heads = {0, 1};
    profile->heads = {profile->heads[1], bf16};
  }
};

TEST_P(AttentionTest, ScoresAreAsDefined) {
  const Corpus corpus(OnlyKeys);
  ILRE_ASSERT_OK_AND_ASSIGN(const EncodedQuestion question, corpus.model().EncodeQuestion(kQuestion));
  const auto expected = OracleAttention(corpus.plain(), question, corpus.model().profile(), Engine().config());
  ILRE_ASSERT_OK_AND_ASSIGN(
      const TokenScores scores,
      ScoreByAttention(corpus.store(), corpus.rows(), question, corpus.model().profile(), Engine().config(), nullptr));
  // Rotated keys are rounded to bf16 once more.
  const double relative = GetParam().positions == Attention::Positions::kNone ? 1e-4 : 5e-2;
  std::vector<ScoredSegment> segments;
  for (size_t d = 0; d < expected.size(); ++d) {
    ASSERT_EQ(scores.scores[d].size(), expected[d].size());
    for (size_t t = 0; t < expected[d].size(); ++t) {
      ASSERT_NEAR(scores.scores[d][t], expected[d][t], relative * expected[d][t] + 1e-9) << d << " token " << t;
    }
    const PlainDocument& document = corpus.plain()[d];
    for (size_t i = 0; i < document.starts.size(); ++i) {
      ScoredSegment segment{static_cast<uint32_t>(d), document.starts[i], document.segment_end(i), 0};
      for (uint32_t t = segment.begin; t < segment.end; ++t) segment.score += static_cast<float>(expected[d][t]);
      segments.push_back(segment);
    }
  }
  ExpectSameScores(scores.segments, segments, relative * 0.1);
  ILRE_ASSERT_OK_AND_ASSIGN(const auto all, corpus.retriever().ScoreAll(corpus.rows(), kQuestion));
  ExpectSameScores(all, scores.segments, 0);
}

INSTANTIATE_TEST_SUITE_P(
    Ways, AttentionTest,
    ::testing::Values(AttentionCase{"max", Attention::Positions::kNone, Attention::Reduce::kMax},
                      AttentionCase{"sum", Attention::Positions::kNone, Attention::Reduce::kSum},
                      AttentionCase{"absolute_max", Attention::Positions::kAbsolute, Attention::Reduce::kMax},
                      AttentionCase{"absolute_sum", Attention::Positions::kAbsolute, Attention::Reduce::kSum}),
    [](const auto& info) { return info.param.name; });

TEST(AttentionProfileTest, PositionsAreOfTheModelsKeys) {
  RetrievalProfile profile = Engine().profile();
  profile.scoring = RetrievalProfile::Scoring::kAttention;
  ILRE_EXPECT_OK(profile.Validate(Engine().config()));
  profile.attention.positions = Attention::Positions::kAbsolute;  // a probe's vectors have none
  EXPECT_THAT(profile.Validate(Engine().config()), HasReason("BAD_PROFILE"));
}

// Multi-kernel pooling from its description: each kernel takes its best tokens that are not taken yet.
std::vector<std::vector<bool>> PlainPooling(const std::vector<std::vector<float>>& scores,
                                            const std::vector<Attention::Kernel>& kernels, int budget) {
  std::vector<std::vector<bool>> taken;
  for (const auto& document : scores) taken.emplace_back(document.size(), false);
  int shares = 0, left = budget;
  for (const auto& kernel : kernels) shares += kernel.budget;
  for (size_t k = 0; k < kernels.size(); ++k) {
    int share = k + 1 == kernels.size() ? left : budget * kernels[k].budget / shares;
    for (; share > 0; --share, --left) {
      float best = -1;
      size_t best_document = 0, best_token = 0;
      for (size_t d = 0; d < scores.size(); ++d) {
        for (size_t t = 0; t < scores[d].size(); ++t) {
          if (taken[d][t]) continue;
          const size_t half = static_cast<size_t>(kernels[k].size / 2), begin = t < half ? 0 : t - half;
          const size_t end = std::min(scores[d].size(), t + half + 1);
          const float pooled = *std::max_element(scores[d].begin() + static_cast<ptrdiff_t>(begin),
                                                 scores[d].begin() + static_cast<ptrdiff_t>(end));
          if (pooled > best) {
            best = pooled;
            best_document = d;
            best_token = t;
          }
        }
      }
      if (best < 0) return taken;
      taken[best_document][best_token] = true;
    }
  }
  return taken;
}

TEST(PoolingTest, TakesWhatItsDescriptionSays) {
  Random random(6);
  for (int round = 0; round < 60; ++round) {
    std::vector<std::vector<float>> scores(1 + random.Below(3));
    for (auto& document : scores) {
      document.resize(1 + random.Below(60));
      for (float& score : document) score = static_cast<float>(random.Below(12)) / 8;  // with many ties
    }
    std::vector<Attention::Kernel> kernels(1 + random.Below(3));
    for (auto& kernel : kernels) {
      kernel = {.size = 1 + 2 * static_cast<int>(random.Below(9)), .budget = 1 + static_cast<int>(random.Below(20))};
    }
    const int budget = 1 + static_cast<int>(random.Below(120));
    const auto taken = PlainPooling(scores, kernels, budget);
    std::vector<std::vector<bool>> actual;
    for (const auto& document : scores) actual.emplace_back(document.size(), false);
    for (const ScoredSegment& segment : SelectByPooling(scores, kernels, budget)) {
      float sum = 0;
      for (uint32_t t = segment.begin; t < segment.end; ++t) {
        ASSERT_FALSE(actual[segment.document][t]);
        actual[segment.document][t] = true;
        sum += scores[segment.document][t];
      }
      EXPECT_FLOAT_EQ(segment.score, sum);
    }
    ASSERT_EQ(actual, taken) << "round " << round;
  }
}

// SelectSegments from its description.
std::vector<ScoredSegment> PlainSelection(std::vector<ScoredSegment> segments, const SelectionRule& rule) {
  std::vector<float> scores;
  for (const ScoredSegment& segment : segments) scores.push_back(segment.score);
  std::sort(scores.begin(), scores.end());
  const float median = scores[scores.size() / 2], floor = median + rule.prompt_floor * (scores.back() - median);
  const float near_floor = median + rule.near_floor * (scores.back() - median);
  std::stable_sort(segments.begin(), segments.end(), [](const auto& a, const auto& b) { return a.score > b.score; });
  std::vector<ScoredSegment> chosen;
  int left = rule.budget;
  for (ScoredSegment segment : segments) {
    if (!chosen.empty() && left < 8) break;
    const bool fits = static_cast<int>(segment.num_tokens()) <= left;
    if (!fits && segment.begin == segments[0].begin && segment.document == segments[0].document) {
      segment.end = segment.begin + static_cast<uint32_t>(left);
    } else if (!fits) {
      continue;
    }
    segment.in_prompt = rule.prompt_floor == 0 || segment.score >= floor || rule.budget - left < rule.min_prompt;
    segment.is_near = rule.near_floor > 0 && !segment.in_prompt && segment.score >= near_floor;
    left -= static_cast<int>(segment.num_tokens());
    chosen.push_back(segment);
  }
  std::sort(chosen.begin(), chosen.end(), [](const auto& a, const auto& b) {
    return a.document != b.document ? a.document < b.document : a.begin < b.begin;
  });
  return chosen;
}

TEST(SelectionTest, TakesWhatItsDescriptionSays) {
  Random random(9);
  for (int round = 0; round < 400; ++round) {
    std::vector<ScoredSegment> segments;
    const size_t count = 1 + random.Below(round % 10 == 0 ? 2000 : 40);
    for (uint32_t document = 0, token = 0; segments.size() < count;) {
      const auto size = static_cast<uint32_t>(1 + random.Below(40));
      segments.push_back({document, token, token + size, static_cast<float>(random.Below(30)) / 8});
      token += size;
      if (random.Below(30) == 0) ++document, token = 0;
    }
    SelectionRule rule;
    rule.budget = 1 + static_cast<int>(random.Below(300));
    rule.prompt_floor = random.Below(2) == 0 ? 0 : static_cast<float>(random.Uniform());
    rule.min_prompt = static_cast<int>(random.Below(64));
    if (random.Below(2) == 0) rule.near_floor = rule.prompt_floor * static_cast<float>(random.Uniform());
    const auto expected = PlainSelection(segments, rule), actual = SelectSegments(segments, rule);
    ASSERT_EQ(actual.size(), expected.size()) << "round " << round;
    for (size_t i = 0; i < actual.size(); ++i) {
      ASSERT_EQ(actual[i].document, expected[i].document);
      ASSERT_EQ(actual[i].begin, expected[i].begin);
      ASSERT_EQ(actual[i].end, expected[i].end);
      ASSERT_EQ(actual[i].in_prompt, expected[i].in_prompt) << "round " << round << " segment " << i;
      ASSERT_EQ(actual[i].is_near, expected[i].is_near) << "round " << round << " segment " << i;
    }
  }
  EXPECT_TRUE(SelectSegments({}, {}).empty());
}

TEST(RetrieveTest, SpansAreTheChosenSegmentsWithTheirText) {
  const Corpus corpus([](RetrievalProfile* p) { p->lexical.weight = 0.7f; });
  for (const int budget : {1, 7, 50, 300, 5000}) {
    ILRE_ASSERT_OK_AND_ASSIGN(auto segments, corpus.retriever().ScoreAll(corpus.rows(), kQuestion));
    const auto chosen = PlainSelection(segments, {.budget = budget});
    ILRE_ASSERT_OK_AND_ASSIGN(const Retrieval retrieval,
                              corpus.retriever().Retrieve(corpus.rows(), kQuestion, {.budget = budget}));
    size_t next = 0;  // of chosen
    int tokens = 0;
    for (size_t i = 0; i < retrieval.spans.size(); ++i) {
      const RecalledSpan& span = retrieval.spans[i];
      const PlainDocument& document = corpus.plain()[span.document];
      ASSERT_LT(next, chosen.size());
      ASSERT_EQ(span.token_begin, chosen[next].begin);
      float best = chosen[next].score;
      while (next < chosen.size() && chosen[next].document == span.document && chosen[next].end < span.token_end) {
        ASSERT_EQ(chosen[next + 1].begin, chosen[next].end) << "merged over a gap";
        best = std::max(best, chosen[++next].score);
      }
      ASSERT_EQ(span.token_end, chosen[next++].end);
      EXPECT_EQ(span.score, best);
      EXPECT_EQ(span.byte_begin, document.byte_begin(span.token_begin));
      EXPECT_EQ(span.byte_end, document.ends[span.token_end - 1]);
      EXPECT_EQ(span.text, document.text.substr(span.byte_begin, span.byte_end - span.byte_begin));
      EXPECT_EQ(span.ids,
                std::vector<TokenId>(document.ids.begin() + span.token_begin, document.ids.begin() + span.token_end));
      if (i > 0 && retrieval.spans[i - 1].document == span.document) {
        EXPECT_LT(retrieval.spans[i - 1].token_end, span.token_begin) << "neighbours are one span";
      }
      tokens += static_cast<int>(span.token_end - span.token_begin);
    }
    EXPECT_EQ(next, chosen.size());
    EXPECT_EQ(retrieval.recalled_tokens, tokens);
    EXPECT_LE(tokens, budget);
    EXPECT_GT(tokens, 0);
    EXPECT_EQ(retrieval.document_tokens,
              corpus.rows()[0].num_tokens + corpus.rows()[1].num_tokens + corpus.rows()[2].num_tokens);
  }
}

TEST(RetrieveTest, SeveralDocumentsScoreAsEachAlone) {
  const Corpus corpus([](RetrievalProfile* p) { p->neighbour_weight = 0.3f; });
  ILRE_ASSERT_OK_AND_ASSIGN(const auto all, corpus.retriever().ScoreAll(corpus.rows(), kQuestion));
  std::vector<ScoredSegment> united;
  for (uint32_t d = 0; d < corpus.rows().size(); ++d) {
    ILRE_ASSERT_OK_AND_ASSIGN(auto alone, corpus.retriever().ScoreAll({&corpus.rows()[d], 1}, kQuestion));
    for (ScoredSegment& segment : alone) {
      segment.document = d;
      united.push_back(segment);
    }
  }
  ExpectSameScores(all, united, 0);
}

TEST(RetrieveTest, TheRerankIsTheModelsOwnAttention) {
  const Corpus corpus([](RetrievalProfile* p) { p->rerank = {.shortlist = 600, .layer = 1, .query_head = 2}; });
  const RetrievalProfile& profile = corpus.model().profile();
  ILRE_ASSERT_OK_AND_ASSIGN(const auto all, corpus.retriever().ScoreAll(corpus.rows(), kQuestion));
  std::vector<ScoredSegment> shortlist = PlainSelection(all, {.budget = 600});
  std::vector<TokenId> prompt = Engine().tokenizer().EncodeIds(profile.prefix, SpecialTokens::kParse), ids;
  for (const ScoredSegment& segment : shortlist) {
    const PlainDocument& document = corpus.plain()[segment.document];
    ids.insert(ids.end(), document.ids.begin() + segment.begin, document.ids.begin() + segment.end);
  }
  const size_t context = prompt.size(), question = context + ids.size();
  prompt.insert(prompt.end(), ids.begin(), ids.end());
  for (const TokenId id : Engine().tokenizer().EncodeIds(absl::StrCat(profile.question_prefix, kQuestion))) {
    prompt.push_back(id);
  }
  // Unrotated queries and keys of one head, softmax over the shortlist, the greatest over the question's tokens.
  ILRE_ASSERT_OK_AND_ASSIGN(const auto cache, Engine().decoder().NewCache(static_cast<int64_t>(prompt.size())));
  const Tap taps[] = {{Tap::Kind::kKey, 1}, {Tap::Kind::kQuery, 1}};
  std::vector<std::vector<float>> outputs;
  ILRE_ASSERT_OK(Engine().decoder().Forward(prompt, cache.get(), taps, Decoder::Logits::kNone, &outputs, nullptr));
  const auto d = static_cast<size_t>(Engine().config().head_dim);
  std::vector<double> best(ids.size(), 0);
  for (size_t q = question; q < prompt.size(); ++q) {
    std::vector<double> attention(ids.size());
    double sum = 0;
    for (size_t t = 0; t < ids.size(); ++t) {
      double product = 0;
      for (size_t i = 0; i < d; ++i) {
        product += double{outputs[1][q * 4 * d + 2 * d + i]} * outputs[0][(context + t) * 2 * d + d + i];
      }
      sum += attention[t] = std::exp(product / std::sqrt(static_cast<double>(d)));
    }
    for (size_t t = 0; t < ids.size(); ++t) best[t] = std::max(best[t], attention[t] / sum);
  }
  std::vector<ScoredSegment> expected = shortlist;
  size_t token = 0;
  for (ScoredSegment& segment : expected) {
    double sum = 0;
    for (uint32_t i = segment.begin; i < segment.end; ++i) sum += best[token++];
    segment.score = static_cast<float>(sum);
  }
  ILRE_ASSERT_OK_AND_ASSIGN(const auto reranked, Rerank(corpus.model(), shortlist, ids, kQuestion, nullptr));
  ExpectSameScores(reranked, expected, 1e-5);
  ILRE_ASSERT_OK_AND_ASSIGN(const Retrieval retrieval,
                            corpus.retriever().Retrieve(corpus.rows(), kQuestion, {.budget = 100}));
  int tokens = 0;
  for (const ScoredSegment& segment : PlainSelection(reranked, {.budget = 100})) {
    EXPECT_TRUE(std::any_of(retrieval.spans.begin(), retrieval.spans.end(), [&](const RecalledSpan& span) {
      return span.document == segment.document && span.token_begin <= segment.begin && segment.end <= span.token_end;
    }));
    tokens += static_cast<int>(segment.num_tokens());
  }
  EXPECT_EQ(retrieval.recalled_tokens, tokens);
}

TEST(RetrieveTest, WrongRequestsAreRefused) {
  const Corpus corpus;
  const Retriever retriever = corpus.retriever();
  const auto retrieve = [&](absl::string_view question, int budget = 0) {
    return retriever.Retrieve(corpus.rows(), question, {.budget = budget});
  };
  EXPECT_THAT(retrieve(""), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("empty")));
  EXPECT_THAT(retrieve("caf\xE9"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("UTF-8")));
  EXPECT_THAT(retrieve(std::string(5000, 'x')), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("4096")));
  EXPECT_THAT(retrieve(std::string(10'000'000, 'x')),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("too long")));
  for (const int budget : {-1, INT32_MIN, (1 << 20) + 1, INT32_MAX}) {
    EXPECT_THAT(retrieve(kQuestion, budget), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("budget")));
  }
  EXPECT_THAT(retriever.Retrieve({}, kQuestion, {}), StatusIs(absl::StatusCode::kInvalidArgument));
  ILRE_EXPECT_OK(retrieve(std::string(4000, 'x'), 1 << 20));
  ILRE_EXPECT_OK(retrieve("?"));
}

TEST(RetrieveTest, DocumentsThatCannotBeSearchedAreNamed) {
  Corpus corpus;
  ILRE_ASSERT_OK_AND_ASSIGN(const auto open,
                            DocumentIngest::Begin(corpus.store(), corpus.model(), "c", "open", false, {}));
  ILRE_ASSERT_OK(open->Write("Not yet all."));
  ILRE_ASSERT_OK(open->Flush());
  std::vector<DocumentRow> rows = corpus.rows();
  rows.push_back(open->row());
  EXPECT_THAT(corpus.retriever().Retrieve(rows, kQuestion, {}),
              AllOf(HasReason("DOCUMENT_NOT_READY"), StatusIs(absl::StatusCode::kFailedPrecondition,
                                                              AllOf(HasSubstr("c/open"), HasSubstr("INGESTING")))));
  rows.back() = corpus.rows()[1];
  rows.back().state = DocumentState::kFailed;
  rows.back().failure = "the roof leaks";
  EXPECT_THAT(corpus.retriever().Retrieve(rows, kQuestion, {}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("the roof leaks")));
  const auto other = Engine().With([](RetrievalProfile* profile) { profile->window = 50; });
  EXPECT_THAT(
      Retriever(*other, corpus.store()).Retrieve(corpus.rows(), kQuestion, {}),
      AllOf(HasReason("MODEL_MISMATCH"), StatusIs(absl::StatusCode::kFailedPrecondition,
                                                  AllOf(HasSubstr("c/d0"), HasSubstr(other->encoding_fingerprint()),
                                                        HasSubstr(corpus.model().encoding_fingerprint())))));
}

TEST(RetrieveTest, ACancelledSearchStops) {
  const Corpus corpus;
  RetrieveOptions options;
  options.should_stop = [] { return true; };
  EXPECT_THAT(corpus.retriever().Retrieve(corpus.rows(), kQuestion, options), StatusIs(absl::StatusCode::kCancelled));
}

// Spans as one string that is equal only if everything is.
std::string Exactly(const Retrieval& retrieval) {
  std::string all;
  for (const RecalledSpan& span : retrieval.spans) {
    absl::StrAppend(&all, span.document, " ", span.token_begin, " ", span.token_end, " ",
                    absl::Hex(std::bit_cast<uint32_t>(span.score)), " ", span.text, "\n");
  }
  return all;
}

TEST(DamageTest, ADamagedBlockIsNamedAndOtherDocumentsAnswerAsBefore) {
  Corpus corpus;
  const auto other = absl::MakeConstSpan(&corpus.rows()[2], 1);
  ILRE_ASSERT_OK_AND_ASSIGN(const Retrieval before, corpus.retriever().Retrieve(other, kQuestion, {}));
  const uint64_t uid = corpus.rows()[0].uid;
  Random random(12);
  for (int round = 0; round < 12; ++round) {
    const auto block = static_cast<uint32_t>(random.Below(corpus.rows()[0].num_blocks));
    std::string sound;
    corpus.Damage([&](rocksdb::DB* db, rocksdb::ColumnFamilyHandle* blocks) {
      ASSERT_TRUE(db->Get({}, blocks, BlockKey(uid, block), &sound).ok());
      std::string damaged = sound;
      if (round % 3 == 0) {  // the neighbour's block in this one's place
        ASSERT_TRUE(db->Get({}, blocks, BlockKey(uid, block == 0 ? 1 : block - 1), &damaged).ok());
      } else if (round % 3 == 1) {
        damaged[random.Below(damaged.size())] ^= static_cast<char>(1 << random.Below(8));
      }
      if (round % 3 == 2) {
        ASSERT_TRUE(db->Delete({}, blocks, BlockKey(uid, block)).ok());
      } else {
        ASSERT_TRUE(db->Put({}, blocks, BlockKey(uid, block), damaged).ok());
      }
    });
    EXPECT_THAT(
        corpus.retriever().Retrieve(corpus.rows(), kQuestion, {}),
        StatusIs(absl::StatusCode::kDataLoss, AllOf(HasSubstr("c/d0"), HasSubstr(absl::StrCat("block ", block)))));
    ILRE_ASSERT_OK_AND_ASSIGN(const Retrieval after, corpus.retriever().Retrieve(other, kQuestion, {}));
    EXPECT_EQ(Exactly(after), Exactly(before));
    corpus.Damage([&](rocksdb::DB* db, rocksdb::ColumnFamilyHandle* blocks) {
      ASSERT_TRUE(db->Put({}, blocks, BlockKey(uid, block), sound).ok());
    });
  }
  ILRE_EXPECT_OK(corpus.retriever().Retrieve(corpus.rows(), kQuestion, {}));
}

}  // namespace
}  // namespace ilre
