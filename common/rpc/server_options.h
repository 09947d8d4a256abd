// What all servers can be told: flags, and the same names in a file.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "common/rpc/log.h"
#include "common/rpc/tls.h"

namespace CLI {
class App;
}

namespace ilre {

struct ServerOptions {
  std::string listen = "127.0.0.1:50051";      // gRPC, HOST:PORT; port 0 takes a free one
  std::string http_listen = "127.0.0.1:9090";  // /metrics and the like; empty: none
  ServerTls tls;
  std::string tokens_file;  // lines TENANT TOKEN; empty: everybody is the one user
  int drain_seconds = 20;   // how long calls may go on when the server is told to end
  int max_running = 8;      // calls of a kind that are worked on at once
  int max_waiting = 64;     // calls of a kind that wait for that; more are refused
  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;

  // Not flags: limits of the transport.
  int max_message_bytes = 4 << 20;  // of a request's message
  int max_streams_per_connection = 256;
  int64_t max_buffered_bytes = int64_t{512} << 20;  // of messages in all connections together
  int max_connection_minutes = 10;  // then a client is asked to connect again, so that load spreads over new servers
  unsigned int tls_refresh_seconds = kTlsRefreshSeconds;

  // INVALID_ARGUMENT naming the flag.
  absl::Status Validate() const;
};

// Adds the flags to `app`, with the present values of `options` as defaults, and --config FILE. `options` must live as
// long as `app`.
void AddServerFlags(CLI::App* app, ServerOptions* options);

// After parsing: takes from the --config file what the command line did not say, for every option of `app`, then
// validates. The file has `name = value` lines in TOML, names as the flags without dashes. INVALID_ARGUMENT for a name
// that is no flag or a value that is wrong.
absl::Status FinishServerFlags(CLI::App* app, const ServerOptions& options);

}  // namespace ilre
