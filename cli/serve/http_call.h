// One request of the HTTP API: may it be answered, how errors and messages look, parameters of its query.
#pragma once

#include <initializer_list>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/rpc/call_scope.h"
#include "google/protobuf/message.h"
#include "httplib.h"

namespace ilre::cli {

// PERMISSION_DENIED HOST_NOT_ALLOWED where the server is bound to a loopback address and the request speaks to another
// name: another site's, which was made to resolve to this machine.
absl::Status CheckHost(const httplib::Request& request, bool loopback_only);
// CheckHost, and PERMISSION_DENIED CROSS_ORIGIN for a request that a browser sends on behalf of another site's page.
absl::Status CheckOrigin(const httplib::Request& request, bool loopback_only);

// Whether `host` (a name, an address or an [address], without a port) is this machine only.
bool IsLoopback(absl::string_view host);

// What the transport knows of a request, for its CallScope.
CallHeaders HeadersOf(const httplib::Request& request, absl::Duration timeout);

// Headers that every answer has: nothing is cached, guessed, framed or referred.
void SetSecurityHeaders(httplib::Response& response);

// -> one line of JSON.
std::string ToJson(const google::protobuf::Message& message);
// Reads JSON into `message`; INVALID_ARGUMENT for what is no JSON of it: unknown fields, wrong types. An empty text is
// an empty message.
absl::Status FromJson(absl::string_view json, google::protobuf::Message* message);

void Answer(const google::protobuf::Message& message, const CallContext& context, httplib::Response& response);
void AnswerError(const absl::Status& status, absl::string_view request_id, httplib::Response& response);

// Parameters of the query. Errors are INVALID_ARGUMENT naming the parameter.
absl::Status CheckParameters(const httplib::Request& request, std::initializer_list<absl::string_view> known);
// Present without a value counts as true.
absl::StatusOr<bool> BoolParameter(const httplib::Request& request, const char* name, bool absent);
absl::StatusOr<int64_t> IntParameter(const httplib::Request& request, const char* name, int64_t absent);

// Reads a body of at most `max_bytes`. INVALID_ARGUMENT (REQUEST_TOO_LARGE) for a longer one or one in a form that this
// API does not take; CANCELLED where the client stopped sending.
absl::StatusOr<std::string> ReadBody(const httplib::Request& request, const httplib::ContentReader& reader,
                                     size_t max_bytes);
// Bodies come as they are, not as forms (httplib would want to take those apart).
absl::Status CheckBodyForm(const httplib::Request& request);
// Reads a body that nobody wants, as far as is reasonable: clients that are still sending would not see the answer.
void DiscardBody(const httplib::Request& request, const httplib::ContentReader& reader);
inline constexpr size_t kMaxDiscardedBytes = size_t{256} << 20;

}  // namespace ilre::cli
