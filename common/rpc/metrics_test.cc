#include "common/rpc/metrics.h"

#include <cstdlib>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "common/rpc/executor.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

// Reads the text exposition format, and fails the test where it is not that.
std::map<std::string, double> Samples(const std::string& text) {
  static const std::regex kSample(R"re(([a-z_][a-z0-9_]*(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})?) (\S+))re");
  static const std::regex kComment(R"re(# (HELP [a-z_0-9]+ .+|TYPE [a-z_0-9]+ (counter|gauge|histogram)))re");
  std::map<std::string, double> samples;
  std::map<std::string, int> types;
  for (absl::string_view view : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::string line(view);
    std::smatch match;
    if (line[0] == '#') {
      EXPECT_TRUE(std::regex_match(line, kComment)) << line;
      if (line.rfind("# TYPE", 0) == 0) ++types[line.substr(0, line.rfind(' '))];
      continue;
    }
    if (!std::regex_match(line, match, kSample)) {
      ADD_FAILURE() << line;
      continue;
    }
    EXPECT_TRUE(samples.emplace(match[1], std::strtod(match[4].str().c_str(), nullptr)).second) << "twice: " << line;
  }
  for (const auto& [line, count] : types) EXPECT_EQ(count, 1) << line;
  return samples;
}

TEST(MetricsTest, CountsWhatItIsTold) {
  ServiceMetrics metrics;
  metrics.RecordRequest("ilre.v1.Encoder/GetDocument", absl::StatusCode::kOk, absl::Milliseconds(3));
  metrics.RecordRequest("ilre.v1.Encoder/GetDocument", absl::StatusCode::kOk, absl::Milliseconds(30));
  metrics.RecordRequest("ilre.v1.Encoder/GetDocument", absl::StatusCode::kNotFound, absl::Seconds(400));
  metrics.AddIngested(256, 1000);
  metrics.AddIngested(256, 1001);
  metrics.AddRecalled(300, 100'000);
  metrics.AddDecodedTokens(17);
  metrics.RecordTimeToFirstToken(absl::Milliseconds(210));
  metrics.SetReady(true);
  std::map<std::string, double> samples = Samples(metrics.Text());
  EXPECT_EQ(samples["ilre_requests_total{code=\"OK\",method=\"ilre.v1.Encoder/GetDocument\"}"] +
                samples["ilre_requests_total{method=\"ilre.v1.Encoder/GetDocument\",code=\"OK\"}"],
            2);
  EXPECT_EQ(samples["ilre_request_seconds_count{method=\"ilre.v1.Encoder/GetDocument\"}"], 3);
  EXPECT_EQ(samples["ilre_request_seconds_bucket{method=\"ilre.v1.Encoder/GetDocument\",le=\"0.005\"}"], 1);
  EXPECT_EQ(samples["ilre_request_seconds_bucket{method=\"ilre.v1.Encoder/GetDocument\",le=\"300\"}"], 2);
  EXPECT_EQ(samples["ilre_ingested_tokens_total"], 512);
  EXPECT_EQ(samples["ilre_ingested_bytes_total"], 2001);
  EXPECT_EQ(samples["ilre_recalled_tokens_total"], 300);
  EXPECT_EQ(samples["ilre_searched_tokens_total"], 100'000);
  EXPECT_EQ(samples["ilre_decoded_tokens_total"], 17);
  EXPECT_EQ(samples["ilre_time_to_first_token_seconds_count"], 1);
  EXPECT_EQ(samples["ilre_ready"], 1);
}

TEST(MetricsTest, EverythingIsThereFromTheStart) {
  ServiceMetrics metrics;
  const std::map<std::string, double> samples = Samples(metrics.Text());
  for (const char* name : {"ilre_ready", "ilre_ingested_tokens_total", "ilre_decoded_tokens_total",
                           "ilre_time_to_first_token_seconds_count"}) {
    ASSERT_TRUE(samples.count(name)) << name;
    EXPECT_EQ(samples.at(name), 0);
  }
}

TEST(MetricsTest, SourcesAreReadWhenAskedAndGoWithTheirHandle) {
  ServiceMetrics metrics;
  Executor encoder({.num_threads = 1}), retriever({.num_threads = 1});
  int64_t bytes = 5;
  {
    const auto one = metrics.WatchExecutor("encoder", encoder);
    const auto two = metrics.WatchExecutor("retriever", retriever);
    const auto store = metrics.WatchStore([&] { return ServiceMetrics::StoreFigures{bytes, 2}; });
    const auto cache = metrics.WatchKeyCache([] { return ServiceMetrics::KeyCacheFigures{1, 2, 3}; });
    const auto more = metrics.Watch(ServiceMetrics::Kind::kCounter, "ilre_things_total", "Things.", {"kind", "a"},
                                    [] { return 4.0; });
    bytes = 7;
    std::map<std::string, double> samples = Samples(metrics.Text());
    EXPECT_EQ(samples.count("ilre_queue_depth{service=\"encoder\"}"), 1u);
    EXPECT_EQ(samples.count("ilre_running_requests{service=\"retriever\"}"), 1u);
    EXPECT_EQ(samples["ilre_store_bytes"], 7);
    EXPECT_EQ(samples["ilre_documents"], 2);
    EXPECT_EQ(samples["ilre_key_cache_hits_total"], 1);
    EXPECT_EQ(samples["ilre_key_cache_misses_total"], 2);
    EXPECT_EQ(samples["ilre_key_cache_bytes"], 3);
    EXPECT_EQ(samples["ilre_things_total{kind=\"a\"}"], 4);
  }
  const std::map<std::string, double> samples = Samples(metrics.Text());
  EXPECT_EQ(samples.count("ilre_store_bytes"), 0u);
  EXPECT_EQ(samples.count("ilre_queue_depth{service=\"encoder\"}"), 0u);
}

TEST(MetricsTest, ASourceMayOutliveTheMetrics) {
  auto metrics = std::make_unique<ServiceMetrics>();
  const auto source = metrics->WatchStore([] { return ServiceMetrics::StoreFigures{}; });
  metrics.reset();
}

}  // namespace
}  // namespace ilre
