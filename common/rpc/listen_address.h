// Addresses that a server listens on: HOST:PORT.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ilre {

struct ListenAddress {
  std::string host;  // a name or an address, without brackets; "0.0.0.0" where none was given (":8080")
  int port = 0;      // 0: any free one

  // HOST:PORT, an IPv6 address in brackets.
  std::string ToString() const;
};

// "127.0.0.1:50051", "[::1]:50051", "localhost:0", ":8080". Others are INVALID_ARGUMENT naming `flag`.
absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view flag, absl::string_view text);

// The error for an address that could not be bound: FAILED_PRECONDITION CANNOT_LISTEN with the system's reason, which
// it finds by trying again.
absl::Status CannotListen(absl::string_view flag, const ListenAddress& address);

}  // namespace ilre
