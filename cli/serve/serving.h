// What the servers' mains share: flags, announcing, and keeping a follower fresh.
#pragma once

#include <cstdint>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "cli/settings.h"
#include "common/rpc/server_options.h"
#include "common/rpc/server_runner.h"
#include "common/store/key_store.h"
#include "encoder_service/encoder_server.h"
#include "generator_service/generator_server.h"
#include "retriever_service/retriever_server.h"

namespace ilre::cli {

// Flags of a server that writes documents.
struct EncoderFlags {
  uint64_t max_document_bytes = uint64_t{1} << 34;
  uint64_t tenant_quota_bytes = 0, store_quota_bytes = 0;  // 0: none
  int ingest_workers = 2;
  int max_ingests = 32;
};
void AddEncoderFlags(CLI::App* app, EncoderFlags* flags);
KeyStoreOptions StoreOptionsOf(const EncoderFlags& flags);
EncoderServerOptions EncoderOptionsOf(const EncoderFlags& flags, const ServerOptions& server);
RetrieverServerOptions RetrieverOptionsOf(const ServerOptions& server);
GeneratorServerOptions GeneratorOptionsOf(const ServerOptions& server);

// --model, --profile, --device, --arithmetic, --threads.
void AddModelFlags(CLI::App* app, Settings* settings);
void AddDataDirFlag(CLI::App* app, Settings* settings);

// `listening on ADDRESS` and `http on ADDRESS` on standard output, then serves until a signal.
void AnnounceAndRun(ServerRunner& runner);

// Runs a server's main: parses, finishes the flags and runs. -> exit status
int RunServerMain(CLI::App* app, int argc, char** argv, const ServerOptions& options,
                  const std::function<absl::Status()>& run);

}  // namespace ilre::cli
