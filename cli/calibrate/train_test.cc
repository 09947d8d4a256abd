// Training with a tiny model: what is read, taught, trained and kept; the trained heads against the engine itself.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/calibrate/base_profile.h"
#include "cli/calibrate/early_stopping.h"
#include "cli/calibrate/head_texts.h"
#include "cli/calibrate/held_out_recall.h"
#include "cli/calibrate/pooled_trainer.h"
#include "cli/calibrate/probe_trainer.h"
#include "cli/calibrate/teacher.h"
#include "cli/calibrate/train_page.h"
#include "cli/json_output.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/test_matchers.h"
#include "common/model/test_safetensors_writer.h"
#include "common/model/torch_backend.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/tiny_engine.h"

namespace ilre::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Folder(const std::string& name) {
  const std::string folder = absl::StrCat(::testing::TempDir(), "/train-", name);
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

RetrievalProfile Base(const TinyEngine& engine) {
  RetrievalProfile profile = engine.profile();
  profile.heads.clear();
  profile.lexical = {};
  profile.neighbour_weight = 0;
  profile.second_look = {};
  return profile;
}

TrainingText Needles(const TinyEngine& engine, uint64_t seed, int tokens = 1500) {
  return NeedleText(engine.tokenizer(), seed, tokens, 24, {"A line of prose that fills the page."});
}

absl::StatusOr<TrainingPool> ReadPool(const TinyEngine& engine, const TrainingText& text, std::vector<int> layers,
                                      const std::string& folder = "", int64_t* tokens = nullptr) {
  const RetrievalProfile base = Base(engine);
  ILRE_ASSIGN_OR_RETURN(const PoolReader reader,
                        PoolReader::Create(engine.decoder(), engine.tokenizer(), base, std::move(layers), folder));
  return reader.Read(text, [&](int64_t read) {
    if (tokens != nullptr) *tokens += read;
    return tokens == nullptr || *tokens < 1'000'000;
  });
}

TEST(PoolReaderTest, KeptInputsAreThoseThatWouldBeComputed) {
  const TinyEngine engine;
  TrainingText text = Needles(engine, 3);
  text.questions.push_back({"Who is not known?", 0, 0});
  ILRE_ASSERT_OK_AND_ASSIGN(const TrainingPool plain, ReadPool(engine, text, {2, 0, 1}));
  const size_t rows = static_cast<size_t>(plain.question_begins.back());
  ASSERT_EQ(plain.inputs.size(), 3u);
  for (const auto& [layer, numbers] : plain.inputs) {
    EXPECT_EQ(numbers.size(), rows * static_cast<size_t>(engine.config().hidden_size)) << layer;
  }
  EXPECT_EQ(plain.num_questions(), 25);
  EXPECT_TRUE(plain.gold.back().empty());
  for (size_t i = 0; i < 24; ++i) {
    ASSERT_FALSE(plain.gold[i].empty());
    const std::string fact = text.text.substr(text.questions[i].answer_begin, 8);
    EXPECT_EQ(plain.segment_texts[static_cast<size_t>(plain.gold[i][0])].substr(0, 8), fact);
  }

  const std::string folder = Folder("kept");
  ILRE_ASSERT_OK(ReadPool(engine, text, {0, 1}, folder).status());
  ILRE_ASSERT_OK_AND_ASSIGN(const TrainingPool kept, ReadPool(engine, text, {0, 1, 2}, folder));
  EXPECT_EQ(kept.inputs, plain.inputs);
  // A file that is not whole, and one with a wrong number in it, count as none.
  std::vector<std::string> files;
  for (const auto& file : std::filesystem::directory_iterator(folder)) files.push_back(file.path());
  ASSERT_EQ(files.size(), 3u);
  std::filesystem::resize_file(files[0], 100);
  ILRE_ASSERT_OK_AND_ASSIGN(std::string bytes, ReadFile(files[1], 1 << 30));
  bytes[1000] ^= 1;
  ILRE_ASSERT_OK(WriteFileAtomically(files[1], bytes));
  ILRE_ASSERT_OK_AND_ASSIGN(const TrainingPool again, ReadPool(engine, text, {0, 1, 2}, folder));
  EXPECT_EQ(again.inputs, plain.inputs);

  int64_t tokens = 999'000;
  EXPECT_EQ(ReadPool(engine, text, {2}, "", &tokens).status().code(), absl::StatusCode::kCancelled);
}

// Three segments of 100, 50 and 100 tokens, a question about the second and the third, one about the first.
TEST(LearningCurveTest, RecallIsThatOfTheEnginesSelection) {
  TrainingPool pool;
  pool.segment_begins = {0, 100, 150, 250};
  pool.gold = {{1, 2}, {0}, {}};
  TrainingState state{.step = 5, .loss = 2, .held_out_loss = 3, .scores = {0.1f, 3, 2, 0.5f, 1, 2, 9, 9, 9}};
  const CurvePoint point = MeasureState(state, pool);
  EXPECT_EQ(point.step, 5);
  // 128 tokens: the second segment of the first question, none of the second's; 256: all.
  EXPECT_THAT(point.recall, ElementsAre(0.25, 1, 1));
  EXPECT_NEAR(point.mean_recall(), 0.75, 1e-9);
}

TEST(LearningCurveTest, TrainingStopsSomePointsAfterTheBest) {
  LearningCurve curve;
  // One lucky point does not count for as much as three good ones; of equals the last is best.
  for (const double recall : {0.2, 0.9, 0.2, 0.6, 0.7, 0.6, 0.3, 0.2, 0.3}) {
    curve.push_back({.step = static_cast<int>(curve.size()), .loss = 1, .held_out_loss = 2, .recall = {recall}});
    EXPECT_EQ(StoppedLearning(curve, Judge::kRecall, 4), curve.size() == 9) << curve.size();
  }
  EXPECT_EQ(BestPoint(curve, Judge::kRecall), 4u);
  for (CurvePoint& point : curve) point.recall = {0, 0.5, 1};
  EXPECT_EQ(BestPoint(curve, Judge::kRecall), 8u);
  curve[5].held_out_loss = 0.5;
  EXPECT_EQ(BestPoint(curve, Judge::kLoss), 6u);
  LearningCurve read;
  ASSERT_TRUE(ReadCurve(CurveJson(curve), &read));
  EXPECT_EQ(CurveJson(read), CurveJson(curve));
  for (const char* wrong : {"{}", "[1]", R"([{"step":1}])", R"([{"step":1,"loss":1,"held_out_loss":1,"recall":[1]}])",
                            R"([{"step":1,"loss":"x","held_out_loss":1,"recall":[1,1,1]}])"}) {
    LearningCurve none;
    EXPECT_FALSE(ReadCurve(Json::parse(wrong), &none)) << wrong;
  }
}

// Writes a folder whose vectors are random numbers.
void WriteTeacher(const std::string& folder, const std::vector<std::string>& documents,
                  const std::vector<std::string>& questions, const std::vector<std::string>& sentences, int dim,
                  size_t rows) {
  Random random(17);
  const std::vector<float> vectors = RandomVector(&random, rows * static_cast<size_t>(dim));
  SafetensorsWriter writer;
  writer.AddTensor("vectors", "F32", {static_cast<int64_t>(rows), dim},
                   {reinterpret_cast<const char*>(vectors.data()), vectors.size() * sizeof(float)});
  ILRE_ASSERT_OK(WriteFileAtomically(folder + "/vectors.safetensors", writer.Finish()));
  const Json json = {{"documents", documents}, {"questions", questions}, {"sentences", sentences}};
  ILRE_ASSERT_OK(WriteFileAtomically(folder + "/texts.json", DumpLine(json)));
}

TEST(TeacherTest, WhatIsWrongIsNamed) {
  const std::string folder = Folder("teacher");
  const std::vector<std::string> documents = {"A b. C d."}, asked = {"Why?"};
  EXPECT_EQ(Teacher::Read(folder).status().code(), absl::StatusCode::kNotFound);
  WriteTeacher(folder, documents, asked, {"A b.", " Why?\n"}, 3, 2);
  ILRE_ASSERT_OK_AND_ASSIGN(const Teacher teacher, Teacher::Read(folder));
  EXPECT_EQ(teacher.dim(), 3);
  ASSERT_EQ(teacher.texts().size(), 2u);
  EXPECT_EQ(teacher.texts()[1].questions[0].question, "Why?");
  TrainingPool pool;
  pool.segment_texts = {"C d.", "A b."};
  pool.question_texts = {"Why?"};
  const TaughtPool taught = teacher.Teach(pool);
  EXPECT_THAT(taught.segments, ElementsAre(1));
  EXPECT_THAT(taught.questions, ElementsAre(0));
  EXPECT_NE(taught.segment_vectors, taught.question_vectors);

  const auto message = [&] { return std::string(Teacher::Read(folder).status().message()); };
  WriteTeacher(folder, documents, asked, {"A b.", "Why?"}, 3, 5);
  EXPECT_THAT(message(), HasSubstr("not a row for each of 2 sentences"));
  WriteTeacher(folder, documents, asked, {"Why?", "Why? "}, 3, 2);
  EXPECT_THAT(message(), HasSubstr("a sentence occurs twice"));
  for (const char* wrong : {"[]", "{}", "{\"documents\": [1], \"questions\": [], \"sentences\": []}", "{"}) {
    ILRE_ASSERT_OK(WriteFileAtomically(folder + "/texts.json", wrong));
    EXPECT_THAT(message(), HasSubstr("texts.json is not a teacher's")) << wrong;
  }
}

// Of the head alone; `recall` is in the order of kCurveBudgets.
void ExpectTheEngineRecalls(const TinyEngine& engine, const RetrievalHead& head, const TrainingText& text,
                            const std::vector<double>& recall) {
  RetrievalProfile profile = Base(engine);
  profile.heads = {head};
  ILRE_ASSERT_OK(profile.Validate(engine.config()));
  ILRE_ASSERT_OK_AND_ASSIGN(const auto measured,
                            MeasureRecall(engine.decoder(), engine.tokenizer(), profile, text, {128, 256, 512}));
  for (size_t i = 0; i < measured.size(); ++i) {
    EXPECT_NEAR(measured[i].fused, recall[i], 2.01 / static_cast<double>(text.questions.size()))
        << "but for a question or two whose scores are rounded otherwise";
    EXPECT_GT(recall[i], 0);
    EXPECT_LT(recall[i], 1);
  }
}

bool HasTorch() { return TorchBackendFunction("IlreTrainProbe").ok(); }

TEST(TrainingTest, ATrainedProbeIsTheEngines) {
  if (!HasTorch()) GTEST_SKIP() << "built without libtorch";
  const TinyEngine engine;
  const TrainingText text = Needles(engine, 3), held_out_text = Needles(engine, 4, 3000);
  ILRE_ASSERT_OK_AND_ASSIGN(const TrainingPool pool, ReadPool(engine, text, {1}));
  ILRE_ASSERT_OK_AND_ASSIGN(const TrainingPool held_out, ReadPool(engine, held_out_text, {1}));
  ProbeTrainingOptions options{.dim = 16, .steps = 20, .batch = 8, .negatives = 30};
  const auto train = [&](bool, const TrainingObserver& observe) {
    return TrainProbe({{1, {&pool}}}, held_out, 1, options, observe);
  };
  ILRE_ASSERT_OK_AND_ASSIGN(const TrainedHead whole,
                            TrainWithEarlyStopping("probe", Judge::kRecall, train, nullptr, held_out));
  EXPECT_EQ(whole.steps, 20);
  ASSERT_EQ(whole.held_out.size(), 5u);
  EXPECT_LT(whole.held_out.back().held_out_loss, whole.held_out[0].held_out_loss) << "nothing was learned";
  ExpectTheEngineRecalls(engine, whole.head, held_out_text, whole.held_out.back().recall);

  // With early stopping the head is the one of the best step.
  ILRE_ASSERT_OK_AND_ASSIGN(const TrainedHead stopped,
                            TrainWithEarlyStopping("probe", Judge::kRecall, train, &held_out, held_out));
  const CurvePoint& best = stopped.validation[BestPoint(stopped.validation, Judge::kRecall)];
  EXPECT_EQ(stopped.steps, best.step);
  EXPECT_EQ(stopped.held_out.back().held_out_loss, best.held_out_loss);
}

// A teacher of random vectors for the sentences of some texts, of which the middle one is held out.
TEST(TrainingTest, ATrainedPooledHeadIsTheEnginesAndIsKept) {
  if (!HasTorch()) GTEST_SKIP() << "built without libtorch";
  const TinyEngine engine;
  const TrainingText text = Needles(engine, 3), held_out_text = Needles(engine, 4, 3000);
  ILRE_ASSERT_OK_AND_ASSIGN(const TrainingPool pool, ReadPool(engine, text, {0, 2}));
  ILRE_ASSERT_OK_AND_ASSIGN(const TrainingPool held_out, ReadPool(engine, held_out_text, {0, 2}));
  ILRE_ASSERT_OK_AND_ASSIGN(const TrainingPool other, ReadPool(engine, Needles(engine, 5), {0, 2}));
  std::vector<std::string> sentences;
  for (const TrainingPool* each : {&pool, &held_out, &other}) {
    sentences.insert(sentences.end(), each->segment_texts.begin(), each->segment_texts.end());
    sentences.insert(sentences.end(), each->question_texts.begin(), each->question_texts.end());
  }
  std::sort(sentences.begin(), sentences.end());
  sentences.erase(std::unique(sentences.begin(), sentences.end()), sentences.end());
  const std::string folder = Folder("pooled");
  WriteTeacher(folder, {}, {}, sentences, 32, sentences.size());
  ILRE_ASSERT_OK_AND_ASSIGN(const Teacher teacher, Teacher::Read(folder));
  const PooledTrainingData data{teacher.Teach(pool), {teacher.Teach(other)}, teacher.Teach(held_out)};
  PooledTrainingOptions options{.dim = 24, .steps = 10, .ridge = 0.1f, .steps_a_point = 5};
  int trainings = 0;
  const auto train = [&]() -> absl::StatusOr<TrainedHead> {
    ++trainings;
    return TrainWithEarlyStopping(
        "pooled-0-2", Judge::kLoss,
        [&](bool, const TrainingObserver& observe) {
          return TrainPooled(data, {0, 2}, options, observe);
        },
        &held_out, held_out);
  };
  const std::string settings = "{}";
  ILRE_ASSERT_OK_AND_ASSIGN(const auto work, TrainingWork::Open(folder + "/work", settings));
  ILRE_ASSERT_OK_AND_ASSIGN(const TrainedHead trained, work->Find("pooled-0-2", Base(engine), train));
  ExpectTheEngineRecalls(engine, trained.head, held_out_text, trained.held_out.back().recall);
  EXPECT_EQ(trained.head.type, VectorType::kInt8);
  EXPECT_EQ(trained.head.layers, std::vector<int>({0, 2}));

  ILRE_ASSERT_OK_AND_ASSIGN(const auto later, TrainingWork::Open(folder + "/work", settings));
  ILRE_ASSERT_OK_AND_ASSIGN(const TrainedHead kept, later->Find("pooled-0-2", Base(engine), train));
  EXPECT_EQ(trainings, 1);
  EXPECT_EQ(kept.head.key_projection, trained.head.key_projection);
  EXPECT_EQ(kept.head.query_projection, trained.head.query_projection);
  EXPECT_EQ(kept.head.key_gate, trained.head.key_gate);
  EXPECT_EQ(kept.head.gate_bias, trained.head.gate_bias);
  EXPECT_EQ(kept.trial.gate, trained.trial.gate);
  EXPECT_EQ(CurveJson(kept.held_out), CurveJson(trained.held_out));
  EXPECT_EQ(TrainingWork::Open(folder + "/work", "{\"seed\":1}").status().code(),
            absl::StatusCode::kFailedPrecondition);

  // Fewer dimensions are the first ones.
  options.dim = 8;
  ILRE_ASSERT_OK_AND_ASSIGN(const RetrievalHead small,
                            TrainPooled(data, {0, 2}, options, [](const TrainingState&) { return false; }));
  options.dim = 24;
  ILRE_ASSERT_OK_AND_ASSIGN(const RetrievalHead large,
                            TrainPooled(data, {0, 2}, options, [](const TrainingState&) { return false; }));
  const RetrievalHead cut = WithFewerDims(large, 8);
  ASSERT_EQ(cut.key_projection.size(), small.key_projection.size());
  for (size_t i = 0; i < cut.key_projection.size(); ++i) {
    EXPECT_NEAR(cut.key_projection[i], small.key_projection[i], 0.02 * (1 + std::abs(small.key_projection[i])));
  }
  options.dim = 33;
  EXPECT_THAT(TrainPooled(data, {0, 2}, options, nullptr).status().message(), HasSubstr("at most"));
}

TEST(BaseProfileTest, WeightsAreThoseAskedForOrTheDefaults) {
  RetrievalProfile profile;
  profile.heads.resize(2);
  profile.heads[1].kind = RetrievalHead::Kind::kPooled;
  CalibrateArguments arguments;
  SetWeights(arguments, /*pooled=*/true, &profile);
  EXPECT_EQ(profile.heads[0].weight, 1);
  EXPECT_EQ(profile.lexical.weight, 6);
  arguments.probe_weight = 0.3f;
  arguments.lexical_weight = 1;
  SetWeights(arguments, /*pooled=*/true, &profile);
  EXPECT_EQ(profile.heads[0].weight, 0.3f);
  EXPECT_EQ(profile.heads[1].weight, 1);
  EXPECT_EQ(profile.lexical.weight, 1);
}

TEST(TrainPageTest, CostsCountPartsOfSegmentsInBlocks) {
  const std::vector<HeadFormat> heads = {{64, VectorType::kBf16, false}, {256, VectorType::kInt8, true}};
  // 600 tokens in three blocks: the second segment runs over both boundaries, the third begins in the last block.
  EXPECT_NEAR(BytesPerToken(heads, {0, 100, 550, 600}), 128 + 260 * 5 / 600.0, 1e-9);
  EXPECT_NEAR(BytesPerToken(heads, {0, 256, 512, 600}), 128 + 260 * 3 / 600.0, 1e-9);
}

TEST(TrainPageTest, ThePageHasEveryCurveAndCandidate) {
  TrainedHead probe{.name = "probe-2", .head = {}, .trial = {}, .steps = 5, .validation = {}, .held_out = {}};
  probe.validation = {{0, 0, 3, {0.1, 0.2, 0.3}}, {5, 2, 2.5, {0.4, 0.5, 0.6}}};
  probe.held_out = probe.validation;
  TrainReport report{.name = "a<b", .model = "0123", .questions = 7, .trained = {probe}, .candidates = {}, .chosen = 1};
  report.candidates.push_back({.layers_computed = 2, .bytes_per_token = 128, .held_out = {{128, 0.5, 0.4, 0.3}}});
  report.candidates.push_back({.pooled_layers = {0, 2},
                               .pooled_dim = 256,
                               .layers_computed = 2,
                               .bytes_per_token = 139,
                               .held_out = {{128, 0.75, 0.4, 0.3}}});
  const std::string page = RenderTrainPage(report);
  EXPECT_THAT(page, HasSubstr("a&lt;b"));
  EXPECT_THAT(page, HasSubstr("<tr class=\"chosen-row\"><td>pooled head of layers 0+2, 256 dimensions</td>"));
  EXPECT_THAT(page, HasSubstr("<b>0.750</b>"));
  size_t charts = 0;
  for (size_t at = page.find("<svg "); at != std::string::npos; at = page.find("<svg ", at + 1)) ++charts;
  EXPECT_EQ(charts, 2u + 2 * 2);
}

}  // namespace
}  // namespace ilre::cli
