#include "cli/report/report_page.h"

#include <limits>

#include "cli/report/assets.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace ilre::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TEST(EscapeHtmlTest, MarkupQuotesBrokenBytesAndInvisibleCharacters) {
  EXPECT_EQ(EscapeHtml("a\tb\nc"), "a\tb\nc");
  EXPECT_EQ(EscapeHtml("</script>&amp;\"'"), "&lt;/script&gt;&amp;amp;&quot;&#39;");
  EXPECT_EQ(EscapeHtml(absl::string_view("\0\r\x1b\x7f", 4)),
            "&lt;U+0000&gt;&lt;U+000D&gt;&lt;U+001B&gt;&lt;U+007F&gt;");
  EXPECT_EQ(EscapeHtml("\xE2\x80\xAE\xD8\x9C\xEF\xBB\xBF"), "&lt;U+202E&gt;&lt;U+061C&gt;&lt;U+FEFF&gt;");
  EXPECT_EQ(EscapeHtml("\xC3\xA9\xF0\x9F\x98\x80"), "\xC3\xA9\xF0\x9F\x98\x80");
  EXPECT_EQ(EscapeHtml("x\xFF\xC3y\xE2\x80"), "x\xEF\xBF\xBD\xEF\xBF\xBDy\xEF\xBF\xBD\xEF\xBF\xBD");
}

AskReport Hostile() {
  AskReport report;
  report.question = "</title><script>alert(1)</script>";
  report.answer = "<!-- \xE2\x80\xA8 \xFF";
  report.finish_reason = "END_TOKEN";
  report.num_documents = 1;
  report.documents.push_back(
      {.name = "c/d", .num_tokens = 10, .scores = {0.25f, std::numeric_limits<float>::quiet_NaN()}});
  report.recalled.push_back({.document = "c/d",
                             .token_end = 10,
                             .byte_end = 20,
                             .in_prompt = true,
                             .text = "</script><!--<script>\xC3",
                             .before = "&\"'",
                             .after = "\xE2\x80\xA9"});
  return report;
}

TEST(RenderReportTest, DataCannotLeaveItsElementAndComesBackWhole) {
  const std::string page = RenderReport(Hostile());
  const std::string open = "<script type=\"application/json\" id=\"data\">";
  const size_t begin = page.find(open) + open.size();
  const std::string data = page.substr(begin, page.find("</script>", begin) - begin);
  EXPECT_THAT(data, Not(HasSubstr("<")));
  EXPECT_THAT(data, Not(HasSubstr("\xE2\x80\xA9")));
  const auto json = nlohmann::json::parse(data);
  EXPECT_EQ(json["recalled"][0]["text"], "</script><!--<script>\xEF\xBF\xBD");
  EXPECT_EQ(json["recalled"][0]["before"], "&\"'");
  EXPECT_EQ(json["recalled"][0]["after"], "\xE2\x80\xA9");
  EXPECT_EQ(json["documents"][0]["scores"], nlohmann::json::parse("[0.25, 0]"));
  EXPECT_THAT(page, HasSubstr("<h1 dir=\"auto\">&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;</h1>"));
}

TEST(RenderReportTest, PolicyAllowsJustThePagesOwnScripts) {
  const std::string page = RenderReport(Hostile());
  EXPECT_THAT(page, HasSubstr("default-src 'none'; script-src 'sha256-"));
  EXPECT_THAT(page, Not(HasSubstr("unsafe-")));
  // What has no digest of the empty file, whose base64 is known.
  EXPECT_EQ(PolicySource({"x", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}),
            "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='");
  for (const char* name : {"common.css", "common.js", "heat_map.js", "report.js"}) {
    const Asset& asset = WebAsset(name);
    EXPECT_THAT(page, HasSubstr(PolicySource(asset)));
    EXPECT_EQ(asset.content.find("</script"), absl::string_view::npos) << asset.name;
    EXPECT_EQ(asset.content.find("</style"), absl::string_view::npos) << asset.name;
  }
}

TEST(DivideIntoPartsTest, BestOfEachPart) {
  const std::vector<ScoredSegment> segments = {
      {.begin = 0, .end = 3, .score = 1}, {.begin = 3, .end = 4, .score = 5}, {.begin = 4, .end = 10, .score = 2}};
  EXPECT_THAT(DivideIntoParts(segments, 10, 5), ElementsAre(1, 5, 2, 2, 2));
  EXPECT_THAT(DivideIntoParts(segments, 10, 1), ElementsAre(5));
  EXPECT_THAT(DivideIntoParts(segments, 10, 100), ElementsAre(1, 1, 1, 5, 2, 2, 2, 2, 2, 2));
  EXPECT_THAT(DivideIntoParts({}, 10, 5), IsEmpty());
  EXPECT_THAT(DivideIntoParts(segments, 10, 0), IsEmpty());
}

}  // namespace
}  // namespace ilre::cli
