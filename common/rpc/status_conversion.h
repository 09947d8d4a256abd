// The one place where this project's errors become the errors of a transport, and back.
//
// On the way out: the canonical code, a message of one line, and google.rpc details (https://google.aip.dev/193):
// ErrorInfo with the reason, BadRequest, ResourceInfo, RetryInfo, RequestInfo. Texts are valid UTF-8 without control
// characters and are cut so that the whole fits into the 8 KiB that clients accept as trailers.
// On the way back: what was sent, so that an error which a service got from another one passes through it unchanged.
// Nothing that arrives can crash it; details that cannot be read are left out, and the code and the message remain.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"

namespace ilre {

// Who names the reasons: ErrorInfo.domain.
inline constexpr char kErrorDomain[] = "ilre.io";

// `request_id` goes into RequestInfo; empty: none. OK gives code 0 and nothing else. An error without a reason of its
// own has the name of its code ("INTERNAL") as reason.
google::rpc::Status ToRpcStatus(const absl::Status& status, absl::string_view request_id = "");
grpc::Status ToGrpcStatus(const absl::Status& status, absl::string_view request_id = "");

// The code is grpc's own, whatever the details say; codes that do not exist become UNKNOWN. Without an ErrorInfo of our
// domain (a foreign server, a proxy, grpc itself) the reason is the name of the code.
absl::Status FromGrpcStatus(const grpc::Status& status);
absl::Status FromRpcStatus(const google::rpc::Status& status);

// The HTTP status that stands for a canonical code (google.rpc.Code's table): 200, 400, 404, 429, 499, 503, ...
int HttpStatusCode(absl::StatusCode code);

}  // namespace ilre
