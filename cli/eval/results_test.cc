// Scores, the log that an evaluation goes on from, and the report.
#include <cmath>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/eval/eval_report.h"
#include "cli/eval/result_log.h"
#include "cli/eval/scoring.h"
#include "cli/eval/svg_plot.h"
#include "common/base/errors.h"
#include "common/base/random.h"
#include "common/base/test_matchers.h"
#include "common/store/test_documents.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace ilre::cli {
namespace {

using ::testing::HasSubstr;

TEST(ScoreAnswerTest, CountsReferencesFound) {
  const std::vector<std::string> two = {"12345", "Abc"};
  EXPECT_EQ(ScoreAnswer(" It is\x01"
                        "12345 and aBC.",
                        two, Matching::kAll),
            1);
  EXPECT_EQ(ScoreAnswer("12345", two, Matching::kAll), 0.5);
  EXPECT_EQ(ScoreAnswer("12345", two, Matching::kAny), 1);
  EXPECT_EQ(ScoreAnswer("1234", two, Matching::kAll), 0);
  EXPECT_EQ(ScoreAnswer("", two, Matching::kAny), 0);
  EXPECT_EQ(ScoreAnswer("anything", {}, Matching::kAll), 0);
}

TEST(CoversTest, EveryByteCounts) {
  EXPECT_TRUE(Covers({{0, 10}}, {2, 9}));
  EXPECT_TRUE(Covers({{5, 10}, {0, 5}}, {2, 9}));
  EXPECT_TRUE(Covers({{0, 3}, {1, 8}, {6, 20}}, {2, 9}));
  EXPECT_FALSE(Covers({{0, 5}, {6, 10}}, {2, 9}));
  EXPECT_FALSE(Covers({{3, 10}}, {2, 9}));
  EXPECT_FALSE(Covers({{0, 8}}, {2, 9}));
  EXPECT_FALSE(Covers({}, {2, 9}));
  const std::vector<ByteRange> wanted = {{0, 4}, {8, 12}};
  EXPECT_EQ(ShareCovered({{0, 10}}, wanted), 0.5);
  EXPECT_EQ(ShareCovered({{0, 10}}, {}), 0);
}

TEST(MeanOfGroupsTest, IntervalIsThatOfTheMean) {
  Random random(4);
  std::vector<double> values;
  for (int i = 0; i < 400; ++i) values.push_back(random.Below(4) == 0 ? 1 : 0);
  const Interval interval = MeanOfGroups({values});
  const double deviation = std::sqrt(interval.mean * (1 - interval.mean) / 400);
  EXPECT_NEAR(interval.low, interval.mean - 1.96 * deviation, 0.01);
  EXPECT_NEAR(interval.high, interval.mean + 1.96 * deviation, 0.01);
  const Interval groups = MeanOfGroups({{1, 1, 1}, {}, {0}});
  EXPECT_EQ(groups.mean, 0.5);
  EXPECT_EQ(groups.low, 0.5);
  EXPECT_EQ(groups.high, 0.5);
  EXPECT_EQ(MeanOfGroups({}).high, 0);
}

EvalResult MakeResult(int index, const std::string& mode = "default") {
  return {.task = "vt",
          .mode = mode,
          .length = 4096,
          .index = index,
          .budget = 512,
          .score = 0.5,
          .needles = 1,
          .recalled = 1,
          .context_tokens = 60,
          .document_tokens = 4000,
          .looks = 3,
          .answer = "a \"b\"\n\xC3\xA9"};
}

std::string Content(const std::string& path) {
  std::stringstream content;
  content << std::ifstream(path).rdbuf();
  return content.str();
}

TEST(ResultLogTest, GoesOnWhereItWas) {
  const TempFolder folder;
  const std::string path = folder.path() + "/results.jsonl";
  {
    ILRE_ASSERT_OK_AND_ASSIGN(const auto log, ResultLog::Open(path, "{\"seed\": 1}"));
    EXPECT_FALSE(log->Has(MakeResult(0)));
    ILRE_ASSERT_OK(log->Append(MakeResult(0)));
    ILRE_ASSERT_OK(log->Append(MakeResult(1)));
  }
  const std::string whole = Content(path);
  // Killed while it wrote the second result, after any of its bytes.
  const size_t second = whole.find('\n', whole.find('\n') + 1) + 1;
  for (size_t size = second; size <= whole.size(); ++size) {
    std::ofstream(path, std::ios::trunc) << whole.substr(0, size);
    ILRE_ASSERT_OK_AND_ASSIGN(const auto log, ResultLog::Open(path, "{\"seed\": 1}"));
    EXPECT_TRUE(log->Has(MakeResult(0)));
    EXPECT_EQ(log->results()[0].answer, MakeResult(0).answer);
    ASSERT_EQ(log->Has(MakeResult(1)), size == whole.size());
    if (size < whole.size()) {
      ILRE_ASSERT_OK(log->Append(MakeResult(1)));
    }
    EXPECT_EQ(Content(path), whole) << size;
  }
  // Killed before the first line was whole.
  std::ofstream(path, std::ios::trunc) << "{\"se";
  ILRE_ASSERT_OK_AND_ASSIGN(const auto log, ResultLog::Open(path, "{\"seed\": 1}"));
  EXPECT_TRUE(log->results().empty());
  EXPECT_EQ(Content(path), "{\"seed\": 1}\n");
}

TEST(ResultLogTest, OtherSettingsAndDamageAreRefused) {
  const TempFolder folder;
  const std::string path = folder.path() + "/results.jsonl";
  ILRE_ASSERT_OK((*ResultLog::Open(path, "{\"seed\": 1}"))->Append(MakeResult(0)));
  const absl::Status other = ResultLog::Open(path, "{\"seed\": 2}").status();
  EXPECT_THAT(other, StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("\"seed\": 2")));
  EXPECT_EQ(ErrorReason(other), "EVAL_OTHER_SETTINGS");
  std::ofstream(path, std::ios::app) << "{\"task\": 3}\n";
  EXPECT_THAT(ResultLog::Open(path, "{\"seed\": 1}"), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("jsonl:3")));
}

TEST(ResultLogTest, AModeKeepsItsSettings) {
  const TempFolder folder;
  const std::string path = folder.path() + "/results.jsonl";
  const auto open = [&] { return ResultLog::Open(path, "{\"seed\": 1}"); };
  {
    ILRE_ASSERT_OK_AND_ASSIGN(const auto log, open());
    ILRE_ASSERT_OK(log->SetMode("best", "{\"profile\":\"a\"}"));
    ILRE_ASSERT_OK(log->Append(MakeResult(0, "best")));
  }
  const std::string content = Content(path);
  ILRE_ASSERT_OK_AND_ASSIGN(const auto log, open());
  EXPECT_TRUE(log->Has(MakeResult(0, "best")));
  ILRE_ASSERT_OK(log->SetMode("best", "{\"profile\":\"a\"}"));
  EXPECT_EQ(Content(path), content);
  const absl::Status other = log->SetMode("best", "{\"profile\":\"b\"}");
  EXPECT_THAT(other, StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("mode best")));
  EXPECT_EQ(ErrorReason(other), "EVAL_OTHER_SETTINGS");
  ILRE_ASSERT_OK(log->SetMode("deep", "{\"profile\":\"b\"}"));  // another mode joins
}

TEST(ReportTest, MeansOfTasksAndOfAll) {
  std::vector<EvalResult> results;
  for (int i = 0; i < 4; ++i) {
    results.push_back(MakeResult(i));
    results.back().score = i % 2;
    results.push_back(MakeResult(i));
    results.back().task = "cwe";
    results.back().score = 1;
    results.back().needles = results.back().recalled = -1;
    results.push_back(MakeResult(i, "window"));
    results.back().score = -1;
    results.back().needles = 0.25 * i;
  }
  const std::vector<EvalFigure> figures = Summarize(results);
  ASSERT_EQ(figures.size(), 5u);
  EXPECT_EQ(figures[0].task, "vt");
  EXPECT_EQ(figures[0].mode, "default");
  EXPECT_EQ(figures[0].score.mean, 0.5);
  EXPECT_EQ(figures[1].mode, "window");
  EXPECT_FALSE(figures[1].has_score);
  EXPECT_EQ(figures[1].needles.mean, 0.375);
  EXPECT_EQ(figures[1].all.mean, 0);
  EXPECT_EQ(figures[2].task, "cwe");
  EXPECT_FALSE(figures[2].has_needles);
  EXPECT_EQ(figures[3].task, "mean");
  EXPECT_EQ(figures[3].score.mean, 0.75);
  EXPECT_EQ(figures[3].needles.mean, 1) << "of the tasks that have any";
  EXPECT_EQ(figures[3].samples, 8u);
  EXPECT_EQ(figures[3].context_tokens, 60);

  EXPECT_THAT(FormatTable(figures), HasSubstr("Length 4096, budget 512"));
  const std::string csv = FormatCsv(figures);
  const auto columns = [](absl::string_view line) { return std::count(line.begin(), line.end(), ','); };
  size_t lines = 0;
  for (size_t begin = 0; begin < csv.size(); ++lines) {
    const size_t end = csv.find('\n', begin);
    EXPECT_EQ(columns(csv.substr(begin, end - begin)), 15) << csv.substr(begin, end - begin);
    begin = end + 1;
  }
  EXPECT_EQ(lines, 6u);
  const auto json = nlohmann::json::parse(FormatJson(figures));
  EXPECT_EQ(json.size(), 5u);
  EXPECT_EQ(json[0]["score"]["mean"], 0.5);
  EXPECT_FALSE(json[1].contains("score"));

  const TempFolder folder;
  ILRE_ASSERT_OK(WriteReport(folder.path(), figures));
  for (const char* name : {"summary.csv", "summary.json", "score_by_length.svg", "needles_by_compression.svg"}) {
    EXPECT_FALSE(Content(absl::StrCat(folder.path(), "/", name)).empty()) << name;
  }
}

TEST(SvgPlotTest, DrawsEverySeries) {
  Plot plot{.title = "a < b & c", .x_label = "x", .y_label = "y"};
  EXPECT_THAT(RenderSvg(plot), HasSubstr("a &lt; b &amp; c")) << "also without points";
  plot.series = {{"one", {{4096, 0.5, 0.4, 0.6}, {8192, 1.5, 1, 2}}}, {"two", {{4096, 0, 0, 0}}}};
  const std::string svg = RenderSvg(plot);
  for (const char* part : {">one<", ">two<", ">4K<", ">8K<"}) EXPECT_THAT(svg, HasSubstr(part));
  EXPECT_FALSE(absl::StrContains(svg, "nan"));
  EXPECT_FALSE(absl::StrContains(svg, "inf"));
}

}  // namespace
}  // namespace ilre::cli
