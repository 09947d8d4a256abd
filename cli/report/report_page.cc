#include "cli/report/report_page.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "cli/json_output.h"
#include "cli/report/assets.h"
#include "common/base/utf8.h"

namespace ilre::cli {
namespace {

// Control characters but tab and line feed; marks of direction; line and paragraph separators; byte order marks.
// common.js has the same list.
bool IsShownAsCode(uint32_t c) {
  return (c < 0x20 && c != '\t' && c != '\n') || (c >= 0x7f && c < 0xa0) || c == 0x061c || c == 0x200e || c == 0x200f ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

// Four digits are enough for what is drawn and keep the page small.
double Rounded(double value) { return std::isfinite(value) ? std::round(value * 1e4) / 1e4 : 0; }

// The shape of ilre.v1.Span in JSON, so that the page of `ilre serve` draws passages with the same script.
Json PassageJson(const Passage& passage) {
  return {{"document", passage.document},    {"tokenBegin", passage.token_begin}, {"tokenEnd", passage.token_end},
          {"byteBegin", passage.byte_begin}, {"byteEnd", passage.byte_end},       {"score", Rounded(passage.score)},
          {"inPrompt", passage.in_prompt},   {"before", passage.before},          {"text", passage.text},
          {"after", passage.after}};
}

Json ReportJson(const AskReport& report) {
  Json json = {{"documents", Json::array()}, {"recalled", Json::array()}, {"nearMisses", Json::array()}};
  for (const ScoredDocument& document : report.documents) {
    Json scores = Json::array();
    for (const float score : document.scores) scores.push_back(Rounded(score));
    json["documents"].push_back(
        {{"name", document.name}, {"tokenCount", document.num_tokens}, {"scores", std::move(scores)}});
  }
  for (const Passage& passage : report.recalled) json["recalled"].push_back(PassageJson(passage));
  for (const Passage& passage : report.near_misses) json["nearMisses"].push_back(PassageJson(passage));
  json["documentCount"] = report.num_documents;
  json["documentTokens"] = report.document_tokens;
  json["recalledTokens"] = report.recalled_tokens;
  json["promptTokens"] = report.prompt_tokens;
  json["answerTokens"] = report.answer_tokens;
  json["finishReason"] = report.finish_reason;
  json["timings"] = {{"loadMs", Rounded(report.load_ms)},       {"queryMs", Rounded(report.query_ms)},
                     {"scoreMs", Rounded(report.score_ms)},     {"rerankMs", Rounded(report.rerank_ms)},
                     {"prefillMs", Rounded(report.prefill_ms)}, {"firstTokenMs", Rounded(report.first_token_ms)},
                     {"totalMs", Rounded(report.total_ms)}};
  return json;
}

// JSON within a <script> element: nothing in it can end the element or begin a comment.
std::string ScriptJson(const Json& json) {
  return absl::StrReplaceAll(
      DumpLine(json),
      {{"<", "\\u003c"}, {">", "\\u003e"}, {"&", "\\u0026"}, {"\xE2\x80\xA8", "\\u2028"}, {"\xE2\x80\xA9", "\\u2029"}});
}

}  // namespace

std::string EscapeHtml(absl::string_view text) {
  std::string html;
  html.reserve(text.size() + text.size() / 8);
  for (size_t i = 0; i < text.size();) {
    uint32_t c = 0;
    const size_t length = Utf8CharLength(text.substr(i), &c);
    if (length == 0) {
      html += "\xEF\xBF\xBD";
    } else if (c == '&') {
      html += "&amp;";
    } else if (c == '<') {
      html += "&lt;";
    } else if (c == '>') {
      html += "&gt;";
    } else if (c == '"') {
      html += "&quot;";
    } else if (c == '\'') {
      html += "&#39;";
    } else if (IsShownAsCode(c)) {
      absl::StrAppendFormat(&html, "&lt;U+%04X&gt;", c);
    } else {
      absl::StrAppend(&html, text.substr(i, length));
    }
    i += std::max<size_t>(1, length);
  }
  return html;
}

std::string PageBeginning(const std::string& title, const std::vector<std::string>& styles,
                          const std::vector<std::string>& scripts) {
  std::string css, style_sources, script_sources;
  for (const std::string& name : styles) {
    absl::StrAppend(&css, "<style>", WebAsset(name).content, "</style>\n");
    absl::StrAppend(&style_sources, " ", PolicySource(WebAsset(name)));
  }
  for (const std::string& name : scripts) absl::StrAppend(&script_sources, " ", PolicySource(WebAsset(name)));
  return absl::StrCat(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src",
      scripts.empty() ? " 'none'" : script_sources, "; style-src", style_sources,
      "; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n"
      "<title>",
      title, "</title>\n", css, "</head>\n<body>\n<main class=\"page\">\n");
}

std::string RenderReport(const AskReport& report) {
  const std::string question = EscapeHtml(report.question);
  std::string html = absl::StrCat(PageBeginning(question, {"common.css"}, {"common.js", "heat_map.js", "report.js"}),
                                  "<header class=\"question\">\n<p class=\"eyebrow\">Question</p>\n<h1 dir=\"auto\">",
                                  question, "</h1>\n</header>\n");
  if (!report.finish_reason.empty()) {
    absl::StrAppend(&html, "<section class=\"answer\" aria-labelledby=\"answer-title\">\n",
                    "<h2 class=\"eyebrow\" id=\"answer-title\">Answer</h2>\n<p class=\"answer-text\" dir=\"auto\">",
                    EscapeHtml(report.answer), "</p>\n</section>\n");
  }
  absl::StrAppend(&html,
                  "<div id=\"report\"></div>\n<noscript><p>The heat map and the passages need scripts, which are part "
                  "of this file.</p></noscript>\n</main>\n<script type=\"application/json\" id=\"data\">",
                  ScriptJson(ReportJson(report)), "</script>\n<script>", WebAsset("common.js").content,
                  "</script>\n<script>", WebAsset("heat_map.js").content, "</script>\n<script>",
                  WebAsset("report.js").content, "</script>\n</body>\n</html>\n");
  return html;
}

}  // namespace ilre::cli
