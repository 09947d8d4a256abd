// What travels with one request from its transport into the cores: who asks, until when, and whether it still matters.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/errors.h"

namespace ilre {

// Plain data; copied into whatever works for the request.
struct CallContext {
  // Who asks. Documents of one tenant are invisible to others. Empty: the only user of a server without tenants.
  std::string tenant;
  // For logs, and given back to the client.
  std::string request_id;
  // W3C trace context (https://www.w3.org/TR/trace-context/) as it came, passed on in calls to other services; empty if
  // none came.
  std::string traceparent, tracestate;
  // The bearer token as it came ("Bearer ..."), passed on to services that are called for this request; may be empty.
  std::string authorization;
  absl::Time arrival = absl::Now();  // of the request
  absl::Time deadline = absl::InfiniteFuture();
  // Whether the client went away or the server gives up waiting. Thread-safe, cheap. Null: never.
  std::function<bool()> cancelled;

  double MsSinceArrival() const { return absl::ToDoubleMilliseconds(absl::Now() - arrival); }

  bool ShouldStop() const { return (cancelled && cancelled()) || absl::Now() >= deadline; }
  // OK, CANCELLED or DEADLINE_EXCEEDED, naming `what` was going on.
  absl::Status Check(absl::string_view what) const {
    if (cancelled && cancelled()) return errors::Cancelled(what);
    if (absl::Now() >= deadline) return errors::DeadlineExceeded(what);
    return absl::OkStatus();
  }
};

}  // namespace ilre
