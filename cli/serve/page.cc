#include "cli/serve/page.h"

#include <string>
#include <utility>

#include "cli/report/assets.h"
#include "cli/serve/http_call.h"
#include "httplib.h"

namespace ilre::cli {
namespace {

// Nothing but this server's own files, and requests to it alone; no text can become a script.
constexpr char kPolicy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

constexpr char kHtml[] = "text/html; charset=utf-8", kCss[] = "text/css; charset=utf-8",
               kScript[] = "text/javascript; charset=utf-8";
constexpr std::pair<const char*, const char*> kFiles[] = {
    {"index.html", kHtml},     {"common.css", kCss},     {"page.css", kCss},
    {"common.js", kScript},    {"heat_map.js", kScript}, {"server.js", kScript},
    {"documents.js", kScript}, {"answers.js", kScript},  {"icon.svg", "image/svg+xml"},
};

}  // namespace

void MountPage(httplib::Server& server, bool loopback_only) {
  for (const auto& [name, type] : kFiles) {
    const std::string path = std::string(name) == "index.html" ? "/" : std::string("/") + name;
    server.Get(path,
               [name = name, type = type, loopback_only](const httplib::Request& request, httplib::Response& response) {
                 const absl::Status status = CheckHost(request, loopback_only);
                 if (!status.ok()) return AnswerError(status, "", response);
                 SetSecurityHeaders(response);
                 response.set_header("Content-Security-Policy", kPolicy);
                 response.status = 200;
                 response.set_content(std::string(WebAsset(name).content), type);
               });
  }
}

}  // namespace ilre::cli
