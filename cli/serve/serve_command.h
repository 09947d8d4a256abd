// ilre serve: all three services on one port, in one process, with the page and the HTTP API.
#pragma once

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "cli/serve/serving.h"
#include "cli/settings.h"
#include "common/rpc/server_options.h"

namespace ilre::cli {

struct ServeArguments {
  ServeArguments() { server.http_listen = "127.0.0.1:8080"; }
  ServerOptions server;
  EncoderFlags encoder;
};

// The flags of `serve` beside those that all commands have.
void AddServeFlags(CLI::App* app, ServeArguments* arguments);

// Returns when a signal has ended it.
absl::Status RunServe(const Settings& settings, const ServeArguments& arguments);

}  // namespace ilre::cli
