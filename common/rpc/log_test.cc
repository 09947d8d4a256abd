#include "common/rpc/log.h"

#include <regex>
#include <string>
#include <vector>

#include "common/base/test_matchers.h"
#include "common/rpc/text.h"
#include "common/rpc/trace_context.h"
#include "gtest/gtest.h"

namespace ilre {
namespace {

std::string Logged(LogFormat format, LogLevel level, absl::string_view message,
                   std::initializer_list<LogField> fields) {
  std::string lines;
  Logger log(LogLevel::kInfo, format, [&](absl::string_view line) { lines += std::string(line); });
  log.Log(level, message, fields);
  return lines;
}

TEST(LogTest, TextLines) {
  const std::string line = Logged(LogFormat::kText, LogLevel::kWarning, "disk is full",
                                  {{"code", "OK"}, {"none", ""}, {"ms", 1.25}, {"n", 3}, {"error", "a \"b\"\nc"}});
  EXPECT_TRUE(std::regex_match(
      line, std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning disk is full code=OK ms=1.250 n=3 )"
                       R"re(error="a \\"b\\" c"\n)re")))
      << line;
}

TEST(LogTest, JsonLines) {
  const std::string line = Logged(LogFormat::kJson, LogLevel::kInfo, "call",
                                  {{"code", "OK"}, {"none", ""}, {"ms", 0.0 / 0.0}, {"e", "\\\x01\xff\""}});
  EXPECT_TRUE(std::regex_match(
      line,
      std::regex(R"re(\{"time":"[^"]+Z","level":"info","message":"call","code":"OK","ms":0,"e":"\\\\ \?\\""\}\n)re")))
      << line;
}

TEST(LogTest, LowerLevelsAreLeftOut) {
  EXPECT_EQ(Logged(LogFormat::kText, LogLevel::kDebug, "no", {}), "");
  EXPECT_FALSE(ParseLogLevel("loud").ok());
  EXPECT_FALSE(ParseLogFormat("xml").ok());
  EXPECT_EQ(*ParseLogLevel("warning"), LogLevel::kWarning);
  EXPECT_EQ(*ParseLogFormat("json"), LogFormat::kJson);
}

TEST(LogTest, CleanLineCutsAtCharacters) {
  EXPECT_EQ(CleanLine("abc", 3), "abc");
  EXPECT_EQ(CleanLine("abcdefgh", 6), "abc...");
  EXPECT_EQ(CleanLine("äöüäöü", 8), "äö...");
  EXPECT_EQ(CleanLine("a\tb\xc3", 10), "a b?");
  EXPECT_EQ(CleanLine("\xc2\x85x", 10), " x");  // NEL ends a line, too
  for (size_t limit = 0; limit < 20; ++limit) EXPECT_LE(CleanLine("aä€😀aä€😀aä€😀", limit).size(), limit);
  EXPECT_EQ(RandomHex(8).size(), 16u);
  EXPECT_NE(RandomHex(8), RandomHex(8));
}

TEST(LogTest, TraceContext) {
  const std::string good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  EXPECT_TRUE(IsTraceparent(good));
  EXPECT_TRUE(IsTraceparent("cc" + good.substr(2) + "-later"));
  for (const std::string& bad :
       std::vector<std::string>{"", good.substr(1), good + "-", good + "0", "ff" + good.substr(2),
                                "0g" + good.substr(2), "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                                "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                                "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
                                "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}) {
    EXPECT_FALSE(IsTraceparent(bad)) << bad;
  }
  EXPECT_EQ(TraceIdOf(good), "0af7651916cd43dd8448eb211c80319c");
  const std::string child = ChildTraceparent(good);
  EXPECT_TRUE(IsTraceparent(child));
  EXPECT_EQ(TraceIdOf(child), TraceIdOf(good));
  EXPECT_NE(child, good);
  EXPECT_EQ(child.substr(53), "01");
  EXPECT_TRUE(IsTracestate("a=1,b=2"));
  EXPECT_FALSE(IsTracestate("a=\n"));
  EXPECT_FALSE(IsTracestate(std::string(513, 'a')));
}

}  // namespace
}  // namespace ilre
