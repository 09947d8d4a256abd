#include "cli/serve/http_call.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "common/base/errors.h"
#include "common/rpc/status_conversion.h"
#include "google/protobuf/util/json_util.h"

namespace ilre::cli {
namespace {

// "name" of "name:port" and of "[address]:port".
absl::string_view WithoutPort(absl::string_view host) {
  if (absl::ConsumePrefix(&host, "[")) return host.substr(0, host.find(']'));
  return host.substr(0, host.find(':'));
}

// The parser quotes what it was given, which may be of any length and form.
std::string Shortened(absl::string_view text) {
  constexpr size_t kMax = 200;
  return text.size() <= kMax ? std::string(text) : absl::StrCat(text.substr(0, kMax), "...");
}

}  // namespace

bool IsLoopback(absl::string_view host) {
  if (absl::EqualsIgnoreCase(host, "localhost") || host == "::1" || host == "[::1]") return true;
  if (!absl::StartsWith(host, "127.")) return false;
  // 127.0.0.0/8, and not 127.evil.example.
  return std::all_of(host.begin(), host.end(), [](char c) { return absl::ascii_isdigit(c) || c == '.'; });
}

absl::Status CheckHost(const httplib::Request& request, bool loopback_only) {
  if (!loopback_only || IsLoopback(WithoutPort(request.get_header_value("Host")))) return absl::OkStatus();
  return MakeError(absl::StatusCode::kPermissionDenied, "HOST_NOT_ALLOWED",
                   "this server is for its own machine only: call it localhost or by its loopback address");
}

absl::Status CheckOrigin(const httplib::Request& request, bool loopback_only) {
  if (absl::Status status = CheckHost(request, loopback_only); !status.ok()) return status;
  const std::string host = request.get_header_value("Host");
  const std::string origin = request.get_header_value("Origin");
  const std::string site = request.get_header_value("Sec-Fetch-Site");
  const bool same_origin =
      (origin.empty() || origin == absl::StrCat("http://", host) || origin == absl::StrCat("https://", host)) &&
      (site.empty() || site == "same-origin" || site == "none");
  if (same_origin) return absl::OkStatus();
  return MakeError(absl::StatusCode::kPermissionDenied, "CROSS_ORIGIN",
                   "pages of other sites may not call this server");
}

CallHeaders HeadersOf(const httplib::Request& request, absl::Duration timeout) {
  CallHeaders headers;
  headers.authorization = request.get_header_value("Authorization");
  headers.request_id = request.get_header_value("x-request-id");
  headers.traceparent = request.get_header_value("traceparent");
  headers.tracestate = request.get_header_value("tracestate");
  headers.deadline = absl::Now() + timeout;
  return headers;
}

void SetSecurityHeaders(httplib::Response& response) {
  response.set_header("Cache-Control", "no-store");
  response.set_header("X-Content-Type-Options", "nosniff");
  response.set_header("X-Frame-Options", "DENY");
  response.set_header("Referrer-Policy", "no-referrer");
  response.set_header("Cross-Origin-Opener-Policy", "same-origin");
  response.set_header("Cross-Origin-Resource-Policy", "same-origin");
}

std::string ToJson(const google::protobuf::Message& message) {
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json);
  return status.ok() ? json : "{}";  // fails for broken Any alone, which this program does not make
}

absl::Status FromJson(absl::string_view json, google::protobuf::Message* message) {
  if (json.empty()) return absl::OkStatus();
  const auto status = google::protobuf::util::JsonStringToMessage(
      google::protobuf::StringPiece(json.data(), json.size()), message, google::protobuf::util::JsonParseOptions());
  if (status.ok()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_JSON",
                   absl::StrCat("the body is no JSON of a ", message->GetDescriptor()->name(), ": ",
                                Shortened(std::string(status.message()))));
}

void Answer(const google::protobuf::Message& message, const CallContext& context, httplib::Response& response) {
  SetSecurityHeaders(response);
  response.set_header("x-request-id", context.request_id);
  response.status = 200;
  response.set_content(ToJson(message) + "\n", "application/json");
}

void AnswerError(const absl::Status& status, absl::string_view request_id, httplib::Response& response) {
  SetSecurityHeaders(response);
  if (!request_id.empty()) response.set_header("x-request-id", std::string(request_id));
  if (status.code() == absl::StatusCode::kUnauthenticated) response.set_header("WWW-Authenticate", "Bearer");
  if (const absl::Duration delay = DetailsOf(status).retry_delay; delay > absl::ZeroDuration()) {
    response.set_header("Retry-After",
                        absl::StrCat(std::max<int64_t>(1, absl::ToInt64Seconds(absl::Ceil(delay, absl::Seconds(1))))));
  }
  response.status = HttpStatusCode(status.code());
  response.set_content(ToJson(ToRpcStatus(status, request_id)) + "\n", "application/json");
}

absl::Status CheckParameters(const httplib::Request& request, std::initializer_list<absl::string_view> known) {
  for (const auto& [name, value] : request.params) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return errors::InvalidField(Shortened(name), "there is no such parameter");
    }
    if (request.get_param_value_count(name) > 1) return errors::InvalidField(name, "the parameter is given twice");
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> BoolParameter(const httplib::Request& request, const char* name, bool absent) {
  if (!request.has_param(name)) return absent;
  const std::string value = request.get_param_value(name);
  if (value.empty() || value == "true" || value == "1") return true;
  if (value == "false" || value == "0") return false;
  return errors::InvalidField(name, "neither true nor false");
}

absl::StatusOr<int64_t> IntParameter(const httplib::Request& request, const char* name, int64_t absent) {
  if (!request.has_param(name)) return absent;
  int64_t value = 0;
  if (absl::SimpleAtoi(request.get_param_value(name), &value)) return value;
  return errors::InvalidField(name, "not a whole number");
}

absl::Status CheckBodyForm(const httplib::Request& request) {
  const std::string type = absl::AsciiStrToLower(request.get_header_value("Content-Type"));
  if (!absl::StartsWith(type, "multipart/")) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_CONTENT_TYPE",
                   "the body is taken as it is: send it without a form around it");
}

void DiscardBody(const httplib::Request& request, const httplib::ContentReader& reader) {
  if (!CheckBodyForm(request).ok()) return;
  size_t discarded = 0;
  (void)reader([&](const char*, size_t size) { return (discarded += size) <= kMaxDiscardedBytes; });
}

absl::StatusOr<std::string> ReadBody(const httplib::Request& request, const httplib::ContentReader& reader,
                                     size_t max_bytes) {
  if (absl::Status status = CheckBodyForm(request); !status.ok()) return status;
  std::string body;
  size_t discarded = 0;
  const bool read = reader([&](const char* data, size_t size) {
    if (discarded == 0 && size <= max_bytes - body.size()) {
      body.append(data, size);
      return true;
    }
    discarded += size;
    return discarded <= kMaxDiscardedBytes;
  });
  if (discarded > 0) {
    return MakeError(absl::StatusCode::kInvalidArgument, "REQUEST_TOO_LARGE",
                     absl::StrCat("the body is longer than ", max_bytes, " bytes"));
  }
  if (!read) return errors::Cancelled("reading the request");
  return body;
}

}  // namespace ilre::cli
