// Writes a report as one HTML page that loads nothing.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "cli/report/ask_report.h"

namespace ilre::cli {

// The page. Documents, questions and answers are hostile: they stand in the page as escaped text or JSON only, and its
// security policy allows no script and no style but the page's own, and no request of any kind.
std::string RenderReport(const AskReport& report);

// A page's first part, up to and with the beginning of <main class="page">. `title` is escaped already. Styles and
// scripts are names of assets: the styles are in it, the scripts are to follow; nothing else is allowed to run.
std::string PageBeginning(const std::string& title, const std::vector<std::string>& styles,
                          const std::vector<std::string>& scripts);

// `text` for an HTML element or a quoted attribute. What is not a character becomes U+FFFD; control characters (but
// line feeds and tabs) and marks that change the direction of the text around them become visible: <U+202E>.
std::string EscapeHtml(absl::string_view text);

}  // namespace ilre::cli
