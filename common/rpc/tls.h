// TLS from PEM files, for servers and for clients.
//
// Files are looked at again every few seconds, so that renewed certificates are taken up without a restart: connections
// that are made later use them. Replace files by renaming, as Kubernetes' mounted secrets do.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/server_credentials.h"

namespace ilre {

// How often the files are looked at. At least 1.
inline constexpr unsigned int kTlsRefreshSeconds = 10;

// Of a server. All empty: no TLS.
struct ServerTls {
  std::string cert, key;  // certificate chain and its private key
  std::string client_ca;  // if given, clients must show a certificate of one of these authorities (mutual TLS)

  // INVALID_ARGUMENT for half a pair; not whether the files are good.
  absl::Status Validate() const;
};

// Of a client.
struct ClientTls {
  bool enabled = false;
  std::string ca;         // authorities that servers are checked by; empty: those of the system
  std::string cert, key;  // what the client shows of itself; both or none

  absl::Status Validate() const;
};

// Insecure ones where no TLS is asked for. Errors: those of the files, INVALID_ARGUMENT BAD_CERTIFICATE for a file that
// is no certificate or key, or a key that belongs to another certificate.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const ServerTls& tls, unsigned int refresh_seconds = kTlsRefreshSeconds);
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const ClientTls& tls, unsigned int refresh_seconds = kTlsRefreshSeconds);

}  // namespace ilre
